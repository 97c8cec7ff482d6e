"""Trade-off pictures of several methods and splits: log10 forget quality against the share of utility kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path as File
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnkit.claims.drawing import dress, save, sheet
from unlearnkit.claims.mini.paths import KEPT, MEANINGFUL, Path
from unlearnkit.report.palette import MARKERS, PRINT

LOWEST = -30.0  # forget qualities below are drawn here


class Look(NamedTuple):
    """How a method is drawn: the numbers of its colour and its marker, and the kind of its line."""

    colour: int
    marker: int
    line: str = "-"


def draw_tradeoffs(
    panels: Mapping[str, Mapping[str, Path]],
    sizes: Mapping[str, int],
    file: File,
    looks: Mapping[str, Look] | None = None,
) -> None:
    """One panel a split, one line a method from the target model on; the last epoch is filled.

    panels  by title, then by method
    sizes   the size of the points in each panel, such as the rows of its forget set
    looks   of the methods; without them each has the next colour and the next marker
    """
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    figure, axes = sheet(down, across, 4.6 * across, 4.2 * down)
    largest = max(sizes.values())
    for panel, (title, methods) in zip(axes, panels.items(), strict=False):
        for number, (method, path) in enumerate(methods.items()):
            look = Look(number, number) if looks is None else looks[method]
            _line(panel, method, path, look, 12 + 48 * sizes[title] / largest)
        panel.axhline(math.log10(MEANINGFUL), color=PRINT.ink, linewidth=0.8, linestyle=":")
        panel.axvline(KEPT, color=PRINT.ink, linewidth=0.8, linestyle=":")
        dress(panel, title, "model utility, share of the target's", "log₁₀ forget quality")
    for spare in axes[len(panels) :]:
        spare.set_visible(False)
    _legend(figure, axes, looks)
    save(figure, file)


def _legend(figure: Figure, axes: Sequence[Axes], looks: Mapping[str, Look] | None) -> None:
    """One for all panels, which need not have the same methods; in the order of the looks."""
    handles = {label: h for panel in axes for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    labels = [label for label in looks or handles if label in handles]
    figure.legend(
        [handles[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=min(5, len(labels)),
        frameon=False,
        fontsize=9,
    )


def _line(axes: Axes, method: str, path: Path, look: Look, size: float) -> None:
    x = [point.utility for point in path]
    y = [max(point.log10, LOWEST) for point in path]
    colour, marker = PRINT.of(look.colour), MARKERS[look.marker % len(MARKERS)]
    axes.plot(x, y, color=colour, linewidth=1.2, linestyle=look.line, alpha=0.8, zorder=2)
    axes.scatter(x[:-1], y[:-1], s=size, marker=marker, facecolors="white", edgecolors=colour, linewidths=1, zorder=3)
    axes.scatter(x[-1:], y[-1:], s=1.6 * size, marker=marker, color=colour, zorder=4, label=method)
