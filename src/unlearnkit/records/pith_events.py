"""The checks of the events in a Pith state: who signed them, the receipt of the record, and the ids they bear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearnkit.records.checks import Check, judge, skipped
from unlearnkit.records.events import EVENT_VERSION, event_id_of, signature_problem
from unlearnkit.records.keys import PublicKey, public_key, signature_bytes, verifies

_TIMES = ("first_computed_at", "last_reissued_at", "signed_at")
_SIGNER = ("key_id", "public_key_fingerprint", "signer_id", "signer_type")


def as_dict(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one, which then fails what is asked of it."""
    return value if isinstance(value, dict) else {}


def check_signers(events: Sequence[Mapping[str, Any]]) -> Check:
    """A key has one name, one fingerprint and one owner throughout a document."""
    problems: list[str] = []
    seen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        signer = as_dict(event.get("signer"))
        if not all(isinstance(signer.get(name), str) for name in _SIGNER):
            problems.append(f"the signer of {event.get('event_id')!r} is not given in full")
            continue
        for name in _SIGNER[:2]:
            first = seen.setdefault((name, signer[name]), signer)
            problems += [
                f"the {name} {signer[name]!r} comes with the {other} {signer[other]!r} and {first[other]!r}"
                for other in _SIGNER
                if first[other] != signer[other]
            ]
    return judge("signers", problems, "each key has one name, one fingerprint and one owner")


def check_receipt(creation: Mapping[str, Any]) -> Check:
    """Is the receipt of the form that is known, and does it agree with the event that brings it?"""
    payload, signer = as_dict(creation.get("payload")), as_dict(creation.get("signer"))
    if "receipt" not in payload:
        return skipped("receipt", "the creation event brings none")
    receipt = as_dict(payload["receipt"])
    known = {
        "kind": "pith_receipt",
        "algorithm": "ed25519",
        "signature_status": "signed_v1",
        "signed_message": "canonical_sha256_bytes",
        "key_id": signer.get("key_id"),
        "public_key_fingerprint": signer.get("public_key_fingerprint"),
    }
    problems = [
        f"{name} is {receipt.get(name)!r}, not {want!r}" for name, want in known.items() if receipt.get(name) != want
    ]
    if signature_bytes(receipt.get("signature_b64")) is None:
        problems.append("signature_b64 is not 64 bytes in base64")
    times = [str(receipt.get(name)) for name in _TIMES]
    if times != sorted(times) or str(creation.get("created_at"))[:19] > times[0][:19]:
        problems.append(f"its times are out of order: {', '.join(times)}")
    return judge("receipt", problems, "its form is known; it agrees with its event")


def check_receipt_signature(creation: Mapping[str, Any], digest: str, key: PublicKey | None) -> Check:
    """Did the key sign the 32 bytes of the record's hash? Without a key nobody can say, but for our own events."""
    name, receipt = "receipt_signature", as_dict(as_dict(creation.get("payload")).get("receipt"))
    if key is None:
        key = _own_key(creation)
        if key is None or not receipt:
            return skipped(name, "no public key was given (--public-key); the file holds only its fingerprint")
    signature = receipt.get("signature_b64")
    good = verifies(key, signature, bytes.fromhex(digest))
    return judge(name, [] if good else ["there is no receipt for this record that this key has signed"], "Ed25519")


def check_event_ids(events: Sequence[Mapping[str, Any]], ours: bool) -> Iterator[Check]:
    """The ids and signatures of unlearnkit's events; how other builders make theirs is not known."""
    if not ours:
        yield skipped("event_ids", "what an event id is taken over is not in the file")
        return
    problems, unsigned = [], 0
    for event in events:
        name = str(event.get("event_id"))
        if event.get("event_version") != EVENT_VERSION:
            problems.append(f"{name} is not an event of the form {EVENT_VERSION}")
        elif event_id_of(event) != name:
            problems.append(f"{name} should be {event_id_of(event)}")
        elif event.get("signature") is None:
            unsigned += 1
        elif signature_problem(event) is not None:
            problems.append(f"the signature of {name} does not verify")
    yield judge("event_ids", problems, f"{len(events)} ids and {len(events) - unsigned} signatures are right")
    if unsigned:
        yield skipped("event_signatures", f"{unsigned} of {len(events)} events are not signed")


def _own_key(creation: Mapping[str, Any]) -> PublicKey | None:
    if creation.get("event_version") != EVENT_VERSION or signature_problem(creation) is not None:
        return None
    return public_key(as_dict(creation.get("signer"))["public_key"])
