"""Does the model prefer the truth, in other words than those it was trained on, to answers that are wrong?"""

from __future__ import annotations

import numpy as np

from unlearnkit.score.measured import Floats, Measured, Missing, finite
from unlearnkit.score.metric import RowValues, SetMetric


class TruthRatio(SetMetric):
    """forget: mean of min(R, 1/R); other sets: mean of max(0, 1 − R); R = exp(ℓ(base) − mean_j ℓ(perturbed_j)).

    ℓ is the mean negative log-probability a token; the base is the paraphrased answer, or the answer itself for real
    authors and world facts. R below 1: the model prefers the truth. The mean over perturbed answers is geometric, as
    in every published number (the papers write an arithmetic one), and taken in log space; `open-unlearning` instead
    divides exp(−mean ℓ_j) by exp(−ℓ(base)) + 1e-10. On the forget set 1 means that the model cannot tell the truth
    from a lie; a retain model of TOFU has about 0.67 there, not 1.

    A worked number: ℓ(base) = 2.22872 and a mean of 3.63430 over five perturbed answers.

    >>> float(np.round(scores(np.array([2.2287230 - 3.6343024]), "forget", 0.0)[0], 4))
    0.2452
    """

    suffix = "truth_ratio"
    blind = (
        "How probable both answers are: a model that finds truth and lies equally absurd scores like one that forgot."
    )
    paper = "arXiv:2401.06121, section 2.2, as coded by its authors"

    def rows(self, measured: Measured) -> RowValues:
        """The score of every row that has perturbed answers, between 0 and 1."""
        indices, logs = log_ratios(measured, self.split)
        return RowValues(indices, scores(logs, self.split, measured.protocol.epsilon))


def log_ratios(measured: Measured, split: str) -> RowValues:
    """log R of every row that has perturbed answers: what the test of forget quality compares."""
    held = measured.stored.get("truth_ratio", {}).get(split)
    try:
        indices = measured.contrasted(split)
    except Missing:
        if held is None or not measured.protocol.epsilon:
            raise
        indices = measured.rows(split)
        with np.errstate(divide="ignore"):
            logs = np.log([held.get(str(index), np.nan) for index in indices])
        return RowValues(indices, finite(logs, split, "stored truth ratio"))
    base = finite(measured.loss(split, measured.base_kind(split), indices), split, measured.base_kind(split))
    others = np.nanmean(measured.perturbed_loss(split, indices), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = _with_epsilon(base, others, measured.protocol.epsilon) if measured.protocol.epsilon else base - others
    return RowValues(indices, finite(logs, split, "truth ratio's"))


def scores(logs: Floats, split: str, epsilon: float) -> Floats:
    """min(R, 1/(R + ε)) on the forget set, max(0, 1 − R) elsewhere, from log R; (rows,) -> (rows,)."""
    with np.errstate(over="ignore", divide="ignore"):
        if split != "forget":
            return np.maximum(0.0, -np.expm1(logs))
        if not epsilon:
            return np.exp(-np.abs(logs))
        ratio = np.exp(logs)
        return np.minimum(ratio, 1 / (ratio + epsilon))


def _with_epsilon(base: Floats, others: Floats, epsilon: float) -> Floats:
    """log of exp(−others) / (exp(−base) + ε): not the same where a collapsed model gives both next to nothing."""
    logs: Floats = -others - np.logaddexp(-base, np.log(epsilon))
    return logs
