"""What makes an event valid: judged one event at a time, without a word of trust, by rules that each have a name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from unlearnkit.canonical import canonical_json, canonical_object, utf8
from unlearnkit.errors import UserError
from unlearnkit.records.events import (
    ATTESTATION,
    CORRECTION,
    CREATED,
    EVENT_VERSION,
    KINDS,
    REPLICATION,
    bad_signer,
    is_hash,
    receipt_of,
    signature_problem,
)
from unlearnkit.records.keys import public_key, verifies
from unlearnkit.records.record_rules import record_problems, score_problem
from unlearnkit.records.times import is_time

WAYS = ("re-measured", "re-run")  # of replicating: the same weights measured again, or trained again

REASONS = {
    "too_long": "the line is longer than any event may be",
    "not_json": "the line is not JSON (torn, or damaged)",
    "not_an_event": "it is not an object with exactly the keys of an event",
    "unknown_version": f"its form is not {EVENT_VERSION}",
    "unknown_kind": f"its kind is none of {', '.join(KINDS)}",
    "bad_time": "created_at is not a moment of UTC such as 2026-05-17T23:38:46Z",
    "bad_signer": "its signer is not given in full, or the fingerprint is not that of the key",
    "wrong_event_id": "its id is not the hash of its content",
    "bad_signature": "its signature does not verify",
    "bad_payload": "its payload is not what its kind asks for",
    "wrong_target": "its target is not what its kind asks for",
    "wrong_record_hash": "the record in it does not have the hash that it states",
    "bad_record": "the record in it is not a run record",
}

_EVENT_KEYS = {"event_version", "kind", "target", "created_at", "signer", "payload", "event_id", "signature"}
_RECORD = "canonical_record"
_HEX_32 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Opened:
    """An event with the canonical texts of its parts, each made once, as they are what a large ledger spends time on.

    `parsed` says that the value comes from `parse_json`.
    """

    def __init__(self, event: dict[str, Any], parsed: bool) -> None:
        self.event = event
        self._parsed = parsed

    @cached_property
    def record(self) -> str:
        """The canonical text of the record that a `record_created` event brings."""
        return canonical_json(self.event["payload"]["canonical_record"], self._parsed)

    @cached_property
    def _texts(self) -> dict[str, str]:
        payload, texts = self.event["payload"], {}
        if self.event["kind"] == CREATED:
            texts = {name: canonical_json(part, self._parsed) for name, part in payload.items() if name != _RECORD}
            texts = {"payload": canonical_object({**texts, _RECORD: self.record})}
        rest = {name: part for name, part in self.event.items() if name not in texts}
        return {**texts, **{name: canonical_json(part, self._parsed) for name, part in rest.items()}}

    @property
    def id(self) -> str:
        """The id that the event should have."""
        signed = {name: text for name, text in self._texts.items() if name not in ("event_id", "signature")}
        return "sha256:" + hashlib.sha256(utf8(canonical_object(signed))).hexdigest()

    @property
    def line(self) -> bytes:
        """The canonical form of the whole."""
        return utf8(canonical_object(self._texts))


def open_event(event: Any, parsed: bool = False) -> tuple[Opened | None, str | None]:
    """The event where it is valid; else None, and the first thing that makes it invalid, as a key of `REASONS`."""
    if not isinstance(event, dict) or set(event) != _EVENT_KEYS:
        return None, "not_an_event"
    opened = Opened(event, parsed)
    reason = next((reason for reason, wrong in _TESTS.items() if wrong(opened)), None)
    return (opened, None) if reason is None else (None, reason)


def event_problem(event: Any) -> str | None:
    """The first thing that makes an event invalid, as a key of `REASONS`; None where it is valid."""
    return open_event(event)[1]


def _wrong_id(opened: Opened) -> bool:
    try:
        return bool(opened.id != opened.event["event_id"])
    except UserError:  # no canonical form, so no id can be right
        return True


def _bad_payload(opened: Opened) -> bool:
    payload = opened.event["payload"]
    return not isinstance(payload, dict) or not _PAYLOADS[opened.event["kind"]](payload)


def _wrong_target(opened: Opened) -> bool:
    event = opened.event
    if event["kind"] == CREATED:
        return bool(event["target"] != f"spec:{event['payload']['source_id']}")
    return not is_hash(event["target"])


def _wrong_record_hash(opened: Opened) -> bool:
    event, payload = opened.event, opened.event["payload"]
    if event["kind"] != CREATED:
        return False
    digest = hashlib.sha256(utf8(opened.record)).hexdigest()
    signature = payload["receipt"].get("signature_b64")
    if digest != payload["canonical_sha256"] or payload["receipt"] != receipt_of(digest, signature, event):
        return True
    return not verifies(public_key(event["signer"]["public_key"]), signature, bytes.fromhex(digest))


def _bad_record(opened: Opened) -> bool:
    payload = opened.event["payload"]
    if opened.event["kind"] != CREATED:
        return False
    record = payload[_RECORD]
    if "number" in record or record_problems(record):
        return True
    return any(payload.get(f"source_{name}") != part for name, part in record["source"].items())


def _is_creation(payload: Mapping[str, Any]) -> bool:
    return (
        isinstance(payload.get(_RECORD), dict)
        and isinstance(payload.get("canonical_sha256"), str)
        and _HEX_32.fullmatch(payload["canonical_sha256"]) is not None
        and isinstance(payload.get("source_id"), str)
        and isinstance(payload.get("receipt"), dict)
        and isinstance(payload.get("location", ""), str)
    )


def _is_replication(payload: Mapping[str, Any]) -> bool:
    scores = payload.get("scores")
    return (
        payload.get("way") in WAYS
        and isinstance(scores, dict)
        and len(scores) > 0
        and not any(score_problem(score) for score in scores.values())
        and (payload.get("agrees") is None or isinstance(payload["agrees"], bool))
        and (payload.get("record") is None or is_hash(payload["record"]))
    )


def _is_correction(payload: Mapping[str, Any]) -> bool:
    replaced = payload.get("replaced_by")
    return _is_said(payload.get("reason")) and (replaced is None or is_hash(replaced))


def _is_attestation(payload: Mapping[str, Any]) -> bool:
    return _is_said(payload.get("statement"))


def _is_said(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


_PAYLOADS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    CREATED: _is_creation,
    REPLICATION: _is_replication,
    CORRECTION: _is_correction,
    ATTESTATION: _is_attestation,
}

# In the order in which they are asked: each may rely on those before it, and the costly ones come late.
_TESTS: dict[str, Callable[[Opened], bool]] = {
    "unknown_version": lambda opened: bool(opened.event["event_version"] != EVENT_VERSION),
    "unknown_kind": lambda opened: opened.event["kind"] not in KINDS,
    "bad_time": lambda opened: not is_time(opened.event["created_at"]),
    "bad_signer": lambda opened: bad_signer(opened.event),
    "bad_payload": _bad_payload,
    "wrong_target": _wrong_target,
    "wrong_event_id": _wrong_id,
    "bad_signature": lambda opened: signature_problem(opened.event) is not None,
    "wrong_record_hash": _wrong_record_hash,
    "bad_record": _bad_record,
}
