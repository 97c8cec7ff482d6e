"""Which metrics deserve trust: does a metric tell models with the knowledge from models without it, and for how long?

The meta-evaluation of OpenUnlearning (arXiv:2506.12618), with the symmetric forms of arXiv:2605.24614. A metric enters
as plain numbers, one a model, turned so that more of it means more knowledge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unlearnkit.errors import UserError
from unlearnkit.score.resampling import Interval, auc, auc_interval


class Faithfulness(NamedTuple):
    """How well a metric tells the two sets of models apart, with its 95 % interval and the models counted."""

    value: float
    interval: Interval
    knowing: int
    ignorant: int


def faithfulness(knowing: Sequence[float], ignorant: Sequence[float]) -> Faithfulness:
    """AUC = P(metric of a model with the knowledge > of one without), ties counted half; 0.5 is chance.

    knowing, ignorant  the metric of each model, turned so that more means more knowledge

    >>> faithfulness([0.9, 0.8, 0.4], [0.5, 0.1]).value
    0.8333333333333334
    """
    if not knowing or not ignorant:
        raise UserError("faithfulness needs at least one model with the knowledge and one without it")
    area = auc(np.asarray(ignorant, dtype=np.float64), np.asarray(knowing, dtype=np.float64))
    return Faithfulness(area, auc_interval(area, len(ignorant), len(knowing)), len(knowing), len(ignorant))


def alike(one: float, other: float) -> float:
    """1 − |a − b| / (|a| + |b|): 1 for equal values, 0 where one is nothing beside the other or of the other sign.

    >>> alike(0.2, 0.6), alike(0.0, 0.0), alike(0.1, -0.1)
    (0.5, 1.0, 0.0)
    """
    size = abs(one) + abs(other)
    return 1.0 if size == 0 else 1 - abs(one - other) / size


def relearning(unlearned: tuple[float, float], retain: tuple[float, float]) -> float:
    """How alike an unlearned model and the retain model gain in a metric when both see the forget set once more.

    unlearned, retain  the metric before and after that epoch

    An honest metric says that both learn the rows anew. One that was fooled leaps back for the unlearned model alone.

    >>> relearning((0.1, 0.5), (0.1, 0.3)) == alike(0.5 - 0.1, 0.3 - 0.1)
    True
    """
    return alike(unlearned[1] - unlearned[0], retain[1] - retain[0])


def quantisation(before: float, after: float) -> float:
    """How alike a metric is before and after the weights were rounded: rounding teaches a model nothing."""
    return alike(before, after)


def robustness(relearned: float, quantised: float) -> float:
    """Harmonic mean of the two; 0 where one of them is.

    >>> robustness(0.5, 1.0)
    0.6666666666666666
    """
    return 0.0 if min(relearned, quantised) <= 0 else 2 / (1 / relearned + 1 / quantised)
