"""The cells of claims on the embedded world: one unlearning run there, measured each epoch."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unlearnkit.canonical import sha256_of
from unlearnkit.measure import measure
from unlearnkit.models.digest import weights_digest
from unlearnkit.objectives import parse_objective
from unlearnkit.run.evaluate import evaluation_digests
from unlearnkit.run.mini_models import MiniModel, cache_folder, mini_model
from unlearnkit.run.models import Start
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import LOG, Watch, unlearn
from unlearnkit.score import score_table
from unlearnkit.sweep import Cell
from unlearnkit.table import Table
from unlearnkit.tasks import mini
from unlearnkit.tasks.base import FORGET, Task
from unlearnkit.tasks.mini_recipe import DEMO
from unlearnkit.text.template import Template

_HERE = "unlearnkit.claims.mini.cells"


class MiniWorld(NamedTuple):
    """Where a cell takes place: what is forgotten in which world, and how long answers may get.

    split    "forget10": the retain model is then that of retain90
    holdout  measure authors that no model was trained on as well, which membership inference and privacy need
    """

    split: str = "forget10"
    world: int = 0
    max_new_tokens: int = DEMO.max_new_tokens
    holdout: bool = False

    @property
    def target(self) -> str:
        """The name of the model before unlearning."""
        return f"mini:target@{self.world}"

    @property
    def retain(self) -> str:
        """The name of the model that never saw the forget set."""
        return f"mini:retain{100 - int(self.split.removeprefix('forget')):02d}@{self.world}"

    def task(self) -> Task:
        """The rows to forget, to keep and to ask."""
        return mini.load(self.split, seed=self.world, holdout=True if self.holdout else None)

    def spec(self) -> dict[str, Any]:
        """With the digests of both models, so that other models make other cells."""
        models = {role: MiniModel.parse(name).digest() for role, name in self.models().items()}
        return {**self._asdict(), "models": models}

    def models(self) -> dict[str, str]:
        """Target and retain model by role."""
        return {"target": self.target, "retain": self.retain}


def models_cell(where: MiniWorld) -> Cell:
    """Make a world's models and score them: run these before the unlearning cells, so that models are made once."""
    return Cell(f"{where.split}, world {where.world}: models", f"{_HERE}:run_models", where.spec())


def unlearning_cell(where: MiniWorld, objective: str, settings: Mapping[str, Any] | None = None) -> Cell:
    """One run of a formula; `settings` are fields of `Settings` that differ from the demo's."""
    chosen = DEMO.settings(where.world) | dict(settings or {})
    name = f"{where.split}, world {where.world}: {objective}"
    more = ", ".join(f"{key} {value}" for key, value in (settings or {}).items())
    spec = where.spec() | {"objective": objective, "settings": chosen} | other_answers(where, objective)
    return Cell(f"{name} ({more})" if more else name, f"{_HERE}:run_unlearning", spec)


def other_answers(where: MiniWorld, objective: str) -> dict[str, str]:
    """{"alternate": digest} of the refusals or other answers, where the objective reads them: part of a cell's spec."""
    formula, task = parse_objective(objective), where.task()
    if "alternate" not in formula.views:
        return {}
    return {"alternate": sha256_of(list(task.alternates if formula.alternates == "generated" else task.refusals))}


def run_models(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of target and retain model, {"target": {metric: value}, "retain": {...}}."""
    where = world_of(spec)
    tables = {role: kept_table(where, name) for role, name in where.models().items()}
    return {role: _scores(table, tables["retain"], target=tables["target"]) for role, table in tables.items()}


def run_unlearning(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Unlearn and measure each epoch.

    Returns "trajectory", one entry an epoch from 0 (the target model) on: "epoch", every metric's value, and "forget_nll",
    the mean −log π(answer|question) of the forget rows in nats; "log", each term's loss at each step; and "peer", the last
    epoch's scores under the protocol `open-unlearning`.
    """
    where, task = world_of(spec), world_of(spec).task()
    target, retain = (kept_table(where, name) for name in where.models().values())
    loaded = mini_model(where.target)
    start = Start(loaded, weights_digest(loaded.model), where.target)
    watch = Watch(reference=retain, max_new_tokens=where.max_new_tokens, start=False, target=target)
    with tempfile.TemporaryDirectory() as scratch:
        done = unlearn(
            start,
            Template(loaded.tokenizer),
            task,
            str(spec["objective"]),
            scratch,
            Settings(**spec["settings"]),
            watch=watch,
            save_checkpoints=False,
        )
        tables = [Table.load(path) for path in sorted((Path(scratch) / "epochs").glob("*.parquet"))]
        log = read_log(Path(scratch))
    first = {"epoch": 0, **_scores(target, retain, target=target), "forget_nll": forget_nll(target)}
    later = [{**entry, "forget_nll": forget_nll(table)} for entry, table in zip(done.trajectory, tables, strict=True)]
    return {"trajectory": [first, *later], "log": log, "peer": _scores(tables[-1], retain, "open-unlearning", target)}


def kept_table(where: MiniWorld, model: str) -> Table:
    """The measurements of one of the world's models, made once and kept in the user's cache."""
    task = where.task()
    said = {
        "model": MiniModel.parse(model).digest(),
        "rows": evaluation_digests(task),
        "max_new_tokens": where.max_new_tokens,
    }
    place = cache_folder() / "mini-tables" / f"{sha256_of(said)}.parquet"
    if not place.is_file():
        loaded = mini_model(model)
        place.parent.mkdir(parents=True, exist_ok=True)
        measure(loaded.model, Template(loaded.tokenizer), task, max_new_tokens=where.max_new_tokens).save(place)
    return Table.load(place)


def forget_nll(table: Table) -> float:
    """Mean over the forget rows of −log π(answer|question), in nats an answer: the loss a token times the tokens."""
    rows = [row for row in table.data.to_pylist() if row["split"] == FORGET and row["kind"] == "answer"]
    return float(sum(row["loss"] * row["length"] for row in rows) / len(rows))


def world_of(spec: Mapping[str, Any]) -> MiniWorld:
    """The cell's world; an error where this machine's versions would make other models than the cell names."""
    quiet()
    where = MiniWorld(str(spec["split"]), int(spec["world"]), int(spec["max_new_tokens"]), bool(spec["holdout"]))
    if where.spec()["models"] != spec["models"]:
        raise RuntimeError(
            "this machine would train other models than the one that asked: its versions of unlearnkit, torch or "
            "transformers differ; install the same"
        )
    if other_answers(where, str(spec.get("objective", "rt"))).get("alternate") != spec.get("alternate"):
        raise RuntimeError("this machine's unlearnkit has other refusals than the one that asked; install the same")
    return where


def _scores(
    table: Table, reference: Table, protocol: str = "unlearnkit", target: Table | None = None
) -> dict[str, float | None]:
    scores = score_table(table, reference, protocol, target, intervals=False).scores
    return {name: score.value for name, score in scores.items()}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Each term's loss at each step of the run in the folder."""
    found: list[dict[str, Any]] = json.loads((folder / LOG).read_text(encoding="utf-8"))
    return found


def quiet() -> None:
    """A sweep has a progress of its own: the libraries' bars would hide it."""
    from transformers.utils import logging as theirs

    theirs.set_verbosity_error()  # type: ignore[no-untyped-call]
    theirs.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("accelerate").setLevel(logging.ERROR)
