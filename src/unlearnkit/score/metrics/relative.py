"""How far a score of the forget set lies from the retain model's, in percent of that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unlearnkit.score.measured import Floats, Missing
from unlearnkit.score.metric import Case, Metric, RowMetric, Value, of_other
from unlearnkit.score.metrics.exact_memorization import ExactMemorization
from unlearnkit.score.metrics.extraction_strength import ExtractionStrength
from unlearnkit.score.metrics.probability import Probability
from unlearnkit.score.metrics.rouge import Rouge


@dataclass(frozen=True)
class RelativeDifference(Metric):
    """100 · (score − the retain model's) / the retain model's, for one score of the forget set.

    0: as if the rows had never been seen. Above: some of it is left. Below: forgotten beyond the retain model.
    """

    of: RowMetric
    direction = "closest to 0 is best"
    blind = "Small denominators: where the retain model's score is next to nothing, so is what this number says."
    paper = "MUSE, arXiv:2407.06460 (relative difference)"

    @property
    def name(self) -> str:
        """`relative_` and the score's name."""
        return f"relative_{self.of.name}"

    @classmethod
    def each(cls) -> list[Metric]:
        """One for each of four scores of the forget set."""
        return [
            cls(each) for each in (Probability("forget"), Rouge("forget"), ExtractionStrength(), ExactMemorization())
        ]

    def value(self, case: Case) -> Value:
        """In percent."""
        retain = case.retain_model()
        mine, theirs = self.of.of(case.model), of_other(self.of, retain, "retain model")
        case.same_rows("forget", self.of.kept(case.model).indices, retain, self.of.kept(retain).indices)
        if theirs.value == 0:
            raise Missing(f"the retain model's {self.of.name} is 0, and nothing can be said in percent of it")
        return Value(100 * (mine.value - theirs.value) / theirs.value, mine.n)

    def draws(self, case: Case) -> Floats | None:
        """In each resample of the rows, drawn together for both models."""
        mine, theirs = (self.of.draws_of(each) for each in (case.model, case.retain_model()))
        with np.errstate(divide="ignore", invalid="ignore"):
            return 100 * (mine - theirs) / theirs
