"""Measured epochs of several methods as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    ("forget_quality", "forget quality"),
    ("model_utility", "model utility"),
    ("forget_probability", "forget probability"),
    ("forget_rouge", "forget ROUGE-L"),
    ("forget_truth_ratio", "forget truth ratio"),
    ("retain_probability", "retain probability"),
    ("retain_rouge", "retain ROUGE-L"),
)


def markdown_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """One line a measured epoch; a missing value is a dash.

    >>> print(markdown_table([{"objective": "ga", "epoch": 1, "forget_quality": 1e-5, "model_utility": 0.5}]))
    | objective | epoch | forget quality | model utility |
    |---|---|---|---|
    | `ga` | 1 | 1.0e-05 | 0.500 |
    """
    shown = [(name, title) for name, title in COLUMNS if any(name in entry for entry in entries)]
    lines = ["| objective | epoch | " + " | ".join(title for _, title in shown) + " |"]
    lines.append("|" + "---|" * (2 + len(shown)))
    for entry in entries:
        cells = [number(entry.get(name)) for name, _ in shown]
        lines.append(f"| `{entry['objective']}` | {entry['epoch']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """A value as it is shown: three decimals, powers of ten below a thousandth, a dash for none."""
    if value is None:
        return "–"
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3f}"
