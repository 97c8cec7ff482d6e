"""Unlearning and finetuning: a model, a task and an objective in, a changed model and its trajectory out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unlearnkit.errors import UserError
from unlearnkit.measure import measure
from unlearnkit.measure.measure import MAX_NEW_TOKENS, Progress
from unlearnkit.objectives import Objective, parse_objective
from unlearnkit.run.cost import Clock
from unlearnkit.run.evaluate import evaluation_digests
from unlearnkit.run.folder import RunFolder, write_json
from unlearnkit.run.mini_models import cache_folder
from unlearnkit.run.models import Start
from unlearnkit.run.record import record_training
from unlearnkit.run.settings import Settings
from unlearnkit.score import score_table
from unlearnkit.spec import RunSpec
from unlearnkit.table import Table
from unlearnkit.tasks.base import Row, Task, digest_rows
from unlearnkit.text.template import Template
from unlearnkit.training import processes
from unlearnkit.training.callbacks import EachEpoch, ShowSteps
from unlearnkit.training.checkpoints import newest_checkpoint
from unlearnkit.training.columns import Shelf
from unlearnkit.training.data import Examples
from unlearnkit.training.trainer import UnlearnTrainer


class Watch(NamedTuple):
    """What to measure on the way, if anything.

    every_epoch  measure after each epoch; else after the last one
    start        measure before the first step too, as epoch 0
    reference    a retain model's table, for forget quality
    target       the table of the model before the first step, where that is not measured here
    """

    every_epoch: bool = True
    start: bool = True
    reference: Table | None = None
    protocol: str = "unlearnkit"
    max_new_tokens: int = MAX_NEW_TOKENS
    target: Table | None = None


class Trained(NamedTuple):
    """The changed model, where it lies, and each measured epoch's scores in order."""

    model: Any
    folder: RunFolder
    trajectory: list[dict[str, Any]]


def unlearn(
    start: Start,
    template: Template,
    task: Task,
    objective: str | Objective,
    out: str | Path,
    settings: Settings,
    *,
    watch: Watch | None = None,
    save_checkpoints: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Change the model so that the task's forget set is forgotten. Writes the model, `spec.json`, `run.json`,
    `trajectory.json`, `log.json` (each term's loss at each step) and a table for each measured epoch into `out`.

    A folder that holds a beginning of the same run is taken up where it stopped; a finished one is read.
    """
    formula = parse_objective(objective) if isinstance(objective, str) else objective
    if not task.forget:
        raise UserError(f"task '{task.name}' has nothing to forget; name a forget set, such as forget10")
    rows = {"forget": task.forget, "retain": task.retain}
    return _train(
        "unlearn", start, template, task, formula, rows, out, settings, watch, save_checkpoints, force, progress
    )


def finetune(
    start: Start,
    template: Template,
    task: Task,
    out: str | Path,
    settings: Settings,
    *,
    watch: Watch | None = None,
    save_checkpoints: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train on the rows of the split that the task names: the token mean of the negative log-likelihood of answers."""
    rows = {"retain": task.train}
    objective = parse_objective("rt")
    return _train(
        "finetune", start, template, task, objective, rows, out, settings, watch, save_checkpoints, force, progress
    )


def _train(
    kind: str,
    start: Start,
    template: Template,
    task: Task,
    objective: Objective,
    rows: Mapping[str, Any],
    out: str | Path,
    settings: Settings,
    watch: Watch | None,
    save_checkpoints: bool,
    force: bool,
    progress: Progress | None,
) -> Trained:
    processes.join()
    examples = Examples(
        objective,
        template,
        forget=rows.get("forget", ()),
        retain=rows["retain"],
        refusals=task.refusals,
        seed=settings.seed,
        pairing=settings.pairing,
    )
    spec = _spec(kind, start, template, task, objective, rows, settings, watch)
    trainer = UnlearnTrainer(
        start.loaded.model,
        settings.config(Path(out), str(objective), "epoch" if save_checkpoints else "no"),
        examples,
        start.loaded.tokenizer,
        shelf=Shelf(cache_folder() / "columns", start.weights, template.digest),
    )
    folder = processes.by_first(lambda: RunFolder.claim(out, spec, force))
    trajectory = Trajectory(folder, template, task, watch, progress, int(-(-settings.epochs // 1)))
    if processes.by_first(lambda: folder.state) == "finished":
        return Trained(None, folder, trajectory.entries())
    first = kind == "unlearn" and watch is not None and watch.start
    trainer.add_callback(EachEpoch(trajectory.look, start=first, everywhere=trainer.spread))
    if progress is not None and processes.rank() == 0:
        trainer.add_callback(ShowSteps(progress, kind))
    checkpoint = processes.by_first(lambda: newest_checkpoint(folder.path))
    began, clock = time.perf_counter(), Clock(resumed=checkpoint is not None)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_whole(folder.path)

    def close() -> list[dict[str, Any]]:
        write_json(folder.path / "log.json", trainer.state.log_history)
        entries = trajectory.entries()
        write_json(folder.path / "trajectory.json", entries)
        record_training(folder, start, objective, watch, trainer, clock)
        folder.finish({"objective": str(objective), "seconds": round(time.perf_counter() - began, 2)})
        return entries

    return Trained(trainer.model, folder, processes.by_first(close))


def _spec(
    kind: str,
    start: Start,
    template: Template,
    task: Task,
    objective: Objective,
    rows: Mapping[str, Any],
    settings: Settings,
    watch: Watch | None,
) -> RunSpec:
    used = {view: digest_rows(part) for view, part in rows.items()}
    if "alternate" in objective.views:
        used["refusals"] = digest_rows([Row(n, "", text) for n, text in enumerate(task.refusals)])
    measured: dict[str, Any] = {}
    if watch is not None:
        used |= {f"measured_{split}": digest for split, digest in evaluation_digests(task).items()}
        measured = {
            "measured": "every epoch" if watch.every_epoch else "end",
            "protocol": watch.protocol,
            "max_new_tokens": watch.max_new_tokens,
            "reference": None if watch.reference is None else watch.reference.digest(),
        }
    return RunSpec(
        kind=kind,
        task=task.name,
        model=start.digest,
        template=template.digest,
        data=used,
        settings={"objective": str(objective), **settings.for_spec(), **measured},
    )


class Trajectory:
    """Measures a model after each epoch and keeps a table for each, so that a resumed run measures none twice."""

    def __init__(
        self,
        folder: RunFolder,
        template: Template,
        task: Task,
        watch: Watch | None,
        progress: Progress | None,
        last_epoch: int,
    ) -> None:
        self.folder, self.template, self.task = folder, template, task
        self.watch, self.progress, self.last_epoch = watch, progress, last_epoch

    def look(self, model: Any, epoch: int) -> None:
        """Measure the model of this epoch, unless its table is there or nobody asked for it."""
        place = self.folder.path / "epochs" / f"{epoch:03d}.parquet"
        if self.watch is None or place.exists() or not (self.watch.every_epoch or epoch == self.last_epoch):
            return
        new_tokens = self.watch.max_new_tokens
        table = measure(model, self.template, self.task, max_new_tokens=new_tokens, progress=self.progress)
        if processes.rank() == 0:
            place.parent.mkdir(exist_ok=True)
            table.save(place)

    def entries(self) -> list[dict[str, Any]]:
        """The scores of every measured epoch."""
        if self.watch is None:
            return []
        out = []
        for place in sorted((self.folder.path / "epochs").glob("*.parquet")):
            scores = score_table(Table.load(place), self.watch.reference, self.watch.protocol, intervals=False)
            values = {name: score.value for name, score in scores.scores.items()}
            out.append({"epoch": int(place.stem), **values})
        return out
