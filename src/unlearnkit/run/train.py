"""Unlearning and finetuning: a model, a task and an objective in, a changed model and its trajectory out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unlearnkit.errors import Diverged, UserError
from unlearnkit.measure.measure import Progress
from unlearnkit.models.adapters import merged
from unlearnkit.objectives import Objective, parse_objective
from unlearnkit.run.alternates import alternates_digest, other_answers
from unlearnkit.run.cost import Clock
from unlearnkit.run.evaluate import evaluation_digests
from unlearnkit.run.folder import RunFolder, write_json
from unlearnkit.run.mini_models import cache_folder
from unlearnkit.run.models import Start
from unlearnkit.run.record import record_training
from unlearnkit.run.settings import Settings
from unlearnkit.run.trajectory import Trajectory
from unlearnkit.run.trajectory import Watch as Watch
from unlearnkit.spec import RunSpec
from unlearnkit.tasks.base import Row, Task, digest_rows
from unlearnkit.text.template import Template
from unlearnkit.training import processes
from unlearnkit.training.callbacks import EachEpoch, ShowSteps
from unlearnkit.training.checkpoints import newest_checkpoint
from unlearnkit.training.columns import Shelf
from unlearnkit.training.data import Examples
from unlearnkit.training.trainer import UnlearnTrainer

LOG = "log.json"


class Trained(NamedTuple):
    """The changed model, where it lies, and each measured epoch's scores in order."""

    model: Any
    folder: RunFolder
    trajectory: list[dict[str, Any]]


class Plan(NamedTuple):
    """All that decides what a training run does.

    rows        the rows of each view
    alternates  other answers to each forget row, for terms that read the model's own
    """

    kind: str
    start: Start
    template: Template
    task: Task
    objective: Objective
    rows: Mapping[str, Sequence[Row]]
    settings: Settings
    watch: Watch | None
    alternates: Sequence[tuple[str, ...]] = ()

    def examples(self) -> Examples:
        """What a step reads."""
        return Examples(
            self.objective,
            self.template,
            forget=self.rows.get("forget", ()),
            retain=self.rows["retain"],
            refusals=self.task.refusals,
            alternates=self.alternates,
            seed=self.settings.seed,
            pairing=self.settings.pairing,
        )

    def spec(self) -> RunSpec:
        """The identity of the run."""
        used = {view: digest_rows(part) for view, part in self.rows.items()}
        if self.alternates:
            used["alternates"] = alternates_digest(self.rows["forget"], self.alternates)
        elif "alternate" in self.objective.views:
            used["refusals"] = digest_rows([Row(n, "", text) for n, text in enumerate(self.task.refusals)])
        if self.watch is not None:
            used |= {f"measured_{split}": digest for split, digest in evaluation_digests(self.task).items()}
        return RunSpec(
            kind=self.kind,
            task=self.task.name,
            model=self.start.digest,
            template=self.template.digest,
            data=used,
            settings={
                "objective": str(self.objective),
                **self.settings.for_spec(processes.count()),
                **({} if self.watch is None else self.watch.for_spec()),
            },
        )

    def trainer(self, out: Path, save_checkpoints: bool) -> UnlearnTrainer:
        """Whatever does not fit together is refused here, before anything is written."""
        examples = self.examples()
        return UnlearnTrainer(
            self.settings.adapted(self.start.loaded.model),
            self.settings.config(out, str(self.objective), "epoch" if save_checkpoints else "no"),
            examples,
            self.start.loaded.tokenizer,
            shelf=Shelf(cache_folder() / "columns", self.start.weights, self.template.digest),
        )


def unlearn(
    start: Start,
    template: Template,
    task: Task,
    objective: str | Objective,
    out: str | Path,
    settings: Settings,
    *,
    alternates: str | Path | None = None,
    watch: Watch | None = None,
    save_checkpoints: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Change the model so that the task's forget set is forgotten. Writes the model, `spec.json`, `run.json`,
    `trajectory.json`, `log.json` (each term's loss at each step) and a table for each measured epoch into `out`; of a run
    that diverges the log, up to the step before.

    A folder that holds a beginning of the same run is taken up where it stopped; a finished one is read. Of several
    processes (`torchrun`, `accelerate launch`) the first one writes. `alternates` is a file of other answers for terms
    that read the model's own; without it they are the task's, and where it has none the model makes them up.
    """
    processes.join()
    formula = parse_objective(objective) if isinstance(objective, str) else objective
    if not task.forget:
        raise UserError(f"task '{task.name}' has nothing to forget; name a forget set, such as forget10")
    rows = {"forget": task.forget, "retain": task.retain}
    plan = Plan("unlearn", start, template, task, formula, rows, settings, watch)
    if formula.alternates == "generated":
        plan = plan._replace(
            alternates=processes.by_first(lambda: other_answers(start, template, task, alternates, progress))
        )
    elif alternates is not None:
        raise UserError(f"objective '{formula}' reads no answers of the model's own; leave --alternates out")
    return _train(plan, Path(out), save_checkpoints, force, progress)


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
    processes.join()
    plan = Plan("finetune", start, template, task, parse_objective("rt"), {"retain": task.train}, settings, watch)
    return _train(plan, Path(out), save_checkpoints, force, progress)


def _train(plan: Plan, out: Path, save_checkpoints: bool, force: bool, progress: Progress | None) -> Trained:
    processes.wait()  # until all have looked whether the folder can be taken
    spec, trainer = plan.spec(), plan.trainer(out, save_checkpoints)
    folder = processes.by_first(lambda: RunFolder.claim(out, spec, force))
    last_epoch = int(-(-plan.settings.epochs // 1))
    trajectory = Trajectory(folder, plan.template, plan.task, plan.watch, progress, last_epoch, trainer.spread)
    if processes.by_first(lambda: folder.state) == "finished":
        return Trained(None, folder, trajectory.entries())
    first = plan.kind == "unlearn" and plan.watch is not None and plan.watch.start
    trainer.add_callback(EachEpoch(trajectory.look, start=first))
    if progress is not None and processes.rank() == 0:
        trainer.add_callback(ShowSteps(progress, plan.kind))
    checkpoint = processes.by_first(lambda: newest_checkpoint(folder.path))
    began, clock = time.perf_counter(), Clock(resumed=checkpoint is not None)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except Diverged as problem:
        processes.by_first(lambda: _write_log(folder, trainer))
        raise Diverged(f"{problem} The losses of the steps before are in {folder.path / LOG}") from None
    if plan.settings.merge:
        trainer.model = merged(trainer.model)
    trainer.save_whole(folder.path)
    entries = processes.by_first(lambda: _close(plan, folder, trajectory, trainer, clock, began))
    return Trained(trainer.model, folder, entries)


def _write_log(folder: RunFolder, trainer: UnlearnTrainer) -> None:
    write_json(folder.path / LOG, trainer.state.log_history)


def _close(
    plan: Plan, folder: RunFolder, trajectory: Trajectory, trainer: UnlearnTrainer, clock: Clock, began: float
) -> list[dict[str, Any]]:
    """Write what a finished run leaves beside its model; `run.json` comes last."""
    _write_log(folder, trainer)
    entries = trajectory.entries()
    write_json(folder.path / "trajectory.json", entries)
    record_training(folder, plan.start, plan.objective, plan.watch, trainer, clock)
    folder.finish({"objective": str(plan.objective), "seconds": round(time.perf_counter() - began, 2)})
    return entries
