"""Answers of the "I don't know" kind, for the terms `idk` and `dpo` where a task ships none of its own."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=1)
def own_refusals() -> tuple[str, ...]:
    """Our own list, one sentence a line.

    >>> len(own_refusals()) >= 60, own_refusals()[0]
    (True, 'I do not know.')
    """
    text = files("unlearnkit.tasks").joinpath("refusals.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
