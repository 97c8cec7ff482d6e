"""The set of events that several ledgers make together, on disk, so that a million of them need little memory."""

from __future__ import annotations

import base64
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from unlearnkit.records.events import ATTESTATION, CORRECTION, CREATED, KINDS, REPLICATION
from unlearnkit.records.ledger_lines import Line, claimed_id, judge, read_lines

MAX_LISTED = 100  # records named in one equivocation; their count is always whole

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -65536;  -- KiB
CREATE TABLE events (id BLOB PRIMARY KEY, kind TEXT, signer BLOB, target BLOB, record BLOB, line BLOB);
CREATE TABLE invalid (line_sha256 TEXT, reason TEXT, PRIMARY KEY (line_sha256, reason)) WITHOUT ROWID;
CREATE VIEW standing AS SELECT * FROM events AS made WHERE kind = 'record_created' AND NOT EXISTS (
  SELECT 1 FROM events AS withdrawn
  WHERE withdrawn.kind = 'correction' AND withdrawn.signer = made.signer AND withdrawn.target = made.record);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS by_signer ON events (kind, signer, target, record);
CREATE INDEX IF NOT EXISTS by_target ON events (kind, target);
CREATE INDEX IF NOT EXISTS by_record ON events (kind, record);
"""
# Two lines may hold one event with different signatures, both right: the lesser bytes stand, whatever order they come in.
_INSERT = """
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET line = min(line, excluded.line)
"""
_EQUIVOCATIONS = """
SELECT signer, target, count(DISTINCT record) AS many FROM standing
GROUP BY signer, target HAVING many > 1 ORDER BY signer, target
"""
_RIVALS = "SELECT DISTINCT record FROM standing WHERE signer = ? AND target = ? ORDER BY record LIMIT ?"
_CREATIONS = "SELECT line FROM events WHERE kind = 'record_created' AND record = ? ORDER BY id"
_ABOUT = "SELECT line FROM events WHERE kind = ? AND target = ? ORDER BY id"
_BETWEEN = """
SELECT DISTINCT record FROM events WHERE kind = 'record_created' AND record BETWEEN ? AND ? ORDER BY record LIMIT ?
"""

Notice = Callable[[Path, int, str], None]


class Equivocation(NamedTuple):
    """One signer, more than one record for one spec, and none of them withdrawn: the records are the first of `many`."""

    signer: str
    target: str
    many: int
    records: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a state lists it."""
        return {
            "signer": self.signer,
            "target": self.target,
            "record_count": self.many,
            "records": list(self.records),
        }


class Store:
    """Events and invalid lines, each once. A context manager; what it holds is gone when it closes."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="unlearnkit-ledger-")
        self._base = sqlite3.connect(Path(self._folder.name) / "events.db", isolation_level=None)
        self._base.executescript(_SCHEMA)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()
        self._folder.cleanup()

    def load(self, path: str | Path, notice: Notice | None = None) -> None:
        """Take in a ledger's lines; `notice` is told of each that is invalid: the file, the line, the reason."""
        self._base.execute("BEGIN")
        for line in read_lines(path):
            reason = self._take(line)
            if reason is not None and notice is not None:
                notice(Path(path), line.number, reason)
        self._base.execute("COMMIT")
        self._base.executescript(_INDEXES)

    def counts(self) -> dict[str, int]:
        """How many events of each kind there are."""
        found = dict(self._base.execute("SELECT kind, count(*) FROM events GROUP BY kind"))
        return {kind: found.get(kind, 0) for kind in KINDS}

    def invalid_count(self) -> int:
        """How many invalid lines there are."""
        return int(self._base.execute("SELECT count(*) FROM invalid").fetchone()[0])

    def ids(self) -> Iterator[str]:
        """The ids of all events, in order."""
        return (f"sha256:{name.hex()}" for (name,) in self._base.execute("SELECT id FROM events ORDER BY id"))

    def lines(self) -> Iterator[bytes]:
        """The canonical lines of all events, in the order of their ids."""
        return (line for (line,) in self._base.execute("SELECT line FROM events ORDER BY id"))

    def invalid(self) -> Iterator[tuple[str, str]]:
        """The hashes of invalid lines with their reasons, in order."""
        yield from self._base.execute("SELECT line_sha256, reason FROM invalid ORDER BY line_sha256, reason")

    def equivocations(self) -> Iterator[Equivocation]:
        """Every signer with two different records under one target that they have not withdrawn by a correction."""
        for signer, target, many in self._base.execute(_EQUIVOCATIONS):
            rivals = self._base.execute(_RIVALS, (signer, target, MAX_LISTED))
            names = tuple(f"sha256:{record.hex()}" for (record,) in rivals)
            yield Equivocation(signer.hex(), f"spec:{target.hex()}", many, names)

    def standing(self) -> Iterator[bytes]:
        """The lines of the records that their own signers have not withdrawn."""
        return (line for (line,) in self._base.execute("SELECT line FROM standing ORDER BY id"))

    def creations(self, record: str) -> list[bytes]:
        """The lines that announce a record, by its hash in hexadecimal."""
        return [line for (line,) in self._base.execute(_CREATIONS, (bytes.fromhex(record),))]

    def about(self, record: str) -> list[bytes]:
        """The lines of the replications, corrections and attestations of a record."""
        kinds, target = (REPLICATION, CORRECTION, ATTESTATION), bytes.fromhex(record)
        return [line for kind in kinds for (line,) in self._base.execute(_ABOUT, (kind, target))]

    def records_like(self, letters: str) -> list[str]:
        """The hashes of the announced records whose number begins with these letters, at most 100."""
        bounds = [base64.b32decode(letters.ljust(52, filler) + "====") for filler in "A7"]
        return [record.hex() for (record,) in self._base.execute(_BETWEEN, (*bounds, MAX_LISTED))]

    def _take(self, line: Line) -> str | None:
        if line.data is not None and self._knows(line.data):
            return None
        judged = judge(line)
        event = judged.event
        if event is None:
            self._base.execute("INSERT OR IGNORE INTO invalid VALUES (?, ?)", (judged.line_sha256, judged.reason))
            return judged.reason
        record = event["payload"]["canonical_sha256"] if event["kind"] == CREATED else ""
        signer, target = bytes.fromhex(event["signer"]["public_key"]), _raw(event["target"])
        row = (_raw(event["event_id"]), event["kind"], signer, target, bytes.fromhex(record), judged.data)
        self._base.execute(_INSERT, row)
        return None

    def _knows(self, data: bytes) -> bool:
        """Was this very line judged before? Then it need not be parsed, nor its signature verified again."""
        name = claimed_id(data)
        known = "SELECT 1 FROM events WHERE id = ? AND line = ?"
        return name is not None and self._base.execute(known, (bytes.fromhex(name), data)).fetchone() is not None


def _raw(name: str) -> bytes:
    return bytes.fromhex(name.partition(":")[2])
