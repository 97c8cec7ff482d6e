"""The digest of the tensors in safetensors files, read a piece at a time; no framework, any dtype."""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from unlearnkit.canonical import read_json
from unlearnkit.errors import UserError

INDEX_NAME = "model.safetensors.index.json"
_PIECE = 16 * 2**20

# The names that safetensors and torch give the same types.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "I64": "int64",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


class _Stored(NamedTuple):
    file: Path
    dtype: str
    shape: list[int]
    start: int
    end: int


def files_digest(folder: str | Path) -> str:
    """SHA-256 of the tensors of a checkpoint's folder, by name: dtype, shape and little-endian bytes of each.

    The same number as `models.digest.weights_digest` gives for the model that is loaded from there in its own dtype,
    however the tensors are spread over files and in whatever order. Nothing outside of the folder is read.
    """
    tensors: dict[str, _Stored] = {}
    for file in _files(Path(folder)):
        for name, stored in _header(file).items():
            if name in tensors:
                raise UserError(f"{folder}: the tensor {name!r} is in two files")
            tensors[name] = stored
    sha = hashlib.sha256()
    for name in sorted(tensors):
        stored = tensors[name]
        sha.update(f"{name}|{stored.dtype}|{stored.shape}|".encode())
        _update(sha, stored)
    return sha.hexdigest()


def has_weights(folder: str | Path) -> bool:
    """Are there safetensors in this folder?"""
    return any(Path(folder).glob("*.safetensors"))


def _files(folder: Path) -> list[Path]:
    """The files that the index names, where there is one; else every safetensors file of the folder."""
    index = folder / INDEX_NAME
    if not index.is_file():
        found = sorted(folder.glob("*.safetensors"))
        if not found:
            raise UserError(f"{folder}: there are no safetensors in it")
        return found
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    names = set(places.values()) if isinstance(places, dict) and all(map(_is_name, places.values())) else set()
    if not names:
        raise UserError(f"{index}: its weight_map does not name files of this folder")
    return [folder / name for name in sorted(names)]


def _is_name(name: Any) -> bool:
    """A bare file name, so that an index can not lead out of its folder."""
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")


def _header(file: Path) -> dict[str, _Stored]:
    """Where each tensor lies. The library checks the header first: types, lengths, no gaps and no overlaps."""
    try:
        with safe_open(file, framework="numpy"):
            pass
        with open(file, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: Mapping[str, Any] = json.loads(stream.read(length))
    except (SafetensorError, OSError, ValueError, struct.error) as problem:
        raise UserError(f"{file}: not a readable safetensors file ({str(problem).splitlines()[0]})") from None
    start = 8 + length
    return {
        name: _Stored(
            file,
            _DTYPES.get(each["dtype"], each["dtype"].lower()),
            each["shape"],
            start + each["data_offsets"][0],
            start + each["data_offsets"][1],
        )
        for name, each in header.items()
        if name != "__metadata__"
    }


def _update(sha: Any, stored: _Stored) -> None:
    if stored.start == stored.end:
        return
    with open(stored.file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(stored.start, stored.end, _PIECE):
            sha.update(data[start : min(start + _PIECE, stored.end)])
