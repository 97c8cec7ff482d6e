"""Could the model be told from one that never saw the forget set?"""

from __future__ import annotations

import math

from scipy import stats

from unlearnkit.score.measured import Floats, Missing
from unlearnkit.score.metric import Case, Metric, Score
from unlearnkit.score.metrics.truth_ratio import log_ratios

# Below this a float64 p-value may be rounded to zero, and its logarithm is counted instead.
TINY = 1e-290


class ForgetQuality(Metric):
    """p-value of the two-sample Kolmogorov-Smirnov test between the truth ratios R_i of the model and the retain model.

    Two-sided and exact. 1: the two samples cannot be told apart; above 0.05 is what the NPO paper calls meaningful
    forgetting. Only the rows that have perturbed answers count. It is a p-value: it depends on the number of rows (the
    smallest possible one is 2 / C(2n, n)), and two retain models that differ only in their seed reach 0.87 to 1.

    >>> import numpy as np
    >>> round(log10_p(np.arange(40.0), np.arange(40.0) + 16), 4)
    -2.5203
    """

    direction = "higher is better (1: not to be told from the retain model)"
    blind = (
        "Rows: only the distribution is compared. A model that leaks can pass, and one that forgot some other way fail."
    )
    paper = "arXiv:2401.06121, section 2.2"
    name = "forget_quality"

    def score(self, case: Case) -> Score:
        """The p-value; n is the number of forget rows with perturbed answers."""
        mine, theirs = samples(case)
        return Score(ks_p(mine, theirs), len(mine), None, self.direction)


class Log10ForgetQuality(ForgetQuality):
    """log10 of forget quality, which does not underflow however many rows there are."""

    direction = "higher is better (0: not to be told from the retain model)"
    name = "log10_forget_quality"

    def score(self, case: Case) -> Score:
        """log10 p, counted where p itself is too small for a float."""
        mine, theirs = samples(case)
        return Score(log10_p(mine, theirs), len(mine), None, self.direction)


def samples(case: Case) -> tuple[Floats, Floats]:
    """log R of the model and of the retain model, on the same rows. The test does not care for the logarithm."""
    reference = case.retain_model()
    mine = log_ratios(case.model, "forget")
    try:
        theirs = log_ratios(reference, "forget")
    except Missing as lack:
        raise Missing(f"in the retain model's table: {lack}") from None
    case.same_rows("forget", mine.indices, reference, theirs.indices)
    return mine.values, theirs.values


def ks_p(first: Floats, second: Floats) -> float:
    """Exact two-sided p of the two-sample test; (n,), (m,) -> a probability."""
    return float(stats.ks_2samp(first, second, method="exact").pvalue)


def log10_p(first: Floats, second: Floats) -> float:
    """log10 of `ks_p` for samples of one size n, also where p is below the smallest float.

    With k = n·D an integer, p = 2 Σ_{j≥1} (−1)^{j−1} C(2n, n − jk) / C(2n, n); where p is that small its first term
    is all of it.
    """
    p = ks_p(first, second)
    if p > TINY or len(first) != len(second):
        return math.log10(p) if p > 0 else -math.inf
    n = len(first)
    k = round(n * float(stats.ks_2samp(first, second, method="asymp").statistic))
    return (math.log(2) + _log_choose(2 * n, n - k) - _log_choose(2 * n, n)) / math.log(10)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
