"""How near the numbers come to those of the paper's own code, and which seed is unlike the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unlearnkit.claims.synthetic.runs import Bundle, Experiment, Floats

MEANS_WITHIN = 1e-4  # relative; the draws are the same, so only the order of sums is left to differ
FLOOR = 1e-6  # nats; below it values are differences of rounding
OUTLIER = 0.1  # nats that a seed's forget distance stays above, whatever the method


class Agreement(NamedTuple):
    """compared  how many means were compared
    worst        the largest relative difference of a mean, and which it was
    medians      how many medians were compared, and how many lie within one standard deviation of the reference's mean
    labels       whether every seed has the reference's label counts
    """

    compared: int
    worst: float
    worst_name: str
    medians: int
    medians_within: int
    labels: bool


def agreement(experiment: Experiment, reference: Mapping[str, Any]) -> Agreement:
    """Compare every number that the reference holds; the seeds must be the reference's."""
    differences: dict[str, float] = {}
    medians: list[bool] = []
    for gap, methods in reference["methods"].items():
        for name, step, (mean, spread) in _entries(methods):
            values = experiment.gaps[float(gap)].at(name, step)
            differences[f"gap {gap}, {name} at step {step}"] = _apart(values.mean(), mean)
            medians.append(bool(abs(np.median(values) - mean) <= spread * (1 + MEANS_WITHIN) + FLOOR))
    for name, step, mean in _entries(reference["long"]):
        differences[f"{name} at step {step} of the long runs"] = _apart(experiment.long.at(name, step).mean(), mean)
    worst = max(differences, key=lambda name: differences[name])
    same = all(experiment.labels[seed] == counts for seed, counts in reference["labels"].items())
    return Agreement(len(differences), differences[worst], worst, len(medians), sum(medians), same)


def _entries(methods: Mapping[str, Any]) -> list[tuple[str, int, Any]]:
    return [
        (f"{method}/{quantity}", int(step), value)
        for method, quantities in methods.items()
        for quantity, values in quantities.items()
        for step, value in values.items()
    ]


def _apart(found: float, expected: float) -> float:
    return float(max(0.0, abs(found - expected) - FLOOR) / max(abs(expected), FLOOR))


def nearest(bundle: Bundle, methods: Sequence[str]) -> Floats:
    """The least forget distance that each seed reaches with any of the methods; (seeds,)."""
    least: Floats = np.min([bundle[f"{method}/forget_distance"].min(1) for method in methods], axis=0)
    return least
