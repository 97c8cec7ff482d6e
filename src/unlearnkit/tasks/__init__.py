"""What is to be forgotten, what kept, what asked: one file a data set, found by its name.

The folder is the registry. A data set is a module here with `DESCRIPTION` (one line on what it is), `SPLITS` (one line
on the names of its splits) and `load(split, *, data, holdout, refusals) -> Task`; nothing else has to know of it.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from unlearnkit.errors import UserError, unknown
from unlearnkit.tasks.base import Task


def datasets() -> dict[str, ModuleType]:
    """Every data set of the folder by its name.

    >>> "tofu" in datasets(), "rows" in datasets()
    (True, False)
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "load")}


def load_task(
    name: str, *, data: str | Path | None = None, holdout: str | None = None, refusals: str | Path | None = None
) -> Task:
    """The task of a name `DATASET:SPLIT`, such as `tofu:forget10`.

    data      where the data lies, for a data set that is not built in.
    holdout   rows that no model saw, for membership inference: a file of JSON lines, or `DATASET:FIRST-LAST`.
    refusals  a file of answers of the "I don't know" kind, one a line.

    >>> load_task("tofo:forget10")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
      ...
    unlearnkit.errors.UserError: unknown data set 'tofo'. Did you mean 'tofu'? Known: ...
    """
    dataset, colon, split = name.partition(":")
    known = datasets()
    if dataset not in known:
        raise unknown("data set", dataset, known)
    if not colon or not split:
        raise UserError(
            f"task '{name}' names no split; wanted is {dataset}:SPLIT, where SPLIT is {known[dataset].SPLITS}"
        )
    task: Task = known[dataset].load(split, data=data, holdout=holdout, refusals=refusals)
    return task
