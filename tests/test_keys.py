"""Keys: whole or absent, private, never overwritten; signatures in one spelling."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from typer.testing import CliRunner

from unlearnkit.cli import keys as verb
from unlearnkit.errors import UserError
from unlearnkit.records.keys import (
    fingerprint,
    new_key,
    public_hex,
    read_any_key,
    read_private_key,
    read_public_key,
    sign,
    verifies,
)


def test_the_private_file_is_the_owners_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private, public = new_key(tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted([private.name, public.name])


@pytest.mark.parametrize("which", [0, 1])
def test_a_key_is_never_overwritten(tmp_path: Path, which: int) -> None:
    paths = new_key(tmp_path)
    kept = paths[which].read_bytes()
    paths[1 - which].unlink()
    with pytest.raises(UserError, match="not overwritten"):
        new_key(tmp_path)
    assert paths[which].read_bytes() == kept
    assert not paths[1 - which].exists()


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "unlearnkit.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not overwritten"):
        new_key(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_signatures_verify_under_their_key_and_message_only(tmp_path: Path) -> None:
    private, public = new_key(tmp_path / "a")
    other, _ = new_key(tmp_path / "b")
    signature = sign(read_private_key(private), b"message")
    assert verifies(read_public_key(public), signature, b"message")
    assert not verifies(read_public_key(public), signature, b"messagf")
    assert not verifies(read_any_key(other), signature, b"message")


def test_a_signature_has_one_spelling(tmp_path: Path) -> None:
    """The last base64 character before `==` has spare bits; another choice of them is refused."""
    private, public = new_key(tmp_path)
    signature = sign(read_private_key(private), b"message")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = signature[:85] + letters[letters.index(signature[85]) ^ 1] + "=="
    assert base64.b64decode(twin) == base64.b64decode(signature)
    assert not verifies(read_public_key(public), twin, b"message")
    for bad in (None, 3, "", signature[:-1], signature + "\n", "*" * 88, ["a"]):
        assert not verifies(read_public_key(public), bad, b"message")


@pytest.mark.parametrize("form", ["pem", "ssh", "raw", "hex", "base64"])
def test_public_keys_are_read_in_common_forms(tmp_path: Path, form: str) -> None:
    _, public = new_key(tmp_path)
    key = read_public_key(public)
    raw = bytes.fromhex(public_hex(key))
    ssh = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    data = {
        "pem": public.read_bytes(),
        "ssh": ssh,
        "raw": raw,
        "hex": raw.hex().encode() + b"\n",
        "base64": base64.b64encode(raw) + b"\n",
    }[form]
    (tmp_path / "given").write_bytes(data)
    assert public_hex(read_public_key(tmp_path / "given")) == raw.hex()


def test_what_is_no_key_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"no key at all")
    (tmp_path / "long").write_bytes(b"a" * 100_000)
    curve = generate_private_key(SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "curve").write_bytes(curve.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    (tmp_path / "curve").chmod(0o600)
    for name in ("noise", "long", "none", "curve"):
        for read in (read_public_key, read_any_key):
            with pytest.raises(UserError) as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="file permissions are POSIX")
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    private, _ = new_key(tmp_path)
    private.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        read_private_key(private)


def test_the_verb_prints_the_public_key_and_never_the_private(tmp_path: Path) -> None:
    app = typer.Typer()
    verb.register(app)
    made = CliRunner().invoke(app, ["keys", "new", "--out", str(tmp_path)])
    assert made.exit_code == 0, made.output
    private = read_private_key(tmp_path / "unlearnkit.key")
    secret = private.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    hexadecimal = public_hex(private.public_key())
    assert hexadecimal in made.output
    assert fingerprint(hexadecimal) in made.output
    assert secret.hex() not in made.output
    for name in ("unlearnkit.key", "unlearnkit.pub"):
        shown = CliRunner().invoke(app, ["keys", "show", str(tmp_path / name)])
        assert hexadecimal in shown.output
    again = CliRunner().invoke(app, ["keys", "new", "--out", str(tmp_path)])
    assert isinstance(again.exception, UserError)
