"""Rows from JSON lines and plain lines: a bad one is refused by file, line and field; none is dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from unlearnkit.errors import UserError
from unlearnkit.tasks.base import Row

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Record(NamedTuple):
    """One JSON object of a file. `where` is "FILE, line N", the beginning of every complaint about it."""

    where: str
    fields: dict[str, Any]

    def text(self, field: str) -> str:
        """The text of a field as it stands, blanks and all; a missing, empty or other value is a `UserError`.

        >>> Record("x.json, line 3", {"answer": "  Ann. "}).text("answer")
        '  Ann. '
        """
        if field not in self.fields:
            raise UserError(f"{self.where}: field '{field}' is missing (there are: {', '.join(self.fields) or 'none'})")
        return self._checked(self.fields[field], field)

    def texts(self, field: str, count: int) -> tuple[str, ...]:
        """A field that must be a list of `count` texts."""
        values = self.fields.get(field)
        if not isinstance(values, list):
            given = f"given {_KINDS[type(values)]}" if field in self.fields else "it is missing"
            raise UserError(f"{self.where}: field '{field}' must be a list of {count} texts; {given}")
        if len(values) != count:
            raise UserError(f"{self.where}: field '{field}' must hold {count} texts; given {len(values)}")
        return tuple(self._checked(value, f"{field}[{place}]") for place, value in enumerate(values))

    def _checked(self, value: Any, field: str) -> str:
        if not isinstance(value, str):
            raise UserError(f"{self.where}: field '{field}' must be a text; given {_KINDS[type(value)]}")
        if not value.strip():
            raise UserError(f"{self.where}: field '{field}' is an empty text")
        try:
            value.encode()  # JSON may escape half of a surrogate pair, which no tokenizer and no file can hold
        except UnicodeEncodeError as problem:
            raise UserError(f"{self.where}: field '{field}' is no valid Unicode ({problem.reason})") from None
        return value


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file as they stand, without their ends; the last need not have one.

    Only a newline ends a line: the other separators that Python knows may stand inside a text. An empty line is
    refused, for it is a row that got lost.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as problem:
        raise UserError(f"{path}: cannot be read ({problem.strerror})") from None
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise UserError(f"{path}: the file is empty")
    return [_decoded(line, f"{path}, line {number}", number) for number, line in enumerate(lines, 1)]


def _decoded(line: bytes, where: str, number: int) -> str:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
    except UnicodeDecodeError as problem:
        raise UserError(f"{where}: not UTF-8 (byte {problem.start + 1}); save the file as UTF-8") from None
    if not text.strip():
        raise UserError(f"{where}: an empty line where a row should be")
    return text


def read_records(path: Path) -> list[Record]:
    """The objects of a JSON-lines file, one a line."""
    return list(_records(path))


def _records(path: Path) -> Iterator[Record]:
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}, line {number}"
        try:
            fields = json.loads(line, object_pairs_hook=_without_repeats)
        except _RepeatedField as problem:
            raise UserError(f"{where}: field '{problem}' stands there twice") from None
        except (ValueError, RecursionError) as problem:
            raise UserError(f"{where}: not JSON ({_reason(problem)}); each line must be one JSON object") from None
        if not isinstance(fields, dict):
            raise UserError(f"{where}: each line must be one JSON object; given {_KINDS[type(fields)]}")
        yield Record(where, fields)


class _RepeatedField(Exception):
    """A JSON object that gives a field twice: the parser would silently drop the first."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedField(next(name for name in names if names.count(name) > 1))
    return fields


def _reason(problem: Exception) -> str:
    if isinstance(problem, json.JSONDecodeError):
        return f"{problem.msg} at column {problem.colno}"
    return "nested too deeply" if isinstance(problem, RecursionError) else str(problem).split(";")[0]


def read_rows(path: Path) -> list[Row]:
    """Questions and answers from JSON lines with the fields `question` and `answer`; the index is the place, from 0."""
    return [
        Row(index, record.text("question"), record.text("answer")) for index, record in enumerate(read_records(path))
    ]


def read_refusals(path: Path) -> tuple[str, ...]:
    """Refusals from plain text, one a line, without the blanks around them; TOFU's own .jsonl file is plain text too.

    JSON is refused: a model would be trained to answer with braces and field names.
    """
    lines = [line.strip() for line in read_lines(path)]
    for number, line in enumerate(lines, 1):
        if _is_json(line):
            raise UserError(f"{path}, line {number}: refusals are plain text, one a line; this line is JSON")
    return tuple(lines)


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list | str)
    except (ValueError, RecursionError):
        return False
