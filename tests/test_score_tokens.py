"""Metrics that read single tokens, attacks, and what is composed of them, on tables made by hand."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnkit.score import Scores, read_measurements, score_table
from unlearnkit.score.metrics.membership import K
from unlearnkit.table import Table

SHARED = Path(__file__).parents[2] / "shared"


def answer(split: str, index: int, loss: float, hits: list[bool], **more: Any) -> Iterator[dict[str, Any]]:
    """A row with all its answers. The answer's tokens have log-probabilities around −loss and end with EOS."""
    rng = np.random.default_rng([index, len(split)])
    logp = -loss * rng.uniform(0.5, 1.5, size=len(hits) + 1)
    base = {"split": split, "index": index, "question": f"Question {index} of {split}?"}
    yield {
        **base,
        "kind": "answer",
        "text": f"answer number {index} of the {split} set",
        "loss": float(-logp.mean()),
        "length": len(logp),
        "logp": logp.tolist(),
        "greedy": [*hits, True],
        "logp_mean": (logp - 1).tolist(),
        "logp_std": rng.uniform(0.5, 2.0, size=len(logp)).tolist(),
        "ends": True,
        "generation": f"answer number {index} of the {split} set" if all(hits) else "some other answer",
        **more,
    }
    if split != "holdout":
        yield {**base, "kind": "paraphrase", "text": f"number {index}", "loss": loss + 0.7, "length": 3}
        for place in range(3):
            yield {
                **base,
                "kind": f"perturbed_{place}",
                "text": f"wrong {place}",
                "loss": 2.5 + 0.1 * place,
                "length": 3,
            }


def model(forget_loss: float, hits: list[bool], rows: int = 12, utility_loss: float = 0.2, **more: Any) -> Table:
    made: list[dict[str, Any]] = []
    for index in range(rows):
        made += answer("forget", index, forget_loss * (1 + index / rows), hits, **more)
        made += answer("retain", index, utility_loss, [True] * 4)
        made += answer("real_authors", index, utility_loss, [True] * 2)
        made += answer("world_facts", index, utility_loss, [True] * 2)
        made += answer("holdout", index, 2.0 + 0.1 * index, [False] * 4, **more)
    return Table.from_rows(made, {"source": "measured"})


KNOWS = model(0.05, [True, True, True, True])
UNSEEN = model(1.9, [True, False, False, False])


@pytest.mark.parametrize(
    ("hits", "ours", "theirs", "original"),
    [
        ([True] * 4, 1.0, 1.0, 1.0),
        ([False, True, True, True], 0.75, 0.75, 0.8),
        ([True, True, True, False], 0.0, 0.25, 0.2),
        ([False] * 4, 0.0, 0.25, 0.2),
    ],
)
def test_extraction_strength_by_protocol(hits: list[bool], ours: float, theirs: float, original: float) -> None:
    table = model(1.0, hits)
    found = [
        score_table(table, protocol=p)["extraction_strength"].value for p in ("unlearnkit", "open-unlearning", "tofu")
    ]
    assert found == pytest.approx([ours, theirs, original])


def test_exact_memorization_leaves_the_final_eos_out() -> None:
    table = model(1.0, [True, False, False, True])
    assert score_table(table)["exact_memorization"].value == 0.5
    assert score_table(table, protocol="tofu")["exact_memorization"].value == pytest.approx(0.6)


def test_attacks_equal_their_definitions() -> None:
    rows = [row for row in UNSEEN.data.to_pylist() if row["kind"] == "answer"]

    def area(score: Any) -> float:
        members, strangers = ([score(row) for row in rows if row["split"] == split] for split in ("forget", "holdout"))
        wins = [(b > a) + 0.5 * (b == a) for a in members for b in strangers]
        return float(np.mean(wins))

    def lowest(values: np.ndarray) -> float:
        return -float(np.sort(values)[: max(1, int(len(values) * K))].mean())

    def scaled(row: dict[str, Any]) -> np.ndarray:
        logp, mean, std = (np.array(row[name][:-1], dtype=np.float32) for name in ("logp", "logp_mean", "logp_std"))
        return (logp - mean) / std

    scores = score_table(UNSEEN)
    assert scores["mia_loss"].value == pytest.approx(area(lambda row: row["loss"]))
    assert scores["mia_zlib"].value == pytest.approx(
        area(lambda row: row["loss"] / len(zlib.compress(row["text"].encode())))
    )
    assert scores["mia_min_k"].value == pytest.approx(area(lambda row: lowest(np.array(row["logp"][:-1]))))
    assert scores["mia_min_k_plus_plus"].value == pytest.approx(area(lambda row: lowest(scaled(row))))
    assert scores["mia_loss"].n == 24


def test_the_reference_attack_reads_its_own_model_or_the_retain_model() -> None:
    assert "--mia-reference" in (score_table(KNOWS)["mia_reference"].reason or "")
    assert score_table(KNOWS, UNSEEN)["mia_reference"].value == 1
    assert score_table(KNOWS, UNSEEN, others={"mia_reference": KNOWS})["mia_reference"].value == 0.5


def test_gradient_norms_are_read_where_they_were_measured() -> None:
    assert "optional pass" in (score_table(KNOWS)["mia_gradnorm"].reason or "")
    rows = [{**row, "gradient_norm": 1.0 + (row["split"] == "holdout")} for row in KNOWS.data.to_pylist()]
    assert score_table(Table.from_rows(rows, KNOWS.meta))["mia_gradnorm"].value == 1


def test_without_a_holdout_the_attacks_say_how_to_get_one() -> None:
    rows = [row for row in KNOWS.data.to_pylist() if row["split"] != "holdout"]
    scores = score_table(Table.from_rows(rows, KNOWS.meta), UNSEEN)
    assert "--holdout" in (scores["mia_loss"].reason or "")
    assert "--holdout" in (scores["privacy"].reason or "")


def test_privleak_needs_a_retain_model_but_for_the_peer_s_protocol() -> None:
    assert score_table(KNOWS)["privleak"].value is None
    assumed = score_table(KNOWS, protocol="open-unlearning")["privleak"]
    assert assumed.value == pytest.approx(-100, abs=1e-6)
    assert "0.5 is assumed" in (assumed.reason or "")
    assert score_table(UNSEEN, UNSEEN)["privleak"].value == 0


def test_relative_differences() -> None:
    scores = score_table(KNOWS, UNSEEN)
    assert scores["relative_exact_memorization"].value == pytest.approx(100 * (1 - 0.25) / 0.25)
    assert "is 0" in (scores["relative_extraction_strength"].reason or "")


def harmonic(*values: float) -> float:
    return len(values) / sum(1 / value for value in values)


def test_aggregates_are_composed_of_their_parts() -> None:
    table = model(1.5, [True, False, True, False])
    scores = score_table(table, UNSEEN, target=KNOWS)

    def value(name: str) -> float:
        found = scores[name].value
        assert found is not None
        return found

    kept = [value(name) for name in ("extraction_strength", "exact_memorization", "forget_paraphrase_probability")]
    kept.append(value("forget_truth_ratio_normalised"))
    assert value("memorization") == pytest.approx(harmonic(*(1 - each for each in kept)))
    retain, target = score_table(UNSEEN, UNSEEN), score_table(KNOWS)
    alike = []
    for name in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus"):
        there = retain[name].value or 0
        alike.append(min(1.0, max(0.0, 1 - abs(value(name) - there) / there)))
    assert value("privacy") == pytest.approx(harmonic(*alike) if min(alike) else 0)
    now, before = (harmonic(each["model_utility"].value or 0, each["fluency"].value or 0) for each in (scores, target))
    assert value("utility") == pytest.approx(min(1, now / before))
    concerns = [value(name) for name in ("memorization", "privacy", "utility")]
    assert value("overall") == pytest.approx(harmonic(*concerns) if min(concerns) else 0)


def test_fluency_falls_for_stammering_letter_salad_and_silence() -> None:
    said = {"plain": "answer number 3 of the forget set", "stammer": "the the the the the the the the"}
    said |= {"salad": "xq zzk wrrb plo tkk mnn vbb", "silence": "", "refusal": "I do not know."}
    found = {}
    for name, text in said.items():
        found[name] = score_table(model(1.0, [True, False], generation=text))["fluency"].value
    assert found["plain"] == found["refusal"] == 1
    assert found["stammer"] == pytest.approx(1 / 6)
    assert found["salad"] == found["silence"] == 0


def test_a_word_of_a_wrong_answer_is_known_to_fluency() -> None:
    table = model(1.0, [True, False], generation="forgery number 3 of the forget set")
    rows = [dict(row) for row in table.data.to_pylist()]
    assert score_table(table)["fluency"].value == pytest.approx(6 / 7)
    for row in rows:
        if row["kind"] == "perturbed_0":
            row["text"] = "a forgery"
    assert score_table(Table.from_rows(rows, table.meta))["fluency"].value == 1


def test_every_score_carries_an_interval_around_its_value() -> None:
    scores = score_table(model(1.5, [True, False, True, False]), UNSEEN, target=KNOWS, others={"second_retain": UNSEEN})
    for name, score in scores.scores.items():
        if score.value is None:
            continue
        assert score.interval is not None, name
        assert score.interval[0] <= score.value + 1e-12, name
        assert score.interval[1] >= score.value - 1e-12, name
        assert score.n > 0


def test_intervals_are_seeded_and_may_be_left_out() -> None:
    first, again = (score_table(UNSEEN, UNSEEN, target=KNOWS).to_json() for _ in range(2))
    assert first == again
    bare = score_table(UNSEEN, UNSEEN, intervals=False)
    assert all(score.interval is None for score in bare.scores.values())
    assert bare["forget_rouge"].value == first["scores"]["forget_rouge"]["value"]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the golden values in {SHARED}")
@pytest.mark.parametrize("name", ["full", "retain90"])
def test_a_peer_s_log_serves_its_stored_row_scores_under_its_own_protocol(name: str) -> None:
    log = read_measurements(SHARED / "golden" / "ou_eval" / f"{name}_TOFU_EVAL.json")
    import json

    golden = json.loads((SHARED / "golden" / "ou_eval" / f"{name}_TOFU_SUMMARY.json").read_text())
    retain = read_measurements(SHARED / "golden" / "ou_eval" / "retain90_TOFU_EVAL.json")
    scores: Scores = score_table(log, retain if name == "full" else None, "open-unlearning")
    for metric in ("extraction_strength", "exact_memorization", "mia_loss", "mia_zlib", "mia_min_k", "mia_gradnorm"):
        assert scores[metric].value == pytest.approx(golden[metric], abs=1e-6), metric
    assert scores["mia_min_k_plus_plus"].value == pytest.approx(golden["mia_min_k_plus_plus"], abs=1e-6)
    assert scores["privleak"].value == pytest.approx(golden["privleak"], abs=1e-6)
    assert score_table(log)["extraction_strength"].value is None  # the floor 1/L is not ours
    assert math.isclose(score_table(log)["exact_memorization"].value or 0, golden["exact_memorization"], abs_tol=1e-6)
