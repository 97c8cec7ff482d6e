"""Many cells: each a pure function of a JSON spec, run here or on a Ray cluster, kept by its digest and never run twice."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from unlearnkit.canonical import sha256_of
from unlearnkit.errors import UserError
from unlearnkit.files import write_whole

Progress = Callable[[str, int, int], None]
Outcome = dict[str, Any]  # "result", "seconds" and "processor_seconds", or "error"


@dataclass(frozen=True)
class Cell:
    """One piece of work.

    name      what progress and failures call it; no part of its identity
    function  "module:function" of a function that takes the spec and returns a JSON value; it depends on nothing else
    spec      JSON values
    places    where this machine keeps what the spec names by digest: handed to the function as its second argument, where
              there are any; no part of the identity, and not kept. The function makes sure that the digests are right

    >>> one = Cell("one", "unlearnkit.canonical:sha256_of", {"a": 1})
    >>> one.digest == Cell("another name", one.function, {"a": 1}, {"data": "/mnt/tofu"}).digest
    True
    """

    name: str
    function: str
    spec: Mapping[str, Any] = field(hash=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the function's name and the spec."""
        return sha256_of({"function": self.function, "spec": dict(self.spec)})


class CellsFailed(RuntimeError):
    """Some cells failed, each named with why; those that did not are kept."""

    def __init__(self, failures: Mapping[str, str], total: int) -> None:
        self.failures = dict(failures)
        said = "; ".join(f"{name}: {why}" for name, why in self.failures.items())
        super().__init__(
            f"{len(self.failures)} of {total} cells failed, the others are kept and not run again: {said[:2000]}"
        )


def sweep(
    cells: Sequence[Cell],
    folder: str | Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
    what: str = "cells",
) -> list[Any]:
    """The result of each cell, in order; those that lie in `folder` already are read, the others run.

    Cells run one after another in this process, with `workers` above 1 in so many processes of their own, with `ray` on
    the cluster of that address ("auto", "ray://HOST:10001", or "local" for one that is started here). Each finished
    cell is written as `folder/DIGEST.json` at once, by this process alone, so a cluster needs no shared disk, unless cells
    have places. A cell that fails does not stop the others: `CellsFailed` names it when they are done.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    every = {cell.digest: cell for cell in cells}
    kept = {digest: found for digest in every if (found := _read(place, digest)) is not None}
    failures: dict[str, str] = {}
    waiting = [cell for digest, cell in every.items() if digest not in kept]
    _tell(progress, what, len(kept), len(every))
    for cell, outcome in _run(waiting, workers, ray):
        if "error" in outcome:
            failures[cell.name] = outcome["error"]
        else:
            kept[cell.digest] = _keep(place, cell, outcome)
        _tell(progress, what, len(kept) + len(failures), len(every))
    if failures:
        raise CellsFailed(failures, len(every))
    return [kept[cell.digest]["result"] for cell in cells]


def processor_seconds(folder: str | Path) -> float:
    """Of all cells in a folder, in sum, whenever and wherever they ran."""
    found = [_read(Path(folder), path.stem) for path in sorted(Path(folder).glob("*.json"))]
    return round(sum((float(one["processor_seconds"]) for one in found if one is not None), 0.0), 1)


def attempt(function: str, spec: Mapping[str, Any], places: Mapping[str, str]) -> Outcome:
    """Call the function; what it raises becomes an outcome too, as not every exception survives the way back."""
    began, worked = time.perf_counter(), time.process_time()
    try:
        module, _, name = function.partition(":")
        given = (dict(spec), dict(places)) if places else (dict(spec),)
        result = getattr(importlib.import_module(module), name)(*given)
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {' '.join(str(problem).split())}"}
    return {
        "result": result,
        "seconds": round(time.perf_counter() - began, 3),
        "processor_seconds": round(time.process_time() - worked, 3),
    }


def _run(cells: Sequence[Cell], workers: int, ray: str | None) -> Iterator[tuple[Cell, Outcome]]:
    """Each cell with its outcome, in the order in which they end."""
    if ray is not None:
        from unlearnkit.sweep_ray import run_on_ray

        yield from run_on_ray(cells, ray, attempt)
    elif workers > 1 and len(cells) > 1:
        yield from _run_in_processes(cells, workers)
    else:
        for cell in cells:
            yield cell, attempt(cell.function, cell.spec, cell.places)


def _run_in_processes(cells: Sequence[Cell], workers: int) -> Iterator[tuple[Cell, Outcome]]:
    """A process that dies takes its pool along: the cells that were lost run again, each in a process of its own."""
    lost = []
    for cell, outcome in _pooled(cells, workers):
        if outcome is None:
            lost.append(cell)
        else:
            yield cell, outcome
    for cell in lost:
        for _, outcome in _pooled([cell], 1):
            yield cell, outcome or {"error": "its process was killed; was there enough memory?"}


def _pooled(cells: Sequence[Cell], workers: int) -> Iterator[tuple[Cell, Outcome | None]]:
    """None is the outcome of a cell whose pool broke."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_share, initargs=(threads,))
    try:
        waiting = {pool.submit(attempt, cell.function, dict(cell.spec), dict(cell.places)): cell for cell in cells}
        for done in as_completed(waiting):
            try:
                yield waiting[done], done.result()
            except BrokenProcessPool:
                yield waiting[done], None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _share(threads: int) -> None:
    """Processes beside each other share the cores; read when torch is loaded."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def _read(folder: Path, digest: str) -> Outcome | None:
    """A kept cell; None where there is none, or where the file is not what its name says."""
    try:
        found = json.loads((folder / f"{digest}.json").read_text(encoding="utf-8"))
        same = sha256_of({"function": found["function"], "spec": found["spec"]}) == digest
        times = {name: float(found[name]) for name in ("seconds", "processor_seconds")}
        return {"result": found["result"], **times} if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(folder: Path, cell: Cell, outcome: Outcome) -> Outcome:
    said = {"name": cell.name, "function": cell.function, "spec": dict(cell.spec), **outcome}
    try:
        text = json.dumps(said, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise UserError(f"cell '{cell.name}': {cell.function} returned what JSON cannot hold ({problem})") from None
    write_whole(folder / f"{cell.digest}.json", [text.encode(), b"\n"])
    return outcome


def _tell(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None:
        progress(what, done, total)
