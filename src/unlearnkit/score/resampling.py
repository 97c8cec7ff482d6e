"""95 % intervals: a seeded bootstrap over rows, vectorised, and a closed form for areas under a curve.

Rows are resampled as if they were independent. TOFU's come in twenties of one author, so true uncertainty is larger.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from unlearnkit.score.measured import Floats

DRAWS = 1000
LEVEL = 0.95
Interval = tuple[float, float]

# Resampled values held at once: keeps memory flat in the number of rows.
_AT_ONCE = 2**21


def resamples(rows: int, stream: str, at: slice) -> NDArray[np.int32]:
    """Rows drawn with replacement, the draws of one block; (draws, rows).

    The same for the same stream, so that columns of the same rows, and two models' tables, stay paired. Small matrices
    are kept, since every metric of a set asks for the same one.
    """
    if rows * DRAWS <= _AT_ONCE:
        return _whole(rows, stream)[at]
    rng = np.random.default_rng([zlib.crc32(stream.encode()), rows, at.start])
    return rng.integers(0, rows, size=(at.stop - at.start, rows), dtype=np.int32)


@lru_cache(maxsize=8)
def _whole(rows: int, stream: str) -> NDArray[np.int32]:
    rng = np.random.default_rng([zlib.crc32(stream.encode()), rows])
    return rng.integers(0, rows, size=(DRAWS, rows), dtype=np.int32)


def bootstrap_means(values: Floats, stream: str) -> Floats:
    """The mean of each resample; (rows,) -> (DRAWS,)."""
    rows = len(values)
    return np.concatenate([values[resamples(rows, stream, at)].mean(axis=1) for at in _blocks(rows)])


def percentile(draws: Floats) -> Interval | None:
    """The middle 95 % of the draws; None where a draw is no finite number."""
    if not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bca_mean(values: Floats, draws: Floats) -> Interval | None:
    """Bias-corrected and accelerated interval of a mean (Efron 1987), from the rows and the bootstrap's means.

    The acceleration is the jackknife's, which for a mean is Σ(x − x̄)³ / (6 (Σ(x − x̄)²)^1.5) up to its sign.
    """
    spread = values - values.mean()
    if not np.isfinite(draws).all() or not np.any(spread):
        return percentile(draws)
    below = (np.sum(draws < values.mean()) + np.sum(draws <= values.mean())) / 2
    bias = special.ndtri(np.clip(below / len(draws), 1 / len(draws), 1 - 1 / len(draws)))
    speed = np.sum(spread**3) / (6 * np.sum(spread**2) ** 1.5)
    edges = bias + special.ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    low, high = np.quantile(draws, special.ndtr(bias + edges / (1 - speed * edges)))
    return float(low), float(high)


def auc(low: Floats, high: Floats) -> float:
    """Probability that a value of `high` exceeds one of `low`, ties counted half; (n,), (m,).

    >>> auc(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    0.875
    """
    held = np.sort(low)
    wins = np.searchsorted(held, high, "left") + np.searchsorted(held, high, "right")
    return float(wins.sum()) / (2 * len(low) * len(high))


def auc_interval(area: float, n: int, m: int) -> Interval:
    """Interval of an area under the curve that stays honest at 0 and 1, where the bootstrap gives a point.

    The θ for which (area − θ)² = z² V(θ), V(θ) = θ(1 − θ)(1 + N(1 − θ)/(2 − θ) + Nθ/(1 + θ)) / nm, N = (n + m)/2 − 1:
    Newcombe 2006, method 5.

    >>> [round(edge, 3) for edge in auc_interval(1.0, 40, 40)]
    [0.95, 1.0]
    """
    quantile = float(special.ndtri((1 + LEVEL) / 2))
    extra = (n + m) / 2 - 1

    def gap(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (n * m)
        return abs(area - theta) - quantile * math.sqrt(max(variance, 0.0))

    inside = 1e-12  # at 0 and 1 themselves both sides of the equation are zero
    low = 0.0 if area <= inside else optimize.brentq(gap, 0.0, min(area, 1 - inside))
    high = 1.0 if area >= 1 - inside else optimize.brentq(gap, max(area, inside), 1.0)
    return float(low), float(high)


def bootstrap_auc(low: Floats, high: Floats, streams: tuple[str, str]) -> Floats:
    """The area of each resample of both sets; (n,), (m,) -> (DRAWS,)."""
    pooled, place = np.unique(np.concatenate([low, high]), return_inverse=True)
    n, m, width = len(low), len(high), len(pooled)
    found = []
    for at in _blocks(n + m):
        lows = _counts(place[:n], resamples(n, streams[0], at), width)
        highs = _counts(place[n:], resamples(m, streams[1], at), width)
        found.append(_area(lows, highs))
    return np.concatenate(found) / (n * m)


def bootstrap_distance(first: Floats, second: Floats, stream: str) -> Floats:
    """Largest distance of the two distribution functions in each resample of the rows; (n,), (n,) -> (DRAWS,).

    Both samples are of the same rows, which are drawn together.
    """
    pooled, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    n, width = len(first), len(pooled)
    found = []
    for at in _blocks(2 * n):
        drawn = resamples(n, stream, at)
        gaps = _counts(place[:n], drawn, width) - _counts(place[n:], drawn, width)
        found.append(np.abs(np.cumsum(gaps, axis=1)).max(axis=1) / n)
    return np.concatenate(found)


def _area(lows: NDArray[np.int64], highs: NDArray[np.int64]) -> Floats:
    below = np.cumsum(lows, axis=1) - lows / 2
    area: Floats = np.sum(highs * below, axis=1)
    return area


def _counts(place: NDArray[np.int64], drawn: NDArray[np.int32], values: int) -> NDArray[np.int64]:
    """How often each distinct value is drawn in each resample; (values,), (draws, rows) -> (draws, values)."""
    offset = np.arange(len(drawn), dtype=np.int64)[:, None] * values
    flat = (place[drawn] + offset).ravel()
    return np.bincount(flat, minlength=len(drawn) * values).reshape(len(drawn), values)


def _blocks(width: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // width)
    for at in range(0, DRAWS, step):
        yield slice(at, min(DRAWS, at + step))
