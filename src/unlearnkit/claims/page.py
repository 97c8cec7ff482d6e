"""The page of a claim, in Markdown: verdict, checks, tables, pictures, and how it was made. No host names, no paths."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unlearnkit.claims.base import Answer, Check, Claim, Grid
from unlearnkit.records import provenance

_NAMED = ("torch", "transformers", "numpy", "scipy")  # packages that the page names; claim.json holds them too


@dataclass(frozen=True)
class Circumstances:
    """How an answer was made.

    seconds            of this run; where it was `resumed`, finished cells were read and not run
    processor_seconds  of all cells, whenever they ran
    load               how many processes wanted a core, on average over the last five minutes; None where nobody counts
    inputs             digests of the data and the models that were given
    """

    command: str
    seeds: Sequence[int]
    seconds: float
    processor_seconds: float
    resumed: bool
    workers: int
    ray: bool
    load: float | None
    machine: Mapping[str, Any]
    inputs: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "seeds": list(self.seeds), "machine": dict(self.machine), "inputs": dict(self.inputs)}


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float | None:
    """How many processes on this machine want a core, on average over the last five minutes."""
    return round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else None


def machine() -> dict[str, Any]:
    """Cores, system, versions; the commit where there is one."""
    made = provenance.gather()
    return {
        "cores": cores(),
        "platform": made["platform"],
        "python": made["python"],
        **{name: made["packages"][name] for name in _NAMED if name in made["packages"]},
        "unlearnkit": made["unlearnkit"],
        "commit": made["commit"],
    }


def render(claim: Claim, answer: Answer, around: Circumstances) -> str:
    """The whole page."""
    parts = [
        f"# {claim.name}",
        f"{claim.sentence} ({claim.paper})",
        f"**{'Held' if answer.held else 'Did not hold'}.** {answer.verdict}",
        _checks(answer.checks),
        *(_picture(picture.file, picture.caption) for picture in answer.pictures),
        *(part for grid in answer.tables for part in (f"## {grid.title}", markdown(grid), grid.note) if part),
        *(["## What to read it with", *answer.notes] if answer.notes else []),
        "## How it was made",
        _made(around),
    ]
    return "\n\n".join(parts) + "\n"


def markdown(grid: Grid) -> str:
    """A table in Markdown.

    >>> print(markdown(Grid("", ["method", "KL"], [["ga", "26.1"]])))
    | method | KL |
    |---|---|
    | ga | 26.1 |
    """
    lines = [list(grid.columns), ["---"] * len(grid.columns), *grid.rows]
    head, rule, *rest = lines
    return "\n".join([f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(line)} |" for line in rest)])


def _checks(checks: Sequence[Check]) -> str:
    rows = [[check.what, "yes" if check.held else "**no**", check.found] for check in checks]
    return markdown(Grid("", ["what was asked", "held", "found"], rows))


def _picture(file: str, caption: str) -> str:
    first = re.split(r"[.:;](?=\s|$)", caption)[0]
    return f"![{first}]({file})\n\n*{caption}*"


def _made(around: Circumstances) -> str:
    """Command, time, seeds and machine."""
    known = {name: value for name, value in around.machine.items() if value is not None}
    commit = known.pop("commit", None)
    where = "on a Ray cluster" if around.ray else f"in {around.workers} processes" if around.workers > 1 else "here"
    said = f"{around.seconds:.0f} seconds, cells run {where}; {around.processor_seconds:.0f} seconds of processor time"
    if around.load is not None:
        said += f"; {around.load:g} processes wanted the cores meanwhile, these among them"
    if around.resumed:
        said += "; an earlier start had finished some of them"
    lines = [
        f"```sh\n{around.command}\n```\n",
        f"- time: {said}",
        f"- seeds: {', '.join(map(str, around.seeds))}",
        f"- machine: {known.pop('cores', 'unknown')} cores, {known.pop('platform', 'unknown system')}",
        "- versions: " + ", ".join(f"{name} {value}" for name, value in known.items()),
    ]
    if around.inputs:
        given = ", ".join(f"{name} {digest[:12]}" for name, digest in around.inputs.items())
        lines.append(f"- digests of what was given: {given}")
    return "\n".join(lines + ([f"- commit: {commit[:12]}"] if commit else []))
