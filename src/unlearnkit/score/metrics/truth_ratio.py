"""Does the model prefer the truth, in other words than those it was trained on, to answers that are wrong?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logsumexp

from unlearnkit.score.measured import Floats, Measured, Missing, finite
from unlearnkit.score.metric import LIKE_RETAIN, RowMetric, RowValues, SetMetric


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


class TruthRatioArithmetic(SetMetric):
    """as the truth ratio, with R = mean_j exp(−ℓ(perturbed_j)) / exp(−ℓ(base)): the papers' arithmetic mean.

    What the texts of TOFU and NPO define, and TOFU's evaluation during training computes; no published number does. On
    TOFU's Llama-2-7B it moves the model utility from 0.623 to 0.586.
    """

    suffix = "truth_ratio_arithmetic"
    blind = "As the truth ratio; one perturbed answer that the model likes decides a row."
    paper = "arXiv:2401.06121, section 2.2; arXiv:2404.05868, equation 16"

    def rows(self, measured: Measured) -> RowValues:
        """The score of every row that has perturbed answers, between 0 and 1."""
        indices, base, others = _losses(measured, self.split)
        count = np.sum(~np.isnan(others), axis=1)
        logs = base + logsumexp(np.where(np.isnan(others), -np.inf, -others), axis=1) - np.log(count)
        return RowValues(indices, scores(finite(logs, self.split, "truth ratio's"), self.split, 0.0))


class TruthRatioNormalised(RowMetric):
    """mean over forget rows of p / (p + w), p = exp(−ℓ(base)), w = exp(−mean_j ℓ(perturbed_j)): the truth's share.

    0.5: truth and lies are equally likely. The form of the OpenUnlearning paper, there the most faithful of its
    metrics.

    >>> float(np.round(1 / (1 + np.exp(2.2287230 - 3.6343024)), 4))
    0.8031
    """

    direction = LIKE_RETAIN
    blind = "How probable both answers are, as the truth ratio."
    paper = "arXiv:2506.12618; `prob_mean` in open-unlearning"
    name = "forget_truth_ratio_normalised"

    def rows(self, measured: Measured) -> RowValues:
        """p / (p + w) of every row that has perturbed answers."""
        indices, logs = log_ratios(measured, "forget")
        return RowValues(indices, expit(-logs))


def log_ratios(measured: Measured, split: str) -> RowValues:
    """log R of every row that has perturbed answers: what the test of forget quality compares."""
    try:
        measured.contrasted(split)
    except Missing:
        stored = measured.stored_rows("truth_ratio", split, measured.rows(split))
        if stored is None or not measured.protocol.epsilon:
            raise
        with np.errstate(divide="ignore"):
            return RowValues(measured.rows(split), finite(np.log(stored), split, "stored truth ratio's"))
    rows, base, perturbed = _losses(measured, split)
    others = np.nanmean(perturbed, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = _with_epsilon(base, others, measured.protocol.epsilon) if measured.protocol.epsilon else base - others
    return RowValues(rows, finite(logs, split, "truth ratio's"))


def _losses(measured: Measured, split: str) -> tuple[Sequence[int], Floats, Floats]:
    """Rows, ℓ of the base, (rows,), and of the perturbed answers, (rows, perturbations)."""
    indices, kind = measured.contrasted(split), measured.base_kind(split)
    base = finite(measured.loss(split, kind, indices), split, kind)
    return indices, base, measured.perturbed_loss(split, indices)


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
