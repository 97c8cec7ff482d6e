"""A run's folder: it knows which run it holds, is never half written, and never loses another run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from unlearnkit.errors import UserError
from unlearnkit.files import write_whole
from unlearnkit.spec import RunSpec

State = Literal["new", "unfinished", "finished"]


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none."""
    write_whole(path, [text.encode()])


def write_json(path: Path, value: Any) -> None:
    """JSON with two blanks of indent, written as a whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_place(path: str | Path) -> None:
    """Refuse at once a place that no run can take: a file, or a folder with things in it that are no run."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path} is a file; give a folder")
    if path.is_dir() and any(path.iterdir()) and held_run(path) is None:
        raise UserError(f"--out {path}: the folder holds files that are no run of unlearnkit; give another folder")


def held_run(path: Path) -> str | None:
    """The id of the run in a folder; None where there is none that can be read."""
    try:
        held = json.loads((path / "spec.json").read_text(encoding="utf-8"))["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return held if isinstance(held, str) else None


class RunFolder:
    """The folder of one run. `spec.json` says which run it is, `run.json` that it was finished."""

    def __init__(self, path: str | Path, spec: RunSpec) -> None:
        self.path = Path(path)
        self.spec = spec

    @classmethod
    def claim(cls, path: str | Path, spec: RunSpec, force: bool = False) -> RunFolder:
        """Take the folder for this run, or find it there already.

        A folder that holds another run is refused; with `force` that run is moved aside, never deleted. A folder with
        other things in it, or one that cannot be written, is refused in any case.
        """
        folder = cls(path, spec)
        folder._check_free(force)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            if not (folder.path / "spec.json").exists():
                write_json(folder.path / "spec.json", {"id": spec.id, **spec.to_json()})
        except OSError as problem:
            raise UserError(f"--out {path}: cannot be written ({problem.strerror})") from None
        return folder

    def _check_free(self, force: bool) -> None:
        check_place(self.path)
        if held_run(self.path) in (None, self.spec.id):
            return
        if not force:
            raise UserError(
                f"--out {self.path} holds another run ({self._difference()}); give another folder, or --force to move "
                "that run aside"
            )
        self._move_aside()

    def _difference(self) -> str:
        """Which field of the spec differs first, in words."""
        held = json.loads((self.path / "spec.json").read_text(encoding="utf-8"))
        mine = self.spec.to_json()
        for key in mine:
            if isinstance(mine[key], dict):
                theirs = held.get(key) or {}
                for inner in sorted({*mine[key], *theirs}):
                    if mine[key].get(inner) != theirs.get(inner):
                        return f"its {inner} is {theirs.get(inner)!r}, not {mine[key].get(inner)!r}"
            elif held.get(key) != mine[key]:
                return f"its {key} is {str(held.get(key))[:40]!r}, not {str(mine[key])[:40]!r}"
        return "another spec"

    def _move_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        os.rename(self.path, aside)

    @property
    def state(self) -> State:
        """Whether there is nothing yet, a beginning, or a finished run."""
        if (self.path / "run.json").exists():
            return "finished"
        started = any(self.path.glob("checkpoint-*")) or any(self.path.glob("epochs/*"))
        return "unfinished" if started else "new"

    def finish(self, result: dict[str, Any]) -> None:
        """Say that the run is done, with what came of it."""
        write_json(self.path / "run.json", {"id": self.spec.id, **result})

    def result(self) -> dict[str, Any]:
        """What a finished run left in `run.json`."""
        found: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return found
