"""What a metric is: a name, a direction, an honest description, and a pure function of one or more tables."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from unlearnkit.score.comparison import Scored, difference
from unlearnkit.score.measured import Floats, Measured, Missing
from unlearnkit.score.protocols import Protocol
from unlearnkit.score.resampling import Interval, bca_mean, bootstrap_means, percentile

HIGHER, LOWER, LIKE_RETAIN = "higher is better", "lower is better", "closest to the retain model is best"

# The sets that a family of metrics is asked for, and how each is called in prose.
SETS = {
    "forget": "forget set",
    "retain": "retain set",
    "real_authors": "real authors",
    "world_facts": "world facts",
}


@dataclass(frozen=True)
class Score:
    """One number, how many rows it stands on, its 95 % interval, and where it is missing the reason."""

    value: float | None
    n: int
    interval: Interval | None = None
    direction: str = ""
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The score as plain values, as `scores.json` holds it."""
        return {
            "value": self.value,
            "n": self.n,
            "interval": None if self.interval is None else list(self.interval),
            "direction": self.direction,
            "reason": self.reason,
        }


class RowValues(NamedTuple):
    """One number a row: `indices` names the rows, `values` is (rows,)."""

    indices: Sequence[int]
    values: Floats


class Value(NamedTuple):
    """A number, how many rows it stands on, and what has to be said with it."""

    value: float
    n: int
    note: str | None = None


@dataclass
class Case:
    """What is to be scored, and against what.

    model       the table of the model in question
    reference   the retain model's, where there is one
    target      the model's before unlearning, where there is one
    others      further tables by role: "second_retain" (noise floor), "mia_reference"
    """

    protocol: Protocol
    model: Measured
    reference: Measured | None = None
    target: Measured | None = None
    others: Mapping[str, Measured] = field(default_factory=dict)

    def retain_model(self) -> Measured:
        """The retain model's table; `Missing` where none was given."""
        if self.reference is None:
            raise Missing("no retain model to compare with; give its table or log (--reference)")
        return self.reference

    def target_model(self) -> Measured:
        """The table of the model before unlearning; `Missing` where none was given."""
        if self.target is None:
            raise Missing("nothing is known of the model before unlearning; give its table or log (--target)")
        return self.target

    def same_rows(self, split: str, mine: Sequence[int], other: Measured, theirs: Sequence[int]) -> None:
        """`Missing` where another table's rows of a set are not those that are scored here."""
        key = ("same rows", split, id(other), tuple(mine), tuple(theirs))
        told = self.model.once(key, lambda: difference(Scored(self.model, split, mine), Scored(other, split, theirs)))
        if told is not None:
            raise Missing(f"the other table {told}")


class Metric(ABC):
    """A metric: the class's docstring is the formula, then what it means.

    direction  where good lies
    blind      what it cannot see
    paper      where it comes from
    """

    direction: ClassVar[str]
    blind: ClassVar[str]
    paper: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """As in `scores.json`."""

    @classmethod
    def each(cls) -> list[Metric]:
        """The metrics that the class stands for: one, or one a set."""
        return [cls()]

    @abstractmethod
    def value(self, case: Case) -> Value:
        """The number, or `Missing` raised with the reason."""

    def interval(self, case: Case) -> Interval | None:
        """The 95 % interval of `value`, or None where there is none to give."""
        draws = self.draws(case)
        return None if draws is None else percentile(draws)

    def draws(self, case: Case) -> Floats | None:
        """The number in each resample of the rows; (DRAWS,)."""
        return None

    def toward(self) -> str:
        """The direction of this very metric."""
        return self.direction

    def description(self) -> str:
        """The class's docstring without its worked numbers, one line a paragraph."""
        parts = inspect.cleandoc(type(self).__doc__ or "").split("\n\n")
        return "\n\n".join(part.replace("\n", " ") for part in parts if not part.startswith(">>>"))

    def formula(self) -> str:
        """The first line of the description."""
        return self.description().split("\n\n")[0]


class TableMetric(Metric):
    """A metric that reads one table only, so that it can be asked of the retain model and of the target as well."""

    @abstractmethod
    def of(self, measured: Measured) -> Value:
        """The number of one table, or `Missing` raised with the reason."""

    @abstractmethod
    def draws_of(self, measured: Measured) -> Floats:
        """The number in each resample of the table's rows; (DRAWS,)."""

    def value(self, case: Case) -> Value:
        """The model's."""
        return self.of(case.model)

    def draws(self, case: Case) -> Floats | None:
        """The model's."""
        return self.draws_of(case.model)


class RowMetric(TableMetric):
    """A metric that is the mean of one number a row."""

    stream: ClassVar[str] = "forget"

    @abstractmethod
    def rows(self, measured: Measured) -> RowValues:
        """One number a row, or `Missing` raised with the reason."""

    def kept(self, measured: Measured) -> RowValues:
        """`rows`, computed once a table."""
        return measured.once(("rows", self.name), lambda: self.rows(measured))

    def of(self, measured: Measured) -> Value:
        """The mean over the rows."""
        values = self.kept(measured).values
        return Value(float(np.mean(values)), len(values))

    def draws_of(self, measured: Measured) -> Floats:
        """The mean of each resample."""
        return measured.once(
            ("draws", self.name), lambda: bootstrap_means(self.kept(measured).values, self.resampled_as())
        )

    def interval(self, case: Case) -> Interval | None:
        """Bias-corrected and accelerated bootstrap."""
        return bca_mean(self.kept(case.model).values, self.draws_of(case.model))

    def resampled_as(self) -> str:
        """Which resamples the rows take part in: those of one set are drawn together."""
        return self.stream


@dataclass(frozen=True)
class SetMetric(RowMetric):
    """A row metric that is asked for one set of questions; `{set}_{suffix}` is its name."""

    split: str
    suffix: ClassVar[str]
    splits: ClassVar[Sequence[str]] = tuple(SETS)

    @property
    def name(self) -> str:
        """`forget_probability` and the like."""
        return f"{self.split}_{self.suffix}"

    @classmethod
    def each(cls) -> list[Metric]:
        """One metric a set."""
        return [cls(split) for split in cls.splits]

    def resampled_as(self) -> str:
        """The set's name."""
        return self.split

    def toward(self) -> str:
        """On the forget set the retain model is the aim; everywhere else more is better."""
        return LIKE_RETAIN if self.split == "forget" else HIGHER


def of_other(metric: TableMetric, measured: Measured, whose: str) -> Value:
    """A metric of another table; what is missing there is said to be missing there."""
    try:
        return metric.of(measured)
    except Missing as lack:
        raise Missing(f"in the {whose}'s table: {lack}") from None
