"""From a run's parts to its record: what went in, what came out, what it cost, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearnkit.models.digest import weights_digest
from unlearnkit.objectives import Objective
from unlearnkit.records.folder import epoch_places, keep_compared
from unlearnkit.records.papers import papers_of
from unlearnkit.records.provenance import gather
from unlearnkit.records.record import RECORD_NAME, TABLE_NAME, Inputs, Outputs, Run, build_record, write_record
from unlearnkit.records.weights import files_digest, has_weights
from unlearnkit.report.card import model_card
from unlearnkit.run.cost import Clock
from unlearnkit.run.folder import RunFolder, write_json, write_text
from unlearnkit.run.models import Start, public_name
from unlearnkit.score import Scores, score_table
from unlearnkit.table import Table
from unlearnkit.training.processes import count

if TYPE_CHECKING:
    from unlearnkit.run.train import Watch

NO_CHECKOUT = {
    "provenance.commit": "unlearnkit does not run from a checkout of its repository",
    "provenance.dirty": "unlearnkit does not run from a checkout of its repository",
}
UNMEASURED: dict[str, Any] = {"scores": {}, "verdict": {"label": None, "reason": "nothing was measured"}}


def record_training(
    folder: RunFolder, start: Start, objective: Objective, watch: Watch | None, trainer: Any, clock: Clock
) -> dict[str, Any] | None:
    """Write the record of a finetuning or unlearning run whose weights are saved, with the table that its scores are of.

    The last measured epoch becomes `table.parquet`, scored with intervals against the retain model and, where it was
    measured, the model before the first step. Of several processes the first one writes; the others return None.
    """
    if not trainer.is_world_process_zero():
        return None
    table, tables = _measured(folder.path, watch)
    protocol = "unlearnkit" if watch is None else watch.protocol
    said = UNMEASURED
    if table is not None:
        said = score_table(table, tables.get("reference"), protocol, tables.get("target")).to_json()
        table.save(folder.path / TABLE_NAME)
        keep_compared(folder.path, tables)
        write_json(folder.path / "scores.json", said)
    unlearned = folder.spec.kind == "unlearn"
    steps, losses = losses_of(trainer.state.log_history)
    record = build_record(
        spec=folder.spec.to_json(),
        run=Run(
            folder.spec.task,
            _method(objective, trainer.wrapper) if unlearned else folder.spec.kind,
            folder.spec.settings["seed"],
            protocol,
            start.name or public_name(start.loaded.model.config.name_or_path),
        ),
        provenance=_provenance(trainer.model, trainer.args.bf16, trainer.args.world_size),
        inputs=_inputs(folder, start.weights, tables),
        outputs=Outputs(
            files_digest(folder.path) if has_weights(folder.path) else None, None if table is None else table.digest()
        ),
        scores=said["scores"],
        verdict=said["verdict"],
        losses=losses,
        steps=steps,
        cost=clock.cost(trainer.state.total_flos),
        papers=papers_of(folder.spec.task, _sources(objective, trainer.wrapper) if unlearned else ()),
        missing=NO_CHECKOUT | clock.missing() | {"outputs.table": "the model was not measured (--measure no)"},
    )
    write_record(folder.path, record)
    if unlearned:
        write_text(folder.path / "README.md", model_card(record))
    return record


def record_evaluation(
    folder: RunFolder, model: Any, name: str, scores: Scores, table: Table, tables: Mapping[str, Table], clock: Clock
) -> dict[str, Any]:
    """Write the record of an evaluation. It changes no weights: what went in is the model, what came out the table."""
    keep_compared(folder.path, tables)
    said = scores.to_json()
    record = build_record(
        spec=folder.spec.to_json(),
        run=Run(folder.spec.task, "eval", None, scores.protocol, name or public_name(model.config.name_or_path)),
        provenance=_provenance(model, processes=count()),
        inputs=_inputs(folder, folder.spec.model, tables),
        outputs=Outputs(None, table.digest()),
        scores=said["scores"],
        verdict=said["verdict"],
        cost=clock.cost(),
        papers=papers_of(folder.spec.task),
        missing=NO_CHECKOUT
        | clock.missing()
        | {
            "run.seed": "an evaluation draws nothing",
            "outputs.weights": "an evaluation changes no weights",
            "cost.flops": "operations are counted in training only",
        },
    )
    write_record(folder.path, record)
    return record


def record_demo(
    folder: RunFolder, model: Any, name: str, tables: Mapping[str, Table], runs: Mapping[str, Any], clock: Clock
) -> dict[str, Any]:
    """Write the record of a demo: what its runs have in common, and the number of each run's own record by objective."""
    said = {"label": None, "reason": "several methods; each run has a record of its own", "runs": dict(runs)}
    elsewhere = "each of the demo's runs has its own"
    record = build_record(
        spec=folder.spec.to_json(),
        run=Run(folder.spec.task, "demo", folder.spec.settings["seed"], "unlearnkit", name),
        provenance=_provenance(model),
        inputs=_inputs(folder, weights_digest(model), tables),
        outputs=Outputs(None, None),
        scores={},
        verdict=said,
        cost=clock.cost(),
        papers=papers_of(folder.spec.task),
        missing=NO_CHECKOUT
        | clock.missing()
        | {
            "inputs.template": elsewhere,
            "outputs.weights": elsewhere,
            "outputs.table": elsewhere,
            "cost.flops": elsewhere,
        },
    )
    write_record(folder.path, record)
    return record


def _method(objective: Objective, wrapper: Any) -> str:
    """What was minimised, and how the step was taken where that is not the plain one."""
    return str(objective) if wrapper is None else f"{objective} with {wrapper}"


def _sources(objective: Objective, wrapper: Any) -> list[str]:
    """Where the terms and the wrapper come from."""
    return [term.paper for _, term in objective.terms] + ([] if wrapper is None else [wrapper.paper])


def has_record(folder: Path) -> bool:
    """Whether the run in this folder was recorded; a record is written once, as its number holds the moment."""
    return (folder / RECORD_NAME).is_file()


def losses_of(log: Sequence[Mapping[str, Any]]) -> tuple[list[int], dict[str, list[float | None]]]:
    """The numbers of the logged steps, and each term's loss at each of them, "total" being the sum that was minimised.

    >>> losses_of([{"step": 1, "loss": 2.0, "loss/npo": 1.5}, {"step": 2, "loss": 1.0}, {"step": 2, "runtime": 9}])
    ([1, 2], {'total': [2.0, 1.0], 'npo': [1.5, None]})
    """
    lines = [line for line in log if "loss" in line]
    labels = dict.fromkeys(name for line in lines for name in line if name.startswith("loss/"))
    terms = {label.removeprefix("loss/"): [line.get(label) for line in lines] for label in labels}
    return [int(line["step"]) for line in lines], {"total": [line["loss"] for line in lines], **terms}


def _measured(folder: Path, watch: Watch | None) -> tuple[Table | None, dict[str, Table]]:
    """The table of the last measured epoch, and the tables to compare it with, by role."""
    places = epoch_places(folder)
    if watch is None or not places or max(places) == 0:
        return None, {}
    before = Table.load(places[0]) if 0 in places else watch.target
    tables = {"reference": watch.reference, "target": before}
    return Table.load(places[max(places)]), {role: table for role, table in tables.items() if table is not None}


def _inputs(folder: RunFolder, weights: str, tables: Mapping[str, Table]) -> Inputs:
    return Inputs(
        rows=folder.spec.data,
        base_model=weights,
        template=folder.spec.template if len(folder.spec.template) == 64 else None,
        tables={role: table.digest() for role, table in tables.items()},
    )


def _provenance(model: Any, bf16: bool = False, processes: int = 1) -> dict[str, Any]:
    parameter = next(model.parameters())
    device = torch.cuda.get_device_name(parameter.device) if parameter.is_cuda else parameter.device.type
    dtype = str(parameter.dtype).removeprefix("torch.") + (", bfloat16 by autocast" if bf16 else "")
    return gather(device, dtype, "single process" if processes == 1 else f"{processes} processes")
