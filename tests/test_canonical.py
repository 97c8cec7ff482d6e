"""The canonical form: one text a value, one value a text, and nothing read that JSON does not say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearnkit.canonical import (
    MAX_DEPTH,
    canonical_bytes,
    canonical_json,
    parse_json,
    read_json,
    revive,
    sha256_of,
    short_number,
)
from unlearnkit.errors import UserError
from unlearnkit.files import write_whole

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = TEXT.filter(lambda key: key != "$float")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    """The same value with the keys of every object in reverse order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_reading_back_gives_the_same_bytes_and_values(value: Any) -> None:
    data = canonical_bytes(value)
    read = parse_json(data)
    assert canonical_bytes(read) == data == canonical_bytes(shuffled(value))
    assert repr(revive(read)) == repr(revive(parse_json(canonical_bytes(revive(read)))))
    assert canonical_bytes(revive(read)) == data


@given(VALUES, VALUES)
@settings(max_examples=200, deadline=None)
def test_different_values_have_different_hashes(one: Any, other: Any) -> None:
    same = repr(shuffled(parse_json(canonical_bytes(one)))) == repr(shuffled(parse_json(canonical_bytes(other))))
    if not same and canonical_json(one) != canonical_json(other):
        assert sha256_of(one) != sha256_of(other)


def test_the_form_is_the_stated_one() -> None:
    value = {"\U0001f600": 1, "\uffff": 2, "z": [True, None, -0.0, 1e16, 0.1, 10**20], "a": "\u2028\x01\x7f"}
    assert canonical_json(value) == (
        '{"a":"\u2028\\u0001\x7f","z":[true,null,-0.0,1e+16,0.1,100000000000000000000],"\uffff":2,"\U0001f600":1}'
    )


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_floats_that_json_lacks_are_no_strings(word: str) -> None:
    assert canonical_json(float(word)) == f'{{"$float":"{word}"}}' != canonical_json(word)
    assert repr(revive({"a": [{"$float": word}]})["a"][0]) == repr(float(word))


@pytest.mark.parametrize("value", [{"$float": "1"}, {"$float": "NaN", "a": 1}, {"$float": math.nan}, {"$float": []}])
def test_the_float_key_is_kept(value: Any) -> None:
    with pytest.raises(UserError, match=r"\$float"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {1, 2}, b"bytes", object(), 1j, Path("a"), [{"a": (1, {2})}]])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(UserError, match="no canonical form"):
        canonical_json(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\ud83d"]])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(UserError, match="surrogate"):
        canonical_bytes(value)


BAD = {
    "twin keys": (b'{"a": 1, "b": {"c": 1, "c": 1}}', "twice"),
    "twin keys by escape": (b'{"a": 1, "\\u0061": 2}', "twice"),
    "surrogate": (b'"\\ud800"', "surrogate"),
    "NaN": (b"[NaN]", "NaN is not JSON"),
    "infinity": (b"-Infinity", "not JSON"),
    "overflow": (b"1e999", "outside"),
    "digits": (b"9" * 5000, "not JSON"),
    "latin-1": (b'"\xe9"', "UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "tail": (b"{} {}", "not JSON"),
    "empty": (b"", "not JSON"),
    "comma": (b"[1,]", "not JSON"),
    "deep": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper"),
    "very deep and open": (b'{"a":' * 200_000, "deeper"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_json_is_refused_in_one_line(case: str) -> None:
    data, reason = BAD[case]
    with pytest.raises(UserError, match=reason) as caught:
        parse_json(data, "file.json")
    assert str(caught.value).startswith("file.json: ")
    assert "\n" not in str(caught.value)


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps(["[{" * 500, '\\"[' * 100])
    assert parse_json(text.encode()) == json.loads(text)


def test_reading_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "long.json").write_bytes(b'"' + b"a" * 1000 + b'"')
    with pytest.raises(UserError, match="longer than 100 bytes"):
        read_json(tmp_path / "long.json", max_bytes=100)
    with pytest.raises(UserError, match="not readable"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="not readable"):
        read_json(tmp_path)


def test_the_number_is_that_of_the_empty_object() -> None:
    """SHA-256 of `{}` is a known constant, and base32 of its first 16 bytes can be done by hand."""
    assert sha256_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert short_number(sha256_of({})) == "IQJW7I2VWNTYUEKGVULPP2DET2"


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_bytes(b"old")

    def torn() -> Any:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, torn())
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    write_whole(target, [b"new", b"er"])
    assert target.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [target]
