"""Whatever strangers send, the parsers answer with a verdict or with one line, never with a crash.

Each kind of parser gets a few hundred cases in the fast suite and ten thousand in the slow one. Inputs that found
a fault, or would have in a more careless parser, are kept as examples.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from unlearnkit.canonical import canonical_bytes, parse_json, revive, sha256_of
from unlearnkit.errors import UserError
from unlearnkit.records.event_rules import REASONS
from unlearnkit.records.events import CREATED, REPLICATION, creation_payload, make_event
from unlearnkit.records.export import export_state
from unlearnkit.records.keys import read_any_key, read_public_key
from unlearnkit.records.leaderboard import Board, Entry, Row
from unlearnkit.records.leaderboard_text import render
from unlearnkit.records.ledger import add_event, merge
from unlearnkit.records.ledger_lines import invalid_note
from unlearnkit.records.numbering import parse_number
from unlearnkit.records.papers import bibtex_of
from unlearnkit.records.pith import verify
from unlearnkit.records.record import Inputs, Outputs, Run, build_record, read_record
from unlearnkit.records.record_rules import record_problems
from unlearnkit.records.weights import files_digest

FEW, MANY = 200, 10_000
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
AT = "2026-05-17T23:38:46Z"
SCORE = {"value": 0.5, "n": 3, "interval": [0.4, 0.6], "direction": "higher is better", "reason": None}
RECORD = build_record(
    spec={"task": "tofu:forget10"},
    run=Run("tofu:forget10", "npo", 0, "unlearnkit", "a/model"),
    provenance={"unlearnkit": "0.1.0"},
    inputs=Inputs({"forget": "a" * 64}, None, None),
    outputs=Outputs(None, None),
    scores={"forget_quality": SCORE},
    verdict={},
    papers=[{"role": "method", "arxiv": "2404.05868", "pith": None}],
    submitted_at=AT,
)
MADE = make_event(CREATED, f"spec:{RECORD['source']['id']}", creation_payload(RECORD), KEY, "ann", AT)
COPY = make_event(
    REPLICATION,
    f"sha256:{MADE['payload']['canonical_sha256']}",
    {"way": "re-run", "scores": {"forget_quality": SCORE}, "agrees": True, "record": None},
    KEY,
    "ann",
    AT,
)
STATE = export_state(RECORD, key=KEY, signer_id="ann")
EXAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "pith" / "npo_open_graph_state.json"
STATES = [STATE, json.loads(EXAMPLE.read_text(encoding="utf-8"))] if EXAMPLE.is_file() else [STATE]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["put", "drop", "cut"]), JSON), min_size=1, max_size=4
)
NOISE = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=6)


def edited(document: Any, edits: list[tuple[int, str, Any]]) -> Any:
    """A document with values put in, members dropped, or lists cut, at places drawn by number."""
    document = copy.deepcopy(document)
    for number, what, new in edits:
        places = list(containers(document))
        parent, key = places[number % len(places)] if places else (None, None)
        if parent is None:
            return new
        if what == "put":
            parent[key] = copy.deepcopy(new)
        elif what == "drop":
            del parent[key]
        elif isinstance(parent[key], str | list):
            parent[key] = parent[key][: len(parent[key]) // 2]
    return document


def containers(value: Any) -> Any:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from containers(value[key])


def noisy(data: bytes, noise: list[tuple[int, bytes]]) -> bytes:
    """Bytes with pieces written over."""
    for place, piece in noise:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + len(piece) :]
    return data


def twice(
    strategy: st.SearchStrategy[Any], *kept: Any, part: int = 1
) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Make of a property a fast test and a slow one, both with the kept inputs; `part` properties share the cases."""

    def made(check: Callable[[Any], None]) -> Callable[..., None]:
        def run(many: int) -> None:
            quiet = settings(max_examples=many, deadline=None, suppress_health_check=list(HealthCheck), database=None)

            @quiet
            @given(strategy)
            def each(value: Any) -> None:
                check(value)

            for one in kept:
                each = example(one)(each)
            each()

        @pytest.mark.parametrize("many", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
        def test(many: int) -> None:
            run(many // part)

        test.__doc__ = check.__doc__
        return test

    return made


def answered(read: Callable[[], Any]) -> Any:
    """What was read, or None where it was refused in one line; anything else is a fault."""
    try:
        return read()
    except UserError as problem:
        line = str(problem)
    assert "\n" not in line
    return None


@twice(
    st.binary(max_size=80) | st.text(alphabet='{}[]",:\\u0019dD8eE+-.NaInfityul $flo', max_size=60).map(str.encode),
    b'{"$float":"1"}',
    b'"\\ud800"',
    b'{"\\u0024float":[]}',
    b"[" * 100_000,
    b"-1e-999999999",
    b"9" * 4301,
)
def test_any_bytes_as_json(data: bytes) -> None:
    """Read or refused; what is read has a canonical form that reads back as itself."""
    value = answered(lambda: parse_json(data))
    if value is not None:
        again = canonical_bytes(value)
        assert canonical_bytes(parse_json(again)) == again == canonical_bytes(value, parsed=True)
        assert canonical_bytes(revive(value)) == again


@twice(st.tuples(st.sampled_from(range(len(STATES))), EDITS, st.booleans()), part=2)
def test_any_edit_of_a_state(case: tuple[int, list[Any], bool]) -> None:
    """A verdict on every document, and never a good one where the state's hash does not fit."""
    which, edits, rehash = case
    document = edited(STATES[which], edits)
    if rehash and isinstance(document, dict):
        document["state_sha256"] = answered(
            lambda: sha256_of({key: part for key, part in document.items() if key != "state_sha256"})
        )
    found = answered(lambda: verify(document, key=KEY.public_key()))
    changed = json.dumps(document, sort_keys=True) != json.dumps(STATES[which], sort_keys=True)
    if found is not None and changed and not rehash:
        assert not found.ok
    if found is not None:
        json.dumps(found.to_json())


@twice(st.tuples(JSON | EDITS.map(lambda edits: edited(RECORD, edits)), st.none() | st.text(max_size=30)), part=2)
def test_any_value_as_a_record(case: tuple[Any, str | None]) -> None:
    """A record or a reason; nothing that passes the rules makes a citation or a hash fail."""
    document, number = case
    answered(lambda: verify(document, number))
    if number is not None:
        answered(lambda: parse_number(number))
    if not record_problems(document):
        text = bibtex_of({"number": "unlearnkit:2026:A", **document})
        assert text.count("{") == text.count("}")
        creation_payload(document)


LINES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    EDITS.map(lambda edits: json.dumps(edited(MADE, edits)).encode()),
    EDITS.map(lambda edits: json.dumps(edited(COPY, edits), sort_keys=True, separators=(",", ":")).encode()),
    NOISE.map(lambda noise: noisy(canonical_bytes(MADE), noise)),
    NOISE.map(lambda noise: noisy(invalid_note("0" * 64, "not_json"), noise)),
)


@pytest.mark.parametrize("many", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_any_lines_as_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """Good lines survive bad neighbours; every invalid line has a reason; the merged ledger says the same again."""
    good = canonical_bytes(COPY)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # most of the time, and of no matter here

    @settings(max_examples=many // 4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(LINES, min_size=4, max_size=4))
    @example([b"null", b"true", b'""', b"\x00"])
    @example([canonical_bytes(MADE)[:-1] + b',"kind":"x"}', b'{"created_at":' + b"[" * 99, b"\r", b" \t "])
    def each(lines: list[bytes]) -> None:
        (tmp_path / "in").write_bytes(b"\n".join([*lines, good]))
        told: list[str] = []
        summary = merge([tmp_path / "in"], tmp_path / "out", notice=lambda _path, _line, reason: told.append(reason))
        assert summary.valid_count >= 1
        assert set(told) <= set(REASONS)
        assert merge([tmp_path / "out"]).state_sha256 == summary.state_sha256
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]

    each()


@pytest.mark.parametrize("many", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_any_file_as_a_key_weights_or_record(tmp_path: Path, many: int) -> None:
    """A key, weights or a record, or one line."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + b"\0" * 4
    public = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
    path = tmp_path / "record.json"

    @settings(max_examples=many // 4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=70), NOISE)
    def each(data: bytes, noise: list[tuple[int, bytes]]) -> None:
        for content in (data, noisy(public, noise), noisy(weights, noise), noisy(canonical_bytes(RECORD), noise)):
            path.write_bytes(content)
            path.chmod(0o600)
            for read in (read_public_key, read_any_key, read_record):
                answered(lambda read=read: read(path))  # type: ignore[misc]
            path.replace(tmp_path / "model.safetensors")
            answered(lambda: files_digest(tmp_path))

    each()


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def board_of(text: str) -> Board:
    scores = {"forget_quality": {"value": 0.5, "interval": [0.4, 0.6], "direction": "higher is better"}}
    texts = {"method": text, "model": text, "protocol": text}
    entry = Entry(
        "unlearnkit:2026:A", "0" * 64, **texts, seed=0, scores=scores, signer=text, key="1" * 64, created_at=AT,
        location=None, replicated_by=(text,), contested_by=(text,),
    )  # fmt: skip
    return Board(
        text,
        "forget_quality",
        "model_utility",
        "0" * 64,
        [Row(text, text, text, [entry], entry, 0.5, None)],
        frozenset(),
    )


def tags_of(page: str) -> list[tuple[str, tuple[str, ...]]]:
    tags = Tags()
    tags.feed(page)
    return tags.found


PLAIN_TAGS = tags_of(render(board_of("plain"), "html"))


@twice(
    st.text(max_size=30) | st.text(alphabet="<>&'\"=+-@|`*_{}[]()!#\\/ \t\r\nscriptonclick", max_size=40),
    "</td><script>alert(1)</script>",
    '" onmouseover="x',
    "\t=1+1",
    "＝1",
    "|",
    "\n",
    part=4,
)
def test_any_text_in_a_leaderboard(text: str) -> None:
    """No text opens a tag, adds a cell or a line, or begins a formula."""
    board = board_of(text)
    assert tags_of(render(board, "html")) == PLAIN_TAGS
    table = render(board, "md").splitlines()
    assert len(table) == 7
    assert table[4].count("|") == 13
    assert "<" not in table[4]
    header, row = csv.reader(io.StringIO(render(board, "csv"), newline=""))
    assert len(header) == len(row)
    assert not any(cell.lstrip()[:1] in set("=+-@＝＋－＠") for cell in row if cell.strip())


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    assert answered(lambda: merge([tmp_path])) is None
    assert answered(lambda: merge([tmp_path / "none"])) is None
    assert answered(lambda: add_event(tmp_path, COPY)) is None
    assert answered(lambda: merge([], tmp_path / "none" / "out")) is None
    assert list(tmp_path.iterdir()) == []
