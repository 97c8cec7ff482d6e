"""How likely the model finds the true answers, a token."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from unlearnkit.score.measured import ANSWER, PARAPHRASE, PERTURBED, Floats, Measured, Missing, finite
from unlearnkit.score.metric import LIKE_RETAIN, RowMetric, RowValues, SetMetric


class Probability(SetMetric):
    """mean over rows of p = exp(−ℓ(answer)); with options p / (p + Σ_j p_j).

    ℓ is the mean negative log-probability of the answer's tokens, the final end-of-sequence token included. For real
    authors and world facts, which are multiple choice, p is divided by its sum with the p_j of the wrong options, all
    of them length-normalised, as the code of TOFU has it (its paper writes raw sequence probabilities).

    >>> float(normalised(np.array([0.0]), np.array([[np.log(2), np.log(2)]]), 0.0)[0])
    0.5
    """

    suffix = "probability"
    blind = "Another wording of the same fact: a model that paraphrases scores low and knows everything."
    paper = "arXiv:2401.06121, section 2.2"
    options: ClassVar[tuple[str, ...]] = ("real_authors", "world_facts")

    def rows(self, measured: Measured) -> RowValues:
        """p of every row of the set, between 0 and 1."""
        indices = measured.rows(self.split)
        loss = finite(measured.loss(self.split, ANSWER, indices), self.split, ANSWER)
        if self.split not in self.options:
            return RowValues(indices, np.exp(-loss))
        others = measured.perturbed_loss(self.split, indices)
        if others.shape[1] == 0 or np.isnan(others[:, 0]).any():
            raise Missing(f"some {self.split} row has no wrong options ({PERTURBED}0) to normalise over")
        return RowValues(indices, normalised(loss, others, measured.protocol.epsilon))


class ForgetLoss(RowMetric):
    """mean over forget rows of ℓ(answer), the mean negative log-probability a token, in nats.

    The one view of forgetting that has no floor: it goes on growing where probabilities are all next to zero.
    """

    direction = LIKE_RETAIN
    blind = "Which tokens: a single token made impossible weighs as much as many that are merely unlikely."
    paper = "arXiv:2404.05868, section 3 (the quantity that gradient ascent drives up without bound)"
    name = "forget_loss"

    def rows(self, measured: Measured) -> RowValues:
        """ℓ of every forget row."""
        indices = measured.rows("forget")
        return RowValues(indices, finite(measured.loss("forget", ANSWER, indices), "forget", ANSWER))


class ParaphraseProbability(RowMetric):
    """mean over forget rows of exp(−ℓ(paraphrase)): how likely the model finds the truth in other words."""

    direction = LIKE_RETAIN
    blind = "Wordings other than this one; a retain model gives fluent paraphrases a little probability too."
    paper = "arXiv:2506.12618 (ParaProb)"
    name = "forget_paraphrase_probability"

    def rows(self, measured: Measured) -> RowValues:
        """exp(−ℓ) of the paraphrase of every forget row that has one."""
        indices = tuple(i for i in measured.rows("forget") if measured.holds("forget", PARAPHRASE, i))
        if not indices:
            raise Missing("no forget row has a paraphrase")
        return RowValues(indices, np.exp(-finite(measured.loss("forget", PARAPHRASE, indices), "forget", PARAPHRASE)))


def normalised(loss: Floats, others: Floats, epsilon: float) -> Floats:
    """p / (p + Σ_j p_j + ε) with p = exp(−loss); (rows,), (rows, options) -> (rows,). NaN: no such option.

    With ε = 0 the sum is taken over differences of logarithms, so that it also holds where every p underflows.
    """
    if epsilon:
        p = np.exp(-loss)
        held: Floats = p / (p + np.nansum(np.exp(-others), axis=1) + epsilon)
        return held
    with np.errstate(over="ignore", invalid="ignore"):
        ratio: Floats = 1 / (1 + np.nansum(np.exp(loss[:, None] - others), axis=1))
    if np.isinf(loss).any():
        ratio[np.isinf(loss)] = 0.0
    return ratio
