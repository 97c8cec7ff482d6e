"""Claims on the embedded world, with made-up results in place of the runs: each must be able to hold and to fail."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from unlearnkit.claims import base
from unlearnkit.claims.base import find_claim
from unlearnkit.claims.metric_trust import EARNED, SIGNS
from unlearnkit.claims.mini.cells import MiniWorld, unlearning_cell
from unlearnkit.claims.mini_ranking import EPOCHS
from unlearnkit.claims.ranking.published import METHODS as RANKED
from unlearnkit.claims.reproduce import Options, reproduce
from unlearnkit.run.settings import Settings
from unlearnkit.sweep import Cell

Results = Callable[[Cell], Any]


@pytest.fixture
def run_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Results], dict[str, Any]]:
    """Run a claim, quick if not told otherwise, with results that a function of the cell makes up."""

    def run(name: str, results: Results, quick: bool = True) -> dict[str, Any]:
        def made_up(cells: Sequence[Cell], folder: Path, **given: Any) -> list[Any]:
            return [json.loads(json.dumps(results(cell))) for cell in cells]

        monkeypatch.setattr(base, "sweep", made_up)
        said = reproduce(find_claim(name), tmp_path / "out", Options(quick=quick), None)
        for picture in said["pictures"]:
            assert (tmp_path / "out" / picture).stat().st_size > 5_000
        assert said["verdict"] in (tmp_path / "out" / "page.md").read_text(encoding="utf-8")
        return said

    return run


def trajectory(qualities: Sequence[float], utilities: Sequence[float], **more: Any) -> dict[str, Any]:
    entries = [
        {
            "epoch": epoch,
            "forget_quality": quality,
            "log10_forget_quality": math.log10(quality),
            "model_utility": utility,
            "utility": min(1.0, utility / 0.9),
            "forget_nll": 1.0 + epoch,
            "overall": 0.5,
            **more,
        }
        for epoch, (quality, utility) in enumerate(zip(qualities, utilities, strict=True))
    ]
    return {"trajectory": entries, "log": [], "peer": entries[-1]}


@pytest.mark.parametrize("utility", [0.4, 0.88])
def test_baselines_hold_only_where_none_has_both(run_with: Any, utility: float) -> None:
    said = run_with("tofu-baselines", lambda cell: trajectory([1e-9, 1e-3, 0.3], [0.9, 0.8, utility]))
    assert said["held"] is (utility < 0.81)
    assert len(said["checks"]) == 4


@pytest.mark.parametrize("leader", ["npo", "ga"])
@pytest.mark.parametrize("quick", [True, False])
def test_npo_must_lead_and_tend_to_ga(run_with: Any, leader: str, quick: bool) -> None:
    def results(cell: Cell) -> Any:
        formula = str(cell.spec.get("objective", ""))
        found = trajectory([1e-9, 0.5 if formula.startswith(leader) else 1e-4], [0.9, 0.85])
        beta = formula.removeprefix("npo(beta=").split(")")[0] if formula.startswith("npo") else "0"
        found["trajectory"][-1]["forget_nll"] = 100.0 - 50 * float(beta)
        return found

    said = run_with("npo-tofu", results, quick=quick)
    leads, weight_matters = leader == "npo", False  # in the whole version it leads on two more splits
    expected = [leads, True] if quick else [leads, leads, leads, True, weight_matters]
    assert [check["held"] for check in said["checks"]] == expected
    assert said["numbers"]["toward_ga"]["0.1"] == pytest.approx(0.05)


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("quick", [True, False])
def test_collapse_tells_straight_lines_from_logarithms(run_with: Any, slow: bool, quick: bool) -> None:
    def results(cell: Cell) -> Any:
        beta, steps = cell.spec.get("beta"), range(int(cell.spec.get("steps", 0)))
        curve = [0.1 * t if beta is None or not slow else math.log(1 + t) / beta for t in steps]
        return {"nll": curve, "kl": curve}

    said = run_with("collapse-speed", results, quick=quick)
    assert said["held"] is slow
    for descent in ["gradient descent"] if quick else ["gradient descent", "AdamW"]:
        assert said["numbers"][descent]["fits"]["kl"]["GA"]["slope_t"] == pytest.approx(0.1)


def test_collapse_goes_as_far_as_the_world_that_diverges_first(run_with: Any, tmp_path: Path) -> None:
    def results(cell: Cell) -> Any:
        beta, steps = cell.spec.get("beta"), int(cell.spec.get("steps", 0))
        last = 40 + cell.spec["world"] if beta is None and cell.spec.get("optimizer") == "sgd" else steps
        curve = [math.exp(0.1 * t) if beta is None else math.log(1 + t) / beta for t in range(last)]
        return {"nll": curve, "kl": curve}

    said = run_with("collapse-speed", results, quick=False)
    assert said["held"]
    assert said["numbers"]["gradient descent"]["last"]["nll"]["GA"]["step"] == 39
    assert "GA diverged: after 40 of 80 steps" in (tmp_path / "out/page.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("turned", [False, True])
def test_ranking_is_compared_with_the_published_one(run_with: Any, turned: bool) -> None:
    published = {formula: method.overall for method in RANKED.values() for formula in method.formulas}

    def results(cell: Cell) -> Any:
        overall = published.get(str(cell.spec.get("objective")), 0.3)
        return trajectory([1e-9, 0.1], [0.9, 0.9], overall=1 - overall if turned else overall)

    said = run_with("mini-ranking", results)
    for which in ("best", "last"):
        assert said["numbers"][which]["rho"] == pytest.approx(-1 if turned else 1)
    assert said["held"] is not turned


def test_the_configuration_with_the_best_median_of_the_worlds_is_picked(run_with: Any) -> None:
    """The one that is best in the first world is not: it must not be picked for that."""

    def results(cell: Cell) -> Any:
        first, favoured = cell.spec["world"] == 0, "5*" in str(cell.spec.get("objective"))
        return trajectory([1e-9, 0.1], [0.9, 0.9], overall=0.6 if favoured == first else 0.2)

    npo = run_with("mini-ranking", results, quick=False)["numbers"]["scores"]["NPO"]["best"]
    assert "5*" not in npo["formula"]
    assert npo["worlds"] == [0.2, 0.6, 0.6]
    assert npo["score"] == 0.6


def test_the_example_runs_a_formula_as_the_ranking_does(tmp_path: Path) -> None:
    log, stand_in = tmp_path / "log", tmp_path / "unlearnkit"
    stand_in.write_text(
        f"#!/bin/bash\nprintf '%q ' \"$@\" >> '{log}'; echo >> '{log}'; for out; do :; done; mkdir -p \"$out\"\n"
        """printf '{\\n "overall": {\\n  "value": 0.5,\\n' > "$out/scores.json"\n"""
    )
    stand_in.chmod(0o700)
    script = Path(__file__).parents[1] / "examples/rank_method.sh"
    formula, out = "npo(beta=0.45) + rt", str(tmp_path / "out")
    environment = os.environ | {"UNLEARNKIT": str(stand_in)}
    done = subprocess.run([script, formula, out, "2e-4", "1"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "overall 0.5\n", "")
    calls = [shlex.split(line) for line in log.read_text().splitlines()]
    assert [call[0] for call in calls] == ["eval", "eval", "unlearn", "eval"]
    asked = dict(zip(calls[2][1:], calls[2][2:], strict=False))
    where = MiniWorld("forget10", 1, holdout=True)
    wanted = unlearning_cell(where, formula, {"lr": 2e-4, "epochs": EPOCHS}).spec
    assert (asked["--model"], asked["--task"], asked["--objective"]) == (where.target, where.task().name, formula)
    usual = Settings()  # what the command line takes where nothing is said
    for name, value in wanted["settings"].items():
        given = asked.get(f"--{name.replace('_', '-')}", getattr(usual, name))
        assert type(value)(given) == value, name
    assert where.retain in calls[0]
    assert all(
        call[call.index("--max-new-tokens") + 1] == str(where.max_new_tokens) for call in calls if "eval" in call
    )


def looked(knows: bool, verdict: str) -> dict[str, Any]:
    return {"scores": {name: sign * (1.0 if knows else 0.2) for name, sign in SIGNS.items()}, "verdict": verdict}


def pools(cell: Cell) -> Any:
    """A world in which every metric and every verdict is right."""
    spec: Mapping[str, Any] = cell.spec
    if cell.function.endswith("run_trained"):
        return looked(spec["part"] == "full", "untouched" if spec["part"] == "full" else "forgotten")
    stages = ("unlearned", "int8", "int4")
    if cell.function.endswith("run_retain"):
        return {stage: looked(False, "forgotten") for stage in stages} | {"relearned": looked(True, "untouched")}
    if "then" in spec and not spec["then"]:
        earned = [
            label
            for label, (formula, settings) in EARNED.items()
            if spec["objective"] == formula and {**spec["settings"], **settings} == dict(spec["settings"])
        ]
        return {"unlearned": looked(True, earned[-1] if earned else "partly forgotten")}
    return {stage: looked(False, "forgotten") for stage in stages} | {"relearned": looked(True, "partly forgotten")}


def test_a_right_verdict_and_faithful_metrics_are_trusted(run_with: Any) -> None:
    said = run_with("metric-trust", pools)
    assert said["held"], said["checks"]
    assert said["numbers"]["extraction_strength"] == {
        "value": 1.0,
        "interval": said["numbers"]["extraction_strength"]["interval"],
        "knowing": 2,
        "ignorant": 2,
        "relearn": 1.0,
        "int8": 1.0,
        "int4": 1.0,
        "robustness": 1.0,
    }


@pytest.mark.parametrize(
    ("function", "part", "label", "failing"),
    [("run_trained", "full", "forgotten", 1), ("run_trained", "retain90", "partly forgotten", 2)],
)
def test_a_wrong_verdict_is_not(run_with: Any, function: str, part: str, label: str, failing: int) -> None:
    def results(cell: Cell) -> Any:
        found = pools(cell)
        if cell.function.endswith(function) and cell.spec["part"] == part:
            found["verdict"] = label
        return found

    said = run_with("metric-trust", results)
    assert not said["held"]
    assert said["checks"][0]["held"]
    assert not said["checks"][failing]["held"]


@pytest.mark.slow
@pytest.mark.xdist_group("models of the embedded world")
def test_a_claim_that_really_runs_holds(tmp_path: Path) -> None:
    """The smallest of the quick claims: a minute of one core, and the world's models where the cache lacks them."""
    said = reproduce(find_claim("tofu-baselines"), tmp_path / "out", Options(quick=True), None)
    assert said["held"], said["checks"]
    ways = said["numbers"]["forget10"]
    assert ways["ga"][0]["quality"] < 1e-5, "the target model is told from the retain model"
    assert ways["ga"][-1]["utility"] < 0.1, "gradient ascent collapses"
    assert ways["idk + rt"][-1]["utility"] > 0.5
