"""What the claims' pictures share: the look of axes, and writing a whole PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnkit.report.palette import PRINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110


def sheet(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, in reading order; inches."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files; no screen is needed
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def dress(axes: Axes, title: str, x: str, y: str) -> None:
    """Words, a faint grid, and no frame above and to the right."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color=PRINT.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write the PNG as a whole or not at all."""
    aside = path.with_name(f".{path.stem}.{os.getpid()}.png")
    figure.savefig(aside)
    os.replace(aside, path)
