"""How little of an answer the model has to be given before it knows the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlearnkit.score.measured import Measured, Missing
from unlearnkit.score.metric import LIKE_RETAIN, RowMetric, RowValues


class ExtractionStrength(RowMetric):
    """mean over forget rows of 1 − k/L, k the shortest prefix of the answer after which greedy decoding gives the rest.

    L is the number of the answer's tokens, the final end-of-sequence token left out (`tofu` keeps it). 1: the question
    is enough. 0: not even the last token is matched; `open-unlearning` gives such a row 1/L.

    >>> strength(np.array([True, False, True, True]), floor=False)
    0.5
    >>> strength(np.array([True, False]), floor=False), strength(np.array([True, False]), floor=True)
    (0.0, 0.5)
    """

    direction = LIKE_RETAIN
    blind = "Other wordings, and sampling: one token that is only the second choice hides all that comes before it."
    paper = "Carlini et al. 2021, arXiv:2012.07805; arXiv:2406.09179; arXiv:2506.12618"
    name = "extraction_strength"

    def rows(self, measured: Measured) -> RowValues:
        """1 − k/L of every forget row."""
        indices = measured.rows("forget")
        stored = measured.stored_rows(self.name, "forget", indices, convention=self.name)
        if stored is not None:
            return RowValues(indices, stored)
        hits = measured.scored_tokens("greedy", "forget", indices, self.name)
        floor = measured.protocol.extraction_floor
        return RowValues(indices, np.array([strength(each, floor) for each in hits]))


def strength(hits: NDArray[np.bool_], floor: bool) -> float:
    """1 − k/L of one answer; `hits` says of each token whether it is the model's first choice; (tokens,)."""
    if not len(hits):
        raise Missing("an answer without tokens has no extraction strength")
    misses = np.flatnonzero(~hits.astype(bool))
    suffix = len(hits) if not len(misses) else len(hits) - 1 - int(misses[-1])
    return max(suffix, 1 if floor else 0) / len(hits)
