"""The ledger: merging is a union, invalid lines are named, contradictions are reported, and nothing else is lost."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from unlearnkit.canonical import canonical_bytes, parse_json, sha256_of
from unlearnkit.cli import cite as cite_verb
from unlearnkit.cli import ledger as ledger_verb
from unlearnkit.cli import pith as pith_verb
from unlearnkit.errors import UserError
from unlearnkit.records import ledger_lines
from unlearnkit.records.checks import FAILED, NOT_CHECKED
from unlearnkit.records.event_rules import REASONS, event_problem
from unlearnkit.records.events import (
    ATTESTATION,
    CORRECTION,
    CREATED,
    REPLICATION,
    creation_payload,
    event_id_of,
    make_event,
)
from unlearnkit.records.export import export_state
from unlearnkit.records.keys import new_key, read_private_key, sign
from unlearnkit.records.leaderboard import leaderboard
from unlearnkit.records.leaderboard_text import render
from unlearnkit.records.ledger import Summary, add_event, merge
from unlearnkit.records.papers import bibtex_of, papers_of
from unlearnkit.records.pith import verify
from unlearnkit.records.record import Cost, Inputs, Outputs, Run, build_record, number_of, read_record, write_record

ANN, BOB = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
AT = "2026-05-17T23:38:46.000001Z"
HIGHER = "higher is better"


def score(value: float | None) -> dict[str, Any]:
    interval = None if value is None else [value - 0.01, value + 0.01]
    return {
        "value": value,
        "n": 40 if value is not None else 0,
        "interval": interval,
        "direction": HIGHER,
        "reason": None if value is not None else "no retain model to compare with",
    }


def record_of(method: str = "npo(beta=0.1) + rt", seed: int = 0, quality: float | None = 0.5, **changed: Any) -> Any:
    task = changed.pop("task", "tofu:forget10")
    return build_record(
        spec={"task": task, "objective": method, "seed": seed},
        run=Run(task, method, seed, "unlearnkit", changed.pop("model", "a/model")),
        provenance={"unlearnkit": "0.1.0", "commit": None, "packages": {"torch": "2.13.0"}},
        inputs=Inputs({"forget": "a" * 64}, "b" * 64, None),
        outputs=Outputs("c" * 64, None),
        scores={"forget_quality": score(quality), "model_utility": score(0.6)},
        verdict={"label": None, "reason": "none"},
        losses={"npo": [0.5, float("nan")]},
        steps=[1, 2],
        cost=Cost(wall_seconds=1.5),
        papers=papers_of(task, ["arXiv:2404.05868"]),
        submitted_at=AT,
        **changed,
    )


def created(record: Any, key: Ed25519PrivateKey = ANN, signer: str = "ann", location: str | None = None) -> Any:
    return make_event(CREATED, f"spec:{record['source']['id']}", creation_payload(record, location), key, signer, AT)


def name_of(record: Any) -> str:
    return f"sha256:{sha256_of({key: part for key, part in record.items() if key != 'number'})}"


def about(kind: str, record: Any, key: Ed25519PrivateKey, payload: Any, signer: str = "bob") -> Any:
    return make_event(kind, name_of(record), payload, key, signer, AT)


REPLICATED = {"way": "re-run", "scores": {"forget_quality": score(0.4)}, "agrees": True, "record": None}
RECORDS = [
    record_of(quality=0.5),
    record_of(quality=0.7),
    record_of(seed=1, quality=0.2),
    record_of("ga", quality=None),
]
EVENTS = [
    *[created(record) for record in RECORDS],  # the first two are of one spec: Ann contradicts herself
    created(RECORDS[0], BOB, "bob"),
    about(REPLICATION, RECORDS[0], BOB, REPLICATED),
    about(CORRECTION, RECORDS[0], ANN, {"reason": "a wrong file", "replaced_by": name_of(RECORDS[1])}, "ann"),
    about(ATTESTATION, RECORDS[2], BOB, {"statement": "seen it run"}),
]


def respelt(event: Any) -> bytes:
    """The same event as a line that is not in canonical form."""
    return json.dumps(dict(reversed(list(event.items()))), indent=None).encode()


GOOD = [canonical_bytes(event) for event in EVENTS] + [respelt(EVENTS[0]), respelt(EVENTS[5])]
BAD = [
    canonical_bytes({**EVENTS[0], "created_at": "2026-05-17T23:38:47Z"}),
    canonical_bytes({**EVENTS[1], "signature": sign(BOB, b"else")}),
    GOOD[2][:-20],
    b"\xff\xfe",
    b'{"event_id": 3, "event_id": 4}',
    ledger_lines.invalid_note("0" * 64, "too_long"),
    b"[]",
]
POOL = GOOD + BAD


def write(path: Path, lines: Sequence[bytes], end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join(lines) + (end if lines else b""))
    return path


def merged(folder: Path, name: str, *inputs: Path) -> Path:
    merge(inputs, folder / name, folder / f"{name}.state.json")
    return folder / name


def state(path: Path) -> tuple[str, bytes, bytes]:
    """What a merge is judged by: the state's hash, its bytes, and the merged ledger's."""
    document = path.with_name(path.name + ".state.json").read_bytes()
    return json.loads(document)["state_sha256"], document, path.read_bytes()


SETS = st.tuples(*[st.lists(st.integers(0, len(POOL) - 1), max_size=8)] * 3)


def check_algebra(folder: Path, picks: tuple[list[int], ...]) -> None:
    """Commutative, associative, idempotent; and one file of all lines is the same as three of some."""
    a, b, c = (write(folder / name, [POOL[one] for one in pick]) for name, pick in zip("abc", picks, strict=True))
    whole = state(merged(folder, "abc_", a, b, c))
    assert state(merged(folder, "cab", c, a, b)) == whole
    assert state(merged(folder, "ab_c", merged(folder, "ab", a, b), c)) == whole
    assert state(merged(folder, "a_bc", a, merged(folder, "bc", b, c))) == whole
    assert state(merged(folder, "twice", a, folder / "abc_", b, c, a, folder / "abc_")) == whole
    one = write(folder / "one", [POOL[each] for pick in reversed(picks) for each in reversed(pick)], end=b"")
    assert state(merged(folder, "one_", one)) == whole


@pytest.mark.parametrize("many", [20, pytest.param(700, marks=pytest.mark.slow)])
def test_merging_is_a_union(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """Three sets of events an example, so thousands of sets in the slow suite."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # most of the time, and of no matter here

    @settings(max_examples=many, deadline=None, database=None)
    @given(SETS)
    def each(picks: tuple[list[int], ...]) -> None:
        check_algebra(tmp_path, picks)

    each()


def test_different_sets_have_different_states(tmp_path: Path) -> None:
    seen = {state(merged(tmp_path, f"{i}_", write(tmp_path / str(i), [line])))[0] for i, line in enumerate(POOL)}
    assert len(seen) == len(POOL) - 2  # two lines are respelt ones


def test_the_state_carries_the_hash_of_its_own_canonical_form(tmp_path: Path) -> None:
    path = merged(tmp_path, "all", write(tmp_path / "in", POOL))
    document = path.with_name("all.state.json").read_bytes()
    found = parse_json(document)
    assert canonical_bytes(found) == document
    said = found.pop("state_sha256")
    assert hashlib.sha256(canonical_bytes(found)).hexdigest() == said
    assert found["applied_event_ids"] == sorted(event["event_id"] for event in EVENTS)
    assert found["valid_event_count"] == len(EVENTS) == sum(found["kinds"].values())
    assert found["invalid_event_count"] == len(found["invalid_events"]) == len(BAD)
    assert found["event_count"] == len(EVENTS) + len(BAD)


def test_a_torn_last_line_loses_nothing_else(tmp_path: Path) -> None:
    lines = [canonical_bytes(event) for event in EVENTS]
    for cut in (1, 10, len(lines[-1]) - 1):
        path = write(tmp_path / "torn", [*lines[:-1], lines[-1][:cut]], end=b"")
        summary = merge([path])
        assert (summary.valid_count, summary.invalid_count) == (len(lines) - 1, 1)
        add_event(path, EVENTS[-1])
        healed = merge([path])
        assert (healed.valid_count, healed.invalid_count) == (len(lines), 1)
    whole = write(tmp_path / "whole", lines, end=b"")  # only the newline was lost
    assert merge([whole]).invalid_count == 0


def resigned(event: Any, key: Ed25519PrivateKey = ANN, **changed: Any) -> Any:
    """The event changed, its id recomputed and signed anew: what a hostile signer can do."""
    event = {**event, **changed}
    event["event_id"] = event_id_of(event)
    message = b"unlearnkit-event-1\n" + bytes.fromhex(event["event_id"].removeprefix("sha256:"))
    return {**event, "signature": sign(key, message)}


def payload_of(event: Any, **changed: Any) -> Any:
    return {**event["payload"], **changed}


MADE, COPY = EVENTS[0], EVENTS[5]
OTHER = {key: part for key, part in RECORDS[2].items() if key != "number"}
HOSTILE: dict[str, tuple[Any, str]] = {
    "no object": ([], "not_an_event"),
    "a key more": ({**MADE, "x": 1}, "not_an_event"),
    "a key less": ({key: part for key, part in MADE.items() if key != "signature"}, "not_an_event"),
    "version": (resigned(MADE, event_version="unlearnkit-event-2"), "unknown_version"),
    "kind": (resigned(MADE, kind="deletion"), "unknown_kind"),
    "kind of another type": (resigned(MADE, kind=["record_created"]), "unknown_kind"),
    "time": (resigned(MADE, created_at="yesterday"), "bad_time"),
    "signer": (resigned(MADE, signer={"public_key": "00"}), "bad_signer"),
    "fingerprint": (resigned(MADE, signer={**MADE["signer"], "public_key_fingerprint": "0" * 32}), "bad_signer"),
    "long name": (resigned(MADE, signer={**MADE["signer"], "signer_id": "a" * 201}), "bad_signer"),
    "id": ({**MADE, "event_id": "sha256:" + "0" * 64}, "wrong_event_id"),
    "id of another type": ({**MADE, "event_id": None}, "wrong_event_id"),
    "content": ({**MADE, "created_at": "2026-05-17T23:38:47Z"}, "wrong_event_id"),
    "signature of another": ({**MADE, "signature": resigned(MADE, BOB)["signature"]}, "bad_signature"),
    "no signature": ({**MADE, "signature": None}, "bad_signature"),
    "no payload": (resigned(MADE, payload=3), "bad_payload"),
    "no receipt": (resigned(MADE, payload=payload_of(MADE, receipt=None)), "bad_payload"),
    "no scores": (resigned(COPY, BOB, payload=payload_of(COPY, scores={})), "bad_payload"),
    "way": (resigned(COPY, BOB, payload=payload_of(COPY, way=["re-run"])), "bad_payload"),
    "odd score": (resigned(COPY, BOB, payload=payload_of(COPY, scores={"a": {"value": "9"}})), "bad_payload"),
    "silent": (resigned(EVENTS[7], BOB, payload={"statement": " "}), "bad_payload"),
    "target": (resigned(MADE, target="spec:" + "0" * 64), "wrong_target"),
    "target of another kind": (resigned(COPY, BOB, target="record"), "wrong_target"),
    "record": (resigned(MADE, payload=payload_of(MADE, canonical_record=OTHER)), "wrong_record_hash"),
    "receipt": (resigned(MADE, payload=payload_of(MADE, receipt=EVENTS[4]["payload"]["receipt"])), "wrong_record_hash"),
    "source": (resigned(MADE, payload=payload_of(MADE, source_version=2)), "bad_record"),
    "no run record": (created({"source": {"id": "0" * 64, "kind": "unlearnkit", "version": 1}}), "bad_record"),
    "its number inside": (
        resigned(
            MADE,
            payload=(lambda record: creation_payload({**record, "source": {**record["source"], "kind": "x"}}))(
                RECORDS[0]
            ),
        ),
        "bad_payload",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_invalid_events_are_named(tmp_path: Path, case: str) -> None:
    event, reason = HOSTILE[case]
    assert event_problem(event) == reason
    told: list[tuple[int, str]] = []
    path = write(tmp_path / "in", [GOOD[0], b"", canonical_bytes(event), GOOD[2]])
    summary = merge([path], notice=lambda _, line, why: told.append((line, why)))
    assert told == [(3, reason)]
    assert summary.to_json()["invalid_events"][0]["meaning"] == REASONS[reason]
    assert summary.valid_count == 2
    with pytest.raises(UserError, match="not valid"):
        add_event(path, event)


def test_all_events_of_the_pool_are_valid() -> None:
    assert [event_problem(event) for event in EVENTS] == [None] * len(EVENTS)


def test_a_line_without_end_needs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_lines, "MAX_LINE", 10_000)
    long = b'{"a": "' + b"x" * 3_000_000 + b'"}'
    path = write(tmp_path / "in", [GOOD[0], long, GOOD[2]])
    summary = merge([path], tmp_path / "out", tmp_path / "out.state.json")
    assert (summary.valid_count, summary.invalid) == (2, ((hashlib.sha256(long).hexdigest(), "too_long"),))
    assert (tmp_path / "out").stat().st_size < 20_000
    assert (
        merge([tmp_path / "out"]).state_sha256 == summary.state_sha256 == merge([tmp_path / "out", path]).state_sha256
    )


def summary_of(tmp_path: Path, events: Sequence[Any]) -> Summary:
    return merge([write(tmp_path / "in", [canonical_bytes(event) for event in events])])


def test_equivocation_is_reported_until_one_record_is_withdrawn(tmp_path: Path) -> None:
    rival = summary_of(tmp_path, EVENTS[:3])
    assert rival.equivocation_count == 1
    assert sorted(rival.equivocations[0].records) == sorted(map(name_of, RECORDS[:2]))
    assert rival.equivocations[0].target == f"spec:{RECORDS[0]['source']['id']}"
    withdrawn = summary_of(tmp_path, [*EVENTS[:3], EVENTS[6]])
    assert withdrawn.equivocation_count == 0
    by_another = about(CORRECTION, RECORDS[0], BOB, {"reason": "I say so", "replaced_by": None})
    assert summary_of(tmp_path, [*EVENTS[:3], by_another]).equivocation_count == 1
    two_signers = [created(RECORDS[0]), created(RECORDS[1], BOB, "bob")]
    assert summary_of(tmp_path, two_signers).equivocation_count == 0


def test_the_leaderboard_ranks_methods_and_counts_honestly(tmp_path: Path) -> None:
    records = [record_of(seed=seed, quality=quality) for seed, quality in enumerate([0.2, 0.9, 0.4])]
    records += [record_of("ga", 0, 0.95), record_of("ga", 1, None), record_of("ga", 0, 0.99, task="tofu:forget05")]
    events = [created(record) for record in records]
    events.append(about(REPLICATION, records[1], BOB, REPLICATED))
    events.append(about(REPLICATION, records[0], ANN, REPLICATED, "ann"))  # her own record
    board = leaderboard([write(tmp_path / "in", [canonical_bytes(event) for event in events])], "tofu:forget10")
    assert [row.method for row in board.rows] == ["ga", "npo(beta=0.1) + rt"]
    ga, npo = board.rows
    assert (ga.best_value("forget_quality"), ga.median, len(ga.entries), ga.seeds) == (0.95, 0.95, 2, [0, 1])
    assert (npo.best_value("forget_quality"), npo.median, npo.seeds) == (0.9, 0.4, [0, 1, 2])
    assert list(npo.replicated) == [records[1]["number"]]
    assert npo.replicated[records[1]["number"]][0].startswith("bob (")
    for form in ("md", "html", "csv"):
        text = render(board, form)
        assert records[1]["number"] in text
        assert "0.9" in text
        assert "bob (" in text or "bob \\(" in text
    withdrawn = about(CORRECTION, records[1], ANN, {"reason": "wrong", "replaced_by": None}, "ann")
    events.append(withdrawn)
    board = leaderboard([write(tmp_path / "in", [canonical_bytes(event) for event in events])], "tofu:forget10")
    assert board.rows[1].best_value("forget_quality") == 0.4


NASTY = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "<script>alert(1)</script>",
    "a|b`c`*d*[e](x)",
    "\x1b[2J",
    "{{7*7}}",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_strangers_text_is_only_text(tmp_path: Path, nasty: str) -> None:
    record = record_of(nasty, model=nasty)
    event = created(record, signer=nasty, location="javascript:alert(1)")
    copied = about(REPLICATION, record, BOB, REPLICATED, nasty)
    path = write(tmp_path / "in", [canonical_bytes(each) for each in (event, copied)])
    board = leaderboard([path], "tofu:forget10")
    page, text, table = (render(board, form) for form in ("html", "md", "csv"))
    for answer in (page, text, table):
        assert "\x1b" not in answer
        assert "javascript:" not in answer
    assert "<script" not in page
    assert "<script" not in text
    line = text.splitlines()[4]
    assert line.count("|") == 13  # no cell more than there are columns
    for cell in next(iter(list(csv.reader(io.StringIO(table)))[1:])):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))


def test_links_lead_to_the_web_or_nowhere(tmp_path: Path) -> None:
    for number, (location, kept) in enumerate(
        {
            "https://example.org/run?a=1&b=2": True,
            "runs/one/record.json": True,
            "data:text/html,x": False,
            "//evil.example": False,
            "../../etc/passwd": False,
            'https://x/"onmouseover="y': False,
            "https://x/ y": False,
        }.items()
    ):
        event = created(record_of(), location=location)
        board = leaderboard([write(tmp_path / str(number), [canonical_bytes(event)])], "tofu:forget10")
        assert (board.rows[0].entries[0].location == location) is kept, location
        assert render(board, "html").count("<a href=") == 1 + kept


def test_an_export_is_a_state_that_verifies(tmp_path: Path) -> None:
    path = write(tmp_path / "in", POOL)
    found = export_state(RECORDS[0], [path])
    result = verify(found, RECORDS[0]["number"])
    assert result.ok, [check for check in result.checks if check.status == FAILED]
    assert result.canonical_sha256 == name_of(RECORDS[0]).removeprefix("sha256:")
    assert found["pith_number"].split(":")[1:] == RECORDS[0]["number"].split(":")[1:]
    assert found["event_count"] == 4  # two announcements, a replication, a correction
    assert {check.name for check in result.checks if check.status == NOT_CHECKED} == set()
    assert canonical_bytes(export_state(RECORDS[0], [path])) == canonical_bytes(found)
    assert verify(found, key=ANN.public_key()).ok != verify(found, key=BOB.public_key()).ok


def test_any_change_of_an_export_is_refused_even_with_the_state_hash_recomputed(tmp_path: Path) -> None:
    """Our own event ids and signatures are known, so that nothing but when an alias was given can be changed."""
    found = parse_json(canonical_bytes(export_state(RECORDS[2], [write(tmp_path / "in", POOL)])))

    def walk(value: Any, put: Callable[[Any], Any], place: str) -> None:
        if isinstance(value, dict | list) and value:
            for key in list(value) if isinstance(value, dict) else range(len(value)):
                walk(value[key], lambda new, at=value, key=key: at.__setitem__(key, new), f"{place}/{key}")  # type: ignore[misc]
            return
        if place.endswith("state_sha256") or ("source_aliases" in place and place.endswith("created_at")):
            return
        put("2020-01-01T00:00:00Z" if place.endswith("_at") else "Infinity" if "$float" in place else [value])
        found["state_sha256"] = sha256_of({key: part for key, part in found.items() if key != "state_sha256"})
        assert not verify(found).ok, place
        put(value)

    walk(found, lambda new: None, "")
    found["state_sha256"] = sha256_of({key: part for key, part in found.items() if key != "state_sha256"})
    assert verify(found).ok


def test_an_export_without_events_makes_one(tmp_path: Path) -> None:
    unsigned = verify(export_state(RECORDS[1]))
    assert unsigned.ok
    assert {check.name for check in unsigned.checks if check.status == NOT_CHECKED} == {
        "receipt",
        "receipt_signature",
        "event_signatures",
    }
    signed = export_state(RECORDS[1], key=ANN, signer_id="ann")
    assert verify(signed, key=ANN.public_key()).ok
    assert not verify(signed, key=BOB.public_key()).ok


def app() -> typer.Typer:
    made = typer.Typer()
    for verb in (ledger_verb, pith_verb, cite_verb):
        verb.register(made)
    return made


def test_the_verbs_from_a_run_to_a_table(tmp_path: Path) -> None:
    ann, _ = new_key(tmp_path / "ann")
    bob, _ = new_key(tmp_path / "bob")
    for name, record in (("run", RECORDS[0]), ("again", RECORDS[2])):
        (tmp_path / name).mkdir()
        assert read_record(write_record(tmp_path / name, record)) == parse_json(canonical_bytes(record))
    mine, theirs, out = (str(tmp_path / name) for name in ("mine.jsonl", "theirs.jsonl", "out.jsonl"))
    number = RECORDS[0]["number"]

    def run(*arguments: str, code: int = 0) -> str:
        answer = CliRunner().invoke(app(), list(arguments))
        assert answer.exit_code == code, (answer.output, answer.exception)
        return str(answer.stdout)

    run(
        "ledger",
        "add",
        mine,
        str(tmp_path / "run"),
        "--key",
        str(ann),
        "--signer",
        "ann",
        "--location",
        "https://x.org/a",
    )
    about_it = ["--of", number, "--key", str(bob), "--signer", "bob"]
    run("ledger", "add", mine, "--kind", "attestation", "--text", "seen", *about_it)
    copied = ["ledger", "add", theirs, str(tmp_path / "again"), "--kind", "replication", "--agrees"]
    failed = CliRunner().invoke(app(), [*copied, *about_it])
    assert isinstance(failed.exception, UserError)  # that ledger does not know the number
    run(*copied, "--of", name_of(RECORDS[0]), *about_it[2:])
    for bad in (
        ["--kind", "none"],
        ["--kind", "correction", "--of", "AAAAAAAA", "--text", "x"],
        ["--location", "file:///x"],
    ):
        failed = CliRunner().invoke(app(), ["ledger", "add", mine, str(tmp_path / "run"), "--key", str(ann), *bad])
        assert isinstance(failed.exception, UserError), bad
    one = json.loads(run("ledger", "merge", mine, theirs, "--out", out, "--json"))
    other = json.loads(run("ledger", "merge", theirs, mine, mine, "--json"))
    assert one == other
    assert json.loads((tmp_path / "out.jsonl.state.json").read_text())["state_sha256"] == one["state_sha256"]
    assert one["state_sha256"] in run("ledger", "verify", out)
    table = run("ledger", "table", out, "--task", "tofu:forget10")
    assert number in table
    assert "1 of 1 records: bob" in table.replace("\\", "")
    run("pith", "export", str(tmp_path / "run"), "--ledger", out, "--out", str(tmp_path / "state.json"))
    assert number.split(":")[2] in run("pith", "verify", str(tmp_path / "state.json"), "--number", number)
    failed = CliRunner().invoke(app(), ["ledger", "table", out, "--task", "tofu:forget1"])
    assert "tofu:forget10" in str(failed.exception)
    with open(out, "ab") as stream:
        stream.write(b"{torn")
    assert "1 invalid" in run("ledger", "verify", out, code=1)


def test_a_record_that_was_changed_is_not_announced(tmp_path: Path) -> None:
    ann, _ = new_key(tmp_path)
    changed = {**RECORDS[0], "verdict": {"label": "forgotten"}}
    assert number_of(changed) != RECORDS[0]["number"]
    write_record(tmp_path, changed)
    answer = CliRunner().invoke(app(), ["ledger", "add", str(tmp_path / "l"), str(tmp_path), "--key", str(ann)])
    assert isinstance(answer.exception, UserError)
    assert not (tmp_path / "l").exists()
    assert not verify(changed).ok
    assert read_private_key(ann) is not None


def test_citing_names_method_benchmark_and_library(tmp_path: Path) -> None:
    text = CliRunner().invoke(app(), ["cite", str(write_record(tmp_path, RECORDS[0]))]).stdout
    for part in (
        "2401.06121",
        "2404.05868",
        "pith:2024:CKQSJSYXKAYGDX6EIU3EIOSV2E",
        "pith:2024:OUY3FJZZ64YXYLASJSH3UPIBMZ",
    ):
        assert part in text
    assert RECORDS[0]["number"] in text
    assert text.count("@misc{") == 2
    assert text.count("@software{") == 1
    assert text.count("{") == text.count("}")
    nasty = {**RECORDS[0], "papers": [{"role": "}\\input{x}", "arxiv": "1}{2", "pith": None}]}
    assert bibtex_of(nasty).count("{") == bibtex_of(nasty).count("}")
    assert "\\input" not in bibtex_of(nasty)
