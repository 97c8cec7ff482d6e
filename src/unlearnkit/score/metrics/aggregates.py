"""One number for each concern, and one for all: the aggregates of the OpenUnlearning paper, whose code was not kept.

The formulas are those that a re-implementation over 150 of its checkpoints uses; the paper's own transform of an attack
was never published.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from unlearnkit.score.measured import Floats, Measured, Missing
from unlearnkit.score.metric import HIGHER, Case, Metric, RowMetric, TableMetric, Value, of_other
from unlearnkit.score.metrics.exact_memorization import ExactMemorization
from unlearnkit.score.metrics.extraction_strength import ExtractionStrength
from unlearnkit.score.metrics.fluency import Fluency
from unlearnkit.score.metrics.membership import (
    LossAttack,
    MinKAttack,
    MinKPlusPlusAttack,
    ZlibAttack,
    against_retain_model,
)
from unlearnkit.score.metrics.model_utility import ModelUtility, harmonic_mean, harmonic_means
from unlearnkit.score.metrics.probability import ParaphraseProbability
from unlearnkit.score.metrics.truth_ratio import TruthRatioNormalised

PAPER = "OpenUnlearning, arXiv:2506.12618; formulas after arXiv:2605.24614"


class Memorization(TableMetric):
    """harmonic mean of 1 − ES, 1 − EM, 1 − paraphrase probability and 1 − normalised truth ratio.

    ES: `extraction_strength`, EM: `exact_memorization`. TOFU's retain model has about 0.58: a model need not, and should
    not, reach 1.
    """

    direction = "higher is less memorised; closest to the retain model is best"
    blind = "Over-forgetting: it rises beyond the retain model's, up to 1 for a model that is broken."
    paper = PAPER
    name = "memorization"

    def of(self, measured: Measured) -> Value:
        """Between 0 and 1; n is the number of rows of the smallest part."""
        parts = [part.of(measured) for part in self.parts()]
        return Value(harmonic_mean([1 - part.value for part in parts]), min(part.n for part in parts))

    def draws_of(self, measured: Measured) -> Floats:
        """In each resample of the forget rows."""
        return harmonic_means(np.stack([1 - part.draws_of(measured) for part in self.parts()]))

    def parts(self) -> list[RowMetric]:
        """The four that measure what is still known."""
        return [ExtractionStrength(), ExactMemorization(), ParaphraseProbability(), TruthRatioNormalised()]


class Privacy(Metric):
    """harmonic mean over four attacks of clip(1 − |AUC − AUC_retain| / AUC_retain, 0, 1).

    The attacks: loss, zlib, Min-K, Min-K++. 1: each finds what it finds in the retain model.

    >>> float(alike(0.4, 0.5)), float(alike(1.0, 0.4))
    (0.8, 0.0)
    """

    direction = HIGHER
    blind = "Attacks that know more than the model's answers; it is 0 as soon as one of the four is far off."
    paper = PAPER
    name = "privacy"

    def value(self, case: Case) -> Value:
        """Between 0 and 1; n counts forget set and holdout."""
        pairs = [against_retain_model(attack, case) for attack in ATTACKS]
        return Value(harmonic_mean([float(alike(mine.value, retain.value)) for mine, retain in pairs]), pairs[0][0].n)

    def draws(self, case: Case) -> Floats | None:
        """In each resample of the rows, drawn together for both models."""
        retain = case.retain_model()
        pairs = [(attack.draws_of(case.model), attack.draws_of(retain)) for attack in ATTACKS]
        return harmonic_means(np.stack([np.asarray(alike(mine, theirs)) for mine, theirs in pairs]))


class Utility(Metric):
    """harmonic mean of model utility and fluency, divided by that of the model before unlearning, at most 1."""

    direction = HIGHER
    blind = "Which of the ten parts fell, and abilities outside of the sets that were measured."
    paper = PAPER
    name = "utility"

    def value(self, case: Case) -> Value:
        """Between 0 and 1; n counts the rows of model utility."""
        target = case.target_model()
        now = [part.of(case.model) for part in UTILITY]
        before = [of_other(part, target, "target model") for part in UTILITY]
        for split in ("retain", "real_authors", "world_facts", "forget"):
            case.same_rows(split, case.model.rows(split), target, target.rows(split))
        had = harmonic_mean([part.value for part in before])
        if had == 0:
            raise Missing("the model before unlearning has no utility left to compare with")
        return Value(min(1.0, harmonic_mean([part.value for part in now]) / had), now[0].n)

    def draws(self, case: Case) -> Floats | None:
        """In each resample of the rows, drawn together for both models."""
        now, before = (
            harmonic_means(np.stack([part.draws_of(each) for part in UTILITY]))
            for each in (case.model, case.target_model())
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.minimum(1.0, now / before)


class Overall(Metric):
    """harmonic mean of memorization, privacy and utility."""

    direction = HIGHER
    blind = "Which of the three decides; look at them."
    paper = PAPER
    name = "overall"

    def value(self, case: Case) -> Value:
        """Between 0 and 1; n is that of the part with the fewest rows."""
        parts = [part.value(case) for part in self.parts()]
        return Value(harmonic_mean([part.value for part in parts]), min(part.n for part in parts))

    def draws(self, case: Case) -> Floats | None:
        """In each resample of the rows."""
        found = [part.draws(case) for part in self.parts()]
        drawn = [each for each in found if each is not None]
        return harmonic_means(np.stack(drawn))

    def parts(self) -> list[Metric]:
        """The three concerns."""
        return [Memorization(), Privacy(), Utility()]


ATTACKS = (LossAttack(), ZlibAttack(), MinKAttack(), MinKPlusPlusAttack())
UTILITY: tuple[TableMetric, ...] = (ModelUtility(), Fluency())


Area = TypeVar("Area", float, Floats)


def alike(mine: Area, retain: Area) -> Area:
    """1 where two areas agree, 0 where they differ by as much as the retain model's or more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Area = np.clip(1 - np.abs(mine - retain) / retain, 0.0, 1.0)
    return found
