"""A signed event from what a person says at the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearnkit.canonical import sha256_of
from unlearnkit.errors import UserError, unknown
from unlearnkit.records.event_rules import REASONS, WAYS, event_problem
from unlearnkit.records.events import (
    CORRECTION,
    CREATED,
    KINDS,
    REPLICATION,
    creation_payload,
    is_hash,
    make_event,
)
from unlearnkit.records.keys import PrivateKey
from unlearnkit.records.ledger_store import Store
from unlearnkit.records.numbering import number_of, parse_number, without_number


def compose(
    kind: str,
    key: PrivateKey,
    signer: str,
    record: Mapping[str, Any] | None,
    of: str | None,
    ledger: Path,
    said: Mapping[str, Any],
) -> dict[str, Any]:
    """An event that is ready to be added.

    record  the run that is announced; or the one that replicates, with its own scores; or the one that replaces
    of      what a replication, correction or attestation is about: a number, an alias or `sha256:...`; a number is
            looked up in `ledger`
    said    "way", "agrees", "text", "location", each where it was given
    """
    if kind not in KINDS:
        raise unknown("kind of event", kind, KINDS)
    if record is not None and record.get("number") != number_of(record):
        raise UserError("the record does not have the number that it bears; it was changed after it was made")
    if kind == CREATED:
        if record is None or of is not None:
            raise UserError("to announce a run, give its record.json or folder, and no --of")
        target = f"spec:{record['source']['id']}"
    elif of is None:
        raise UserError(f"a {kind} is about a record; say which by --of NUMBER or --of sha256:HASH")
    else:
        target = _resolve(of, ledger)
    event = make_event(kind, target, _payload(kind, record, said), key, signer)
    reason = event_problem(event)
    if reason is not None:
        raise UserError(f"the event is not valid: {REASONS[reason]}")
    return event


def _payload(kind: str, record: Mapping[str, Any] | None, said: Mapping[str, Any]) -> dict[str, Any]:
    name = None if record is None else f"sha256:{sha256_of(without_number(record))}"
    text = said.get("text")
    location = said.get("location")
    if location is not None and not location.startswith(("https://", "http://")):
        raise UserError(f"--location is {location[:80]!r}; it must be an http(s) address")
    if kind == CREATED and record is not None:
        return creation_payload(record, location)
    if kind == REPLICATION:
        if record is None:
            raise UserError("a replication brings numbers of its own; give the record.json of your run")
        if said.get("way") not in WAYS:
            raise unknown("way of replicating", str(said.get("way")), WAYS)
        return {"way": said["way"], "scores": record["scores"], "agrees": said.get("agrees"), "record": name}
    if not text:
        raise UserError(f"a {kind} says something; give --text")
    return {"reason": text, "replaced_by": name} if kind == CORRECTION else {"statement": text}


def _resolve(of: str, ledger: Path) -> str:
    """The full hash of a record: given as such, or by a number that this ledger knows."""
    if is_hash(of):
        return of
    _, letters = parse_number(of)
    if not ledger.is_file():
        raise UserError(f"{ledger}: there is no such ledger yet to look up {of} in; give --of sha256:HASH")
    with Store() as store:
        store.load(ledger)
        found = store.records_like(letters)
    if len(found) != 1:
        many = "no record" if not found else f"{len(found)} records"
        raise UserError(f"{ledger}: it holds {many} of the number {of}; give --of sha256:HASH")
    return f"sha256:{found[0]}"
