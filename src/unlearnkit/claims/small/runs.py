"""Many unlearning runs on TOFU itself for one claim: find or train the models, run the cells, hand back their ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from unlearnkit.claims.base import Request
from unlearnkit.claims.mini.cells import quiet
from unlearnkit.claims.mini.runs import Runs
from unlearnkit.claims.small.cells import Stage, models_cell, stage, unlearning_cell
from unlearnkit.claims.small.models import given_splits, train
from unlearnkit.errors import UserError

SCORED = 0.1  # model utility of the target below which there is nothing of it to lose
Entries = Sequence[Mapping[str, Any]]


class OnTofu(NamedTuple):
    """What came of it.

    before   the scores of both models by split, before anything is unlearned: {"target": {...}, "retain": {...}}
    utility  the metric that stands for what should be kept: "model_utility", or "retain_probability" where the target
             model has next to no model utility, as one that was trained on TOFU alone: it knows no real authors
    """

    runs: Runs
    before: Mapping[str, Mapping[str, Mapping[str, Any]]]
    utility: str


def unlearned_tofu(request: Request, splits: Sequence[str], objectives: Sequence[str]) -> OnTofu:
    """Every objective with every seed on those of the splits that there are models for; with `quick` on the largest."""
    stages = {str(one.spec["split"]): one for one in _stages(request, splits)}
    scores = request.sweep([models_cell(one) for one in stages.values()], "measuring the models")
    before = dict(zip(stages, scores, strict=True))
    asked = list(product(stages, request.seeds, objectives))
    cells = [unlearning_cell(stages[split], objective, seed) for split, seed, objective in asked]
    results = request.sweep(cells, "unlearning")
    utility = kept_metric([one["target"] for one in before.values()])
    ways = {key: _judged(result["trajectory"], utility) for key, result in zip(asked, results, strict=True)}
    return OnTofu(Runs(request.seeds, ways, {split: one.rows for split, one in stages.items()}), before, utility)


def kept_metric(targets: Sequence[Mapping[str, Any]]) -> str:
    """By what to judge what is kept, from the scores of the target model.

    >>> kept_metric([{"model_utility": 0.63}]), kept_metric([{"model_utility": 0.016}])
    ('model_utility', 'retain_probability')
    """
    return "model_utility" if min(scores["model_utility"] for scores in targets) >= SCORED else "retain_probability"


def _stages(request: Request, splits: Sequence[str]) -> list[Stage]:
    if request.data is None:
        raise UserError("TOFU itself is asked for, but no --data")
    quiet()
    models = request.models
    found = list(splits) if models is None else given_splits(models, splits)
    chosen = found[-1:] if request.quick else found
    if models is None:
        models = request.out / "models"
        train(models, request.data, chosen, request.progress)
    return [stage(split, request.data, models, request.out / "tables") for split in chosen]


def _judged(trajectory: Entries, utility: str) -> Entries:
    """The entries with the metric in the place where ways look for utility."""
    return [{**entry, "model_utility": entry[utility]} for entry in trajectory]
