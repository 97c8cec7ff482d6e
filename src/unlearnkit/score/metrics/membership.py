"""Can an attacker tell the forget set from rows that the model never saw?

Every attack gives each row a number that is low for what the model was trained on. Its score is the area under the
curve with the holdout as the positive class: 1, the forget set is told from the holdout at once; 0.5, it is not; 0, its
rows are all *less* likely than unseen ones, which gives them away as well.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unlearnkit.score.measured import ANSWER, Floats, Measured, Missing, finite
from unlearnkit.score.metric import LIKE_RETAIN, Case, Metric, TableMetric, Value, of_other
from unlearnkit.score.resampling import Interval, auc, auc_interval, bootstrap_auc

MEMBERS, STRANGERS = "forget", "holdout"

# The share of an answer's least likely tokens that Min-K and Min-K%++ read, and the smallest standard deviation that
# Min-K%++ divides by.
K = 0.4
LEAST_DEVIATION = 1e-3


class Attack(TableMetric):
    """An attack that reads one table."""

    direction = LIKE_RETAIN
    blind: ClassVar[str] = (
        "Whether forget set and holdout differ in themselves: compare with the retain model, not with 0.5."
    )

    @abstractmethod
    def attack(self, measured: Measured, split: str, indices: Sequence[int]) -> Floats:
        """One number a row, low where the attack takes the row for a member; (rows,)."""

    def sets(self, measured: Measured) -> tuple[Floats, Floats]:
        """The numbers of the forget set and of the holdout."""
        return measured.once(
            ("attack", self.name), lambda: (self._set(measured, MEMBERS), self._set(measured, STRANGERS))
        )

    def of(self, measured: Measured) -> Value:
        """The area under the curve; n counts both sets."""
        members, strangers = self.sets(measured)
        return Value(auc(members, strangers), len(members) + len(strangers))

    def draws_of(self, measured: Measured) -> Floats:
        """The area in each resample of both sets."""
        return measured.once(
            ("draws", self.name), lambda: bootstrap_auc(*self.sets(measured), streams=(MEMBERS, STRANGERS))
        )

    def interval(self, case: Case) -> Interval | None:
        """In closed form: the bootstrap has no width where the sets are told apart without an error."""
        members, strangers = self.sets(case.model)
        return auc_interval(auc(members, strangers), len(members), len(strangers))

    def _set(self, measured: Measured, split: str) -> Floats:
        indices = _rows(measured, split)
        stored = measured.stored_rows(self.name, split, indices, convention=self.name.removeprefix("mia_"))
        return finite(self.attack(measured, split, indices) if stored is None else stored, split, "attack's")


class LossAttack(Attack):
    """AUC of ℓ: rows with a low mean loss a token are taken for members."""

    paper = "Yeom et al. 2018, arXiv:1709.01604"
    name = "mia_loss"

    def attack(self, measured: Measured, split: str, indices: Sequence[int]) -> Floats:
        """ℓ, in nats."""
        return measured.loss(split, ANSWER, indices)


class ZlibAttack(Attack):
    """AUC of ℓ / (bytes of the answer compressed by zlib): loss is forgiven to text that is hard to compress."""

    paper = "Carlini et al. 2021, arXiv:2012.07805; as coded by open-unlearning (mean, not summed loss)"
    name = "mia_zlib"

    def attack(self, measured: Measured, split: str, indices: Sequence[int]) -> Floats:
        """ℓ in nats a byte."""
        texts = measured.texts("text", split, ANSWER, indices)
        if None in texts:
            raise Missing(f"some {split} row has no text to compress")
        sizes = [len(zlib.compress((text or "").encode())) for text in texts]
        return measured.loss(split, ANSWER, indices) / np.array(sizes, dtype=np.float64)


class MinKAttack(Attack):
    """AUC of −mean of log p over the 40 % least likely tokens of the answer.

    >>> float(lowest(np.array([-4.0, -1.0, -3.0, -2.0, 0.0])))
    3.5
    """

    paper = "Shi et al. 2023, arXiv:2310.16789; k as in open-unlearning"
    name = "mia_min_k"

    def attack(self, measured: Measured, split: str, indices: Sequence[int]) -> Floats:
        """In nats; the final end-of-sequence token is left out (`tofu` keeps it)."""
        return np.array([lowest(logp) for logp in measured.scored_tokens("logp", split, indices, "min_k")])


class MinKPlusPlusAttack(Attack):
    """AUC of −mean over the 40 % lowest of (log p − μ)/σ, μ and σ of the log-probability over the vocabulary."""

    paper = "Zhang et al. 2024, arXiv:2404.02936; k as in open-unlearning"
    name = "mia_min_k_plus_plus"

    def attack(self, measured: Measured, split: str, indices: Sequence[int]) -> Floats:
        """Without unit; the final end-of-sequence token is left out (`tofu` keeps it)."""
        columns = [
            measured.scored_tokens(name, split, indices, "min_k_plus_plus")
            for name in ("logp", "logp_mean", "logp_std")
        ]
        scaled = [(logp - mean) / np.maximum(std, LEAST_DEVIATION) for logp, mean, std in zip(*columns, strict=True)]
        return np.array([lowest(each) for each in scaled])


class GradientNormAttack(Attack):
    """AUC of the gradient's size: mean over the model's tensors of the L2 norm of the gradient of the answer's loss.

    The only attack that needs a pass of its own (backward, row by row); tables without it have no such score.
    """

    paper = "Wang et al. 2024, arXiv:2402.17012 (gradient norm), as coded by open-unlearning"
    name = "mia_gradnorm"

    def attack(self, measured: Measured, split: str, indices: Sequence[int]) -> Floats:
        """The column `gradient_norm`."""
        places = measured.places(split, ANSWER, indices)
        found: list[float | None] = measured.table.data["gradient_norm"].take(places).to_pylist()
        if None in found:
            raise Missing("gradient norms were not measured; they are an optional pass (eval --gradient-norm)")
        return np.array(found, dtype=np.float64)


class ReferenceAttack(Metric):
    """AUC of ℓ − ℓ of another model: loss is forgiven to rows that a model without them finds hard as well.

    The other model is the one given for it, or the retain model.
    """

    direction = LIKE_RETAIN
    blind = "What the retain model itself would score: compared with itself that is 0.5 always, with a third model not."
    paper = "Carlini et al. 2021, arXiv:2012.07805; as coded by open-unlearning"
    name = "mia_reference"

    def value(self, case: Case) -> Value:
        """The area under the curve; n counts both sets."""
        members, strangers = self._sets(case)
        return Value(auc(members, strangers), len(members) + len(strangers))

    def interval(self, case: Case) -> Interval | None:
        """In closed form, as for the other attacks."""
        members, strangers = self._sets(case)
        return auc_interval(auc(members, strangers), len(members), len(strangers))

    def _sets(self, case: Case) -> tuple[Floats, Floats]:
        return case.model.once(("attack", self.name), lambda: (self._set(case, MEMBERS), self._set(case, STRANGERS)))

    def _set(self, case: Case, split: str) -> Floats:
        indices = _rows(case.model, split)
        other = case.others.get("mia_reference", case.reference)
        if other is None:
            stored = case.model.stored_rows(self.name, split, indices)
            if stored is None:
                raise Missing("no other model to compare with; give its table (--mia-reference, or --reference)")
            return stored
        theirs = _other_rows(other, split)
        case.same_rows(split, indices, other, theirs)
        return finite(
            case.model.loss(split, ANSWER, indices) - other.loss(split, ANSWER, theirs), split, "difference of the"
        )


def lowest(values: NDArray[np.float32] | Floats) -> float:
    """−mean of the lowest K of the values, at least one of them."""
    count = max(1, int(len(values) * K))
    return -float(np.mean(np.sort(values.astype(np.float64))[:count]))


def _rows(measured: Measured, split: str) -> Sequence[int]:
    try:
        return measured.rows(split)
    except Missing:
        if split != STRANGERS:
            raise
        raise Missing("no holdout to compare the forget set with; measure with one (--holdout)") from None


def _other_rows(other: Measured, split: str) -> Sequence[int]:
    try:
        return other.rows(split)
    except Missing as lack:
        raise Missing(f"in the other model's table: {lack}") from None


def against_retain_model(attack: Attack, case: Case) -> tuple[Value, Value]:
    """An attack's area on the model and on the retain model, both checked to be of the same rows."""
    mine = attack.of(case.model)
    retain = case.retain_model()
    theirs = of_other(attack, retain, "retain model")
    for split in (MEMBERS, STRANGERS):
        case.same_rows(split, case.model.rows(split), retain, retain.rows(split))
    return mine, theirs
