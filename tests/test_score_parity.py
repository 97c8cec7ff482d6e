"""Row by row against the peer's own values, from the checkpoints that it scored."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnkit.measure import measure
from unlearnkit.models.load import load_model
from unlearnkit.score import Scores, score_table
from unlearnkit.score.measured import Measured
from unlearnkit.score.metric import RowMetric
from unlearnkit.score.metrics.membership import Attack
from unlearnkit.score.protocols import protocol
from unlearnkit.score.suite import metric
from unlearnkit.table import Table
from unlearnkit.tasks import load_task
from unlearnkit.tasks.base import Task
from unlearnkit.text.template import Template

SHARED = Path(__file__).parents[2] / "shared"
GOLDEN = SHARED / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"needs the golden values in {SHARED}")

FIRST = 24
PEER = protocol("open-unlearning")


@cache
def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / "ou_eval" / f"{name}_TOFU_EVAL.json").read_text())


@cache
def table(name: str, rows: int | None) -> Table:
    """Rows of forget10 and of the holdout, or everything with generations where `rows` is None."""
    whole = load_task("tofu:forget10", data=SHARED / "data" / "tofu", holdout="tofu:800-1199")
    few = {split: whole.evaluation[split][:rows] for split in ("forget", "holdout")}
    task = whole if rows is None else Task(whole.name, whole.train, whole.forget, whole.retain, few)
    loaded = load_model(str(GOLDEN / "tiny" / name))
    return measure(loaded.model, Template(loaded.tokenizer), task, max_new_tokens=0 if rows else 200)


def stored(name: str, entry: str, key: str, split: str | None = None) -> np.ndarray:
    values = golden(name)[entry] if split is None else golden(name)[entry][split]
    return np.array([values["value_by_index"][str(row)][key] for row in range(FIRST)])


@pytest.mark.parametrize("name", ["full", "retain90"])
@pytest.mark.parametrize("ours", ["extraction_strength", "exact_memorization"])
def test_tokenwise_scores_of_rows_are_the_peer_s(name: str, ours: str) -> None:
    each = metric(ours)
    assert isinstance(each, RowMetric)
    mine = each.rows(Measured(table(name, FIRST), PEER)).values
    assert mine == pytest.approx(stored(name, ours, "score"), abs=1e-6)  # the peer divides in float32


@pytest.mark.parametrize("name", ["full", "retain90"])
@pytest.mark.parametrize("split", ["forget", "holdout"])
@pytest.mark.parametrize("ours", ["mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus"])
def test_attack_scores_of_rows_are_the_peer_s(name: str, split: str, ours: str) -> None:
    attack = metric(ours)
    assert isinstance(attack, Attack)
    measured = Measured(table(name, FIRST), PEER)
    mine = attack.attack(measured, split, measured.rows(split))
    absolute = 1e-6 if ours == "mia_zlib" else 1e-4  # the peer's losses near zero are no better
    assert mine == pytest.approx(stored(name, ours, "score", split), rel=1e-4, abs=absolute)


@pytest.mark.parametrize("name", ["full", "retain90"])
@pytest.mark.parametrize("ours", ["forget_truth_ratio", "forget_paraphrase_probability", "forget_probability"])
def test_probabilities_and_truth_ratios_of_rows_are_the_peer_s(name: str, ours: str) -> None:
    each = metric(ours)
    assert isinstance(each, RowMetric)
    mine = each.rows(Measured(table(name, FIRST), PEER)).values
    if ours == "forget_truth_ratio":
        ratio = stored(name, ours, "score")
        expected = np.minimum(ratio, 1 / (ratio + 1e-10))
    else:
        entry = "forget_Q_A_PARA_Prob" if "paraphrase" in ours else "forget_Q_A_Prob"
        expected = np.exp(-stored(name, entry, "avg_loss"))
    assert mine == pytest.approx(expected, rel=1e-4)


@cache
def all_scores(name: str) -> Scores:
    tables = {each: table(each, None) for each in ("full", "retain90")}
    other = {"mia_reference": tables["retain90" if name == "full" else "full"]}
    reference = tables["retain90"] if name == "full" else None
    return score_table(tables[name], reference, "open-unlearning", others=other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "retain90"])
def test_every_aggregate_is_the_peer_s(name: str) -> None:
    renamed = {"forget_Q_A_Prob": "forget_probability", "forget_Q_A_ROUGE": "forget_rouge"}
    summary = json.loads((GOLDEN / "ou_eval" / f"{name}_TOFU_SUMMARY.json").read_text())
    for theirs, expected in summary.items():
        if theirs == "mia_gradnorm":
            continue  # an optional pass that this test does not make
        mine = all_scores(name)[renamed.get(theirs, theirs)].value
        assert mine == pytest.approx(expected, rel=1e-3, abs=1e-3 if theirs != "forget_quality" else 0), theirs
