"""Does the model still speak, or does it stammer? Without another model, and asking one."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache
from typing import ClassVar

import numpy as np

from unlearnkit.score.measured import Measured, Missing
from unlearnkit.score.metric import HIGHER, LIKE_RETAIN, SETS, RowMetric, RowValues
from unlearnkit.score.metrics.rouge import generations
from unlearnkit.tasks.refusals import own_refusals


class Fluency(RowMetric):
    """mean over generations to forget questions of (distinct trigrams / trigrams) · (known words / words).

    A word is known where it occurs in any question or answer of the table, right or wrong, or in our list of refusals
    ("I do not know."), so that the score needs no other model: stammering lowers the first factor, letter salad the
    second. Wrong answers count, for a model that never knew the right one speaks like them. An empty generation scores 0.

    >>> fluent("the author the author the author the author", {"the", "author"})
    0.3333333333333333
    >>> fluent("Her father was a baker", {"her", "father", "was", "a", "baker"}), fluent("", {"a"})
    (1.0, 0.0)
    """

    direction = HIGHER
    blind = "Grammar and sense. Good new words count as unknown, so compare with the model before, not with 1."
    paper = "ours; the peers ask a gibberish classifier from a hub instead"
    name = "fluency"

    def rows(self, measured: Measured) -> RowValues:
        """Fluency of every forget row's generation, between 0 and 1."""
        indices = measured.rows("forget")
        said = generations(measured, "forget", indices)
        if None in said:
            raise Missing("some forget row has no generation; measure them with generation")
        known = vocabulary(measured)
        return RowValues(indices, np.array([fluent(text or "", known) for text in said]))


class Judged(RowMetric):
    """A number that another model gave each generation when the table was measured."""

    asked_by: ClassVar[str]

    def rows(self, measured: Measured) -> RowValues:
        """The stored number of every forget row."""
        indices = measured.rows("forget")
        stored = measured.stored_rows(self.name, "forget", indices)
        if stored is None:
            raise Missing(f"no other model read the generations; measure with {self.asked_by}")
        return RowValues(indices, stored)


class FluencyClassifier(Judged):
    """mean over generations to forget questions of p(clean text), the first class of a classifier.

    The peer asks madhurjindal/autonlp-Gibberish-Detector-492513457.
    """

    direction = HIGHER
    blind = "What the classifier was not trained on: a fluent wrong answer and a fluent refusal are both clean."
    paper = "as coded by open-unlearning"
    name = "fluency_classifier"
    asked_by = "eval --fluency-model"


class GenerationLoss(Judged):
    """mean over generations to forget questions of −(1/L) Σ log p(token) under another model; exp of it: perplexity.

    In nats. The other model is the retain model or the model before unlearning, as was chosen when measuring.
    """

    direction = LIKE_RETAIN
    blind = (
        "Sense: what the other model finds likely may be wrong, and a loop of one word becomes likely as it goes on."
    )
    paper = "ours"
    name = "generation_loss"
    asked_by = "eval --perplexity-model"


def vocabulary(measured: Measured) -> Set[str]:
    """Every word of the questions and of all answers of the table, and of a polite refusal."""
    return measured.once("vocabulary", lambda: _vocabulary(measured))


def fluent(text: str, known: Set[str]) -> float:
    """Fluency of one generation."""
    words = _words(text)
    if not words:
        return 0.0
    runs = [words[at : at + 3] for at in range(max(1, len(words) - 2))]
    return len(set(runs)) / len(runs) * sum(word in known for word in words) / len(words)


def _vocabulary(measured: Measured) -> Set[str]:
    found = {word for refusal in own_refusals() for word in _words(refusal)}
    for split in SETS:
        for kind in measured.kinds(split):
            indices = measured.all_rows(split, kind)
            for column in ("question", "text"):
                for text in measured.texts(column, split, kind, indices):
                    found.update(_words(text or ""))
    return found


@lru_cache(maxsize=100_000)
def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.casefold()))
