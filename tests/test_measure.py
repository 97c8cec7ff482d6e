"""Measuring: shared prompts and verified greedy answers give what the plain way gives, and what the peer got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearnkit.errors import UserError
from unlearnkit.measure import measure
from unlearnkit.measure.generate import generate, stop_tokens
from unlearnkit.measure.one_pass import score_answers
from unlearnkit.models.forward import answer_stats
from unlearnkit.models.load import Loaded, load_model
from unlearnkit.table import Table
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Encoded, Template

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Loaded:
    return load_model(str(tiny_folder), device=CPU)


@pytest.fixture(scope="module")
def encoded(tiny: Loaded, sentences: list[tuple[str, str]]) -> list[Encoded]:
    """Several answers to each question, so that prompts are shared."""
    answers = [answer for _, answer in sentences]
    pairs = [(question, answers[(n + k) % len(answers)]) for n, (question, _) in enumerate(sentences) for k in range(3)]
    return Template(tiny.tokenizer).encode_all(pairs)


def plainly(model: Any, row: Encoded) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Log-probabilities and argmax of one answer from full logits, with nothing shared."""
    with torch.no_grad():
        logits = model(torch.tensor([row.ids])).logits[0].double()
    at = torch.arange(row.prompt_length - 1, len(row.ids) - 1)
    logp = logits.log_softmax(-1)[at, torch.tensor(row.answer)]
    return logp.numpy(), logits[at].argmax(-1).numpy()


@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_the_shared_pass_equals_the_plain_one(tiny: Loaded, encoded: list[Encoded], budget: int) -> None:
    for row, scored in zip(encoded, score_answers(tiny.model, encoded, budget), strict=True):
        logp, argmax = plainly(tiny.model, row)
        assert scored.logp == pytest.approx(logp, abs=2e-5)
        assert scored.argmax.tolist() == argmax.tolist()


def test_vocabulary_statistics_are_those_of_the_distribution(tiny: Loaded, encoded: list[Encoded]) -> None:
    row, scored = encoded[0], score_answers(tiny.model, encoded[:1], 1000)[0]
    with torch.no_grad():
        logp = tiny.model(torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1].double().log_softmax(-1)
    mean = (logp.exp() * logp).sum(-1)
    spread = ((logp.exp() * logp.square()).sum(-1) - mean.square()).sqrt()
    assert scored.logp_mean == pytest.approx(mean.numpy(), rel=1e-4)
    assert scored.logp_std == pytest.approx(spread.numpy(), rel=1e-3)


def test_every_answer_and_every_prompt_goes_through_the_model_once(tiny: Loaded, encoded: list[Encoded]) -> None:
    seen = {"rows": 0, "prompts": 0}

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen["rows" if given.get("past_key_values") is not None else "prompts"] += given["input_ids"].shape[0]

    handle = tiny.model.register_forward_pre_hook(count, with_kwargs=True)
    score_answers(tiny.model, encoded, 200)
    handle.remove()
    assert seen == {"rows": len(encoded), "prompts": len({row.prompt for row in encoded})}


def test_training_and_measuring_share_their_numbers(tiny: Loaded, encoded: list[Encoded]) -> None:
    with torch.no_grad():
        stats = answer_stats(tiny.model, encoded[:7], logits=True)
    for place, row in enumerate(encoded[:7]):
        logp, _ = plainly(tiny.model, row)
        assert stats.logp[place][stats.mask[place]].numpy() == pytest.approx(logp, abs=2e-5)
        assert stats.logp[place][~stats.mask[place]].abs().sum() == 0
    assert stats.logits is not None
    assert stats.logits.shape[:2] == stats.mask.shape


def test_greedy_answers_equal_plain_generation(tiny: Loaded, encoded: list[Encoded]) -> None:
    stops = stop_tokens(tiny.model, tiny.tokenizer)
    scored = score_answers(tiny.model, encoded, 500)
    ours = generate(tiny.model, encoded, scored, stops=stops, max_new_tokens=12, token_budget=300)
    for row, answer in zip(encoded, ours, strict=True):
        prompt = torch.tensor([row.prompt])
        theirs = tiny.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False
        )[0, len(row.prompt) :].tolist()
        theirs = theirs[: theirs.index(2)] if 2 in theirs else theirs
        assert answer == theirs


def small_task(sentences: list[tuple[str, str]]) -> Task:
    rows = [
        Row(n, question, answer, f"Well: {answer}", ("In Rome.", "Never, and nobody knows why."))
        for n, (question, answer) in enumerate(sentences)
    ]
    return Task("small:forget", rows[:5], rows[:5], rows[5:], {"forget": rows[:5], "retain": rows[5:9]})


def test_a_table_holds_every_answer_and_survives_the_disk(
    tiny: Loaded, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    table = measure(
        tiny.model,
        Template(tiny.tokenizer),
        small_task(sentences),
        max_new_tokens=8,
        progress=lambda *said: seen.append(said),
    )
    assert table.data.num_rows == 9 * 4
    assert set(table.data["kind"].to_pylist()) == {"answer", "paraphrase", "perturbed_0", "perturbed_1"}
    row = table.data.to_pylist()[0]
    assert row["loss"] == pytest.approx(-np.mean(row["logp"]))
    assert row["length"] == len(row["tokens"]) == len(row["greedy"])
    assert row["ends"]
    assert row["generation"] is not None
    assert seen[-1] == ("answering", 9, 9)
    table.save(tmp_path / "table.parquet")
    again = Table.load(tmp_path / "table.parquet")
    assert again.digest() == table.digest()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b'{"a": 1}'])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"table\.parquet"):
        Table.load(tmp_path / "table.parquet")


def test_a_question_longer_than_the_context_is_refused(tiny: Loaded) -> None:
    row = Row(0, "Why? " * 200, "So.")
    with pytest.raises(UserError, match="the model reads at most 128"):
        measure(tiny.model, Template(tiny.tokenizer), Task("long", [row], [row], [], {"forget": [row]}))


SHAPES = {
    "llama": {},
    "qwen2": {},
    "phi": {},
    "gemma2": {"head_dim": 8, "sliding_window": 16},
    "gpt_neox": {},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_other_architectures_are_measured_like_llama(tiny: Loaded, encoded: list[Encoded], kind: str) -> None:
    from unlearnkit.models.load import new_model

    config = {
        "model_type": kind,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
    } | SHAPES[kind]
    model = new_model(config, tiny.tokenizer, seed=1, device=CPU).model
    rows = encoded[:9]
    scored = score_answers(model, rows, 200)
    for row, one in zip(rows, scored, strict=True):
        assert one.logp == pytest.approx(plainly(model, row)[0], abs=1e-4)
    answers = generate(model, rows, scored, stops=frozenset({2}), max_new_tokens=6, token_budget=100)
    assert all(len(answer) <= 6 for answer in answers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "retain90"])
def test_golden_rows_and_generations_are_the_peers(shared: Path, name: str) -> None:
    from unlearnkit.tasks import load_task

    task = load_task("tofu:forget10", data=shared / "data/tofu")
    model, tokenizer = load_model(str(shared / "golden/tiny" / name), device=CPU)
    table = measure(model, Template(tokenizer), task)
    ours = {(row["split"], row["index"], row["kind"]): row for row in table.data.to_pylist()}
    golden = json.loads((shared / f"golden/ou_eval/{name}_TOFU_EVAL.json").read_text())
    for split, prefix, first in (("forget", "forget", 3600), ("retain", "retain", 0), ("real_authors", "ra", 0)):
        for row, value in golden[f"{prefix}_Q_A_Prob"]["value_by_index"].items():
            mine = ours[split, int(row) + first, "answer"]
            assert np.exp(-mine["loss"]) == pytest.approx(value["prob"], rel=1e-4)
        for row, value in golden[f"{prefix}_Q_A_PERT_Prob"]["value_by_index"].items():
            for number, loss in enumerate(value["avg_loss"]):
                mine = ours[split, int(row) + first, f"perturbed_{number}"]
                assert np.exp(-mine["loss"]) == pytest.approx(np.exp(-loss), rel=1e-4)
        spoken = golden[f"{prefix}_Q_A_ROUGE"]["value_by_index"]
        same = [ours[split, int(row) + first, "answer"]["generation"] == v["generation"] for row, v in spoken.items()]
        assert sum(same) >= 0.99 * len(same)


def test_golden_rows_of_a_few_questions(shared: Path) -> None:
    from unlearnkit.tasks import load_task

    task = load_task("tofu:forget10", data=shared / "data/tofu")
    few = Task(task.name, [], task.forget[:8], [], {"forget": task.evaluation["forget"][:8]})
    model, tokenizer = load_model(str(shared / "golden/tiny/full"), device=CPU)
    table = measure(model, Template(tokenizer), few)
    golden = json.loads((shared / "golden/ou_eval/full_TOFU_EVAL.json").read_text())
    for row in table.data.to_pylist():
        name = str(row["index"] - 3600)
        if row["kind"] == "answer":
            assert np.exp(-row["loss"]) == pytest.approx(
                golden["forget_Q_A_Prob"]["value_by_index"][name]["prob"], rel=1e-4
            )
            assert row["generation"] == golden["forget_Q_A_ROUGE"]["value_by_index"][name]["generation"]
        elif row["kind"] == "paraphrase":
            theirs = golden["forget_Q_A_PARA_Prob"]["value_by_index"][name]["prob"]
            assert np.exp(-row["loss"]) == pytest.approx(theirs, rel=1e-4)
