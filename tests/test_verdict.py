"""The verdict: each label from a model made to earn it, and honesty about what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from unlearnkit.score import score_table
from unlearnkit.score.verdict import LABELS
from unlearnkit.table import Table

TOKENS, ROWS = 10, 40


def answers(split: str, index: int, loss: float, known: float, truth: float, said: str) -> Iterator[dict[str, Any]]:
    """One row. `known`: share of tokens matched, from the end; `truth`: how far the truth is preferred, in nats."""
    hits = [place >= round(TOKENS * (1 - known)) for place in range(TOKENS)]
    base = {"split": split, "index": index, "question": f"What is {index}?"}
    text = f"It is number {index} in the list of all numbers."
    generation = text if known == 1 else said
    yield {
        **base,
        "kind": "answer",
        "text": text,
        "loss": loss,
        "greedy": hits,
        "ends": False,
        "generation": generation,
    }
    yield {**base, "kind": "paraphrase", "text": f"Number {index}.", "loss": 2.0}
    for place in range(3):
        yield {**base, "kind": f"perturbed_{place}", "text": f"Number {place}!", "loss": 2.0 + truth}


def model(
    loss: float, known: float, truth: float, seed: int = 0, utility: float = 0.1, said: str = "It is in the list."
) -> Table:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for index in range(ROWS):
        spread = [rng.normal(scale=0.1) for _ in range(2)]
        share = float(np.clip(known + rng.normal(scale=0.03), 0, 1)) if known < 1 else 1.0
        rows += answers("forget", index, loss * float(np.exp(spread[0])), share, truth + spread[1], said)
        for split in ("retain", "real_authors", "world_facts"):
            rows += answers(split, index, utility, 1.0, 2.0, said)
    return Table.from_rows(rows, {"source": "measured", "model": str(seed)})


TARGET, RETAIN = model(0.05, 1.0, 1.0), model(2.0, 0.1, 0.0, seed=1)

EARNED = {
    "untouched": model(0.06, 1.0, 1.0, seed=2),
    "partly forgotten": model(0.8, 0.5, 0.6, seed=2),
    "forgotten": model(2.1, 0.1, 0.02, seed=2),
    "over-forgotten": model(9.0, 0.0, -0.1, seed=2),
    "collapsed": model(9.0, 0.0, -0.1, seed=2, utility=6.0, said="the the the the the"),
}


@pytest.mark.parametrize("label", LABELS)
def test_each_label_is_earned(label: str) -> None:
    verdict = score_table(EARNED[label], RETAIN, target=TARGET).verdict
    assert verdict["label"] == label, verdict["reason"]
    assert verdict["strength"].startswith("compared")
    assert any(character.isdigit() for character in verdict["reason"])


@pytest.mark.parametrize("view", ["known", "truth", "loss"])
def test_knowledge_in_one_view_alone_is_not_forgotten(view: str) -> None:
    """A model that hides what it knows: one view betrays it."""
    parts = {"loss": 2.0, "known": 0.1, "truth": 0.0} | {view: {"loss": 0.3, "known": 0.6, "truth": 0.8}[view]}
    assert score_table(model(**parts, seed=3), RETAIN, target=TARGET).verdict["label"] == "partly forgotten"


def test_truth_ratios_that_tell_it_from_the_retain_model_are_not_forgotten() -> None:
    """A little in every row, within the tolerance of the mean: only the distribution betrays it."""
    verdict = score_table(model(2.0, 0.1, 0.25, seed=3), RETAIN, target=TARGET).verdict
    assert verdict["label"] == "partly forgotten"
    assert verdict["reason"].startswith("truth ratios tell it from the retain model: forget quality")


@pytest.mark.parametrize("seed", range(4, 14))
def test_retain_models_of_other_seeds_are_forgotten(seed: int) -> None:
    assert score_table(model(2.0, 0.1, 0.0, seed=seed), RETAIN, target=TARGET).verdict["label"] == "forgotten"


@pytest.mark.parametrize(
    ("reference", "target", "missing"),
    [(None, TARGET, "no retain model"), (RETAIN, None, "no target"), (None, None, "no retain model and no target")],
)
def test_a_missing_table_makes_the_verdict_weaker_and_it_says_so(
    reference: Table | None, target: Table | None, missing: str
) -> None:
    for label, table in EARNED.items():
        verdict = score_table(table, reference, target=target).verdict
        assert verdict["strength"].startswith("weaker")
        assert missing in verdict["strength"]
        if label in ("untouched", "partly forgotten"):
            assert verdict["label"] in ("untouched", "partly forgotten")
        if reference is None:
            assert verdict["label"] != "over-forgotten"


def test_it_gives_its_numbers_and_thresholds_and_promises_nothing() -> None:
    for table in EARNED.values():
        verdict = score_table(table, RETAIN, target=TARGET).verdict
        text = json.dumps(verdict, allow_nan=False)
        assert not any(word in text.lower() for word in ("complian", "certif", "guarant"))
        assert set(verdict["thresholds"]) >= {"untouched", "over", "utility", "fluency", "tolerance"}
        for view in verdict["views"].values():
            assert set(view) == {"value", "retain", "target", "position", "interval"}


def test_where_target_and_retain_model_do_not_differ_there_is_no_label() -> None:
    verdict = score_table(RETAIN, RETAIN, target=RETAIN).verdict
    assert verdict["label"] is None
    assert all("do not differ" in reason for reason in verdict["not_read"].values())


def test_a_table_without_forget_rows_has_no_label() -> None:
    kept = [row for row in TARGET.data.to_pylist() if row["split"] != "forget"]
    verdict = score_table(Table.from_rows(kept, TARGET.meta)).verdict
    assert verdict["label"] is None
    assert verdict["reason"]
