"""Ed25519 keys: made once, the private one readable by its owner only; what they sign and how they are named."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from unlearnkit.errors import UserError
from unlearnkit.files import flush_folder, write_new

PRIVATE_NAME, PUBLIC_NAME = "unlearnkit.key", "unlearnkit.pub"
MAX_KEY_BYTES = 16 * 1024

PrivateKey = Ed25519PrivateKey
PublicKey = Ed25519PublicKey


def new_key(folder: Path) -> tuple[Path, Path]:
    """Make a key pair in `folder`; returns the paths of the private (mode 0600) and of the public file.

    A key that is there already is never overwritten: losing it would lose the name under which one has signed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    private, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise UserError(f"{path}: there is a key already, and it is not overwritten; give another --out")
    key = Ed25519PrivateKey.generate()
    _publish(private, _private_pem(key), 0o600)
    _publish(public, _public_pem(key.public_key()), 0o644)
    return private, public


def read_private_key(path: Path) -> PrivateKey:
    """The private key of a PEM file; refused where others than its owner can read it."""
    data = _read(path)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UserError(f"{path}: others can read this private key; run chmod 600 on it, or make a new one")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{path}: not a private key that `unlearnkit keys new` writes (PEM, no password)") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{path}: a private key, but not of Ed25519")
    return key


def read_public_key(path: Path) -> PublicKey:
    """The public key of a file: PEM, OpenSSH, or the 32 bytes raw, in hexadecimal or in base64."""
    data = _read(path)
    key = _loaded(data)
    if key is not None:
        return key
    raw = data if len(data) == 32 else _bytes_of_text(data.strip())
    if raw is None:
        raise UserError(f"{path}: not an Ed25519 public key (PEM, OpenSSH, or 32 bytes raw, in hex or in base64)")
    return Ed25519PublicKey.from_public_bytes(raw)


def read_any_key(path: Path) -> PublicKey:
    """The public half of a private or of a public key file."""
    if b"PRIVATE KEY" in _read(path):
        return read_private_key(path).public_key()
    return read_public_key(path)


def public_hex(key: PublicKey) -> str:
    """The 32 bytes of a public key in hexadecimal: how events name their signer."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def fingerprint(hexadecimal: str) -> str:
    """The first 32 hexadecimal characters of the SHA-256 of a raw public key.

    >>> fingerprint("00" * 32)
    '66687aadf862bd776c8fc18b8e9f8e20'
    """
    return hashlib.sha256(bytes.fromhex(hexadecimal)).hexdigest()[:32]


@lru_cache(maxsize=4096)
def public_key(hexadecimal: str) -> PublicKey:
    """The key of 64 hexadecimal characters."""
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(hexadecimal))


def sign(key: PrivateKey, message: bytes) -> str:
    """The signature in base64."""
    return base64.b64encode(key.sign(message)).decode("ascii")


def signature_bytes(signature: object) -> bytes | None:
    """The 64 bytes of a signature in base64, in the one spelling that encodes them; None for anything else."""
    if not isinstance(signature, str) or len(signature) != 88:
        return None
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == 64 and base64.b64encode(raw).decode("ascii") == signature else None


def verifies(key: PublicKey, signature: object, message: bytes) -> bool:
    """Is this base64 text the key's signature of the message?"""
    raw = signature_bytes(signature)
    if raw is None:
        return False
    try:
        key.verify(raw, message)
    except InvalidSignature:
        return False
    return True


def _private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _publish(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never over another file: a hard link fails where the name is taken."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new(aside, [data], mode)
        os.link(aside, path)
    except FileExistsError:
        raise UserError(f"{path}: there is a key already, and it is not overwritten; give another --out") from None
    except OSError as problem:
        raise UserError(f"{path}: can not be written ({problem.strerror})") from None
    finally:
        aside.unlink(missing_ok=True)
    flush_folder(path.parent)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_KEY_BYTES + 1)
    except OSError as problem:
        raise UserError(f"{path}: not readable ({problem.strerror})") from None
    if len(data) > MAX_KEY_BYTES:
        raise UserError(f"{path}: longer than any key")
    return data


def _loaded(data: bytes) -> PublicKey | None:
    for load in (serialization.load_pem_public_key, serialization.load_ssh_public_key):
        try:
            key = load(data)
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, Ed25519PublicKey):
            return key
    return None


def _bytes_of_text(data: bytes) -> bytes | None:
    if re.fullmatch(rb"[0-9a-fA-F]{64}", data):
        return bytes.fromhex(data.decode("ascii"))
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == 32 else None
