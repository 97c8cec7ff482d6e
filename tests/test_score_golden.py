"""Scores of stored logs against numbers that were recorded with the original code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from unlearnkit.errors import UserError
from unlearnkit.score import Scores, read_measurements, score_table
from unlearnkit.table import Table

SHARED = Path(__file__).parents[2] / "shared"
GOLDEN = SHARED / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"needs the golden values in {SHARED}")

PHI = {
    "full": "ft_epoch5_lr2e-05_phi_full_wd0.01",
    "retain90": "ft_epoch5_lr2e-05_phi_retain90_wd0.01",
}
SETS = ("forget", "retain", "real_authors", "world_facts")


@cache
def upstream(name: str) -> Table:
    return read_measurements(GOLDEN / "upstream_logs" / f"{PHI[name]}.json")


@cache
def peer(name: str) -> Table:
    return read_measurements(GOLDEN / "ou_eval" / f"{name}_TOFU_EVAL.json")


@cache
def peer_scores(name: str, reference: str | None) -> Scores:
    return score_table(peer(name), None if reference is None else peer(reference), "open-unlearning")


@cache
def original(name: str) -> Table:
    return read_measurements(GOLDEN / "tofu_original" / name / "eval_log_aggregated.json")


@cache
def recorded() -> dict:
    return json.loads((SHARED / "spec" / "recorded_numbers.json").read_text())


def recorded_log(name: str) -> dict:
    return next(log for log in recorded()["logs"] if f"/{PHI[name]}/" in log["path"])


@pytest.mark.parametrize("name", PHI)
def test_upstream_logs_give_the_recorded_parts(name: str) -> None:
    scores, expected = score_table(upstream(name), protocol="tofu"), recorded_log(name)
    assert scores["model_utility"].value == pytest.approx(expected["model_utility"], abs=1e-12)
    for split in SETS:
        task = expected["tasks"][split]
        assert scores[f"{split}_probability"].value == pytest.approx(task["probability"], abs=1e-12)
        assert scores[f"{split}_rouge"].value == pytest.approx(task["rougeL_recall"], abs=1e-12)
        assert scores[f"{split}_truth_ratio"].value == pytest.approx(task["truth_ratio_score"], abs=1e-12)
        assert scores[f"{split}_rouge"].n == task["n_gt"]


@pytest.mark.parametrize("name", PHI)
def test_upstream_logs_under_the_peer_s_epsilon(name: str) -> None:
    scores, expected = score_table(upstream(name), protocol="open-unlearning"), recorded_log(name)
    formula = expected["open_unlearning_formula"]
    assert scores["model_utility"].value == pytest.approx(formula["model_utility"], abs=1e-12)
    for split in SETS:
        assert scores[f"{split}_probability"].value == pytest.approx(formula[f"probability_{split}"], abs=1e-12)
        assert scores[f"{split}_truth_ratio"].value == pytest.approx(formula[f"truth_ratio_{split}"], abs=1e-12)


@pytest.mark.parametrize("model", PHI)
@pytest.mark.parametrize("reference", PHI)
def test_upstream_forget_quality(model: str, reference: str) -> None:
    scores = score_table(upstream(model), upstream(reference), "tofu")
    if model == reference:
        assert scores["forget_quality"].value == 1.0
        return
    paths = [f"/{PHI[name]}/" for name in ("full", "retain90")]
    pairs = recorded()["forget_quality_pairs"]
    pair = next(p for p in pairs if paths[0] in p["model_log"] and paths[1] in p["retain_log"])
    assert scores["forget_quality"].value == pytest.approx(pair["forget_quality_p"], rel=1e-12)
    assert scores["log10_forget_quality"].value == pytest.approx(pair["log10_p"], abs=1e-12)
    assert scores["forget_quality"].n == pair["n"]


@pytest.mark.parametrize("name", ["full", "retain90"])
def test_original_evaluator_s_aggregates(name: str) -> None:
    expected = json.loads((GOLDEN / "tofu_original" / name / "aggregate.json").read_text())
    scores = score_table(original(name), original("retain90"), "tofu")
    utility = expected["model_utility"]
    assert scores["model_utility"].value == pytest.approx(utility["Model Utility"], abs=1e-12)
    assert scores["forget_quality"].value == pytest.approx(expected["forget_quality"]["Forget Quality"], rel=1e-12)
    titles = {"forget": "Forget", "retain": "Retain", "real_authors": "Real Authors", "world_facts": "Real World"}
    for split, title in titles.items():
        for ours, theirs in (("probability", "Probability"), ("rouge", "ROUGE"), ("truth_ratio", "Truth Ratio")):
            assert scores[f"{split}_{ours}"].value == pytest.approx(utility[f"{title} {theirs}"], abs=1e-12)


@pytest.mark.parametrize(("name", "reference"), [("full", "retain90"), ("retain90", None)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    {
        "forget_probability": "forget_Q_A_Prob",
        "forget_rouge": "forget_Q_A_ROUGE",
        "forget_truth_ratio": "forget_truth_ratio",
        "retain_probability": "retain_Q_A_Prob",
        "retain_rouge": "retain_Q_A_ROUGE",
        "retain_truth_ratio": "retain_Truth_Ratio",
        "real_authors_probability": "ra_Q_A_Prob_normalised",
        "real_authors_rouge": "ra_Q_A_ROUGE",
        "real_authors_truth_ratio": "ra_Truth_Ratio",
        "world_facts_probability": "wf_Q_A_Prob_normalised",
        "world_facts_rouge": "wf_Q_A_ROUGE",
        "world_facts_truth_ratio": "wf_Truth_Ratio",
        "model_utility": "model_utility",
        "forget_quality": "forget_quality",
    }.items(),
)
def test_peer_s_log_gives_the_peer_s_aggregates(name: str, reference: str | None, ours: str, theirs: str) -> None:
    score = peer_scores(name, reference)[ours]
    stored = json.loads((GOLDEN / "ou_eval" / f"{name}_TOFU_EVAL.json").read_text()).get(theirs, {}).get("agg_value")
    if stored is None:
        assert score.value is None
        assert "--reference" in (score.reason or "")
    else:  # the peer takes exp of its losses in float32 before it averages
        assert score.value == pytest.approx(stored, rel=1e-8)


def test_a_log_of_other_rows_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="400 scored rows, this table 300"):
        score_table(original("full"), peer("retain90"), "unlearnkit")
    with pytest.raises(UserError, match="300 scored rows, this table 400"):
        score_table(peer("full"), upstream("retain90"), "unlearnkit")


def test_logs_of_three_tools_are_references_for_each_other_on_the_same_rows() -> None:
    ours = score_table(original("full"), original("retain90"), "tofu")["forget_quality"]
    mixed = score_table(peer("full"), original("retain90"), "tofu")["forget_quality"]
    assert mixed.n == ours.n == 300
    assert mixed.value == pytest.approx(ours.value, rel=1e-6)
    assert score_table(original("full"), upstream("retain90"), "tofu")["forget_quality"].value is not None
