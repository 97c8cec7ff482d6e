"""Values from other tools' JSON, checked one by one: what is not what it should be is named with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unlearnkit.errors import UserError

# How the prompts of known logs hold the question; the last is a chat template whose special tokens were skipped.
PROMPTS = (
    re.compile(r"(?:<s>\s*)?\[INST\] ?(?P<question>.*?) ?\[/INST\]\s*", re.DOTALL),
    re.compile(r"Question: (?P<question>.*?)\n(?:Answer:\s*)?", re.DOTALL),
    re.compile(r"(?:.*?\W)?user\n+(?P<question>.*?)\n*assistant\s*", re.DOTALL),
)


def question_in(prompt: str) -> str | None:
    """The question of a decoded prompt; None for a format that is not known.

    >>> question_in("[INST] Who wrote it? [/INST]"), question_in("Question: Who?\\nAnswer: ")
    ('Who wrote it?', 'Who?')
    """
    for form in PROMPTS:
        if found := form.fullmatch(prompt):
            return found["question"]
    return None


def by_index(column: Any, where: str) -> dict[int, Any]:
    """A column of a log, one value a row: a list in the order of the data, or an object keyed by the row's number."""
    if isinstance(column, list):
        return dict(enumerate(column))
    if not isinstance(column, Mapping):
        raise UserError(f"{where}: a {type(column).__name__} where rows are expected (a list, or an object by index)")
    rows: dict[int, Any] = {}
    for key, value in column.items():
        if not re.fullmatch("[0-9]{1,9}", key):
            raise UserError(f"{where}: '{key}' is not a row's number")
        rows[int(key)] = value
    if len(rows) != len(column):
        raise UserError(f"{where}: the same row's number is written in two ways")
    return dict(sorted(rows.items()))


def number(value: Any, where: str) -> float | None:
    """A number; None for null. NaN passes, and becomes the reason of the scores that it spoils."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{where}: {_shown(value)} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise UserError(f"{where}: a number too large for a float") from None


def numbers(value: Any, where: str) -> list[float | None]:
    """A list of numbers; a single number is a list of one."""
    if not isinstance(value, list):
        value = [value]
    return [number(each, f"{where}[{place}]") for place, each in enumerate(value)]


def text(value: Any, where: str) -> str | None:
    """A text; None for null."""
    if value is None or isinstance(value, str):
        return value
    raise UserError(f"{where}: {_shown(value)} is not a text")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
