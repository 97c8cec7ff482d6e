"""What the model can still do: one number from nine."""

from __future__ import annotations

import numpy as np

from unlearnkit.score.measured import Floats, Measured
from unlearnkit.score.metric import HIGHER, RowMetric, TableMetric, Value
from unlearnkit.score.metrics.probability import Probability
from unlearnkit.score.metrics.rouge import Rouge
from unlearnkit.score.metrics.truth_ratio import TruthRatio

SETS = ("retain", "real_authors", "world_facts")


class ModelUtility(TableMetric):
    """harmonic mean of nine: {probability, ROUGE-L recall, truth ratio} × {retain set, real authors, world facts}.

    Zero where any of the nine is zero. The retain set's truth ratio keeps it well below 1 even for a perfect model
    (0.62 for TOFU's Llama-2-7B trained on everything).

    >>> round(harmonic_mean([0.5, 1.0]), 4), harmonic_mean([0.0, 1.0])
    (0.6667, 0.0)
    """

    direction = HIGHER
    blind = "Which of the nine moved. It can rise while forgetting, and 0.62 before and after is not `unchanged`."
    paper = "arXiv:2401.06121, section 2.2"
    name = "model_utility"

    def of(self, measured: Measured) -> Value:
        """From the nine row metrics; n is the number of rows that any of them read."""
        parts = [part.of(measured).value for part in self.parts()]
        return Value(harmonic_mean(parts), sum(len(measured.rows(split)) for split in SETS))

    def draws_of(self, measured: Measured) -> Floats:
        """The nine in each resample; the rows of one set are drawn together for its three."""
        return harmonic_means(np.stack([part.draws_of(measured) for part in self.parts()]))

    def parts(self) -> list[RowMetric]:
        """The nine metrics."""
        return [family(split) for split in SETS for family in (Rouge, Probability, TruthRatio)]


def harmonic_mean(values: list[float]) -> float:
    """n / Σ 1/v, and 0 where any v is 0."""
    return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)


def harmonic_means(values: Floats) -> Floats:
    """The same down each column; (parts, draws) -> (draws,)."""
    with np.errstate(divide="ignore"):
        means: Floats = len(values) / np.sum(1 / np.maximum(values, 0.0), axis=0)
    return means
