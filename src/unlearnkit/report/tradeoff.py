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

# Okabe and Ito's palette: told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#6A51A3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MEANINGFUL = 0.05  # NPO calls a forget quality above this meaningful forgetting

Entry = Mapping[str, Any]


def draw_tradeoff(
    entries: Sequence[Entry], path: str | Path, title: str, fixed: Sequence[str] = ("target", "retain")
) -> None:
    """Draw log10 forget quality against model utility, one line a method from the target model on, and save as PNG.

    entries  one a measured epoch: "objective", "epoch", "forget_quality", "model_utility"
    fixed    objectives that are single models and not trajectories: the target, the retain models
    """
    figure = Figure(figsize=(8, 5.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    known = [entry for entry in entries if entry["forget_quality"] is not None and entry["model_utility"] is not None]
    start = next((entry for entry in known if entry["objective"] == "target"), None)
    methods = list(dict.fromkeys(entry["objective"] for entry in known if entry["objective"] not in fixed))
    for number, method in enumerate(methods):
        run = sorted((entry for entry in known if entry["objective"] == method), key=lambda entry: entry["epoch"])
        _draw_run(axes, [*([start] if start and run[0]["epoch"] else []), *run], method, number)
    for name in fixed:
        _draw_model(axes, [entry for entry in known if entry["objective"] == name], name)
    axes.axhline(math.log10(MEANINGFUL), color="#777777", linewidth=0.8, linestyle=":")
    axes.annotate(
        "p = 0.05", (0.005, math.log10(MEANINGFUL)), xycoords=("axes fraction", "data"), va="bottom", fontsize=8
    )
    axes.set_xlabel("model utility (harmonic mean of nine; right is better)")
    axes.set_ylabel("log₁₀ forget quality (up is better)")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(left=-0.02)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if methods:
        axes.legend(frameon=False, fontsize=8, loc="best")
    _save(figure, Path(path))


def _draw_run(axes: Axes, run: Sequence[Entry], method: str, number: int) -> None:
    """One method's line; points grow with the epoch, so that one sees which way it goes."""
    x = [entry["model_utility"] for entry in run]
    y = [_log10(entry["forget_quality"]) for entry in run]
    colour = COLOURS[number % len(COLOURS)]
    axes.plot(x, y, color=colour, linewidth=1.4, alpha=0.8, zorder=2)
    sizes = [18 + 60 * place / max(1, len(run) - 1) for place in range(len(run))]
    axes.scatter(x, y, s=sizes, color=colour, marker=MARKERS[number % len(MARKERS)], label=method, zorder=3)


def _draw_model(axes: Axes, entries: Sequence[Entry], name: str) -> None:
    for entry in entries:
        point = (entry["model_utility"], _log10(entry["forget_quality"]))
        axes.scatter(*point, s=130, marker="*", color="black", zorder=4)
        axes.annotate(name, point, xytext=(7, -4), textcoords="offset points", fontsize=9)


def _log10(p: float) -> float:
    """log10 of a p-value; the smallest that a float holds stands for one that has underflown."""
    return math.log10(max(p, 5e-324))


def _save(figure: Figure, path: Path) -> None:
    aside = path.with_name(f".{path.stem}.{os.getpid()}.png")
    figure.savefig(aside)
    os.replace(aside, path)
