"""A pass as a list of batches: dealt to processes, kept as they are finished, each run once.

Which rows make a batch depends on the rows and the token budget alone. So any number of processes, and a pass that was
stopped and taken up again, run the same batches and get the same numbers.
"""

from __future__ import annotations

import io
import secrets
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlearnkit.files import write_whole

# What a batch leaves: arrays without objects, so that they can be written and read without running anything.
Parts = tuple[NDArray[Any], ...]


class Workers(NamedTuple):
    """The processes that share a measurement, and which of them this is.

    rank      this process's number, from 0
    total     how many there are
    gathered  every process's value, in the order of their ranks, known to each of them
    """

    rank: int = 0
    total: int = 1
    gathered: Callable[[Any], list[Any]] = lambda value: [value]


ONE_PROCESS = Workers()


class Kept:
    """Finished batches in a folder: written as whole files, read by name of the work they belong to.

    key    stands for everything that decides the numbers; files of another key are not read
    every  seconds between two files, so that many small batches do not become many small files
    """

    def __init__(self, folder: Path, key: str, every: float = 15.0) -> None:
        self.every = every
        self.place = folder / key[:32]
        self._waiting: dict[str, NDArray[Any]] = {}
        self._last = time.monotonic()

    def read(self, phase: str) -> dict[int, Parts]:
        """The finished batches of a phase, by number. A file that cannot be read counts as not there."""
        found: dict[int, dict[int, NDArray[Any]]] = {}
        for path in sorted(self.place.glob(f"{phase}-*.npz")):
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    for name in arrays.files:
                        batch, part = name.split("_")
                        found.setdefault(int(batch), {})[int(part)] = arrays[name]
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                continue
        return {batch: tuple(parts[n] for n in sorted(parts)) for batch, parts in found.items()}

    def add(self, phase: str, batch: int, parts: Parts) -> None:
        """Keep what a batch left; it is on disk after `every` seconds or at the next `flush`."""
        self._waiting |= {f"{batch}_{number}": part for number, part in enumerate(parts)}
        if time.monotonic() - self._last >= self.every:
            self.flush(phase)

    def flush(self, phase: str) -> None:
        """Write what waits."""
        if self._waiting:
            self.place.mkdir(parents=True, exist_ok=True)
            packed = io.BytesIO()
            np.savez(packed, **self._waiting)  # type: ignore[arg-type]  # its stub takes no dictionary of arrays
            write_whole(self.place / f"{phase}-{secrets.token_hex(8)}.npz", [packed.getvalue()])
        self._waiting = {}
        self._last = time.monotonic()


class Work(NamedTuple):
    """Who takes part, and where finished batches are kept, if anywhere."""

    workers: Workers = ONE_PROCESS
    kept: Kept | None = None

    def done(
        self,
        phase: str,
        costs: Sequence[int],
        run: Callable[[int], Parts],
        advance: Callable[[int], None] = lambda batch: None,
    ) -> list[Parts]:
        """What every batch leaves, in order, for every process; those that are kept are not run again.

        phase    a name for the kept files
        costs    how long each batch takes, in any unit
        run      runs the batch of that number
        advance  called with the number of each batch that is done
        """
        kept, workers = self.kept, self.workers
        # the first process reads for all: another one may see the folder a moment later, with more files in it
        known: dict[int, Parts] = workers.gathered(kept.read(phase) if kept and workers.rank == 0 else {})[0]
        have = {number: parts for number, parts in known.items() if 0 <= number < len(costs)}
        for number in have:
            advance(number)
        todo = [number for number in range(len(costs)) if number not in have]
        mine: dict[int, Parts] = {}
        try:
            for place in dealt([costs[number] for number in todo], workers.total)[workers.rank]:
                number = todo[place]
                mine[number] = run(number)
                if kept is not None:
                    kept.add(phase, number, mine[number])
                advance(number)
        finally:
            if kept is not None:
                kept.flush(phase)
        for part in workers.gathered(mine):
            have |= part
            for number in part.keys() - mine.keys():
                advance(number)
        return [have[number] for number in range(len(costs))]


ALONE = Work()


def dealt(costs: Sequence[int], count: int) -> list[list[int]]:
    """Places 0..n-1 for each of `count` processes: the dearest first, each to the one with the least to do.

    >>> dealt([5, 1, 4, 2], 2)
    [[0, 1], [2, 3]]
    """
    out: list[list[int]] = [[] for _ in range(count)]
    load = [0] * count
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        least = load.index(min(load))
        out[least].append(place)
        load[least] += costs[place]
    return out
