"""Scores: pure functions of tables of measurements. Nothing here runs a model or imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearnkit.score.logs import read_measurements
    from unlearnkit.score.suite import Scores, score_table

__all__ = ["Scores", "read_measurements", "score_table"]


def __getattr__(name: str) -> Any:
    """Import scipy and pyarrow only when a score is really asked for, so that `--help` stays quick."""
    if name == "read_measurements":
        from unlearnkit.score.logs import read_measurements

        return read_measurements
    if name in ("Scores", "score_table"):
        from unlearnkit.score import suite

        return getattr(suite, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
