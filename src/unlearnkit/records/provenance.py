"""Where a run was made: code, versions, machine. No names of people, hosts or folders."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

# What can change a number: the libraries that train, measure and score.
PACKAGES = (
    "accelerate",
    "cryptography",
    "datasets",
    "numpy",
    "peft",
    "pyarrow",
    "rouge-score",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)


def gather(device: str | None = None, dtype: str | None = None, launcher: str | None = None) -> dict[str, Any]:
    """The provenance of a run that happens here and now; what is not known is None.

    device    such as "cpu" or "NVIDIA H200"
    dtype     of the master weights
    launcher  what started how many processes: "single process", "torchrun 2 x 1"
    """
    commit, dirty = _commit(Path(__file__).resolve().parent)
    return {
        "unlearnkit": _version("unlearnkit"),
        "commit": commit,
        "dirty": dirty,
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "dtype": dtype,
        "launcher": launcher,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout that this code lies in, and whether tracked files differ from it; None outside of one.

    A package installed inside of someone else's repository is not tracked by it, and so has no commit.
    """
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return None, None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit, None if status is None else bool(status)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
