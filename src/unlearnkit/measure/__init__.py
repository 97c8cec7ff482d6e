"""Measuring: the model is run once over every answer, and what it says is kept in a table."""

from unlearnkit.measure.measure import measure

__all__ = ["measure"]
