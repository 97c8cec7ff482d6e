"""How many of an answer's tokens are the model's first choice."""

from __future__ import annotations

import numpy as np

from unlearnkit.score.measured import Measured
from unlearnkit.score.metric import LIKE_RETAIN, RowMetric, RowValues


class ExactMemorization(RowMetric):
    """mean over forget rows of the share of tokens that are the model's first choice after the true ones before them.

    The final end-of-sequence token is left out (`tofu` keeps it).
    """

    direction = LIKE_RETAIN
    blind = "Facts: most tokens of an answer follow from grammar, so a model that knows nothing is well above 0."
    paper = "arXiv:2205.10770 (exact memorisation); arXiv:2506.12618"
    name = "exact_memorization"

    def rows(self, measured: Measured) -> RowValues:
        """The share of every forget row."""
        indices = measured.rows("forget")
        stored = measured.stored_rows(self.name, "forget", indices, convention=self.name)
        if stored is not None:
            return RowValues(indices, stored)
        hits = measured.scored_tokens("greedy", "forget", indices, self.name)
        return RowValues(indices, np.array([float(np.mean(each)) for each in hits]))
