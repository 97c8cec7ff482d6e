"""Tokenising: prompts are prefixes, answers are whole, days are pinned, and the peer's ids are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from unlearnkit.errors import UserError
from unlearnkit.text.batches import by_length, cheapest, collate
from unlearnkit.text.pairing import frozen_partner, partner, shuffled
from unlearnkit.text.template import Encoded, Template

CASES = [
    ("plain", "tiny/full", None, 0),
    ("chat", "tokenization/chat_tokenizer", "You are a helpful assistant.", 0),
    # there the blank of "Answer: " merges into the first word; the peer leaves that word out of its loss, we score it
    ("plain_nasty_boundary", "tokenization/nasty_tokenizer", None, 1),
]


@pytest.mark.parametrize(("case", "folder", "system", "earlier"), CASES, ids=[case[0] for case in CASES])
def test_ids_and_scored_tokens_equal_the_peers(
    shared: Path, case: str, folder: str, system: str | None, earlier: int
) -> None:
    golden = json.loads((shared / "golden/tokenization/tokenization_golden.json").read_text())[case]["examples"]
    template = Template(AutoTokenizer.from_pretrained(shared / "golden" / folder), system=system)
    shifted = 0
    for example in (one for one in golden if not one["predict_with_generate"]):
        encoded = template.encode(example["question"], example["answer"])
        assert list(encoded.ids) == example["input_ids"], example["question"]
        start = next(n for n, label in enumerate(example["labels"]) if label != -100)
        assert encoded.prompt_length in (start, start - earlier), example["question"]
        shifted += encoded.prompt_length != start
    assert (shifted > 0) == (earlier > 0)


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_folder)


@settings(max_examples=200, deadline=None)
@given(question=st.text(max_size=30), answers=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4))
def test_any_text_keeps_its_prompt_and_its_answer(tokenizer: Any, question: str, answers: list[str]) -> None:
    template = Template(tokenizer, "Q {question} A: {answer}")
    for answer, encoded in zip(answers, template.encode_all([(question, a) for a in answers]), strict=True):
        assert encoded == template.encode(question, answer)
        assert encoded.answer[-1] == tokenizer.eos_token_id
        assert encoded.answer.count(tokenizer.eos_token_id) == 1
        assert len(encoded.prompt) >= 1


@pytest.mark.parametrize("answer", ["Paris", " Paris", "123", "'s", "é"])
def test_a_blank_before_the_answer_never_costs_the_first_word(shared: Path, answer: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "golden/tokenization/nasty_tokenizer")
    encoded = Template(tokenizer).encode("Where?", answer)
    assert tokenizer.decode(encoded.answer, skip_special_tokens=True).strip() == answer.strip()


LLAMA3_LIKE = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "Today: {{ date_string }}\n{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CLOCK_READER = LLAMA3_LIKE.replace("{{ date_string }}", "{{ strftime_now('%Y-%m-%d') }}")
LINE_AFTER_TURN = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
THINKER = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think></think>{% endif %}"
)


@pytest.mark.parametrize("chat", [LLAMA3_LIKE, CLOCK_READER, LINE_AFTER_TURN, THINKER])
def test_chat_templates_end_once_and_do_not_know_the_day(tiny_folder: Path, chat: str) -> None:
    import datetime

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = chat
    encoded = Template(tokenizer, system="Be brief.").encode("Who?", "Ann Lee.")
    assert tokenizer.decode(encoded.answer) == "Ann Lee.<eos>"
    text = tokenizer.decode(encoded.ids)
    assert str(datetime.date.today().year) not in text or "2025" in text
    if "Today" in chat:
        assert "10 Apr 2025" in text or "2025-04-10" in text


@pytest.mark.parametrize("text", ["no places", "{question}", "{answer} {question}", "{question}{question}{answer}"])
def test_a_template_without_its_places_is_refused(tokenizer: Any, text: str) -> None:
    with pytest.raises(UserError, match="question"):
        Template(tokenizer, text)


def test_chat_needs_a_chat_template(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="no chat template"):
        Template(tokenizer, "chat")
    with pytest.raises(UserError, match="system message"):
        Template(tokenizer, system="Be brief.")


def test_padding_is_masked_and_never_scored() -> None:
    batch = collate([Encoded((1, 5, 6, 2), 2), Encoded((1, 7, 2), 2)])
    assert batch.input_ids.tolist() == [[1, 5, 6, 2], [1, 7, 2, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.predicts.tolist() == [1, 2, 5]  # the places before 6, 2 and, in the second row, 2
    assert batch.targets.tolist() == [6, 2, 2]
    assert batch.mask.tolist() == [[True, True], [True, False]]


@given(lengths=st.lists(st.integers(1, 50), max_size=60), budget=st.integers(1, 200))
def test_batches_hold_every_row_once_and_keep_the_budget(lengths: list[int], budget: int) -> None:
    batches = by_length(lengths, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 100), size=st.integers(1, 5000))
def test_pairing_is_a_function_of_its_arguments(seed: int, epoch: int, size: int) -> None:
    drawn = [partner("retain", seed, epoch, index, size) for index in range(5)]
    assert drawn == [partner("retain", seed, epoch, index, size) for index in range(5)]
    assert all(0 <= one < size for one in drawn)


def test_pairing_reaches_the_whole_retain_set_and_the_frozen_one_does_not() -> None:
    free = {partner("retain", 0, epoch, index, 3600) for epoch in range(10) for index in range(400)}
    frozen = {frozen_partner("retain", index, 3600) for index in range(400)}
    assert len(frozen) == 378  # what the NPO authors' code ever sees on forget10
    assert len(free) > 2300  # 3600 (1 - e^(-4000/3600)) = 2415 expected


def test_orders_differ_by_epoch_and_seed() -> None:
    orders = {tuple(shuffled(seed, epoch, 20)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(20)) for order in orders)


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 300), st.integers(0, 80))
def test_the_cheapest_batches_hold_every_row_once_within_the_budget(
    lengths: list[int], budget: int, overhead: int
) -> None:
    def cost(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[place] for place in batch) + overhead for batch in batches)

    batches = cheapest(lengths, budget, overhead)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert all(len(one) == 1 or len(one) * max(lengths[place] for place in one) <= budget for one in batches)
    assert cost(batches) <= cost(by_length(lengths, budget))
    longest = [max(lengths[place] for place in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True), "what does not fit fails at once"
