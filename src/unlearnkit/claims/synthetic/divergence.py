"""How fast something grows: a straight line through values against time, or against its logarithm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Line(NamedTuple):
    """The least-squares line, and the share of the variance that it explains."""

    slope: float
    intercept: float
    r2: float


def straight_line(x: ArrayLike, y: ArrayLike) -> Line:
    """Fit y = slope·x + intercept; R² = 1 − Σ(y − fit)² / Σ(y − mean)².

    >>> line = straight_line([0, 1, 2], [1, 3, 5])
    >>> round(line.slope, 9), round(line.intercept, 9), round(line.r2, 9)
    (2.0, 1.0, 1.0)
    >>> round(straight_line([0, 1, 2, 3], [0, 1, 0, 1]).r2, 9)
    0.2
    """
    along, values = np.asarray(x, float), np.asarray(y, float)
    slope, intercept = np.polyfit(along, values, 1)
    rest = ((values - slope * along - intercept) ** 2).sum()
    return Line(float(slope), float(intercept), float(1 - rest / ((values - values.mean()) ** 2).sum()))


class Growth(NamedTuple):
    """The fits of one curve from some step on: against t, and against ln t."""

    linear: Line
    logarithmic: Line


def growth(steps: ArrayLike, values: ArrayLike, first: float) -> Growth:
    """Fit from step `first` on, where the start of a run no longer shows.

    >>> steps = np.arange(0.0, 1000.0, 10.0)
    >>> found = growth(steps, 3 * np.log(steps + (steps == 0)), 200)
    >>> round(found.logarithmic.slope, 6), found.logarithmic.r2 > found.linear.r2
    (3.0, True)
    """
    time, found = np.asarray(steps, float), np.asarray(values, float)
    late = time >= first
    return Growth(straight_line(time[late], found[late]), straight_line(np.log(time[late]), found[late]))
