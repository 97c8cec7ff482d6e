"""The checks of a Pith open graph state: everything that the file can prove of itself, and what it can not.

The rules were read off a worked example (the state of the NPO paper). Where one holds by the form's own words (a count
and the list it counts, a copy and its original) a breach fails; where a preimage is not in the file, the check is
listed as not made. Nothing in the document is trusted to have the right type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from unlearnkit.canonical import canonical_bytes, sha256_of, short_number
from unlearnkit.records.checks import Check, judge
from unlearnkit.records.keys import PublicKey
from unlearnkit.records.numbering import PITH, is_run_record, year_of
from unlearnkit.records.pith_aliases import alias_problems
from unlearnkit.records.pith_events import (
    as_dict,
    check_event_ids,
    check_receipt,
    check_receipt_signature,
    check_signers,
)
from unlearnkit.records.pith_snapshot import check_snapshots
from unlearnkit.records.times import is_time

FORMAT = {
    "state_type": "pith_open_graph_state",
    "state_version": "1.0",
    "merge_version": "pith-open-graph-merge-v1",
}
EVENT_LISTS = (
    "graph_snapshots",
    "author_attestations",
    "timestamp_anchors",
    "storage_attestations",
    "citation_signatures",
    "replication_records",
    "corrections",
    "mirror_hints",
)
_EVENT_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def check_state(state: Mapping[str, Any], key: PublicKey | None = None) -> Iterator[Check]:
    """Every check of a state; without a record in it there is nothing more to check than its form and its hash."""
    yield judge("format", _form_problems(state), ", ".join(FORMAT.values()))
    yield _check_state_hash(state)
    current = as_dict(state.get("current"))
    record = current.get("canonical_record")
    if not isinstance(record, dict):
        yield judge("canonical_sha256", ["there is no current.canonical_record"], "")
        return
    digest, events = sha256_of(record), _events_of(current)
    creation = events[0]
    yield _check_hash(digest, creation)
    yield _check_number(state, record, digest)
    yield judge("aliases", alias_problems(current.get("source_aliases"), record, digest), "all that follow are there")
    yield judge("creation_event", _creation_problems(record, creation), "it holds the same record and source")
    yield judge("counts", _count_problems(state), "each is the length of what it counts")
    yield judge("event_list", _event_list_problems(state, events), f"{len(events)} applied, {len(events)} shown")
    yield judge("timestamps", list(_time_problems(state, "")), "every time is well formed")
    yield check_signers(events)
    yield check_receipt(creation)
    yield check_receipt_signature(creation, digest, key)
    yield from check_snapshots(current, record)
    yield from check_event_ids(events, is_run_record(record))


def _form_problems(state: Mapping[str, Any]) -> list[str]:
    current = as_dict(state.get("current"))
    problems = [
        f"{name} is {state.get(name)!r}, not {want!r}" for name, want in FORMAT.items() if state.get(name) != want
    ]
    lists = {f"current.{name}": current.get(name) for name in ("source_aliases", *EVENT_LISTS)}
    lists |= {name: state.get(name) for name in ("equivocations", "invalid_events", "applied_event_ids")}
    return problems + [f"{name} is no list" for name, value in lists.items() if not isinstance(value, list)]


def _check_state_hash(state: Mapping[str, Any]) -> Check:
    said = state.get("state_sha256")
    true = sha256_of({name: value for name, value in state.items() if name != "state_sha256"})
    return judge("state_sha256", [] if said == true else [f"the file says {said!r}, its content gives {true}"], true)


def _events_of(current: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every event that the state shows: the creation first, then those in its lists. Only hints may be no events."""
    found = [as_dict(current.get("record_created"))]
    for name in sorted(set(current) - {"source_aliases"}):
        items = current[name] if isinstance(current[name], list) else []
        is_hint = name not in EVENT_LISTS or name == "mirror_hints"
        found += [
            as_dict(item) for item in items if not (is_hint and isinstance(item, dict) and "event_id" not in item)
        ]
    return found


def _check_hash(digest: str, creation: Mapping[str, Any]) -> Check:
    payload = as_dict(creation.get("payload"))
    said = {"record_created.payload.canonical_sha256": payload.get("canonical_sha256")}
    if "receipt" in payload:
        said["receipt.canonical_sha256"] = as_dict(payload["receipt"]).get("canonical_sha256")
    problems = [f"{place} is {value!r}, the record gives {digest}" for place, value in said.items() if value != digest]
    return judge("canonical_sha256", problems, digest)


def _check_number(state: Mapping[str, Any], record: Mapping[str, Any], digest: str) -> Check:
    true = f"{PITH}:{year_of(record) or '????'}:{short_number(digest)}"
    said = state.get("pith_number")
    return judge("pith_number", [] if said == true else [f"the file says {said!r}, the record gives {true}"], true)


def _creation_problems(record: Mapping[str, Any], creation: Mapping[str, Any]) -> list[str]:
    payload, source = as_dict(creation.get("payload")), as_dict(record.get("source"))
    problems = []
    if not same(payload.get("canonical_record"), record):
        problems.append("record_created.payload.canonical_record is not current.canonical_record")
    for part in ("id", "kind", "version"):
        if not same(payload.get(f"source_{part}"), source.get(part)):
            problems.append(f"its source_{part} is {payload.get(f'source_{part}')!r}, not {source.get(part)!r}")
    target = f"spec:{source.get('id')}" if is_run_record(record) else "record"
    if creation.get("target") != target:
        problems.append(f"its target is {creation.get('target')!r}, not {target!r}")
    return problems


def _count_problems(state: Mapping[str, Any]) -> list[str]:
    def length(name: str) -> int:
        value = state.get(name)
        return len(value) if isinstance(value, list) else -1

    counted = {
        "valid_event_count": length("applied_event_ids"),
        "invalid_event_count": length("invalid_events"),
        "equivocation_count": length("equivocations"),
        "event_count": length("applied_event_ids") + length("invalid_events"),
    }
    return [
        f"{name} is {state.get(name)!r}, not {true}"
        for name, true in counted.items()
        if not same(state.get(name), true)
    ]


def _event_list_problems(state: Mapping[str, Any], events: list[Mapping[str, Any]]) -> list[str]:
    applied = state.get("applied_event_ids")
    listed = [one if isinstance(one, str) else repr(one) for one in applied] if isinstance(applied, list) else []
    shown = [one.get("event_id") for one in events]
    problems = [f"{one!r} is no event id" for one in listed if not _EVENT_ID.fullmatch(one)]
    problems += [f"an event shows the id {one!r}, which is not among the applied" for one in shown if one not in listed]
    problems += [f"{one} is applied, but no event shows it" for one in listed if one not in shown]
    if len(set(listed)) < len(listed) or len(shown) != len(listed):
        problems.append("an event is applied or shown twice")
    if not problems and listed[0] != shown[0]:
        problems.append("the creation of the record is not the first event that is applied")
    return problems


def _time_problems(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _time_problems(item, f"{place}[{index}]")
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        if name.endswith("_at") and item is not None and not is_time(item):
            yield f"{place}.{name} is {item!r}".lstrip(".")
        yield from _time_problems(item, f"{place}.{name}")


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    return canonical_bytes(one) == canonical_bytes(other)
