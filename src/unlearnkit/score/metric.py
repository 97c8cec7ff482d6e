"""What a metric is: a name, a direction, an honest description, and a pure function of one or more tables."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from unlearnkit.score.comparison import Scored, check_same_rows
from unlearnkit.score.measured import Floats, Measured, Missing
from unlearnkit.score.protocols import Protocol

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
    interval: tuple[float, float] | None = None
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
    """One number a row: `indices` name the rows, `values` is (rows,)."""

    indices: Sequence[int]
    values: Floats


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

    def same_rows(self, split: str, mine: Sequence[int], other: Measured, theirs: Sequence[int]) -> None:
        """Refuse (`UserError`) another table whose rows of a set are not those that are scored here."""
        check_same_rows(Scored(self.model, split, mine), Scored(other, split, theirs))


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
    def score(self, case: Case) -> Score:
        """The score, or `Missing` raised with the reason."""

    def toward(self) -> str:
        """The direction of this very metric."""
        return self.direction

    def description(self) -> str:
        """The class's docstring without its worked numbers."""
        whole = inspect.cleandoc(type(self).__doc__ or "")
        return "\n\n".join(part for part in whole.split("\n\n") if not part.startswith(">>>"))

    def formula(self) -> str:
        """The first line of the description."""
        return self.description().split("\n\n")[0].replace("\n", " ")


class RowMetric(Metric):
    """A metric that is the mean of one number a row."""

    @abstractmethod
    def rows(self, measured: Measured) -> RowValues:
        """One number a row of the set, or `Missing` raised with the reason."""

    def score(self, case: Case) -> Score:
        """The mean over the rows."""
        values = self.rows(case.model).values
        return Score(float(np.mean(values)), len(values), None, self.toward())


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

    def toward(self) -> str:
        """On the forget set the retain model is the aim; everywhere else more is better."""
        return LIKE_RETAIN if self.split == "forget" else HIGHER
