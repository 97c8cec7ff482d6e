"""What a claim is, what it is asked, and what it answers. A new claim is one file beside this one with a `CLAIM`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import unlearnkit.claims as folder
from unlearnkit.errors import unknown
from unlearnkit.sweep import Cell, Progress, sweep

CELLS = "cells"  # the folder of finished cells within a claim's output


class Request(NamedTuple):
    """What a claim is asked to do.

    out      where pictures go; cells are kept in `out/cells`
    quick    a reduced version: fewer seeds, methods or steps
    seeds    never empty: the user's, else the claim's own
    data     a folder of data, for claims that can run on TOFU itself
    models   a folder of models that go with it; without it they are trained
    workers  processes, for cells that are run here
    ray      the address of a Ray cluster, or None to run here
    """

    out: Path
    quick: bool
    seeds: tuple[int, ...]
    data: Path | None = None
    models: Path | None = None
    workers: int = 1
    ray: str | None = None
    progress: Progress | None = None

    def sweep(self, cells: Sequence[Cell], what: str = "cells") -> list[Any]:
        """The cells' results, in order; finished ones are read."""
        kept = self.out / CELLS
        return sweep(cells, kept, workers=self.workers, ray=self.ray, progress=self.progress, what=what)


class Check(NamedTuple):
    """One thing that the claim stands on, with its numbers in words."""

    what: str
    held: bool
    found: str


class Grid(NamedTuple):
    """A table of the page; cells are Markdown. `note` stands below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


class Picture(NamedTuple):
    """A PNG file in the output folder, and what it shows."""

    file: str
    caption: str


class Answer(NamedTuple):
    """What came of it: the claim held if every check did.

    verdict  one line with the numbers that matter
    numbers  JSON values, for `claim.json`
    notes    paragraphs of Markdown: what the numbers cannot show, what is odd in them
    """

    verdict: str
    checks: Sequence[Check]
    numbers: Mapping[str, Any]
    tables: Sequence[Grid] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()

    @property
    def held(self) -> bool:
        """Whether every check held; without a check nothing was shown."""
        return bool(self.checks) and all(check.held for check in self.checks)


def _no_inputs(data: Path | None, models: Path | None) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    name         as one writes it on the command line, such as "npo-synthetic"
    sentence     the claim in one sentence
    run          does the work; imports what is heavy itself, so that listing claims is quick
    seeds        by default; `quick_seeds` with --quick
    workers      processes to run cells in where the user does not say, at most one a core: models of the size that claims
                 train gain little from a second thread
    takes_data   whether --data, and --models with it, mean something to it
    data_seeds   by default where data is given; none: as without
    inputs       digests of what lies in the folders of data and of models: they belong to the identity of the run. What
                 cannot be run with them is a `UserError`, before anything is written
    """

    name: str
    paper: str
    sentence: str
    run: Callable[[Request], Answer]
    seeds: tuple[int, ...]
    quick_seeds: tuple[int, ...]
    workers: int = 4
    takes_data: bool = False
    data_seeds: tuple[int, ...] = ()
    inputs: Callable[[Path | None, Path | None], Mapping[str, str]] = _no_inputs

    def seeds_for(self, quick: bool, data: bool) -> tuple[int, ...]:
        """The claim's own seeds, where the user names none."""
        if quick:
            return self.quick_seeds
        return (data and self.data_seeds) or self.seeds


def claims() -> dict[str, Claim]:
    """Every claim by its name: the files of this folder that hold a `CLAIM`.

    Folders within it are what claims do their work with, and are not looked into: they may be slow to import.
    """
    found = {}
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda one: one.name):
        if module.ispkg:
            continue
        held = getattr(importlib.import_module(f"{folder.__name__}.{module.name}"), "CLAIM", None)
        if isinstance(held, Claim):
            found[held.name] = held
    return found


def find_claim(name: str) -> Claim:
    """A claim by its name; an unknown name is a `UserError` with the nearest one."""
    every = claims()
    if name not in every:
        raise unknown("claim", name, [*every, "all"])
    return every[name]
