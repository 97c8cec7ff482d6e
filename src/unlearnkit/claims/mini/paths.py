"""Trajectories on the embedded world in the two numbers that TOFU looks at, one run or the median of several worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

MEANINGFUL = 0.05  # forget quality above which NPO's paper speaks of meaningful forgetting
KEPT = 0.9  # share of the target model's utility that counts as kept


class Point(NamedTuple):
    """One measured epoch.

    quality  forget quality, a p-value
    log10    its logarithm to base 10
    utility  model utility as a share of the target model's
    """

    epoch: int
    quality: float
    log10: float
    utility: float

    @property
    def both_high(self) -> bool:
        """Meaningful forgetting with the utility kept."""
        return self.quality > MEANINGFUL and self.utility > KEPT


Path = Sequence[Point]


def path_of(trajectory: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of a run from epoch 0, the target model, on."""
    before = trajectory[0]["model_utility"]
    return [
        Point(entry["epoch"], entry["forget_quality"], entry["log10_forget_quality"], entry["model_utility"] / before)
        for entry in trajectory
    ]


def median_path(paths: Sequence[Path]) -> list[Point]:
    """Epoch by epoch the median over worlds of each number.

    >>> one, two = [Point(0, 0.1, -1.0, 1.0)], [Point(0, 0.001, -3.0, 0.5)]
    >>> median_path([one, two, two])
    [Point(epoch=0, quality=0.001, log10=-3.0, utility=0.5)]
    """
    return [
        Point(
            points[0].epoch,
            median(point.quality for point in points),
            median(point.log10 for point in points),
            median(point.utility for point in points),
        )
        for points in zip(*paths, strict=True)
    ]


def best(path: Path, kept: float = KEPT) -> Point:
    """The epoch with the highest forget quality among those that keep so much utility; the start always does.

    >>> best([Point(0, 1e-8, -8, 1.0), Point(1, 0.2, -0.7, 0.95), Point(2, 0.9, -0.05, 0.4)]).epoch
    1
    """
    return max((point for point in path if point.utility >= kept), key=lambda point: (point.log10, point.utility))


def said(point: Point) -> str:
    """Forget quality at a share of utility, in words.

    >>> said(Point(3, 0.0812, -1.09, 0.931))
    '0.081 at 93 % (epoch 3)'
    """
    return f"{point.quality:.2g} at {100 * point.utility:.0f} % (epoch {point.epoch})"
