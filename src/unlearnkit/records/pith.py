"""Verify Pith records: a canonical record, or an open graph state, which is a record with its events after a merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnkit.canonical import sha256_of, short_number
from unlearnkit.errors import UserError
from unlearnkit.records.checks import FAILED, Check, judge, skipped
from unlearnkit.records.keys import PublicKey
from unlearnkit.records.numbering import is_run_record, number_of, parse_number, without_number, year_of
from unlearnkit.records.pith_state import check_state

_STATE_KEYS = ("state_type", "state_sha256", "current", "pith_number", "applied_event_ids")
_RECORD_KEYS = ("metadata", "source")


@dataclass(frozen=True)
class Verified:
    """What is known of one document: its kind, the record's hash and number, and every check."""

    kind: str
    canonical_sha256: str | None
    number: str | None
    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        """Did no check fail? Checks that could not be made do not count."""
        return all(check.status != FAILED for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "ok": self.ok,
            "kind": self.kind,
            "canonical_sha256": self.canonical_sha256,
            "number": self.number,
            "checks": [check.to_json() for check in self.checks],
        }


def verify(document: Any, number: str | None = None, key: PublicKey | None = None) -> Verified:
    """Check a document read from JSON as far as it can be checked from itself.

    document  an open graph state, a Pith canonical record, or a run record of unlearnkit
    number    the number or short alias that it should have
    key       the public key that its receipts should verify under

    What is neither kind of document is a `UserError`, and so is a `number` that is none.
    """
    given = None if number is None else parse_number(number)
    if isinstance(document, dict) and any(name in document for name in _STATE_KEYS):
        return _verified("open graph state", _record_of_state(document), list(check_state(document, key)), given)
    if isinstance(document, dict) and all(isinstance(document.get(name), dict) for name in _RECORD_KEYS):
        checks = _bare_checks(document, given is not None, key)
        return _verified("canonical record", document, checks, given)
    raise UserError("neither a Pith open graph state (state_type, current, ...) nor a canonical record (source, ...)")


def _verified(
    kind: str, record: Mapping[str, Any] | None, checks: list[Check], given: tuple[str | None, str] | None
) -> Verified:
    if record is None:
        return Verified(kind, None, None, checks)
    digest = sha256_of(without_number(record))
    if given is not None:
        checks.append(_check_given(*given, record, digest))
    return Verified(kind, digest, number_of(record), checks)


def _record_of_state(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    current = state.get("current")
    record = current.get("canonical_record") if isinstance(current, dict) else None
    return record if isinstance(record, dict) else None


def _bare_checks(document: Mapping[str, Any], given: bool, key: PublicKey | None) -> list[Check]:
    checks = []
    if "number" in document and is_run_record(document):
        said, true = document["number"], number_of(document)
        checks.append(
            judge("number", [] if said == true else [f"the record says {said!r}, its hash gives {true}"], true)
        )
    elif not given:
        checks.append(skipped("number", "a record alone does not say which number it should have; give --number"))
    if key is not None:
        checks.append(skipped("receipt_signature", "a record alone carries no receipt; give its open graph state"))
    return checks


def _check_given(year: str | None, letters: str, record: Mapping[str, Any], digest: str) -> Check:
    true = short_number(digest)
    problems = [] if true.startswith(letters) else [f"the record's hash gives {true}, not {letters}"]
    if year is not None and year != year_of(record):
        problems.append(f"the record is of {year_of(record) or 'no stated year'}, not of {year}")
    return judge("given_number", problems, f"{letters}, as given")
