"""How well two rankings agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Agreement(NamedTuple):
    """Spearman's ρ of two rankings, with its 95 % interval and the methods counted."""

    rho: float
    low: float
    high: float
    n: int

    def said(self) -> str:
        """In words."""
        return f"ρ = {self.rho:.2f} ({self.low:.2f} to {self.high:.2f}, {self.n} methods)"


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> Agreement:
    """Spearman's ρ, ties shared; interval by Fisher's z with the variance (1 + ρ²/2)/(n − 3) of Bonett and Wright 2000.

    >>> agreement([1, 2, 3, 4, 5], [10, 20, 30, 50, 40]).said()
    'ρ = 0.90 (-0.17 to 1.00, 5 methods)'
    """
    import math

    from scipy import stats

    ordered = len(set(ours)) > 1 and len(set(theirs)) > 1
    rho = float(stats.spearmanr(ours, theirs).statistic) if ordered else 0.0  # where all tie, nothing is ranked
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    half = 1.959964 * math.sqrt((1 + rho * rho / 2) / (len(ours) - 3))
    return Agreement(rho, math.tanh(z - half), math.tanh(z + half), len(ours))
