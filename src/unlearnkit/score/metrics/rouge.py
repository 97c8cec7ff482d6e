"""How much of the true answer is in what the model says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from unlearnkit.score.measured import ANSWER, Measured, Missing
from unlearnkit.score.metric import LIKE_RETAIN, RowMetric, RowValues, SetMetric


class Overlap(NamedTuple):
    """ROUGE of one prediction against one target, each between 0 and 1."""

    rouge1_recall: float
    rouge1_f1: float
    rougeL_recall: float
    rougeL_f1: float


class Rouge(SetMetric):
    """mean over rows of |longest common subsequence of words| / |words of the true answer| (ROUGE-L recall).

    Words are what `rouge_score` makes of them: lower case, split at everything but a-z and 0-9, words of more than
    three letters stemmed (Porter). Greedy generations; under `tofu` cut where prompt and answer reach 200 tokens.

    >>> overlap("The author is from Chile.", "He is an author from Peru").rougeL_recall
    0.4
    """

    suffix = "rouge"
    blind = "Meaning: other scripts, paraphrases, negations. A long ramble is not punished, only what is left out."
    paper = "arXiv:2401.06121, section 2.2; ROUGE: Lin 2004"

    def rows(self, measured: Measured) -> RowValues:
        """ROUGE-L recall of every row of the set."""
        return overlaps(measured, self.split, "rougeL_recall")


class Rouge1(RowMetric):
    """mean over forget rows of the share of the true answer's words that the model says (ROUGE-1 recall)."""

    direction = LIKE_RETAIN
    blind = "The order of the words: the right words in a wrong sentence count."
    paper = "ROUGE: Lin 2004, as open-unlearning stores it"
    name = "forget_rouge1"

    def rows(self, measured: Measured) -> RowValues:
        """ROUGE-1 recall of every forget row."""
        return overlaps(measured, "forget", "rouge1_recall")


class RougeF1(RowMetric):
    """mean over forget rows of 2 P R / (P + R), of the longest common subsequence's share in what is said and asked.

    Unlike recall it falls where the model rambles on.
    """

    direction = LIKE_RETAIN
    blind = "Whether a low value comes from forgetting or from answers of another length."
    paper = "ROUGE: Lin 2004, as open-unlearning stores it"
    name = "forget_rouge_f1"

    def rows(self, measured: Measured) -> RowValues:
        """ROUGE-L F1 of every forget row."""
        return overlaps(measured, "forget", "rougeL_f1")


def overlaps(measured: Measured, split: str, which: str) -> RowValues:
    """One of the fields of `Overlap` for every row of a set, recomputed from the texts where they are there."""
    indices = measured.rows(split)
    targets = measured.texts("text", split, ANSWER, indices)
    predictions = generations(measured, split, indices)
    pairs = list(zip(targets, predictions, strict=True))
    silent = sum(target is None or prediction is None for target, prediction in pairs)
    if not silent:
        found = [getattr(overlap(target or "", prediction or ""), which) for target, prediction in pairs]
        return RowValues(indices, np.array(found))
    stored = measured.stored_rows(which, split, indices)
    if stored is None:
        raise Missing(f"{silent} of {len(indices)} {split} rows have no generation; measure them with generation")
    return RowValues(indices, stored)


def generations(measured: Measured, split: str, indices: Sequence[int]) -> list[str | None]:
    """What the model answers, cut as the protocol says; None where it was not asked."""
    whole = measured.texts("generation", split, ANSWER, indices)
    if not measured.protocol.cut_generation:
        return whole
    cut = measured.texts("generation_cut", split, ANSWER, indices)
    return [text if shorter is None else shorter for text, shorter in zip(whole, cut, strict=True)]


@lru_cache(maxsize=100_000)
def overlap(target: str, prediction: str) -> Overlap:
    """ROUGE-1 and ROUGE-L as the package `rouge_score` gives them with its stemmer, only quicker.

    A prediction equal to its target needs no counting: a trained model's answers mostly are. The longest common
    subsequence is counted with one wide integer as the row of the dynamic programme (Hyyrö 2004).
    """
    if target == prediction:
        return Overlap(1.0, 1.0, 1.0, 1.0) if re.search("[a-z0-9]", target.lower()) else Overlap(0.0, 0.0, 0.0, 0.0)
    truth, said = _words(target), _words(prediction)
    if not truth or not said:
        return Overlap(0.0, 0.0, 0.0, 0.0)
    shared = (Counter(truth) & Counter(said)).total()
    common = _longest_common_subsequence(truth, said)
    return Overlap(*_recall_f1(shared, truth, said), *_recall_f1(common, truth, said))


def _recall_f1(matches: int, truth: Sequence[str], said: Sequence[str]) -> tuple[float, float]:
    recall, precision = matches / len(truth), matches / len(said)
    return recall, 2 * precision * recall / (precision + recall) if matches else 0.0


def _longest_common_subsequence(truth: Sequence[str], said: Sequence[str]) -> int:
    """Its length. Bit i of `row` is 0 where the subsequence grows at word i of the truth.

    >>> _longest_common_subsequence("abcde", "xaceb")
    3
    """
    places: dict[str, int] = {}
    for place, word in enumerate(truth):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(truth)) - 1
    row = full
    for word in said:
        met = row & places.get(word, 0)
        row = (row + met | row - met) & full
    return len(truth) - row.bit_count()


@lru_cache(maxsize=100_000)
def _words(text: str) -> tuple[str, ...]:
    from rouge_score.tokenize import tokenize

    return tuple(tokenize(text, _stemmer()))


@cache
def _stemmer() -> Any:
    """The Porter stemmer that `rouge_score` uses, remembering words: its rules are most of the time of a score."""
    from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

    class Remembering:
        stem = staticmethod(lru_cache(maxsize=100_000)(PorterStemmer().stem))

    return Remembering()
