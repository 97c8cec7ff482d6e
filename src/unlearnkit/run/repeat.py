"""Measure a run's model again, or train its first steps again, and compare with what its record says."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from unlearnkit.canonical import revive
from unlearnkit.errors import UserError
from unlearnkit.measure import measure
from unlearnkit.measure.measure import Progress
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import load_model
from unlearnkit.objectives import parse_objective
from unlearnkit.records.checks import Check, first_failed, judge, skipped
from unlearnkit.records.folder import table_place
from unlearnkit.records.weights import has_weights
from unlearnkit.run.agreement import losses_agree, tables_agree
from unlearnkit.run.alternates import alternates_digest, other_answers
from unlearnkit.run.evaluate import evaluation_digests
from unlearnkit.run.mini_models import MiniModel
from unlearnkit.run.models import Start, starting_model
from unlearnkit.run.record import losses_of
from unlearnkit.run.settings import Settings
from unlearnkit.table import Table
from unlearnkit.tasks import load_task, mini
from unlearnkit.tasks.base import Row, Task, digest_rows
from unlearnkit.text.template import Template
from unlearnkit.training.data import Examples
from unlearnkit.training.trainer import UnlearnTrainer

MOST_EPOCHS, MOST_ROWS, MOST_TOKENS = 10_000, 1_000_000, 16_384  # what a record of others may ask of this machine


@dataclass(frozen=True)
class Given:
    """What a record holds no more than a digest of.

    model      the model that was evaluated, or that the run started from; left out for mini:...
    task       the task itself, where it is at hand; else it is loaded by its name, with data, holdout and refusals
    alternates the file of other answers that the run was given, if it was
    tolerance  of a loss, in nats a token, relative where the loss is above 1; float32 weights measured with another number
               of threads came out 1e-6 apart
    near_ties  share of the generations that may differ, as greedy decoding turns on the last bit of two equal logits
    steps      of training that are run again
    """

    model: str | None = None
    task: Task | None = None
    data: Path | None = None
    holdout: str | None = None
    refusals: Path | None = None
    alternates: Path | None = None
    template: str | None = None
    system: str | None = None
    tolerance: float = 1e-4
    near_ties: float = 0.01
    steps: int = 3
    progress: Progress | None = None


def measured_again(folder: Path, record: Mapping[str, Any], given: Given) -> list[Check]:
    """Depth 3: the table, from the weights that the record names."""
    if record["outputs"]["table"] is None:
        return [skipped("measured again", record["missing"]["outputs.table"])]
    place = table_place(folder)
    if place is None:
        raise UserError(f"{folder}: the table is not here, so there is nothing to compare a measurement with")
    table = Table.load(place)
    wanted = record["outputs"]["weights"] or record["inputs"]["base_model"]
    loaded = load_model(_measured_model(folder, record, given), str(table.meta.get("dtype", "float32")))
    task, template = _task(record, given), Template(loaded.tokenizer, given.template, given.system)
    rows = {split: _row_digest(record, split) for split in task.evaluation}
    checks = [
        _same("weights that are measured", wanted, weights_digest(loaded.model)),
        _same("template", record["inputs"]["template"], template.digest),
        *(_same(f"{split} rows", rows[split], digest) for split, digest in evaluation_digests(task).items()),
    ]
    if first_failed(checks) is not None:
        return checks
    limit = _bounded(table.meta.get("max_new_tokens"), "max_new_tokens", MOST_TOKENS)
    again = measure(loaded.model, template, task, max_new_tokens=limit, progress=given.progress)
    return [*checks, *tables_agree(table, again, given.tolerance, given.near_ties)]


def trained_again(record: Mapping[str, Any], given: Given) -> list[Check]:
    """Depth 4: each term's loss in the first steps, from the model that the run started from."""
    if record["spec"].get("kind") not in ("unlearn", "finetune"):
        return [skipped("trained again", "this run trained nothing")]
    steps = revive(record["losses"])
    count = len([step for step in steps["step"] if step <= given.steps])
    task, settings = _task(record, given), settings_of(record)
    start = starting_model(
        _base_model(record, given),
        task=task,
        seed=record["run"]["seed"] or 0,
        dtype=settings.weights,
        quantize=settings.quantize,
    )
    template = Template(start.loaded.tokenizer, given.template, given.system)
    used = {"forget": task.forget, "retain": task.retain}
    if record["spec"]["kind"] == "finetune":
        used = {"retain": task.train}
    wanted = record["inputs"]["rows"]
    digests = {view: digest_rows(rows) for view, rows in used.items()}
    if "refusals" in wanted:
        digests["refusals"] = digest_rows([Row(n, "", text) for n, text in enumerate(task.refusals)])
    alternates: Sequence[tuple[str, ...]] = ()
    if "alternates" in wanted:
        alternates = other_answers(start, template, task, given.alternates, given.progress)
        digests["alternates"] = alternates_digest(task.forget, alternates)
    checks = [
        _same("weights that it started from", record["inputs"]["base_model"], start.weights),
        _same("template", record["inputs"]["template"], template.digest),
        *(_same(f"{view} rows", wanted.get(view), digest) for view, digest in digests.items()),
    ]
    if first_failed(checks) is not None:
        return checks
    examples = _examples(record, template, task, used, alternates)
    log = _first_steps(settings, start, examples, given.steps)
    return [*checks, *losses_agree(steps["terms"], losses_of(log)[1], count, given.tolerance)]


class _StopAfter(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Ends training after so many steps; the schedule is that of the whole run."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        control.should_training_stop = state.global_step >= self.steps


def _examples(
    record: Mapping[str, Any],
    template: Template,
    task: Task,
    rows: Mapping[str, Sequence[Row]],
    alternates: Sequence[tuple[str, ...]],
) -> Examples:
    settings = settings_of(record)
    return Examples(
        parse_objective(str(record["spec"]["settings"].get("objective"))),
        template,
        forget=rows.get("forget", ()),
        retain=rows["retain"],
        refusals=task.refusals,
        alternates=alternates,
        seed=settings.seed,
        pairing=settings.pairing,
    )


def _first_steps(settings: Settings, start: Start, examples: Examples, steps: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        config = settings.config(Path(scratch), str(examples.objective), "no")
        trainer = UnlearnTrainer(settings.adapted(start.loaded.model), config, examples, start.loaded.tokenizer)
        trainer.add_callback(_StopAfter(steps))
        trainer.train()
    log: list[dict[str, Any]] = trainer.state.log_history
    return log


def settings_of(record: Mapping[str, Any]) -> Settings:
    """The training settings that a record's spec states. The step of several processes becomes one process's batch."""
    said = record["spec"].get("settings")
    if not isinstance(said, dict):
        raise UserError("the record's spec has no settings")
    rows = _bounded(said.get("step_rows"), "step_rows", MOST_ROWS)
    processes = re.fullmatch(r"(\d{1,4}) processes", str(record["provenance"].get("launcher")))
    known = {field.name: said[field.name] for field in fields(Settings) if field.name in said}
    try:
        settings = Settings(**known, batch_size=rows * int(processes[1] if processes else 1))
    except (TypeError, UserError) as problem:
        raise UserError(f"the record's settings can not be used: {problem}") from None
    if settings.epochs > MOST_EPOCHS:
        raise UserError(f"the record asks for {settings.epochs} epochs; at most {MOST_EPOCHS} are run again")
    return settings


def _measured_model(folder: Path, record: Mapping[str, Any], given: Given) -> str:
    """Where the weights lie that were measured: in the run's folder, where the run made them."""
    if record["outputs"]["weights"] is None:
        return _base_model(record, given)
    if not has_weights(folder):
        raise UserError(f"{folder}: the weights are not here, so nothing can be measured again")
    return str(folder)


def _base_model(record: Mapping[str, Any], given: Given) -> str:
    name = record["run"]["model"]
    if given.model is None and not name.startswith("mini:"):
        raise UserError(f"the record calls the model {name[:80]!r}, whose place it does not know; give --model")
    return given.model or name


def _task(record: Mapping[str, Any], given: Given) -> Task:
    if given.task is not None:
        return given.task
    name, model = record["run"]["task"], record["run"]["model"]
    if name.startswith("mini:") and model.startswith("mini:"):  # the world that the model knows
        return mini.load(
            name.removeprefix("mini:"),
            seed=MiniModel.parse(model).world,
            holdout=given.holdout,
            refusals=given.refusals,
        )
    return load_task(name, data=given.data, holdout=given.holdout, refusals=given.refusals)


def _row_digest(record: Mapping[str, Any], split: str) -> str | None:
    """What the record says of the rows that were measured; a training run measures other rows than it trains on."""
    rows = record["inputs"]["rows"]
    name = split if record["spec"].get("kind") == "eval" else f"measured_{split}"
    return None if name not in rows else str(rows[name])


def _same(name: str, said: str | None, found: str) -> Check:
    if said is None:
        return judge(name, ["the record names none"], "")
    return judge(name, [] if said == found else [f"the record says {said}, here it is {found}"], found)


def _bounded(value: Any, name: str, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise UserError(f"{name} is {str(value)[:40]!r}; a whole number up to {most} can be run again")
    return value
