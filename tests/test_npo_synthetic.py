"""NPO's logistic-regression experiment: the draws, the gradients by hand, what the checks can refuse, golden medians."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unlearnkit.claims import npo_synthetic
from unlearnkit.claims.base import find_claim
from unlearnkit.claims.npo_synthetic import SEEDS
from unlearnkit.claims.reproduce import Options, reproduce
from unlearnkit.claims.synthetic import settings
from unlearnkit.claims.synthetic.agreement import agreement
from unlearnkit.claims.synthetic.descent import Descent, Method
from unlearnkit.claims.synthetic.findings import checks, grown
from unlearnkit.claims.synthetic.problem import Problem, draw_problem
from unlearnkit.claims.synthetic.readout import Fitted, divergence, fit
from unlearnkit.claims.synthetic.runs import Bundle, Experiment, bundle, reference
from unlearnkit.claims.synthetic.settings import BETAS, GAPS, PAPER, Lengths, beta_name, long_methods, methods
from unlearnkit.claims.synthetic.study import run_cell
from unlearnkit.cli.main import run

COUNTS = {
    1000: ([711, 289], [59, 141]),
    2000: ([705, 295], [49, 151]),
    3000: ([699, 301], [58, 142]),
    4000: ([722, 278], [63, 137]),
    5000: ([693, 307], [62, 138]),
}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return draw_problem(1000, 1.0)


@pytest.fixture(scope="module")
def fitted(problem: Problem) -> Fitted:
    return fit(problem, 200)


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_are_drawn_as_in_the_papers_code(seed: int) -> None:
    drawn = draw_problem(seed, 0.0)
    assert (drawn.retain.labels.bincount().tolist(), drawn.forget.labels.bincount().tolist()) == COUNTS[seed]


def test_the_gap_moves_the_clouds_and_nothing_else(problem: Problem) -> None:
    together = draw_problem(1000, 0.0)
    for apart, close in zip(problem, together, strict=True):
        if isinstance(apart, Tensor):
            assert torch.equal(apart, close)
        else:
            assert torch.equal(apart.labels, close.labels)
            assert not torch.allclose(apart.features, close.features)
    assert problem.retain.features.dtype == torch.float64


def test_a_fit_is_gradient_descent_on_the_cross_entropy(problem: Problem) -> None:
    rows = torch.cat([problem.retain.features, problem.forget.features])
    labels = torch.cat([problem.retain.labels, problem.forget.labels])
    found = fit(problem, 20)
    readouts = (found.retrained, found.initial)
    for part, readout, norm in zip((slice(0, 1000), slice(0, 1200)), readouts, found.gradients, strict=True):
        byhand = torch.zeros(128, dtype=torch.float64, requires_grad=True)
        for _ in range(20):
            logits = rows[part] @ byhand
            both = torch.stack([logits, torch.zeros_like(logits)], 1)
            (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(both, labels[part]), byhand)
            byhand = (byhand - 0.05 * slope).detach().requires_grad_()
        assert torch.allclose(byhand, readout, rtol=0, atol=1e-14)
        assert norm == pytest.approx(slope.norm().item())


def by_hand(method: Method, problem: Problem, start: Tensor, readout: Tensor) -> Tensor:
    """The gradient of a method's loss, from the formulas of the paper: s' = 1[y = 0] - σ(φ·a) is that of log p(y)."""

    def slope(features: Tensor, labels: Tensor, at: Tensor) -> Tensor:
        return (labels == 0).double() - torch.sigmoid(features @ at)

    def logp(labels: Tensor, at: Tensor) -> Tensor:
        return torch.sigmoid((1.0 - 2.0 * labels) * (problem.forget.features @ at)).log()

    def gain(labels: Tensor) -> Tensor:
        return logp(labels, readout) - logp(labels, start)

    (retained, kept), (forgotten, said), idk = problem.retain, problem.forget, problem.refusals
    beta = float(method.formula.partition("beta=")[2].partition(")")[0] or 0)
    answer, refusal = slope(forgotten, said, readout), slope(forgotten, idk, readout)
    first = {
        "GA": answer,
        "IDK": -refusal,
        "NPO": 2 * torch.sigmoid(beta * gain(said)) * answer,
        "DPO": -2 * torch.sigmoid(-beta * (gain(idk) - gain(said))) * (refusal - answer),
    }[method.name.split("+")[0].split(" ")[0]]
    second = {
        "RT": -slope(retained, kept, readout),
        "KL": torch.sigmoid(retained @ readout) - torch.sigmoid(retained @ start),
    }.get(method.name.partition("+")[2], torch.zeros(len(kept)).double())
    return forgotten.T @ first / len(said) + retained.T @ second / len(kept)


@pytest.mark.parametrize("chosen", [methods(1.0), methods(0.0), long_methods()], ids=["gap 1", "gap 0", "long"])
def test_gradients_are_those_of_the_papers_formulas(
    problem: Problem, fitted: Fitted, chosen: tuple[Method, ...]
) -> None:
    descent = Descent(problem, fitted, chosen)
    source = torch.Generator().manual_seed(0)
    for _ in range(2):  # where all start, and somewhere else for each
        found = descent.gradient()
        for number, method in enumerate(chosen):
            expected = by_hand(method, problem, fitted.initial, descent.readouts[number])
            assert torch.allclose(found[number], expected, rtol=0, atol=1e-13), method.name
        descent.readouts += 0.1 * torch.randn(descent.readouts.shape, generator=source, dtype=torch.float64)


def test_npo_begins_as_gradient_ascent_and_dpo_on_equal_labels_does_nothing(problem: Problem, fitted: Fitted) -> None:
    slopes = Descent(problem, fitted, long_methods()).gradient()
    assert torch.allclose(slopes, slopes[:1].expand_as(slopes), rtol=0, atol=1e-15)
    same = problem._replace(refusals=problem.forget.labels)
    assert Descent(same, fitted, [Method("DPO", "dpo(beta=0.1)", 1.0)]).gradient().abs().max() < 1e-15


def test_methods_side_by_side_go_the_ways_that_they_go_alone(problem: Problem, fitted: Fitted) -> None:
    together = Descent(problem, fitted, methods(1.0)).run(6, 3)
    assert together["steps"] == [0, 3]
    for method in methods(1.0):
        for name, values in Descent(problem, fitted, [method]).run(6, 3).items():
            assert values == pytest.approx(together[name], rel=1e-9, abs=1e-14)


def test_what_is_measured_first_is_the_model_before_unlearning(problem: Problem, fitted: Fitted) -> None:
    curves = Descent(problem, fitted, methods(1.0)).run(1, 1)
    start, goal = problem.seen_forget.features @ fitted.initial, problem.seen_forget.features @ fitted.retrained
    p, q = torch.sigmoid(goal), torch.sigmoid(start)
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item()
    assert divergence(goal, start).item() == pytest.approx(expected)
    for method in methods(1.0):
        assert curves[f"{method.name}/forget_distance"] == pytest.approx([expected])
        assert curves[f"{method.name}/forget_kl"] == pytest.approx([0.0], abs=1e-15)
        assert curves[f"{method.name}/readout_shift"] == [0.0]


# -- what the checks can refuse ---------------------------------------------------------------------------------------


def experiment(ga: str = "linear", npo: str = "logarithmic", worst: str = "GA") -> Experiment:
    """Two seeds of made-up curves that grow as said; `worst` is the method that ends far from the retrained model."""
    steps = np.arange(0.0, 10_000.0, 50.0)
    shapes = {"linear": steps / 100, "logarithmic": np.log1p(steps / 100)}
    long = {"GA/forget_kl": shapes[ga]} | {
        f"{beta_name(beta)}/forget_kl": shapes[npo] * (0.95 * shapes[ga][20] / shapes[npo][20]) * (0.01 / beta) ** 0.1
        for beta in BETAS
    }
    ends = {method.name: 0.5 for method in methods(1.0)} | {"NPO+RT": 0.1, worst: 0.9}
    near = {
        f"{name}/{q}": np.full(2, value) for name, value in ends.items() for q in ("forget_distance", "retain_distance")
    }
    short = bundle([{"steps": [0, 25], **near}] * 2)
    both = Bundle(steps, {name: np.stack([values, values]) for name, values in long.items()})
    return Experiment((1, 2), dict.fromkeys(GAPS, short), both, {}, {})


def refused(made: Experiment) -> list[str]:
    return [check.what for check in checks(made, grown(made.long, 2000), None) if not check.held]


def test_curves_as_the_claim_has_them_pass() -> None:
    assert refused(experiment()) == []


def test_curves_of_another_kind_do_not() -> None:
    assert "GA's forget KL grows linearly" in refused(experiment(ga="logarithmic"))
    assert any("logarithmically" in what for what in refused(experiment(npo="linear")))
    assert sum("NPO+RT ends nearest" in what for what in refused(experiment(worst="NPO+RT"))) == 2


def test_the_comparison_with_the_papers_code_sees_a_change_of_a_tenth_of_a_percent(problem: Problem) -> None:
    """The reference's own means, given back as one seed's values, agree; one of them changed does not."""
    kept = reference()

    def given(change: float) -> Experiment:
        gaps = {}
        for gap, named in kept["methods"].items():
            flat = {f"{m}/{q}": v for m, quantities in named.items() for q, v in quantities.items()}
            gaps[float(gap)] = sparse(
                {name: {int(t): v[0] for t, v in values.items()} for name, values in flat.items()}
            )
        flat = {f"{m}/{q}": v for m, quantities in kept["long"].items() for q, v in quantities.items()}
        long = sparse({name: {int(t): v for t, v in values.items()} for name, values in flat.items()})
        gaps[0.0].curves["NPO+RT/forget_kl"][:, -1] *= 1 + change
        return Experiment(SEEDS, gaps, long, kept["labels"], {})

    assert agreement(given(0.0), kept).worst == 0
    changed = agreement(given(1e-3), kept)
    assert changed.worst > 1e-4
    assert changed.worst_name == "gap 0, NPO+RT/forget_kl at step 1975"
    assert (
        agreement(given(0.0)._replace(labels={**kept["labels"], "1000": {"retain": [699, 301]}}), kept).labels is False
    )


def sparse(named: dict[str, dict[int, float]]) -> Bundle:
    steps = sorted({step for values in named.values() for step in values})
    return Bundle(
        np.array(steps, float),
        {name: np.array([[values.get(step, 0.0) for step in steps]]) for name, values in named.items()},
    )


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_run_that_is_far_too_short_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "QUICK", Lengths(fit=300, unlearn=30, unlearn_every=25, long=1100, long_every=50))
    monkeypatch.setattr(npo_synthetic, "FIRST", 500)
    assert run(["reproduce", "npo-synthetic", "--quick", "--workers", "1", "--out", str(tmp_path)]) == 1
    said = json.loads((tmp_path / "claim.json").read_text())
    assert not said["held"]
    assert said["numbers"]["labels"] == {"1000": {"retain": [711, 289], "forget": [59, 141]}}
    assert said["numbers"]["agreement"] is None
    page = (tmp_path / "page.md").read_text()
    for picture in said["pictures"]:
        assert (tmp_path / picture).stat().st_size > 10_000
        assert f"]({picture})" in page
    assert "NPO tends to GA" in capsys.readouterr().out


def test_a_fit_that_did_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "unlearnkit.claims.synthetic.study.fit", lambda problem, steps: Fitted(*[torch.zeros(1)] * 2, (1, 0))
    )
    with pytest.raises(RuntimeError, match=r"above 0\.01"):
        run_cell({"seed": 1, "gap": 0.0, "lengths": asdict(PAPER)})


# medians over the five seeds at step 1975 of forget and retain distance; the means of the same curves are those of the
# paper's code to seven digits
GOLDEN = (
    ("gap=1", "GA", 0.045776, 1.3149),
    ("gap=1", "GA+KL", 0.043318, 0.22644),
    ("gap=1", "GA+RT", 0.044526, 0.2338),
    ("gap=1", "IDK+RT", 0.87485, 0.017872),
    ("gap=1", "NPO", 0.003377, 0.15827),
    ("gap=1", "NPO+KL", 0.0033963, 0.016801),
    ("gap=1", "NPO+RT", 0.0030606, 0.015816),
    ("gap=1", "DPO", 0.022859, 1.2037),
    ("gap=1", "DPO+KL", 0.011299, 0.029042),
    ("gap=1", "DPO+RT", 0.01082, 0.028228),
    ("gap=0", "GA", 0.18403, 0.19244),
    ("gap=0", "GA+KL", 0.097013, 0.10378),
    ("gap=0", "GA+RT", 0.13388, 0.14137),
    ("gap=0", "IDK+RT", 0.067243, 0.066378),
    ("gap=0", "NPO", 0.03302, 0.033363),
    ("gap=0", "NPO+KL", 0.026961, 0.028462),
    ("gap=0", "NPO+RT", 0.01523, 0.013921),
    ("gap=0", "DPO", 0.06895, 0.071561),
    ("gap=0", "DPO+KL", 0.037358, 0.037394),
    ("gap=0", "DPO+RT", 0.024495, 0.025382),
)


@pytest.mark.slow
def test_golden_medians_of_the_five_seeds(tmp_path: Path) -> None:
    """The whole experiment, about two minutes of processor time."""
    said = reproduce(find_claim("npo-synthetic"), tmp_path, Options())
    assert said["held"], [check for check in said["checks"] if not check["held"]]
    growth = said["numbers"]["divergence"]
    assert growth["GA"]["r2_linear"] > 0.999
    assert growth["GA"]["slope_per_1000_steps"] == pytest.approx(21.53, abs=0.01)
    slopes = [growth[beta_name(beta)]["slope_per_ln_step"] for beta in BETAS]
    assert slopes == pytest.approx([56.1, 9.05, 4.68, 2.01, 1.19], rel=5e-3)
    last = said["numbers"]["last_step"]
    for gap, method, forget, retain in GOLDEN:
        found = last[gap][method]
        assert found["forget_distance"]["median"] == pytest.approx(forget, rel=1e-3), (gap, method)
        assert found["retain_distance"]["median"] == pytest.approx(retain, rel=1e-3), (gap, method)
    low = said["numbers"]["least_forget_distance"]
    assert {seed for seed, value in low.items() if value > 0.1} == {"2000"}
    assert low["2000"] == pytest.approx(0.1992, abs=1e-4)
