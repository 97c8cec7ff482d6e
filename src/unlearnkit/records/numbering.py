"""Numbers of records as they are written: `pith:2024:CKQSJSYXKAYGDX6EIU3EIOSV2E`, `unlearnkit:2026:...`.

The scheme, the year in which the thing was submitted, and the first 26 characters of the base32 of the canonical
record's SHA-256. The short aliases are the first 8, 12 and 16 of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unlearnkit.canonical import ALIAS_LENGTHS, NUMBER_LENGTH, sha256_of, short_number
from unlearnkit.errors import UserError

OURS, PITH = "unlearnkit", "pith"
_GIVEN = re.compile(rf"(?:(?:{PITH}|{OURS}):(\d{{4}}):)?([A-Z2-7]+)", re.IGNORECASE | re.ASCII)
_SUBMITTED = re.compile(r"(\d{4})-\d\d-\d\dT", re.ASCII)


def is_run_record(record: Mapping[str, Any]) -> bool:
    """Is this the record of a run of unlearnkit, which may carry its own number?"""
    source = record.get("source")
    return isinstance(source, dict) and source.get("kind") == OURS


def without_number(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record's hash covers: for a run record everything but its number, for others everything."""
    return {key: value for key, value in record.items() if key != "number" or not is_run_record(record)}


def year_of(record: Mapping[str, Any]) -> str | None:
    """The year in which what the record describes was submitted, where it tells."""
    metadata = record.get("metadata")
    submitted = metadata.get("submitted_at") if isinstance(metadata, dict) else None
    found = _SUBMITTED.match(submitted) if isinstance(submitted, str) else None
    return found.group(1) if found else None


def number_of(record: Mapping[str, Any], scheme: str | None = None) -> str:
    """The number of a canonical record, written in full; the scheme is the record's own where none is asked for.

    >>> number_of({"source": {}, "metadata": {"submitted_at": "2024-01-11T18:57:12Z"}})
    'pith:2024:ZIZQCPTMYMP4XEEN63WBSN3R7X'
    """
    scheme = scheme or (OURS if is_run_record(record) else PITH)
    return f"{scheme}:{year_of(record) or '????'}:{short_number(sha256_of(without_number(record)))}"


def parse_number(text: str) -> tuple[str | None, str]:
    """The year, where it is given, and the letters of a number or of a short alias.

    >>> parse_number("pith:2024:CKQSJSYXKAYGDX6EIU3EIOSV2E"), parse_number("CKQSJSYX")
    (('2024', 'CKQSJSYXKAYGDX6EIU3EIOSV2E'), (None, 'CKQSJSYX'))
    """
    found = _GIVEN.fullmatch(text.strip())
    if found is None or len(found.group(2)) not in (*ALIAS_LENGTHS, NUMBER_LENGTH):
        raise UserError(
            f"{text[:80]!r} is no number; give pith:YEAR:NUMBER with 26 letters and digits (A-Z, 2-7), or the first "
            "8, 12 or 16 of them"
        )
    return found.group(1), found.group(2).upper()
