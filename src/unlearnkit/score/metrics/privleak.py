"""How far a membership attack is from what it finds in a model that never saw the rows."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from unlearnkit.score.measured import Floats, Missing
from unlearnkit.score.metric import Case, Metric, Value
from unlearnkit.score.metrics.membership import MinKAttack, against_retain_model
from unlearnkit.score.resampling import DRAWS


class PrivLeak(Metric):
    """100 · ((1 − AUC) − (1 − AUC_retain)) / (1 − AUC_retain), AUC that of Min-K (`mia_min_k`).

    0: the attack finds what it finds in the retain model. −100: every forget row is told from the holdout as a member.
    Above 0: the forget rows are less likely than they would be unseen (over-forgotten). Without a retain model there is
    no such number; `open-unlearning` then assumes an AUC of 0.5, and its number says so.

    >>> round(leak(1.0, 0.5, 0.0), 1), round(leak(0.1, 0.4, 0.0), 1)
    (-100.0, 50.0)
    """

    direction = "closest to 0 is best"
    blind = "Any other attack than Min-K, and which rows leak."
    paper = "MUSE, arXiv:2407.06460; as coded by open-unlearning"
    name = "privleak"

    def value(self, case: Case) -> Value:
        """In percent of the retain model's 1 − AUC; n counts forget set and holdout."""
        assumed, epsilon = case.protocol.privleak_default, case.protocol.epsilon
        if case.reference is None and assumed is not None:
            mine = MinKAttack().of(case.model)
            return Value(
                leak(mine.value, assumed, epsilon), mine.n, f"no retain model given: an AUC of {assumed} is assumed"
            )
        mine, retain = against_retain_model(MinKAttack(), case)
        return Value(leak(mine.value, retain.value, epsilon), mine.n)

    def draws(self, case: Case) -> Floats | None:
        """In each resample of the rows, drawn together for both models."""
        attack = MinKAttack()
        assumed = np.full(DRAWS, case.protocol.privleak_default or 0.5)
        retain = assumed if case.reference is None else attack.draws_of(case.reference)
        return np.asarray(leak(attack.draws_of(case.model), retain, case.protocol.epsilon))


Area = TypeVar("Area", float, Floats)


def leak(mine: Area, retain: Area, epsilon: float) -> Area:
    """PrivLeak from two areas."""
    if isinstance(retain, float) and 1 - retain + epsilon == 0:
        raise Missing("the retain model's AUC is 1, so a difference relative to 1 - AUC is not defined")
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * ((1 - mine) - (1 - retain)) / (1 - retain + epsilon)
