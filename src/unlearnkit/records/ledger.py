"""The ledger: an append-only file of signed events, and the merge of any number of them into one state.

A merge is a union of sets, so neither order nor grouping nor repetition of its inputs can change what comes out. The
merged ledger holds every valid event once, in the order of ids, then a note for every invalid line. Its state counts
them, lists ids, invalid lines and equivocations, and carries the SHA-256 of its canonical form without that hash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from unlearnkit.canonical import canonical_bytes
from unlearnkit.errors import UserError
from unlearnkit.files import write_whole
from unlearnkit.records.event_rules import REASONS, event_problem
from unlearnkit.records.ledger_lines import invalid_note
from unlearnkit.records.ledger_store import Equivocation, Notice, Store

STATE_TYPE, STATE_VERSION = "unlearnkit_ledger_state", "1.0"
MERGE_VERSION = "unlearnkit-ledger-merge-1"
_BATCH = 4096


@dataclass(frozen=True)
class Summary:
    """A state in short: its hash, its counts, and the first of what is wrong in it."""

    state_sha256: str
    counts: Mapping[str, int]
    invalid_count: int
    invalid: Sequence[tuple[str, str]]
    equivocation_count: int
    equivocations: Sequence[Equivocation]

    @property
    def valid_count(self) -> int:
        """How many events are valid."""
        return sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "state_sha256": self.state_sha256,
            "valid_event_count": self.valid_count,
            "kinds": dict(self.counts),
            "invalid_event_count": self.invalid_count,
            "invalid_events": [_invalid_json(*entry) for entry in self.invalid],
            "equivocation_count": self.equivocation_count,
            "equivocations": [entry.to_json() for entry in self.equivocations],
        }


def add_event(path: str | Path, event: Mapping[str, Any]) -> None:
    """Append a valid event to a ledger, flushed to disk; after a torn last line it begins a line of its own."""
    reason = event_problem(event)
    if reason is not None:
        raise UserError(f"the event is not valid: {REASONS[reason]}")
    line = canonical_bytes(event) + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            _lock(stream.fileno())
            size = os.fstat(stream.fileno()).st_size
            torn = size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"
            stream.write((b"\n" if torn else b"") + line)
            os.fsync(stream.fileno())
    except OSError as problem:
        raise UserError(f"{path}: can not be written ({problem.strerror})") from None


def merge(
    paths: Iterable[str | Path],
    out: str | Path | None = None,
    state: str | Path | None = None,
    notice: Notice | None = None,
) -> Summary:
    """Merge ledgers; write the merged one to `out` and its state to `state`, where asked for.

    `notice` is told of every invalid line with its place. Memory does not grow with the number of events; the disk of
    the temporary folder holds each event once while it runs.
    """
    with Store() as store:
        for path in paths:
            store.load(path, notice)
        if out is not None:
            write_whole(out, merged_lines(store))
        summary = summarise(store)
        if state is not None:
            write_whole(state, state_chunks(store, summary.state_sha256))
        return summary


def merged_lines(store: Store) -> Iterator[bytes]:
    """The merged ledger, line by line."""
    for line in store.lines():
        yield line + b"\n"
    for line_sha256, reason in store.invalid():
        yield invalid_note(line_sha256, reason) + b"\n"


def summarise(store: Store, listed: int = 20) -> Summary:
    """The hash and the counts of the state, and the first `listed` of invalid lines and equivocations."""
    sha = hashlib.sha256()
    for chunk in state_chunks(store, None):
        sha.update(chunk)
    return Summary(
        sha.hexdigest(),
        store.counts(),
        store.invalid_count(),
        tuple(islice(store.invalid(), listed)),
        sum(1 for _ in store.equivocations()),
        tuple(islice(store.equivocations(), listed)),
    )


def state_chunks(store: Store, state_sha256: str | None) -> Iterator[bytes]:
    """The canonical form of the state, piece by piece; without its hash, which is taken over this, where it is None.

    The members are written in the order of their names; a list is never held whole.
    """
    counts, invalid = store.counts(), store.invalid_count()
    valid = sum(counts.values())
    yield b'{"applied_event_ids":'
    yield from _array(store.ids())
    yield b',"equivocation_count":' + canonical_bytes(sum(1 for _ in store.equivocations()))
    yield b',"equivocations":'
    yield from _array(entry.to_json() for entry in store.equivocations())
    yield b',"event_count":' + canonical_bytes(valid + invalid)
    yield b',"invalid_event_count":' + canonical_bytes(invalid)
    yield b',"invalid_events":'
    yield from _array(_invalid_json(*entry) for entry in store.invalid())
    rest: dict[str, Any] = {"kinds": counts, "valid_event_count": valid, "merge_version": MERGE_VERSION}
    rest |= {"state_type": STATE_TYPE, "state_version": STATE_VERSION}
    if state_sha256 is not None:
        rest["state_sha256"] = state_sha256
    yield b"," + canonical_bytes(rest)[1:]


def _array(items: Iterator[Any]) -> Iterator[bytes]:
    yield b"["
    between = b""
    while batch := list(islice(items, _BATCH)):
        yield between + canonical_bytes(batch)[1:-1]
        between = b","
    yield b"]"


def _invalid_json(line_sha256: str, reason: str) -> dict[str, str]:
    return {"line_sha256": line_sha256, "reason": reason, "meaning": REASONS[reason]}


def _lock(descriptor: int) -> None:
    """Keep two writers from both mending one torn line, where the system has such locks."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
