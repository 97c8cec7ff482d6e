"""The lines of a ledger, read one at a time within bounds, and what each of them is: an event, or invalid and why."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unlearnkit.canonical import FLOAT_KEY, canonical_bytes, parse_json, refuse_depth
from unlearnkit.errors import UserError
from unlearnkit.records.event_rules import REASONS, Opened, open_event

MAX_LINE = 16 * 2**20
INVALID_VERSION = "unlearnkit-invalid-1"  # a merged ledger's note of a line that was invalid, in place of the line
_INVALID_KEYS = {"event_version", "line_sha256", "reason"}
_CLAIM = re.compile(rb'\{"created_at":"[0-9TZ:.-]{20,27}","event_id":"sha256:([0-9a-f]{64})",')
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Line:
    """One line of a file: its number from 1, its SHA-256, and its bytes, or None where it is longer than `MAX_LINE`."""

    number: int
    sha256: str
    data: bytes | None


@dataclass(frozen=True)
class Judged:
    """What a line is: an event with its canonical bytes, or invalid with a reason of `REASONS`."""

    event: dict[str, Any] | None
    data: bytes
    line_sha256: str
    reason: str | None


def read_lines(path: str | Path) -> Iterator[Line]:
    """Every line that is not blank; of one that is too long only the hash is kept."""
    try:
        with open(path, "rb") as stream:
            yield from _lines(stream)
    except (OSError, ValueError) as problem:
        raise UserError(f"{path}: not readable ({getattr(problem, 'strerror', None) or problem})") from None


def judge(line: Line) -> Judged:
    """Parse a line and judge what is in it. Never raises for what a line holds."""
    if line.data is None:
        return Judged(None, b"", line.sha256, "too_long")
    opened = _open_canonical(line.data)
    if opened is not None:
        return Judged(opened.event, line.data, line.sha256, None)
    try:
        value = parse_json(line.data, "line", MAX_LINE)
    except UserError:
        return Judged(None, b"", line.sha256, "not_json")
    if isinstance(value, dict) and set(value) == _INVALID_KEYS:
        return _noted(value, line.sha256)
    opened, reason = open_event(value, parsed=True)
    if opened is None:
        return Judged(None, b"", line.sha256, reason)
    return Judged(opened.event, opened.line, line.sha256, None)


def claimed_id(data: bytes) -> str | None:
    """The 64 digits of the id that a line in canonical form claims, without parsing it."""
    found = _CLAIM.match(data)
    return found.group(1).decode("ascii") if found else None


def invalid_note(line_sha256: str, reason: str) -> bytes:
    """The line that a merged ledger holds in place of an invalid one, so that merging again knows of it."""
    note = {"event_version": INVALID_VERSION, "line_sha256": line_sha256, "reason": reason}
    return canonical_bytes(note)


def _open_canonical(data: bytes) -> Opened | None:
    """The valid event of a line in canonical form, as nearly all lines are.

    Such a line needs no careful parsing: that it equals the canonical form of what was read from it proves that no key
    stood twice and that every number is JSON's.
    """
    if not data.startswith(b'{"created_at":') or b"\\u" in data or FLOAT_KEY.encode() in data:
        return None
    try:
        text = data.decode("utf-8")
        refuse_depth(text)
        opened, _ = open_event(json.loads(text), parsed=True)
        return opened if opened is not None and opened.line == data else None
    except (ValueError, RecursionError):  # UserError is a ValueError
        return None


def _noted(value: dict[str, Any], line_sha256: str) -> Judged:
    said, reason = value["line_sha256"], value["reason"]
    known = isinstance(reason, str) and reason in REASONS and isinstance(said, str) and _DIGEST.fullmatch(said)
    if not known or value["event_version"] != INVALID_VERSION:
        return Judged(None, b"", line_sha256, "not_an_event")
    return Judged(None, b"", said, reason)


def _lines(stream: BinaryIO) -> Iterator[Line]:
    number = 0
    while data := stream.readline(MAX_LINE + 1):
        number += 1
        if len(data) > MAX_LINE and not data.endswith(b"\n"):
            yield Line(number, _hash_rest(stream, data), None)
            continue
        data = data.rstrip(b"\n")
        if data.strip():
            yield Line(number, hashlib.sha256(data).hexdigest(), data)


def _hash_rest(stream: BinaryIO, data: bytes) -> str:
    sha = hashlib.sha256(data)
    while data and not data.endswith(b"\n"):
        data = stream.readline(2**20)
        sha.update(data.rstrip(b"\n"))
    return sha.hexdigest()
