"""Pith records: the worked examples come out right, and every change that a file can give away is refused."""

from __future__ import annotations

import copy
import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from unlearnkit.canonical import sha256_of
from unlearnkit.cli import pith as verb
from unlearnkit.errors import UserError
from unlearnkit.records.checks import FAILED, NOT_CHECKED, PASSED, first_failed
from unlearnkit.records.keys import public_hex, sign
from unlearnkit.records.pith import verify

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "pith"
needs_examples = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/pith is not here")

Place = tuple[str | int, ...]
STATE, RECORD = "npo_open_graph_state.json", "tofu_canonical_record.json"
TOFU = "pith:2024:CKQSJSYXKAYGDX6EIU3EIOSV2E"

# What may be changed in the state of the NPO paper, its own hash recomputed, without the file giving it away; and why.
SNAPSHOT = "current/graph_snapshots/0/payload/graph_snapshot/"
UNKNOWN = {
    "state_sha256": "it is recomputed, so nothing is changed",
    "current/source_aliases/*/created_at": "when an alias was given stands nowhere else",
    "current/graph_snapshots/0/created_at": "what the event's id is taken over is not known",
    "current/record_created/created_at": "only that it is not after the receipt",
    "current/record_created/payload/attestation_state": "it is under no hash that is known",
    "current/record_created/payload/receipt/*_at": "the receipt signs the record's hash alone",
    "current/record_created/payload/receipt/builder_version": "the receipt signs the record's hash alone",
    "current/record_created/payload/receipt/receipt_version": "the receipt signs the record's hash alone",
    "current/record_created/payload/receipt/signature_b64": "it needs the public key",
    SNAPSHOT + "*snapshot_sha256": "what it is taken over is not known",
    SNAPSHOT + "author_claims/count": "the claims counted are not in the file",
    SNAPSHOT + "formal_canon/evidence_count": "the evidence counted is not in the file",
    SNAPSHOT + "references/count": "only a sample of them is in the file",
    SNAPSHOT + "references/internal_anchors": "only a sample of them is in the file",
    SNAPSHOT + "references/sample/*": "under no hash that is known",
    SNAPSHOT + "builder_version": "under no hash that is known",
    SNAPSHOT + "claims/items/*/attestation": "under no hash that is known",
    SNAPSHOT + "claims/items/*/claim_id": "under no hash that is known",
    SNAPSHOT + "claims/items/*/kind": "under no hash that is known",
    SNAPSHOT + "claims/items/*/source": "a claim may come from elsewhere than the verdict",
    SNAPSHOT + "claims/items/*/status": "under no hash that is known",
    SNAPSHOT + "paper/abstract_excerpt": "the record's hash is of the whole abstract",
    SNAPSHOT + "paper/authors_text": "under no hash that is known",
    SNAPSHOT + "verdict/created_at": "under no hash that is known",
    SNAPSHOT + "verdict/model_set/reader": "under no hash that is known",
    SNAPSHOT + "verdict/pipeline_version": "under no hash that is known",
}


def example(name: str) -> Any:
    """One of the two worked examples."""
    return json.loads((SHARED / name).read_text(encoding="utf-8"))


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place that holds a string, a number, a boolean, null, or an empty list or object."""
    parts: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not value or not isinstance(value, dict | list):
        yield place
    for key, part in parts:
        if value:
            yield from leaves(part, (*place, key))


def at(value: Any, place: Place) -> Any:
    """What stands at a place."""
    for key in place:
        value = value[key]
    return value


def replaced(document: Any, place: Place, new: Any, rehash: bool) -> Any:
    """The document with another value at one place, and, if asked, with `state_sha256` recomputed."""
    changed = copy.deepcopy(document)
    at(changed, place[:-1])[place[-1]] = new
    if rehash:
        changed["state_sha256"] = sha256_of({key: part for key, part in changed.items() if key != "state_sha256"})
    return changed


def one_character(text: str) -> list[str]:
    """The text with its last character changed, its first, and its last digit (down to 0, or 0 to 1)."""
    last, first = text[-1:], text[:1]
    changed = [text[:-1] + ("1" if last == "0" else "0" if last.isdigit() else "b" if last == "a" else "a")]
    changed.append(("1" if first == "0" else "0" if first.isdigit() else "b" if first == "a" else "a") + text[1:])
    digits = [place for place, letter in enumerate(text) if letter.isdigit()]
    if digits:
        place = digits[-1]
        changed.append(text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :])
    return [each for each in changed if each != text]


def changes(value: Any) -> list[Any]:
    """Other values of the same look, then of other types."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int):
        return [value + 1, float(value), str(value)]
    if isinstance(value, str):
        return [*one_character(value), value + "x", None]
    return [["x"], {"x": 1}, 3] if value is not None else [1, "x"]


def slashed(place: Place) -> str:
    return "/".join(map(str, place))


@needs_examples
def test_all_that_can_be_checked_of_the_state_is_right() -> None:
    found = verify(example(STATE), "pith:2024:OUY3FJZZ64YXYLASJSH3UPIBMZ")
    assert found.ok
    assert found.canonical_sha256 == "7531b2a739f7317c2c124c8fba3d01664e0a38bb3b28428c4c26f40666a89ed5"
    assert found.number == "pith:2024:OUY3FJZZ64YXYLASJSH3UPIBMZ"
    status = {check.name: check.status for check in found.checks}
    unchecked = {name for name, state in status.items() if state == NOT_CHECKED}
    assert unchecked == {"receipt_signature", "abstract", "snapshot_hashes", "event_ids"}
    for name in (
        "state_sha256",
        "canonical_sha256",
        "pith_number",
        "aliases",
        "creation_event",
        "counts",
        "event_list",
    ):
        assert status[name] == PASSED


@needs_examples
def test_a_bare_record_has_the_number_of_its_paper() -> None:
    found = verify(example(RECORD))
    assert found.ok
    assert found.number == TOFU
    assert found.canonical_sha256 == "12a124cb17503061dfc44536443a55d12e762122b897a676bc828a2646543932"
    number = TOFU.split(":")[2]
    for given in (TOFU, number, number[:8], number[:12], number[:16], number.lower()):
        assert verify(example(RECORD), given).ok, given
    for wrong in ("pith:2023:" + number, "OUY3FJZZ", number[:-1] + "A", "pith:2024:" + number[1:9]):
        assert not verify(example(RECORD), wrong).ok, wrong


@needs_examples
@pytest.mark.parametrize("name", [STATE, RECORD])
def test_every_changed_leaf_is_refused(name: str) -> None:
    """Nothing recomputed: the state's own hash, or the number that was asked for, gives every change away."""
    document = example(name)
    number = None if name == STATE else TOFU
    places = list(leaves(document))
    assert len(places) > (180 if name == STATE else 8)
    for place in places:
        for new in changes(at(document, place)):
            changed = replaced(document, place, new, rehash=False)
            wrong = None
            try:
                wrong = first_failed(verify(changed, number).checks)
            except UserError:
                assert name == RECORD
                continue
            assert wrong is not None, (place, new)


@needs_examples
def test_recomputing_the_state_hash_hides_only_what_is_listed() -> None:
    """Every leaf is changed in several ways. The list of exceptions is exact: each of them is needed."""
    document = example(STATE)
    accepted: set[str] = set()
    for place in leaves(document):
        for new in changes(at(document, place)):
            found = verify(replaced(document, place, new, rehash=True))
            assert {check.name: check.status for check in found.checks}["state_sha256"] == PASSED
            if found.ok:
                accepted.add(slashed(place))
    slipped = {place for place in accepted if not any(fnmatch.fnmatch(place, pattern) for pattern in UNKNOWN)}
    assert not slipped, "changed without being refused"
    needed = {pattern for pattern in UNKNOWN if any(fnmatch.fnmatch(one, pattern) for one in accepted)}
    assert needed == set(UNKNOWN), "an exception that no change needs"


EXPECTED = {
    "pith_number": "pith_number",
    "event_count": "counts",
    "valid_event_count": "counts",
    "invalid_event_count": "counts",
    "equivocation_count": "counts",
    "applied_event_ids/1": "event_list",
    "current/graph_snapshots/0/event_id": "event_list",
    "current/record_created/event_id": "event_list",
    "current/canonical_record/source/version": "canonical_sha256",
    "current/record_created/payload/canonical_sha256": "canonical_sha256",
    "current/record_created/payload/canonical_record/schema_version": "creation_event",
    "current/record_created/payload/source_version": "creation_event",
    "current/record_created/target": "creation_event",
    "current/source_aliases/0/alias_value": "aliases",
    "current/source_aliases/2/alias_value": "aliases",
    "current/source_aliases/2/alias_kind": "aliases",
    "current/source_aliases/5/alias_value": "aliases",
    "merge_version": "format",
    SNAPSHOT + "paper/title": "title",
    SNAPSHOT + "paper/primary_cat": "snapshot",
    SNAPSHOT + "claims/count": "snapshot",
    "current/graph_snapshots/0/signer/key_id": "signers",
    "current/record_created/payload/receipt/public_key_fingerprint": "receipt",
}


@needs_examples
@pytest.mark.parametrize("place", EXPECTED)
def test_the_check_that_failed_is_named(place: str) -> None:
    document = example(STATE)
    where = tuple(int(part) if part.isdigit() else part for part in place.split("/"))
    wrong = first_failed(verify(replaced(document, where, changes(at(document, where))[0], rehash=True)).checks)
    assert wrong is not None
    assert wrong.name == EXPECTED[place]


@needs_examples
@pytest.mark.parametrize(
    "place", ["current", "current/record_created", "current/source_aliases/3", "applied_event_ids/0", "invalid_events"]
)
def test_what_is_taken_out_is_missed(place: str) -> None:
    document = example(STATE)
    where = tuple(int(part) if part.isdigit() else part for part in place.split("/"))
    del at(document, where[:-1])[where[-1]]
    document["state_sha256"] = sha256_of({key: part for key, part in document.items() if key != "state_sha256"})
    assert not verify(document).ok


@needs_examples
def test_another_order_of_events_or_aliases_is_refused() -> None:
    for place in (("applied_event_ids",), ("current", "source_aliases")):
        document = example(STATE)
        assert not verify(replaced(document, place, at(document, place)[::-1], rehash=True)).ok


def signed_by(key: Ed25519PrivateKey, document: Any) -> Any:
    """The state with the receipt that this key would have given, and its hash recomputed."""
    payload = document["current"]["record_created"]["payload"]
    signature = sign(key, bytes.fromhex(payload["canonical_sha256"]))
    place = ("current", "record_created", "payload", "receipt", "signature_b64")
    return replaced(document, place, signature, rehash=True)


@needs_examples
def test_receipts_are_checked_under_a_given_key() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    document = signed_by(key, example(STATE))
    good = verify(document, key=key.public_key())
    assert good.ok
    assert ("receipt_signature", PASSED) in [(check.name, check.status) for check in good.checks]
    for wrong in (verify(document, key=other.public_key()), verify(example(STATE), key=key.public_key())):
        assert first_failed(wrong.checks) is not None
        assert [check.name for check in wrong.checks if check.status == FAILED] == ["receipt_signature"]
    stripped = copy.deepcopy(document)
    del stripped["current"]["record_created"]["payload"]["receipt"]
    stripped["state_sha256"] = sha256_of({name: part for name, part in stripped.items() if name != "state_sha256"})
    assert verify(stripped).ok
    assert not verify(stripped, key=key.public_key()).ok


@pytest.mark.parametrize("document", [{}, [], None, 3, "x", {"metadata": 1, "source": {}}, {"a": {}}])
def test_what_is_no_pith_document_is_wrong_input(document: Any) -> None:
    with pytest.raises(UserError, match="neither"):
        verify(document)


@pytest.mark.parametrize("number", ["", "CKQ", "pith:24:CKQSJSYX", "CKQSJSY1", TOFU + "A", "doi:2024:CKQSJSYX"])
def test_what_is_no_number_is_wrong_input(number: str) -> None:
    with pytest.raises(UserError, match="no number"):
        verify({"metadata": {}, "source": {}}, number)


@needs_examples
def test_the_verb_answers_with_exit_codes_and_json(tmp_path: Path) -> None:
    app = typer.Typer()
    verb.register(app)
    key = Ed25519PrivateKey.generate()
    good, bad, keyfile = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "key.pub"
    good.write_text(json.dumps(signed_by(key, example(STATE)), indent=2), encoding="utf-8")
    bad.write_text(json.dumps(replaced(example(STATE), ("pith_number",), "\x1b[2J", True)), encoding="utf-8")
    keyfile.write_text(public_hex(key.public_key()))
    answer = CliRunner().invoke(app, ["pith", "verify", str(good), "--public-key", str(keyfile), "--json"])
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["ok"] is True
    answer = CliRunner().invoke(app, ["pith", "verify", str(bad)])
    assert answer.exit_code == 1
    assert "REFUSED (open graph state): pith_number" in answer.stdout
    assert "\x1b" not in answer.stdout
    (tmp_path / "twins.json").write_text('{"source": {}, "source": {}, "metadata": {}}')
    answer = CliRunner().invoke(app, ["pith", "verify", str(tmp_path / "twins.json")])
    assert isinstance(answer.exception, UserError)
