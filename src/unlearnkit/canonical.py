"""The one byte form of a JSON value, its hash, its short number, and careful reading of JSON that others wrote.

Canonical form: keys sorted by code point, separators `,` and `:`, no ASCII escaping, UTF-8, floats in Python's
shortest representation. JSON has no NaN and no infinity; here they are `{"$float": "NaN"}`, `{"$float": "Infinity"}`
and `{"$float": "-Infinity"}`, so that no string can be taken for one. An object may use the key `$float` for nothing
else. The number of a value is the first 26 characters of the base32 of its SHA-256: the scheme of Pith numbers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearnkit.errors import UserError

MAX_BYTES = 64 * 2**20  # of one JSON document
MAX_DEPTH = 64  # of nested arrays and objects
NUMBER_LENGTH = 26
ALIAS_LENGTHS = (8, 12, 16)

FLOAT_KEY = "$float"
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def canonical_json(value: Any, parsed: bool = False) -> str:
    """The canonical text of a JSON value; equal values have equal texts, whatever the order of their keys.

    Takes dictionaries with string keys, lists, tuples (as lists), strings, integers, floats, booleans and None.
    Anything else, a lone surrogate, or nesting deeper than `MAX_DEPTH` is a `UserError`. With `parsed` the value is
    known to come from `parse_json`, and is not looked through again.

    >>> canonical_json({"b": [1.0, 1e-05], "a": "\u00e9", "c": math.nan})
    '{"a":"\u00e9","b":[1.0,1e-05],"c":{"$float":"NaN"}}'
    """
    plain = value if parsed else _plain(value, 1)
    try:
        return _ENCODER.encode(plain)
    except ValueError as problem:
        raise UserError(f"no canonical form: {problem}") from None  # an integer beyond Python's digits limit


def canonical_bytes(value: Any, parsed: bool = False) -> bytes:
    """`canonical_json` in UTF-8: what is hashed and signed."""
    return utf8(canonical_json(value, parsed))


def canonical_object(texts: Mapping[str, str]) -> str:
    """The canonical text of an object, from the canonical texts of its members.

    >>> canonical_object({"b": "2", "a": "[1]"})
    '{"a":[1],"b":2}'
    """
    return "{" + ",".join(f"{_ENCODER.encode(name)}:{texts[name]}" for name in sorted(texts)) + "}"


def utf8(text: str) -> bytes:
    """A canonical text as bytes; what UTF-8 can not say is a `UserError`."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError("no canonical form: a string holds a lone surrogate, which UTF-8 can not say") from None


def sha256_of(value: Any) -> str:
    """SHA-256 of the canonical form, in hexadecimal.

    >>> sha256_of({"b": 2, "a": 1}) == sha256_of({"a": 1, "b": 2})
    True
    """
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def short_number(digest: str) -> str:
    """The first 26 characters of a SHA-256 in base32: 130 of its 256 bits.

    >>> short_number("12a124cb17503061dfc44536443a55d12e762122b897a676bc828a2646543932")  # TOFU's record
    'CKQSJSYXKAYGDX6EIU3EIOSV2E'
    """
    return base64.b32encode(bytes.fromhex(digest)).decode("ascii")[:NUMBER_LENGTH]


def revive(value: Any) -> Any:
    """A value read from JSON with `{"$float": ...}` turned back into floats."""
    if isinstance(value, dict):
        if FLOAT_KEY in value:
            return _WORDS[_float_word(value)]
        return {key: revive(item) for key, item in value.items()}
    if isinstance(value, list):
        return [revive(item) for item in value]
    return value


def parse_json(data: bytes, name: str = "input", max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON from a source that is not trusted; `name` is what errors call it.

    Refused with a `UserError`: more than `max_bytes`, deeper than `max_depth`, not UTF-8, not JSON (NaN and Infinity
    as bare words are not), a key twice in one object, a lone surrogate, a number outside of the floats, another use
    of the key `$float`.

    >>> parse_json(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    unlearnkit.errors.UserError: input: the key 'a' stands twice in one object
    """
    if len(data) > max_bytes:
        raise UserError(f"{name}: longer than {max_bytes} bytes")
    try:
        text = data.decode("utf-8")
        refuse_depth(text, max_depth)
        value = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text or FLOAT_KEY in text:  # the only ways to a lone surrogate, and to a misused key
            canonical_bytes(value)
    except UserError as problem:
        raise UserError(f"{name}: {problem}") from None
    except UnicodeDecodeError as problem:
        raise UserError(f"{name}: not UTF-8 (byte {problem.start})") from None
    except (ValueError, RecursionError) as problem:
        raise UserError(f"{name}: not JSON ({str(problem)[:200]})") from None
    return value


def read_json(path: str | Path, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """`parse_json` of a file; never reads more than `max_bytes` of it."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(max_bytes + 1)
    except (OSError, ValueError) as problem:
        raise UserError(f"{path}: not readable ({getattr(problem, 'strerror', None) or problem})") from None
    return parse_json(data, str(path), max_bytes, max_depth)


def _plain(value: Any, depth: int) -> Any:
    """The value in JSON's own types, with floats that JSON lacks in their stated encoding."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return {FLOAT_KEY: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if depth > MAX_DEPTH:
        raise UserError(f"no canonical form: nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return _plain_object(value, depth)
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    raise UserError(f"no canonical form: {type(value).__name__} is not a JSON type")


def _plain_object(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    if FLOAT_KEY in value:
        return {FLOAT_KEY: _float_word(value)}
    for key in value:
        if not isinstance(key, str):
            raise UserError(f"no canonical form: the key {key!r} is not a string")
    return {key: _plain(item, depth + 1) for key, item in value.items()}


def _float_word(value: dict[Any, Any]) -> str:
    word = value[FLOAT_KEY]
    if len(value) != 1 or not isinstance(word, str) or word not in _WORDS:
        raise UserError(f"the key {FLOAT_KEY} is kept for one of {', '.join(_WORDS)}, alone in its object")
    return word


def refuse_depth(text: str, limit: int = MAX_DEPTH) -> None:
    """Count nesting before parsing, as the parser's own recursion would meet its limit far too late."""
    if text.count("[") + text.count("{") <= limit:
        return
    depth = 0
    for mark in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if mark in "[{" else -1
        if depth > limit:
            raise UserError(f"nested deeper than {limit}")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"the key {twin[:80]!r} stands twice in one object")
    return found


def _no_constant(word: str) -> float:
    raise UserError(f"{word} is not JSON; unlearnkit writes it as {{'{FLOAT_KEY}': '{word}'}}")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise UserError(f"the number {text[:40]} is outside of the floats")
    return value
