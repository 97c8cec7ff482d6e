"""One cell of the experiment: a seed's data, the two fits, and every method's curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unlearnkit.claims.synthetic.descent import Curves, Descent
from unlearnkit.claims.synthetic.problem import Cloud, Problem, draw_problem
from unlearnkit.claims.synthetic.readout import LARGEST_GRADIENT, Fitted, fit
from unlearnkit.claims.synthetic.settings import PAPER, lengths_of, long_methods, methods

SURE = 0.9


def run_cell(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Of a seed with a gap: how many labels of each kind, the gradients the fits ended with, and the curves.

    `unsure` is the share of fresh forget points that the retrained model is not sure of; `curves` are those of the ten
    methods, `long` those of GA and NPO for 10,000 steps, see `Descent.run`.
    """
    gap, lengths = float(spec["gap"]), lengths_of(spec)
    problem = draw_problem(int(spec["seed"]), gap)
    fitted = fit(problem, lengths.fit)
    if lengths.fit >= PAPER.fit and max(fitted.gradients) > LARGEST_GRADIENT:
        raise RuntimeError(f"a fit ended with a gradient of {max(fitted.gradients):.3g}, above {LARGEST_GRADIENT}")
    curves = Descent(problem, fitted, methods(gap)).run(lengths.unlearn, lengths.unlearn_every)
    long: Curves = {}
    if gap:
        long = Descent(problem, fitted, long_methods()).run(lengths.long, lengths.long_every)
    return {
        "labels": {"retain": _counts(problem.retain), "forget": _counts(problem.forget)},
        "gradients": list(fitted.gradients),
        "unsure": _unsure(problem, fitted),
        "norms": [fitted.retrained.norm().item(), fitted.initial.norm().item()],
        "curves": curves,
        "long": long,
    }


def _unsure(problem: Problem, fitted: Fitted) -> float:
    """The share of the fresh forget points of which the retrained model is less than 90 % sure that their label is 0.

    Every unlearned model comes to give them label 0, so it can come no nearer than this share lets it.
    """
    return (torch.sigmoid(problem.seen_forget.features @ fitted.retrained) < SURE).double().mean().item()


def _counts(cloud: Cloud) -> list[int]:
    """How many rows have label 0, and how many label 1."""
    return [int((cloud.labels == label).sum()) for label in (0, 1)]
