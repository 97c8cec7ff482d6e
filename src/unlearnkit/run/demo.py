"""The demo: the embedded world's models, four methods, a measurement every epoch, one table and one picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearnkit.measure import measure
from unlearnkit.measure.measure import Progress
from unlearnkit.models.digest import weights_digest
from unlearnkit.records.record import read_record
from unlearnkit.report.comparison import markdown_table
from unlearnkit.report.page import write_report
from unlearnkit.report.tradeoff import draw_tradeoff
from unlearnkit.run.cost import Clock
from unlearnkit.run.evaluate import evaluation_digests
from unlearnkit.run.folder import RunFolder, write_json, write_text
from unlearnkit.run.mini_models import MiniModel, mini_model
from unlearnkit.run.models import Start
from unlearnkit.run.record import record_demo
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import Watch, unlearn
from unlearnkit.score import score_table
from unlearnkit.spec import RunSpec
from unlearnkit.table import Table
from unlearnkit.tasks import mini
from unlearnkit.tasks.base import Task
from unlearnkit.tasks.mini_recipe import DEMO
from unlearnkit.text.template import Template

SPLIT = "forget10"
SECOND_RETAIN = "retain (second seed)"
FIXED = ("target", "retain", SECOND_RETAIN)


def demo(out: str | Path, seed: int = 0, force: bool = False, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Run the demo of world `seed` into `out`; returns what `results.json` holds, one entry a measured epoch.

    Checkpoints of the world's models come from the user's cache. Methods that are already finished in `out` are not run
    again.
    """
    task = mini.load(SPLIT, seed=seed)
    names = {
        "target": f"mini:target@{seed}",
        "retain": f"mini:retain90@{seed}",
        SECOND_RETAIN: f"mini:retain90@{seed}.1",
    }
    digest = MiniModel.parse(names["target"]).digest()
    spec = RunSpec("demo", task.name, digest, "plain", evaluation_digests(task), {"seed": seed, **asdict(DEMO)})
    folder = RunFolder.claim(out, spec, force)
    if folder.state == "finished":
        return read_results(folder.path)
    clock = Clock()
    models = {role: mini_model(name, progress) for role, name in names.items()}
    template = Template(models["target"].tokenizer)
    tables = {role: _measured(folder, role, loaded.model, template, task, progress) for role, loaded in models.items()}
    entries = [{"objective": role, "epoch": 0, **_values(tables[role], tables["retain"])} for role in FIXED]
    watch = Watch(reference=tables["retain"], max_new_tokens=DEMO.max_new_tokens, start=False, target=tables["target"])
    settings = Settings(**DEMO.settings(seed))
    numbers: dict[str, str] = {}
    for number, objective in enumerate(DEMO.objectives()):
        start = Start(mini_model(names["target"]), weights_digest(models["target"].model), names["target"])
        place = (
            folder.path / "runs" / f"{number + 1}-{objective.split('(')[0].split(' ')[0]}{'-rt' * ('rt' in objective)}"
        )
        done = unlearn(
            start,
            template,
            task,
            objective,
            place,
            settings,
            watch=watch,
            save_checkpoints=False,
            progress=progress,
        )
        entries += [{"objective": objective, **entry} for entry in done.trajectory]
        numbers[objective] = read_record(place)["number"]
    write_json(folder.path / "results.json", entries)
    write_text(folder.path / "table.md", markdown_table(entries) + "\n")
    draw_tradeoff(entries, folder.path / "tradeoff.png", f"Unlearning {task.name}, world {seed}", FIXED)
    compared = {"reference": tables["retain"], "target": tables["target"], "second_retain": tables[SECOND_RETAIN]}
    record_demo(folder, models["target"].model, names["target"], compared, numbers, clock)
    write_report([folder.path], folder.path / "report.html")
    folder.finish({"results": "results.json", "picture": "tradeoff.png", "report": "report.html"})
    return entries


def read_results(out: Path) -> list[dict[str, Any]]:
    """The entries of a finished demo."""
    found: list[dict[str, Any]] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


def _measured(
    folder: RunFolder, role: str, model: Any, template: Template, task: Task, progress: Progress | None
) -> Table:
    place = folder.path / "models" / f"{role.replace(' ', '-').strip('()')}.parquet"
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        measure(model, template, task, max_new_tokens=DEMO.max_new_tokens, progress=progress).save(place)
    return Table.load(place)


def _values(table: Table, reference: Table) -> dict[str, float | None]:
    scores = score_table(table, reference, intervals=False).scores
    return {name: score.value for name, score in scores.items()}
