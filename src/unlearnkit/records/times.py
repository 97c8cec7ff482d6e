"""Moments as records write them: UTC, ISO 8601, ending in Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


def now() -> str:
    """This moment."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_time(value: Any) -> bool:
    """Is this such a moment, with at most six decimals?

    >>> is_time("2026-05-17T23:38:46Z"), is_time("2026-02-30T00:00:00Z"), is_time("2026-05-17")
    (True, False, False)
    """
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True
