"""Every metric before, after and of the retain model, in the groups and with the words in which a page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unlearnkit.report.comparison import number
from unlearnkit.report.gather import Story
from unlearnkit.score.suite import metrics

FIRST = (
    "forget_quality",
    "model_utility",
    "forget_probability",
    "forget_rouge",
    "forget_truth_ratio",
    "extraction_strength",
    "exact_memorization",
    "retain_probability",
    "retain_rouge",
    "retain_truth_ratio",
)


class Cell(NamedTuple):
    """A value with its 95 % interval, as they are shown; the reason where there is none."""

    value: str
    interval: str
    reason: str


class Line(NamedTuple):
    """One metric: its name, what it means, where good lies, and its cells, one a column."""

    name: str
    formula: str
    direction: str
    cells: Sequence[Cell]


class Grid(NamedTuple):
    """The columns' titles; the metrics that are looked at first; all others."""

    columns: Sequence[str]
    first: Sequence[Line]
    others: Sequence[Line]


def grid(story: Story) -> Grid:
    """Columns: the model before, each run, the retain model, as far as they were measured."""
    columns: list[tuple[str, Mapping[str, Any]]] = []
    if story.before is not None:
        columns.append(("before", story.before.to_json()["scores"]))
    columns += [("after" if len(story.runs) == 1 else run.name, run.scores) for run in story.runs]
    if story.retain is not None:
        columns.append(("retain model", story.retain.to_json()["scores"]))
    names = list(dict.fromkeys([*FIRST, *story.runs[0].scores]))
    lines = {name: _line(name, [scores for _, scores in columns]) for name in names}
    shown = {name: line for name, line in lines.items() if any(cell.value for cell in line.cells)}
    return Grid(
        [title for title, _ in columns],
        [line for name, line in shown.items() if name in FIRST],
        [line for name, line in lines.items() if name not in FIRST and name in shown]
        + [line for name, line in lines.items() if name not in shown],
    )


def _line(name: str, columns: Sequence[Mapping[str, Any]]) -> Line:
    known = metrics().get(name)
    found = [scores[name] for scores in columns if name in scores]
    direction = str(found[0]["direction"]) if found else ""
    return Line(name, known.formula() if known else "", direction, [_cell(scores.get(name)) for scores in columns])


def _cell(score: Mapping[str, Any] | None) -> Cell:
    if score is None:
        return Cell("", "", "not scored")
    if score["value"] is None:
        return Cell("", "", str(score["reason"]))
    interval = "" if score["interval"] is None else " to ".join(number(end) for end in score["interval"])
    return Cell(number(score["value"]), interval, str(score["reason"] or ""))
