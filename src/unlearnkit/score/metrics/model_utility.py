"""What the model can still do: one number from nine."""

from __future__ import annotations

import numpy as np

from unlearnkit.score.metric import HIGHER, Case, Metric, RowMetric, Score
from unlearnkit.score.metrics.probability import Probability
from unlearnkit.score.metrics.rouge import Rouge
from unlearnkit.score.metrics.truth_ratio import TruthRatio

SETS = ("retain", "real_authors", "world_facts")


class ModelUtility(Metric):
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

    def score(self, case: Case) -> Score:
        """From the nine row metrics; n is the number of rows that any of them read."""
        parts = [part.rows(case.model) for part in self.parts()]
        rows = sum(len(case.model.rows(split)) for split in SETS)
        return Score(harmonic_mean([float(np.mean(part.values)) for part in parts]), rows, None, self.direction)

    def parts(self) -> list[RowMetric]:
        """The nine metrics."""
        return [family(split) for split in SETS for family in (Rouge, Probability, TruthRatio)]


def harmonic_mean(values: list[float]) -> float:
    """n / Σ 1/v, and 0 where any v is 0."""
    return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)
