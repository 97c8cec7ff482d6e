"""Events of a ledger: content-addressed and signed.

An event's id is the SHA-256 of its canonical form without `event_id` and `signature`; the signature is Ed25519 over
`unlearnkit-event-1`, a newline, and the 32 bytes of the id, under the key that `signer.public_key` gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unlearnkit.canonical import sha256_of
from unlearnkit.records.keys import PrivateKey, fingerprint, public_hex, public_key, sign, verifies
from unlearnkit.records.numbering import without_number
from unlearnkit.records.times import now

EVENT_VERSION = "unlearnkit-event-1"
CREATED, REPLICATION, CORRECTION, ATTESTATION = "record_created", "replication", "correction", "attestation"
KINDS = (CREATED, REPLICATION, CORRECTION, ATTESTATION)

_SIGNER_KEYS = {"key_id", "public_key", "public_key_fingerprint", "signer_id", "signer_type"}
_HEX_32 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def make_event(
    kind: str,
    target: str,
    payload: Mapping[str, Any],
    key: PrivateKey | None,
    signer_id: str,
    created_at: str | None = None,
) -> dict[str, Any]:
    """A signed event; without a key an unsigned one, which an export may hold but no ledger takes.

    A `record_created` event brings a receipt too: the signature of the record's hash alone, as Pith records have it.
    """
    event: dict[str, Any] = {
        "event_version": EVENT_VERSION,
        "kind": kind,
        "target": target,
        "created_at": created_at or now(),
        "signer": _signer(key, signer_id),
        "payload": dict(payload),
    }
    if kind == CREATED and key is not None:
        digest = payload["canonical_sha256"]
        signature = sign(key, bytes.fromhex(digest))
        event["payload"] = {**payload, "receipt": receipt_of(digest, signature, event)}
    event["event_id"] = event_id_of(event)
    event["signature"] = None if key is None else sign(key, _message(str(event["event_id"])))
    return event


def creation_payload(record: Mapping[str, Any], location: str | None = None) -> dict[str, Any]:
    """What a `record_created` event says: the record without its number, its hash, its source, and where it lies."""
    bare = without_number(record)
    source = bare["source"]
    payload = {
        "attestation_state": "computed",
        "canonical_record": bare,
        "canonical_sha256": sha256_of(bare),
        "source_id": source["id"],
        "source_kind": source["kind"],
        "source_version": source["version"],
    }
    return payload if location is None else {**payload, "location": location}


def event_id_of(event: Mapping[str, Any]) -> str:
    """`sha256:` and the hash of the event without its id and its signature."""
    return "sha256:" + sha256_of({name: part for name, part in event.items() if name not in ("event_id", "signature")})


def signature_problem(event: Mapping[str, Any]) -> str | None:
    """Does the event's own key verify its signature? It says that one key holder stands behind it, not who."""
    if bad_signer(event):
        return "bad_signer"
    key = public_key(event["signer"]["public_key"])
    name = event.get("event_id")
    if not isinstance(name, str) or not _HASH.fullmatch(name):
        return "wrong_event_id"
    return None if verifies(key, event.get("signature"), _message(name)) else "bad_signature"


def is_hash(value: Any) -> bool:
    """Is this `sha256:` and 64 hexadecimal digits?"""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _message(event_id: str) -> bytes:
    return EVENT_VERSION.encode() + b"\n" + bytes.fromhex(event_id.removeprefix("sha256:"))


def _signer(key: PrivateKey | None, signer_id: str) -> dict[str, Any]:
    if key is None:
        names = dict.fromkeys(("key_id", "public_key", "public_key_fingerprint"), "unsigned")
        return {**names, "signer_id": signer_id, "signer_type": "unsigned"}
    hexadecimal = public_hex(key.public_key())
    mark = fingerprint(hexadecimal)
    names = {"key_id": f"ed25519-{mark[:16]}", "public_key": hexadecimal, "public_key_fingerprint": mark}
    return {**names, "signer_id": signer_id, "signer_type": "unlearnkit_user"}


def receipt_of(digest: str, signature: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The receipt that belongs to an event: its signer's signature of the record's hash, in the form of Pith's."""
    signer, at = event["signer"], event["created_at"]
    return {
        "algorithm": "ed25519",
        "builder_version": EVENT_VERSION,
        "canonical_sha256": digest,
        "first_computed_at": at,
        "key_id": signer["key_id"],
        "kind": "pith_receipt",
        "last_reissued_at": at,
        "public_key_fingerprint": signer["public_key_fingerprint"],
        "receipt_version": "0.3",
        "signature_b64": signature,
        "signature_status": "signed_v1",
        "signed_at": at,
        "signed_message": "canonical_sha256_bytes",
    }


def bad_signer(event: Mapping[str, Any]) -> bool:
    """Is the signer not given in full, or the fingerprint not that of the key?"""
    signer = event.get("signer")
    if not isinstance(signer, dict) or set(signer) != _SIGNER_KEYS:
        return True
    if not all(isinstance(part, str) and len(part) <= 200 for part in signer.values()):
        return True
    if not _HEX_32.fullmatch(signer["public_key"]):
        return True
    mark = fingerprint(signer["public_key"])
    return bool(signer["public_key_fingerprint"] != mark or signer["key_id"] != f"ed25519-{mark[:16]}")
