"""The pictures of a report: the trade-off, the distributions that forget quality compares, and the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from unlearnkit.report.comparison import number
from unlearnkit.report.figures import Picture, picture
from unlearnkit.report.gather import Story
from unlearnkit.report.palette import STAND_IN
from unlearnkit.report.tradeoff import plot_tradeoff
from unlearnkit.score.measured import Measured, Missing
from unlearnkit.score.metrics.forget_quality import ks_distance
from unlearnkit.score.metrics.truth_ratio import log_ratios
from unlearnkit.score.protocols import protocol
from unlearnkit.table import Table

WIDE, NARROW = (7.4, 4.5), (4.1, 4.1)
CLOSEST, FARTHEST = 1e-12, 1e12  # truth ratios beyond are drawn at the edge: a collapsed model has 1e-40 and less

LONGEST_NAME = 24  # letters of a run's name in the picture; the buttons above it have all of it

Floats = NDArray[np.float64]


class Chart(NamedTuple):
    """A picture in one or two widths, a caption, and its numbers as a table for those who do not see it."""

    title: str
    pictures: Sequence[Picture]
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def entries_of(story: Story) -> list[dict[str, Any]]:
    """One entry a measured epoch of every run, and one for each model that they are compared with."""
    fixed = list(story.fixed)
    for name, scores in (("target", story.before), ("retain", story.retain)):
        if scores is not None and name not in [entry["objective"] for entry in fixed]:
            values = {metric: score.value for metric, score in scores.scores.items()}
            fixed.append({"objective": name, "epoch": 0, **values})
    runs = []
    for run in story.runs:
        after = {metric: score["value"] for metric, score in run.scores.items()}
        runs += [{"objective": run.name, **entry} for entry in run.epochs or [{"epoch": 1, **after}]]
    both = ("forget_quality", "model_utility")
    return [entry for entry in fixed + runs if all(_is_number(entry.get(name)) for name in both)]


def tradeoff(story: Story) -> Chart | None:
    """Forget quality against model utility, every epoch of every run; None where either is missing everywhere."""
    entries = entries_of(story)
    names = {run.name for run in story.runs}
    if not any(entry["objective"] in names for entry in entries):
        return None
    fixed = list(dict.fromkeys(entry["objective"] for entry in entries if entry["objective"] not in names))
    # an epoch 0 is the target itself, and the line begins there anyway
    shown = [entry for entry in entries if entry["objective"] in fixed or entry["epoch"] or "target" not in fixed]
    methods = list(dict.fromkeys(entry["objective"] for entry in shown if entry["objective"] not in fixed))
    rows = [
        [entry["objective"], str(entry["epoch"]), number(entry["forget_quality"]), number(entry["model_utility"])]
        for entry in shown
    ]
    points = {}
    for row, entry in zip(rows, shown, strict=True):
        model = entry["objective"] in fixed
        gid = f"model-{fixed.index(row[0])}" if model else f"point-{methods.index(row[0])}-{row[1]}"
        what = f"{row[0]} model" if row[0] in ("target", "retain") else row[0]
        points[gid] = f"{what}{'' if model else f', epoch {row[1]}'}: forget quality {row[2]}, model utility {row[3]}"
    words = (
        f"Forget quality on a logarithmic scale against model utility, for {len(methods)} "
        f"{'run' if len(methods) == 1 else 'runs'} over their epochs. Step through the points with the arrow keys."
    )
    pictures = [
        picture(name, size, lambda axes: _plot(axes, shown, fixed), words, points)
        for name, size in (("tradeoff", WIDE), ("tradeoff-narrow", NARROW))
    ]
    caption = (
        "Each line is a run, from the model before unlearning on; points grow with the epochs. Up: harder to tell from a "
        "model that never saw the rows. Right: more is left of everything else. Stars: single models."
    )
    return Chart("The trade-off", pictures, caption, ("model or run", "epoch", "forget quality", "model utility"), rows)


def _plot(axes: Axes, entries: Sequence[Mapping[str, Any]], fixed: Sequence[str]) -> None:
    plot_tradeoff(axes, entries, fixed, STAND_IN)


def distributions(story: Story) -> Chart | None:
    """The empirical distribution functions of the truth ratio R on the forget set, before, after and of the retain model.

    Forget quality is the p-value of the largest vertical distance between a run's curve and the retain model's.
    """
    curves: list[tuple[str, str | None, Floats]] = []
    for name, role in (("before", "target"), ("retain model", "reference")):
        logs = _logs(story.table(role), story.runs[0].protocol)
        if logs is not None:
            curves.append((name, STAND_IN.before if role == "target" else STAND_IN.retain, logs))
    unseen = next((logs for name, _, logs in curves if name == "retain model"), None)
    for run in story.runs:
        logs = _logs(run.table, run.protocol)
        if logs is not None:
            curves.append((run.name, None, logs))
    if len(curves) < 1 or not any(colour is None for _, colour, _ in curves):
        return None
    rows = []
    for name, _, logs in curves:
        quarters = [number(float(np.exp(np.quantile(logs, share)))) for share in (0.25, 0.5, 0.75)]
        distance = "–" if unseen is None else number(ks_distance(logs, unseen))
        rows.append([name, str(len(logs)), *quarters, distance])
    words = (
        "Cumulative distributions of the truth ratio over the forget rows, for "
        f"{', '.join(name for name, _, _ in curves)}."
    )
    pictures = [
        picture(name, size, lambda axes: _steps(axes, curves), words)
        for name, size in (("distributions", (7.4, 3.9)), ("distributions-narrow", (4.1, 3.6)))
    ]
    caption = (
        "The share of forget rows whose truth ratio R is at most x. R below 1: the model finds the truth likelier than "
        "wrong answers. The largest vertical distance of a run's curve from the retain model's is what forget quality tests."
    )
    columns = ("model or run", "rows", "first quartile of R", "median", "third quartile", "distance from retain model")
    return Chart("Truth ratios", pictures, caption, columns, rows)


def _logs(table: Table | None, rules: str) -> Floats | None:
    if table is None:
        return None
    try:
        return log_ratios(Measured(table, protocol(rules)), "forget").values
    except Missing:
        return None


def _steps(axes: Axes, curves: Sequence[tuple[str, str | None, Floats]]) -> None:
    run = 0
    for name, colour, logs in curves:
        x = np.clip(np.exp(np.sort(logs)), CLOSEST, FARTHEST)
        style = {"before": "--", "retain model": ":"}.get(name, "-") if colour else "-"
        gid = None if colour else f"series-{run}"
        short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        axes.ecdf(x, color=colour or STAND_IN.of(run), linestyle=style, linewidth=1.8, gid=gid, label=short)
        run += colour is None
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    axes.set_xlabel("truth ratio R (left: prefers the truth)")
    axes.set_ylabel("share of forget rows")
    axes.axvline(1, color=STAND_IN.ink, linewidth=0.8, linestyle=":")
    _plain(axes)


def losses(story: Story) -> list[Chart]:
    """Each term's loss over the steps: one picture a term, one line a run that has it."""
    held = [run.losses for run in story.runs]
    names = list(dict.fromkeys(name for _, terms in held for name in terms))
    alone = [name for name in names if name != "total"]
    names = alone if len(alone) == 1 and len(held) == 1 else alone + [name for name in names if name == "total"]
    return [chart for place, name in enumerate(names) if (chart := _loss(story, held, name, place)) is not None]


def _loss(story: Story, held: Sequence[tuple[Any, Any]], name: str, place: int) -> Chart | None:
    lines = {
        run: (steps, [value if _is_number(value) else math.nan for value in terms[name]])
        for run, (steps, terms) in enumerate(held)
        if name in terms and steps
    }
    if not lines:
        return None
    rows = [
        [story.runs[run].name, str(steps[0]), number(values[0]), str(steps[-1]), number(values[-1])]
        for run, (steps, values) in lines.items()
    ]
    said = "the loss that is minimised" if name == "total" else f"the term {name}"
    words = f"{said} over the steps of {', '.join(row[0] for row in rows)}"
    drawn = picture(f"loss-{place}", (3.7, 2.5), lambda axes: _lines(axes, lines), words)
    return Chart(name, [drawn], "", ("run", "first step", "loss", "last step", "loss"), rows)


def _lines(axes: Axes, lines: Mapping[int, tuple[Sequence[int], Sequence[float]]]) -> None:
    for run, (steps, values) in lines.items():
        marker = "o" if len(steps) < 3 else None
        axes.plot(steps, values, color=STAND_IN.of(run), linewidth=1.4, marker=marker, gid=f"series-{run}")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(color=STAND_IN.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
