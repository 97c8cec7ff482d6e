"""A run record and its events as a Pith open graph state, which `pith verify` accepts and mirrors of Pith can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearnkit.canonical import parse_json, sha256_of
from unlearnkit.records.events import ATTESTATION, CORRECTION, CREATED, REPLICATION, creation_payload, make_event
from unlearnkit.records.keys import PrivateKey
from unlearnkit.records.ledger_lines import MAX_LINE
from unlearnkit.records.ledger_store import Store
from unlearnkit.records.numbering import PITH, number_of, without_number
from unlearnkit.records.pith_aliases import implied_aliases
from unlearnkit.records.pith_state import EVENT_LISTS, FORMAT

# Where a state keeps each kind of event. A second announcement of the same record attests it.
_LISTS = {
    CREATED: "author_attestations",
    ATTESTATION: "author_attestations",
    REPLICATION: "replication_records",
    CORRECTION: "corrections",
}


def export_state(
    record: Mapping[str, Any],
    ledgers: Iterable[str | Path] = (),
    key: PrivateKey | None = None,
    signer_id: str = "anonymous",
) -> dict[str, Any]:
    """The open graph state of a run record.

    Its events are those that the ledgers hold about this record; the earliest announcement is the creation event. Where
    they hold none, a creation event is made, signed if a key is given. Equal inputs with a ledger give equal states.
    """
    bare = without_number(record)
    digest = sha256_of(bare)
    with Store() as store:
        for path in ledgers:
            store.load(path)
        created = _in_order(store.creations(digest))
        others = _in_order(store.about(digest))
        rivals = [one.to_json() for one in store.equivocations() if f"sha256:{digest}" in one.records]
    if not created:
        target = f"spec:{bare['source']['id']}"
        created = [
            make_event(CREATED, target, creation_payload(bare), key, signer_id, bare["metadata"]["submitted_at"])
        ]
    return _state(bare, digest, [created[0], *sorted(created[1:] + others, key=_moment)], rivals)


def _state(
    record: dict[str, Any], digest: str, events: Sequence[dict[str, Any]], rivals: list[dict[str, Any]]
) -> dict[str, Any]:
    current: dict[str, Any] = {"canonical_record": record, "record_created": events[0]}
    current["source_aliases"] = [
        {"alias_kind": kind, "alias_value": value, "created_at": events[0]["created_at"]}
        for kind, value in sorted(implied_aliases(record, digest).items())
    ]
    current |= {name: [] for name in EVENT_LISTS}
    for event in events[1:]:
        current[_LISTS[event["kind"]]].append(event)
    state: dict[str, Any] = {
        **FORMAT,
        "pith_number": number_of(record, PITH),
        "event_count": len(events),
        "valid_event_count": len(events),
        "invalid_event_count": 0,
        "equivocation_count": len(rivals),
        "current": current,
        "equivocations": rivals,
        "invalid_events": [],
        "applied_event_ids": [event["event_id"] for event in events],
    }
    return {**state, "state_sha256": sha256_of(state)}


def _in_order(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    return sorted((parse_json(line, "event", MAX_LINE) for line in lines), key=_moment)


def _moment(event: Mapping[str, Any]) -> tuple[str, str]:
    return event["created_at"], event["event_id"]
