"""The trade-off picture of TOFU: how much was forgotten against how much is left."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files; no screen is needed

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnkit.report.palette import MARKERS, PRINT, Palette

MEANINGFUL = 0.05  # NPO calls a forget quality above this meaningful forgetting

Entry = Mapping[str, Any]


UTILITY = "model_utility"


def draw_tradeoff(
    entries: Sequence[Entry],
    path: str | Path,
    title: str,
    fixed: Sequence[str] = ("target", "retain"),
    utility: str = UTILITY,
) -> None:
    """Draw log10 forget quality against model utility, one line a method from the target model on, and save as PNG.

    entries  one a measured epoch: "objective", "epoch", "forget_quality" and the metric `utility`
    fixed    objectives that are single models and not trajectories: the target, the retain models
    utility  what is to be kept; model utility says nothing of a model that never knew real authors
    """
    figure = Figure(figsize=(8, 5.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    methods = plot_tradeoff(axes, entries, fixed, PRINT, utility)
    axes.set_title(title, loc="left", fontsize=11)
    if methods:
        axes.legend(frameon=False, fontsize=8, loc="best")
    _save(figure, Path(path))


def plot_tradeoff(
    axes: Axes, entries: Sequence[Entry], fixed: Sequence[str], palette: Palette, utility: str = UTILITY
) -> list[str]:
    """Draw the picture into `axes`; returns the methods that have a line, in the order of their colours.

    Each point is an artist of its own, called `METHOD-EPOCH` by numbers, such as `point-0-3`, and each model
    `model-NAME`, so that a page can find them.
    """
    known = [
        {**entry, "utility": entry[utility]}
        for entry in entries
        if entry["forget_quality"] is not None and entry[utility] is not None
    ]
    start = next((entry for entry in known if entry["objective"] == "target"), None)
    methods = list(dict.fromkeys(entry["objective"] for entry in known if entry["objective"] not in fixed))
    for number, method in enumerate(methods):
        run = sorted((entry for entry in known if entry["objective"] == method), key=lambda entry: entry["epoch"])
        _draw_run(axes, [*([start] if start and run[0]["epoch"] else []), *run], method, number, palette)
    for place, name in enumerate(fixed):
        for entry in known:
            if entry["objective"] == name:
                _draw_model(axes, entry, name, place, palette)
    _dress(axes, palette, [entry["utility"] for entry in known])
    words = "model utility (harmonic mean of nine; right is better)"
    axes.set_xlabel(words if utility == UTILITY else f"{utility.replace('_', ' ')} (right is better)")
    return methods


def _dress(axes: Axes, palette: Palette, utilities: Sequence[float]) -> None:
    """Axes, their words, and the line above which forgetting is called meaningful."""
    level = math.log10(MEANINGFUL)
    axes.axhline(level, color=palette.ink, linewidth=0.8, linestyle=":")
    axes.annotate("p = 0.05", (0.005, level), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
    axes.set_ylabel("log₁₀ forget quality (up is better)")
    left, right = min(utilities, default=0.0), max([*utilities, 1e-3])
    # from zero where a run has lost much of what it could do, else close enough to tell the epochs apart
    axes.set_xlim(-0.02 if left < 0.6 * right else left - 0.1 * right, 1.05 * right)
    axes.margins(y=0.08)
    axes.grid(color=palette.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_run(axes: Axes, run: Sequence[Entry], method: str, number: int, palette: Palette) -> None:
    """One method's line; points grow with the epoch, so that one sees which way it goes."""
    x = [entry["utility"] for entry in run]
    y = [_log10(entry["forget_quality"]) for entry in run]
    colour, marker = palette.of(number), MARKERS[number % len(MARKERS)]
    axes.plot(x, y, color=colour, linewidth=1.4, alpha=0.8, zorder=2, gid=f"line-{number}")
    for place, entry in enumerate(run):
        last = place == len(run) - 1
        axes.plot(
            x[place],
            y[place],
            marker=marker,
            markersize=4 + 4 * place / max(1, len(run) - 1),
            color=colour,
            linestyle="none",
            label=method if last else None,
            zorder=3,
            gid=f"point-{number}-{entry['epoch']}" if entry["objective"] == method else f"start-{number}",
        )


def _draw_model(axes: Axes, entry: Entry, name: str, place: int, palette: Palette) -> None:
    point = (entry["utility"], _log10(entry["forget_quality"]))
    axes.plot(*point, marker="*", markersize=13, color=palette.ink, linestyle="none", zorder=4, gid=f"model-{place}")
    right = entry["utility"] > 0.5 * axes.get_xlim()[1]
    axes.annotate(
        name,
        point,
        xytext=(-9 if right else 9, 5 if place % 3 == 1 else -11 if place % 3 == 2 else -3),
        textcoords="offset points",
        ha="right" if right else "left",
        fontsize=9,
    )


def _log10(p: float) -> float:
    """log10 of a p-value; the smallest that a float holds stands for one that has underflown."""
    return math.log10(max(p, 5e-324))


def _save(figure: Figure, path: Path) -> None:
    aside = path.with_name(f".{path.stem}.{os.getpid()}.png")
    figure.savefig(aside)
    os.replace(aside, path)
