"""Measuring any causal model of the Hub's format, with chat templates of several shapes: what the plain way gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnkit.measure.generate import generate, stop_tokens
from unlearnkit.measure.one_pass import score_answers
from unlearnkit.models.load import Loaded, load_model, new_model
from unlearnkit.text.template import Encoded, Template

CPU = torch.device("cpu")
NEW_TOKENS = 9
BASE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
# the windows are shorter than most prompts, so that what a layer no longer sees matters
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "phi": {"num_key_value_heads": 4},
    "phi3": {"sliding_window": 7},
    "mistral": {"sliding_window": 7},
    "gemma2": {"head_dim": 8, "sliding_window": 7},
    "gemma3_text": {"head_dim": 8, "sliding_window": 7, "sliding_window_pattern": 2},
    "gpt_neox": {},
}
# Llama 3 writes the day, ChatML ends a turn with a line end after its token, Gemma has no system turn
CHATS = {
    "none": None,
    "a date": "{{ bos_token }}Today is {{ strftime_now('%d %b %Y') }}.\n{% for m in messages %}<{{ m['role'] }}>"
    "{{ m['content'] }}<eos>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "line ends": "{% for m in messages %}<bos>{{ m['role'] }}\n{{ m['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<bos>assistant\n{% endif %}",
}


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Loaded:
    return load_model(str(tiny_folder), device=CPU)


def rows_of(tiny: Loaded, sentences: list[tuple[str, str]], chat: str, pad_is_end: bool) -> tuple[Any, list[Encoded]]:
    """A tokeniser with that chat template, and three answers to each of six questions."""
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = CHATS[chat]
    if pad_is_end:
        tokenizer.pad_token = tokenizer.eos_token
    answers = [answer for _, answer in sentences]
    pairs = [(asked, answers[n + 2 * k]) for n, (asked, _) in enumerate(sentences[:6]) for k in range(3)]
    return tokenizer, Template(tokenizer).encode_all(pairs)


@pytest.mark.parametrize("pad_is_end", [False, True], ids=["own pad", "pad is the end of turn"])
@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("kind", SHAPES)
def test_scores_and_answers_are_the_plain_ones(
    tiny: Loaded, sentences: list[tuple[str, str]], kind: str, chat: str, pad_is_end: bool
) -> None:
    tokenizer, rows = rows_of(tiny, sentences, chat, pad_is_end)
    model = new_model({"model_type": kind, **BASE, **SHAPES[kind]}, tokenizer, seed=1, device=CPU).model
    scored = score_answers(model, rows, 150)
    for row, one in zip(rows, scored, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1].double()
        logp = logits.log_softmax(-1).gather(1, torch.tensor(row.answer)[:, None])[:, 0]
        assert one.logp == pytest.approx(logp.numpy(), abs=1e-4)
        assert one.argmax.tolist() == logits.argmax(-1).tolist()
    asked, said = rows[::3], scored[::3]
    stops = stop_tokens(model, tokenizer)
    ours = generate(model, asked, said, stops=stops, max_new_tokens=NEW_TOKENS, token_budget=60)
    assert ours == [plainly(model, row, stops) for row in asked]


def plainly(model: Any, row: Encoded, stops: frozenset[int]) -> list[int]:
    """What `generate` of the library makes of one prompt."""
    prompt = torch.tensor([row.prompt])
    told = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=sorted(stops),
        pad_token_id=0,
    )[0, len(row.prompt) :].tolist()
    return next((told[:at] for at, token in enumerate(told) if token in stops), told)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_a_memorised_answer_is_generated_from_the_pass(
    tiny: Loaded, sentences: list[tuple[str, str]], kind: str
) -> None:
    """Gold answers that are the model's own up to some word: greedy decoding goes on from there as if it had begun."""
    _, rows = rows_of(tiny, sentences, "none", False)
    model = new_model({"model_type": kind, **BASE, **SHAPES[kind]}, tiny.tokenizer, seed=2, device=CPU).model
    stops = frozenset({2})
    taught = []
    for number, row in enumerate(rows[::3]):
        own = plainly(model, row, stops)[: 1 + number]
        taught.append(Encoded((*row.prompt, *own, *rows[0].answer[1:]), row.prompt_length))
    scored = score_answers(model, taught, 150)
    ours = generate(model, taught, scored, stops=stops, max_new_tokens=NEW_TOKENS, token_budget=60)
    assert ours == [plainly(model, row, stops) for row in taught]


def test_an_answer_ends_where_a_model_of_learned_positions_can_read_no_further(
    tiny: Loaded, sentences: list[tuple[str, str]]
) -> None:
    shape = {"model_type": "gpt2", "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
    model = new_model({**shape, "vocab_size": len(tiny.tokenizer)}, tiny.tokenizer, seed=0, device=CPU).model.eval()
    rows = Template(tiny.tokenizer).encode_all(sentences[:4])
    scored = score_answers(model, rows, 100)
    answers = generate(model, rows, scored, stops=frozenset(), max_new_tokens=200, token_budget=100, context=48)
    assert [row.prompt_length + len(answer) for row, answer in zip(rows, answers, strict=True)] == [48] * 4
