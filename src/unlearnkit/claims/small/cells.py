"""The cells of claims on TOFU itself: one unlearning run of a given model, measured each epoch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unlearnkit.canonical import sha256_of
from unlearnkit.claims.mini.cells import quiet
from unlearnkit.claims.small.models import retain_of
from unlearnkit.claims.small.recipe import RECIPE
from unlearnkit.run.evaluate import evaluation_digests
from unlearnkit.run.models import Start, starting_model
from unlearnkit.run.settings import Settings
from unlearnkit.run.shared_measuring import table_at
from unlearnkit.run.train import Watch, unlearn
from unlearnkit.score import score_table
from unlearnkit.sweep import Cell
from unlearnkit.table import Table
from unlearnkit.tasks import tofu
from unlearnkit.tasks.base import Task, digest_rows
from unlearnkit.tasks.splits import FULL
from unlearnkit.text.template import Template

_HERE = "unlearnkit.claims.small.cells"
Places = Mapping[str, str]


class Scene(NamedTuple):
    """Who is to forget what: a split of TOFU, the target model, and the retain model to compare with."""

    split: str
    task: Task
    target: Start
    retain: Start

    @classmethod
    def at(cls, split: str, places: Places) -> Scene:
        """Read from the folders "data", "target" and "retain"."""
        quiet()
        task = tofu.load(split, data=places["data"])
        return cls(split, task, starting_model(places["target"]), starting_model(places["retain"]))

    def spec(self) -> dict[str, Any]:
        """The rows and the models, by their digests."""
        rows = {"forget": digest_rows(self.task.forget), "retain": digest_rows(self.task.retain)}
        rows |= {f"measured_{name}": digest for name, digest in evaluation_digests(self.task).items()}
        return {
            "split": self.split,
            "rows": rows | {"refusals": sha256_of(list(self.task.refusals))},
            "models": {role: _identity(start) for role, start in (("target", self.target), ("retain", self.retain))},
        }


class Stage(NamedTuple):
    """A scene's spec and where this machine has what it names; `rows` of the forget set."""

    spec: Mapping[str, Any]
    places: Places
    rows: int


def stage(split: str, data: Path, models: Path, tables: Path) -> Stage:
    """For a split, from a folder of TOFU's files and one of models; tables of the models are kept in `tables`."""
    folders = {"data": data, "target": models / FULL, "retain": models / retain_of(split), "tables": tables}
    places = {name: str(folder.resolve()) for name, folder in folders.items()}
    scene = Scene.at(split, places)
    spec = {**scene.spec(), "max_new_tokens": RECIPE.max_new_tokens}
    return Stage(spec, places, len(scene.task.forget))


def models_cell(where: Stage) -> Cell:
    """Measure both models: run these before the unlearning cells, so that each table is made once."""
    return Cell(f"{where.spec['split']}: models", f"{_HERE}:run_models", where.spec, where.places)


def unlearning_cell(where: Stage, objective: str, seed: int) -> Cell:
    """One run of a formula; the seed draws the order of the rows and what they are paired with."""
    more = {"objective": objective, "settings": {**RECIPE.unlearn, "seed": seed}}
    name = f"{where.spec['split']}, seed {seed}: {objective}"
    return Cell(name, f"{_HERE}:run_unlearning", {**where.spec, **more}, where.places)


def run_models(spec: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """The scores of target and retain model, {"target": {metric: value}, "retain": {...}}."""
    scene = _scene(spec, places)
    target, retain = _tables(scene, spec, places)
    return {"target": _scores(target, retain, target), "retain": _scores(retain, retain, target)}


def run_unlearning(spec: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """Unlearn and measure each epoch: "trajectory", one entry an epoch from 0 (the target model) on, with "epoch" and every
    metric's value."""
    scene = _scene(spec, places)
    target, retain = _tables(scene, spec, places)
    watch = Watch(reference=retain, max_new_tokens=spec["max_new_tokens"], start=False, target=target)
    with tempfile.TemporaryDirectory() as scratch:
        done = unlearn(
            scene.target,
            Template(scene.target.loaded.tokenizer),
            scene.task,
            str(spec["objective"]),
            scratch,
            Settings(**spec["settings"]),
            watch=watch,
            save_checkpoints=False,
        )
    return {"trajectory": [{"epoch": 0, **_scores(target, retain, target)}, *done.trajectory]}


def _scene(spec: Mapping[str, Any], places: Places) -> Scene:
    """The cell's scene; an error where other things lie in its places than it names."""
    scene = Scene.at(str(spec["split"]), places)
    for name, value in scene.spec().items():
        if spec[name] != value:
            raise RuntimeError(f"the {name} in the cell's folders are not those that it was made for; start again")
    return scene


def _tables(scene: Scene, spec: Mapping[str, Any], places: Places) -> tuple[Table, Table]:
    """The measurements of target and retain model, made once and kept in the claim's folder."""

    def kept(role: str, start: Start) -> Table:
        rows = {name: digest for name, digest in spec["rows"].items() if name.startswith("measured_")}
        said = {"model": spec["models"][role], "rows": rows, "max_new_tokens": spec["max_new_tokens"]}
        place = Path(places["tables"]) / f"{sha256_of(said)}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        template = Template(start.loaded.tokenizer)
        return table_at(place, start.loaded.model, template, scene.task, max_new_tokens=spec["max_new_tokens"])

    return kept("target", scene.target), kept("retain", scene.retain)


def _identity(start: Start) -> dict[str, str]:
    """Of a model and of how it reads a text."""
    tokenizer = start.loaded.tokenizer
    return {
        "weights": start.digest,
        "vocabulary": sha256_of(tokenizer.get_vocab()),
        "template": Template(tokenizer).digest,
    }


def _scores(table: Table, reference: Table, target: Table) -> dict[str, float | None]:
    scores = score_table(table, reference, "unlearnkit", target, intervals=False).scores
    return {name: score.value for name, score in scores.items()}
