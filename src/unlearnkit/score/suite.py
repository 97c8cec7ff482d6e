"""All metrics over one table: find them, score them, hand back numbers or reasons."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from unlearnkit.errors import unknown
from unlearnkit.score import metrics as folder
from unlearnkit.score.comparison import check_same_rows
from unlearnkit.score.measured import Measured, Missing
from unlearnkit.score.metric import Case, Metric, Score
from unlearnkit.score.protocols import protocol as protocol_named
from unlearnkit.score.verdict import verdict
from unlearnkit.table import Table

OTHERS = ("second_retain", "mia_reference")


@dataclass(frozen=True)
class Scores:
    """Every metric's score of one table under one protocol, and what they amount to."""

    protocol: str
    scores: Mapping[str, Score]
    verdict: Mapping[str, Any]

    def __getitem__(self, name: str) -> Score:
        """The score of that name."""
        if name not in self.scores:
            raise unknown("metric", name, self.scores)
        return self.scores[name]

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the shape of `scores.json`."""
        return {
            "protocol": self.protocol,
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "verdict": dict(self.verdict),
        }


@cache
def metrics() -> Mapping[str, Metric]:
    """Every metric by name: those of the classes in the files of `score/metrics/`, in the order of the files."""
    found: dict[str, Metric] = {}
    for entry in sorted(pkgutil.iter_modules(folder.__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{folder.__name__}.{entry.name}")
        for family in _families(module):
            found.update({metric.name: metric for metric in family.each()})
    return found


def metric(name: str) -> Metric:
    """The metric of that name, or a `UserError` with the nearest one."""
    if name not in metrics():
        raise unknown("metric", name, metrics())
    return metrics()[name]


def score_table(
    table: Table,
    reference: Table | None = None,
    protocol: str = "unlearnkit",
    target: Table | None = None,
    others: Mapping[str, Table] | None = None,
    intervals: bool = True,
) -> Scores:
    """Score one table by every metric.

    table      the model in question
    reference  the retain model, measured on the same rows; without it, what compares with it is None with a reason
    target     the model before unlearning
    others     further tables: "second_retain" (a retain model of another seed, for the noise floor of forget quality),
               "mia_reference" (for the reference attack; the retain model where left out)
    intervals  whether to bootstrap 95 % intervals

    A reference that does not score the same rows is a `UserError` that names what differs.
    """
    rules = protocol_named(protocol)
    others = others or {}
    for role in others:
        if role not in OTHERS:
            raise unknown("role of a table", role, OTHERS)
    case = Case(
        rules,
        Measured(table, rules),
        None if reference is None else Measured(reference, rules),
        None if target is None else Measured(target, rules),
        {role: Measured(other, rules) for role, other in others.items()},
    )
    _check_rows(case)
    scores = {name: _score(each, case, intervals) for name, each in metrics().items()}
    return Scores(protocol, scores, verdict(case))


def _check_rows(case: Case) -> None:
    tables = {"the reference": case.reference, "the target": case.target}
    tables |= {f"the table given as {role}": measured for role, measured in case.others.items()}
    for whose, measured in tables.items():
        if measured is not None:
            check_same_rows(case.model, measured, whose)


def _score(each: Metric, case: Case, intervals: bool) -> Score:
    try:
        found = each.value(case)
        if not math.isfinite(found.value):
            raise Missing(f"its value is {found.value}, which is no number to compare")
        interval = each.interval(case) if intervals else None
        return Score(found.value, found.n, interval, each.toward(), found.note)
    except Missing as lack:
        return Score(None, 0, None, each.toward(), str(lack))


def _families(module: Any) -> Iterator[type[Metric]]:
    for value in vars(module).values():
        own = inspect.isclass(value) and issubclass(value, Metric) and value.__module__ == module.__name__
        if own and not inspect.isabstract(value):
            yield value
