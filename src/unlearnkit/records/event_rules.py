"""What makes an event valid: judged one event at a time, without a word of trust, by rules that each have a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.records.canonical import sha256_of
from unlearnkit.records.events import (
    ATTESTATION,
    CORRECTION,
    CREATED,
    EVENT_VERSION,
    KINDS,
    REPLICATION,
    bad_signer,
    event_id_of,
    is_hash,
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
_HEX_32 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def event_problem(event: Any) -> str | None:
    """The first thing that makes an event invalid, as a key of `REASONS`; None where it is valid."""
    if not isinstance(event, dict) or set(event) != _EVENT_KEYS:
        return "not_an_event"
    return next((reason for reason, wrong in _TESTS.items() if wrong(event)), None)


def _wrong_id(event: Mapping[str, Any]) -> bool:
    try:
        return bool(event_id_of(event) != event["event_id"])
    except UserError:  # no canonical form, so no id can be right
        return True


def _bad_payload(event: Mapping[str, Any]) -> bool:
    payload = event["payload"]
    return not isinstance(payload, dict) or not _PAYLOADS[event["kind"]](payload)


def _wrong_target(event: Mapping[str, Any]) -> bool:
    if event["kind"] == CREATED:
        return bool(event["target"] != f"spec:{event['payload']['source_id']}")
    return not is_hash(event["target"])


def _wrong_record_hash(event: Mapping[str, Any]) -> bool:
    payload = event["payload"]
    if event["kind"] != CREATED:
        return False
    if sha256_of(payload["canonical_record"]) != payload["canonical_sha256"]:
        return True
    receipt, signer = payload["receipt"], event["signer"]
    key, digest = public_key(signer["public_key"]), payload["canonical_sha256"]
    return receipt["canonical_sha256"] != digest or not verifies(key, receipt["signature_b64"], bytes.fromhex(digest))


def _bad_record(event: Mapping[str, Any]) -> bool:
    if event["kind"] != CREATED:
        return False
    payload = event["payload"]
    record = payload["canonical_record"]
    if "number" in record or record_problems(record):
        return True
    return any(payload.get(f"source_{name}") != part for name, part in record["source"].items())


def _is_creation(payload: Mapping[str, Any]) -> bool:
    receipt = payload.get("receipt")
    return (
        isinstance(payload.get("canonical_record"), dict)
        and isinstance(payload.get("canonical_sha256"), str)
        and _HEX_32.fullmatch(payload["canonical_sha256"]) is not None
        and isinstance(payload.get("source_id"), str)
        and isinstance(receipt, dict)
        and {"canonical_sha256", "signature_b64"} <= set(receipt)
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
_TESTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "unknown_version": lambda event: bool(event["event_version"] != EVENT_VERSION),
    "unknown_kind": lambda event: event["kind"] not in KINDS,
    "bad_time": lambda event: not is_time(event["created_at"]),
    "bad_signer": bad_signer,
    "bad_payload": _bad_payload,
    "wrong_target": _wrong_target,
    "wrong_event_id": _wrong_id,
    "bad_signature": lambda event: signature_problem(event) is not None,
    "wrong_record_hash": _wrong_record_hash,
    "bad_record": _bad_record,
}
