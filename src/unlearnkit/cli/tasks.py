"""`unlearnkit tasks`: what data there is, what a data set says of itself, and what a task holds; read from the code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearnkit.cli import options as opt

if TYPE_CHECKING:
    from unlearnkit.tasks.base import Task


def register(app: typer.Typer) -> None:
    """Add the verb `tasks` to the command line."""

    @app.command("tasks")
    def tasks(
        name: Annotated[
            str | None, typer.Argument(help="DATASET to explain, or DATASET:SPLIT to load and count.")
        ] = None,
        data: opt.Data = None,
        holdout: opt.Holdout = None,
        refusals: opt.Refusals = None,
        as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    ) -> None:
        """List the data sets; explain one; or load a task, which checks its data, and count its rows."""
        if name is None:
            found, text = _listed()
        elif ":" in name:
            found, text = _counted(name, data, holdout, refusals)
        else:
            found, text = _explained(name)
        print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else text)


def _listed() -> tuple[Any, str]:
    from unlearnkit.tasks import datasets

    found = {name: {"description": each.DESCRIPTION, "splits": each.SPLITS} for name, each in datasets().items()}
    width = max(map(len, found))
    lines = [
        f"{name:<{width}}  {each['description']}\n{'':<{width}}  splits: {each['splits']}"
        for name, each in found.items()
    ]
    return found, "\n".join([*lines, "", "A task is DATASET:SPLIT. `unlearnkit tasks DATASET` says more."])


def _explained(name: str) -> tuple[Any, str]:
    from unlearnkit.errors import unknown
    from unlearnkit.tasks import datasets

    known = datasets()
    if name not in known:
        raise unknown("data set", name, known)
    module = known[name]
    about = inspect.cleandoc(module.__doc__ or "")
    found = {"name": name, "description": module.DESCRIPTION, "splits": module.SPLITS, "about": about}
    return found, f"{name}: {module.DESCRIPTION}\nsplits: {module.SPLITS}\n\n{about}"


def _counted(name: str, data: Path | None, holdout: str | None, refusals: Path | None) -> tuple[Any, str]:
    from unlearnkit.tasks import load_task

    task = load_task(name, data=data, holdout=holdout, refusals=refusals)
    sets = _sets(task)
    found = {"name": task.name, "refusals": len(task.refusals), "sets": sets}
    lines = [f"{task.name}, {len(task.refusals)} refusals", f"{'':<24}{'rows':>6} {'with wrong answers':>19}  sha256"]
    lines += [
        f"{place:<24}{each['rows']:>6} {each['perturbed']:>19}  {each['sha256'][:16]}" for place, each in sets.items()
    ]
    return found, "\n".join(lines)


def _sets(task: Task) -> dict[str, dict[str, Any]]:
    from unlearnkit.tasks.base import digest_rows

    parts = {"train": task.train, "forget": task.forget, "retain": task.retain}
    parts |= {f"asked: {place}": rows for place, rows in task.evaluation.items()}
    return {
        place: {"rows": len(rows), "perturbed": sum(bool(row.perturbed) for row in rows), "sha256": digest_rows(rows)}
        for place, rows in parts.items()
    }
