"""Could the model be told from one that never saw the forget set?"""

from __future__ import annotations

import math
import warnings
from functools import cache

import numpy as np
from scipy import special, stats

from unlearnkit.score.measured import Floats, Measured, Missing
from unlearnkit.score.metric import Case, Metric, Value
from unlearnkit.score.metrics.truth_ratio import log_ratios
from unlearnkit.score.resampling import Interval, bootstrap_distance, percentile

# Below this a float64 p-value may be rounded to zero, and its logarithm is counted instead.
TINY = 1e-290


class ForgetQuality(Metric):
    """p-value of the two-sample Kolmogorov-Smirnov test between the truth ratios R_i of the model and the retain model.

    Two-sided and exact. 1: the two samples cannot be told apart; above 0.05 is what the NPO paper calls meaningful
    forgetting. Only the rows that have perturbed answers count. It is a p-value: it depends on the number of rows (the
    smallest possible one is 2 / C(2n, n)), and two retain models that differ only in their seed reach 0.87 to 1.

    The interval is of the p-value of other rows like these: rows are resampled, for both models together, and the
    distances of the resamples, which are larger on average, are shifted to have the mean of the distance itself.

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

    def value(self, case: Case) -> Value:
        """The p-value; n is the number of forget rows with perturbed answers."""
        mine, theirs = self.samples(case)
        return Value(ks_p(mine, theirs), len(mine))

    def interval(self, case: Case) -> Interval | None:
        """Of the p-value."""
        logs = self._logs(case)
        return None if logs is None else (10 ** logs[0], 10 ** logs[1])

    def samples(self, case: Case) -> tuple[Floats, Floats]:
        """log R of the model and of the retain model, on the same rows. The test does not care for the logarithm."""
        return samples(case, case.model, case.retain_model())

    def _logs(self, case: Case) -> Interval | None:
        mine, theirs = self.samples(case)
        distance = ks_distance(mine, theirs)
        draws = bootstrap_distance(mine, theirs, "forget")
        shifted = np.clip(draws - draws.mean() + distance, 0, 1)
        steps = np.rint(shifted * len(mine)).astype(int)
        return percentile(np.array([log10_tail(len(mine), int(step)) for step in steps]))


class Log10ForgetQuality(ForgetQuality):
    """log10 of forget quality, which does not underflow however many rows there are."""

    direction = "higher is better (0: not to be told from the retain model)"
    name = "log10_forget_quality"

    def value(self, case: Case) -> Value:
        """log10 p, counted where p itself is too small for a float."""
        mine, theirs = self.samples(case)
        return Value(log10_p(mine, theirs), len(mine))

    def interval(self, case: Case) -> Interval | None:
        """Of log10 p."""
        return self._logs(case)


class ForgetQualityFloor(ForgetQuality):
    """Forget quality of one retain model against another: what the metric gives where there is nothing to tell apart.

    Differences between methods that are smaller than the distance of this number from 1 mean nothing.
    """

    direction = "no direction: the noise floor of forget quality"
    blind = "More than two retain models; with a third the floor would be another number."
    name = "forget_quality_floor"

    def samples(self, case: Case) -> tuple[Floats, Floats]:
        """log R of the two retain models, on the rows that are scored here."""
        if "second_retain" not in case.others:
            raise Missing("only one retain model; give the table of another (--second-retain) for the noise floor")
        mine = log_ratios(case.model, "forget").indices
        second = case.others["second_retain"]
        case.same_rows("forget", mine, second, log_ratios(second, "forget").indices)
        return samples(case, second, case.retain_model())


def samples(case: Case, first: Measured, second: Measured) -> tuple[Floats, Floats]:
    """log R of two tables whose rows were found to be those of the model that is scored."""
    rows = log_ratios(case.model, "forget").indices
    found = []
    for measured in (first, second):
        try:
            logs = log_ratios(measured, "forget")
        except Missing as lack:
            raise Missing(f"in the retain model's table: {lack}") from None
        if measured is not case.model:
            case.same_rows("forget", rows, measured, logs.indices)
        found.append(logs.values)
    return found[0], found[1]


def ks_p(first: Floats, second: Floats) -> float:
    """Exact two-sided p of the two-sample test; (n,), (m,) -> a probability.

    Next to p = 1 scipy's sum may exceed 1 by rounding; it then warns and takes an asymptotic value, which we do not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stats.ks_2samp(first, second, method="exact").pvalue)
        except RuntimeWarning:
            if len(first) == len(second):
                return float(10 ** log10_tail(len(first), round(len(first) * ks_distance(first, second))))
    return float(stats.ks_2samp(first, second, method="asymp").pvalue)


def ks_distance(first: Floats, second: Floats) -> float:
    """D: the largest distance of the two empirical distribution functions."""
    return float(stats.ks_2samp(first, second, method="asymp").statistic)


def log10_p(first: Floats, second: Floats) -> float:
    """log10 of `ks_p` for samples of one size, also where p is below the smallest float."""
    p = ks_p(first, second)
    if p > TINY or len(first) != len(second):
        return math.log10(p) if p > 0 else -math.inf
    return log10_tail(len(first), round(len(first) * ks_distance(first, second)))


@cache
def log10_tail(n: int, k: int) -> float:
    """log10 P(n·D ≥ k) of two samples of n: p = 2 Σ_{j≥1} (−1)^{j−1} C(2n, n − jk) / C(2n, n), summed in log space.

    >>> round(10 ** log10_tail(40, 16), 6)
    0.003018
    """
    if k <= 0:
        return 0.0
    j = np.arange(1, n // k + 1)
    logs = 2 * special.gammaln(n + 1) - special.gammaln(n - j * k + 1) - special.gammaln(n + j * k + 1)
    total = float(np.sum(np.where(j % 2 == 1, 1.0, -1.0) * np.exp(logs - logs[0])))
    return min(0.0, (math.log(2) + float(logs[0]) + math.log(total)) / math.log(10)) if total > 0 else 0.0
