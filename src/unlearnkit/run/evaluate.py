"""Measure a model on a task and score it: `table.parquet` and `scores.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearnkit.measure.engines import Speaker
from unlearnkit.measure.judges import Judges
from unlearnkit.measure.measure import MAX_NEW_TOKENS, Progress
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import Loaded
from unlearnkit.run.cost import Clock
from unlearnkit.run.folder import RunFolder, write_json
from unlearnkit.run.record import has_record, record_evaluation
from unlearnkit.run.shared_measuring import keeping_place, table_at
from unlearnkit.score import Scores, read_measurements, score_table
from unlearnkit.spec import RunSpec
from unlearnkit.table import Table
from unlearnkit.tasks.base import Task, digest_rows
from unlearnkit.text.template import Template
from unlearnkit.training import processes

NOBODY = Judges()


def read_reference(path: str | Path | None) -> Table | None:
    """A retain model's measurements: our table, a folder that holds one, or a log of TOFU's or open-unlearning's."""
    if path is None:
        return None
    place = Path(path)
    inside = place / "table.parquet"
    return read_measurements(inside if inside.is_file() else place)


def evaluation_digests(task: Task) -> dict[str, str]:
    """A digest of each evaluation set's rows."""
    return {split: digest_rows(rows) for split, rows in task.evaluation.items()}


def evaluate(
    loaded: Loaded,
    template: Template,
    task: Task,
    out: Path,
    *,
    protocol: str = "unlearnkit",
    reference: Table | None = None,
    target: Table | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    token_budget: int | None = None,
    gradient_norm: bool = False,
    judges: Judges = NOBODY,
    speaker: Speaker | None = None,
    force: bool = False,
    progress: Progress | None = None,
    name: str = "",
) -> Scores:
    """Measure and score into the folder `out`; a finished folder of the same evaluation is read instead.

    `judges` are other models that read the generations, `speaker` is another engine that makes them.
    `name` is what the record calls the model; where it is empty, what the model was loaded as, without its path.

    The scores of a reference that does not fit are refused before anything is measured a second time: the table stays.
    Several processes (`torchrun`, `accelerate launch`) share the rows; the first one writes, and each gets the scores. A
    measurement that was stopped goes on where it stopped.
    """
    spec = RunSpec(
        kind="eval",
        task=task.name,
        model=weights_digest(loaded.model),
        template=template.digest,
        data=evaluation_digests(task),
        settings={
            "protocol": protocol,
            "max_new_tokens": max_new_tokens,
            "reference": None if reference is None else reference.digest(),
            "target": None if target is None else target.digest(),
            **({"gradient_norm": True} if gradient_norm else {}),
            **judges.for_spec(),
            **({} if speaker is None else {"engine": "vllm"}),
        },
    )
    processes.wait()  # until all have looked whether the folder can be taken
    folder = processes.by_first(lambda: RunFolder.claim(out, spec, force))
    kept = folder.path / "table.parquet"
    clock = Clock(resumed=processes.by_first(lambda: kept.is_file() or keeping_place(kept).is_dir()))
    table = table_at(
        kept,
        loaded.model,
        template,
        task,
        max_new_tokens=max_new_tokens,
        token_budget=token_budget,
        gradient_norm=gradient_norm,
        finish=judges.judged,
        speaker=speaker,
        progress=progress,
    )
    tables = {role: other for role, other in (("reference", reference), ("target", target)) if other is not None}

    def close() -> Scores:
        scores = score_table(table, reference, protocol, target=target)
        if not has_record(folder.path):
            record_evaluation(folder, loaded.model, name, scores, table, tables, clock)
        save_scores(folder, scores)
        return scores

    return processes.by_first(close)


def save_scores(folder: RunFolder, scores: Scores) -> None:
    """Write `scores.json` and say that the evaluation is finished."""
    said: dict[str, Any] = scores.to_json()
    write_json(folder.path / "scores.json", said)
    folder.finish({"scores": "scores.json", "table": "table.parquet"})
