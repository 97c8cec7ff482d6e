"""Measured epochs as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS = (
    ("forget_quality", "forget quality"),
    ("model_utility", "model utility"),
    ("forget_probability", "forget prob."),
    ("forget_rouge", "forget ROUGE-L"),
    ("forget_truth_ratio", "forget truth ratio"),
)


def show_trajectory(entries: Sequence[dict[str, Any]]) -> None:
    """Print one line a measured epoch; a missing value is a dash."""
    if not entries:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("objective", no_wrap=True)
    for title in ("epoch", *(title for _, title in COLUMNS)):
        table.add_column(title, justify="right")
    for entry in entries:
        cells = [_cell(entry.get(name)) for name, _ in COLUMNS]
        table.add_row(entry["objective"], str(entry["epoch"]), *cells)
    Console().print(table)


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3f}"
