"""Whole files or none: write aside, flush to disk, then rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from unlearnkit.errors import UserError


def write_whole(path: str | Path, chunks: Iterable[bytes]) -> None:
    """Write `chunks` as the file `path`, so that a reader finds the old file or the new one, never a half.

    The place beside it has a random name of its own, opened with O_EXCL, so that no link planted there is followed.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new(aside, chunks, 0o666)
        os.replace(aside, path)
    except OSError as problem:
        aside.unlink(missing_ok=True)
        raise UserError(f"{path}: can not be written ({problem.strerror})") from None
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_new(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    """Write a file that does not exist yet, with these permissions (less the umask), and flush it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be flushed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse; the rename itself is whole all the same
    finally:
        os.close(descriptor)
