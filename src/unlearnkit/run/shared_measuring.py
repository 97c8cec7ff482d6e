"""One table by all processes of a run: rows dealt out, finished batches kept beside the table until it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearnkit.measure import measure
from unlearnkit.measure.work import Workers
from unlearnkit.table import Table
from unlearnkit.tasks.base import Task
from unlearnkit.text.template import Template
from unlearnkit.training import processes


def everyone() -> Workers:
    """All processes of this run, each with the whole model."""
    return Workers(processes.rank(), processes.count(), processes.gathered)


def keeping_place(place: Path) -> Path:
    """Where finished batches of the table at `place` are kept.

    >>> keeping_place(Path("run/table.parquet")).as_posix()
    'run/table.measuring'
    """
    return place.with_suffix(".measuring")


def table_at(
    place: Path,
    model: Any,
    template: Template,
    task: Task,
    *,
    spread: bool = False,
    finish: Callable[[Table], Table] = lambda table: table,
    **options: Any,
) -> Table:
    """The table that lies at `place`; where there is none, measured and saved there by the first process.

    spread   the model is sharded: every process has to run everything, and nothing is kept on the way
    finish   what the first process does to the table before it is saved
    options  those of `measure`

    Every process must call it and gets the table.
    """
    if processes.by_first(place.is_file):
        return Table.load(place)
    keep = keeping_place(place)
    shared: dict[str, Any] = {} if spread else {"workers": everyone(), "keep": keep}
    if processes.rank() != 0:
        options["progress"] = None
    table = measure(model, template, task, **shared, **options)
    if processes.rank() == 0:
        table = finish(table)
        place.parent.mkdir(exist_ok=True)
        table.save(place)
        shutil.rmtree(keep, ignore_errors=True)
    return table
