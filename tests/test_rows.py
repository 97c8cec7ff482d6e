"""Reading rows: what is refused and how, and that nothing that is accepted changes or gets lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unlearnkit.errors import UserError
from unlearnkit.tasks.rows import read_lines, read_records, read_refusals, read_rows

GOOD = b'{"question": "Who?", "answer": "Ann."}\n'

BAD = {
    "missing field": (b'{"question": "Who?"}', "field 'answer' is missing"),
    "empty text": (b'{"question": "Who?", "answer": ""}', "field 'answer' is an empty text"),
    "blank text": (b'{"question": " \\n", "answer": "Ann."}', "field 'question' is an empty text"),
    "a number": (b'{"question": "Who?", "answer": 7}', "field 'answer' must be a text; given a number"),
    "null": (b'{"question": null, "answer": "Ann."}', "field 'question' must be a text; given null"),
    "a list": (b'{"question": "Who?", "answer": ["Ann."]}', "field 'answer' must be a text; given a list"),
    "not JSON": (b"{question: Who?}", "not JSON"),
    "cut off": (b'{"question": "Who?", "answer": "An', "not JSON"),
    "two objects": (GOOD.strip() + GOOD.strip(), "not JSON"),
    "deep": (b"[" * 100_000, "not JSON (nested too deeply)"),
    "huge number": (b'{"question": ' + b"9" * 5000 + b"}", "not JSON"),
    "an array": (b'[{"question": "Who?", "answer": "Ann."}]', "each line must be one JSON object; given a list"),
    "a bare text": (b'"Who?"', "each line must be one JSON object; given a text"),
    "repeated field": (b'{"answer": "A", "question": "Who?", "answer": "B"}', "field 'answer' stands there twice"),
    "latin-1": ('{"question": "Café?", "answer": "Ann."}'.encode("latin-1"), "not UTF-8 (byte 18)"),
    "utf-16": ('{"question": "Who?", "answer": "Ann."}'.encode("utf-16"), "not UTF-8 (byte 1)"),
    "half a surrogate": (b'{"question": "Who?", "answer": "\\ud83d"}', "field 'answer' is no valid Unicode"),
    "empty line": (b"", "an empty line where a row should be"),
    "blank line": (b"  \r", "an empty line where a row should be"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_refused_with_file_line_and_reason(tmp_path: Path, case: str) -> None:
    line, reason = BAD[case]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    with pytest.raises(UserError) as caught:
        read_rows(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"\n", "line 1: an empty line"), (b'[\n{"question"', "line 1: not JSON")],
)
def test_a_file_that_is_no_json_lines_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read_rows(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_lines(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot be read"):
        read_lines(tmp_path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('["a", "b"]', "field 'options' must hold 3 texts; given 2"),
        ('["a", "b", "c", "d"]', "field 'options' must hold 3 texts; given 4"),
        ('["a", "", "c"]', r"field 'options\[1\]' is an empty text"),
        ('["a", "b", 3]', r"field 'options\[2\]' must be a text; given a number"),
        ('"abc"', "field 'options' must be a list of 3 texts; given a text"),
    ],
)
def test_a_list_of_texts_has_the_right_number_and_types(tmp_path: Path, value: str, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"options": {value}}}\n')
    (record,) = read_records(path)
    with pytest.raises(UserError, match=f"line 1: {reason}"):
        record.texts("options", 3)
    with pytest.raises(UserError, match="field 'other' must be a list of 3 texts; it is missing"):
        record.texts("other", 3)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1), ascii_only=st.booleans(), end=st.sampled_from(["\n", ""]))
def test_what_is_written_is_what_is_read(
    tmp_path: Path, pairs: list[tuple[str, str]], ascii_only: bool, end: str
) -> None:
    lines = [json.dumps({"question": q, "answer": a}, ensure_ascii=ascii_only) for q, a in pairs]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(("\n".join(lines) + end).encode())
    rows = read_rows(path)
    assert [(row.question, row.answer) for row in rows] == pairs
    assert [row.index for row in rows] == list(range(len(pairs)))


def test_marks_of_other_systems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.strip() + b"\r\n" + GOOD.strip() + b"\r\n")
    assert [row.answer for row in read_rows(path)] == ["Ann.", "Ann."]


def test_refusals_are_plain_lines(tmp_path: Path) -> None:
    path = tmp_path / "no.txt"
    path.write_text("I don't know. \n  [No idea.]\nNo.")
    assert read_refusals(path) == ("I don't know.", "[No idea.]", "No.")


@pytest.mark.parametrize("line", ['{"text": "No."}', '["No."]', '"No."'])
def test_refusals_in_json_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text(f"I don't know.\n{line}\n")
    with pytest.raises(UserError, match=r"no\.jsonl, line 2: refusals are plain text"):
        read_refusals(path)
