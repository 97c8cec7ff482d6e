"""The record of a run: everything that one must know to trust, check or repeat its numbers, in one JSON object.

The schema is frozen under `schema_version`. A value that is not known is null, and `missing` says why. Paths are no
part of a record, digests are. The record's hash covers everything but `number`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unlearnkit.canonical import canonical_bytes, parse_json, read_json, sha256_of
from unlearnkit.errors import UserError
from unlearnkit.files import write_whole
from unlearnkit.records.numbering import OURS, number_of
from unlearnkit.records.record_rules import record_problems
from unlearnkit.records.times import now

SCHEMA_VERSION = "1.0"
RECORD_NAME, TABLE_NAME = "record.json", "table.parquet"

__all__ = [
    "RECORD_NAME",
    "TABLE_NAME",
    "Cost",
    "Inputs",
    "Outputs",
    "Run",
    "build_record",
    "number_of",
    "read_record",
    "write_record",
]


@dataclass(frozen=True)
class Run:
    """What was done, in the words of a leaderboard.

    task      "tofu:forget10"
    method    the objective's formula, "npo(beta=0.1) + rt", and the wrapper, "... with gru"; "finetune" where there is none
    seed      None where the run drew nothing
    protocol  of the scores
    model     what was unlearned, by a name and never by a path: "mini:target", "open-unlearning/tofu_Llama-3.2-1B_full"
    """

    task: str
    method: str
    seed: int | None
    protocol: str
    model: str


@dataclass(frozen=True)
class Inputs:
    """SHA-256 of what went in.

    rows        of each set of rows, as `tasks.base.digest_rows` gives it
    base_model  of the tensors of the model that the run began with
    template    of the text template
    tables      of the other tables that the scores compare with, by role: "reference" (the retain model's), "target",
                "second_retain", "mia_reference"
    """

    rows: Mapping[str, str]
    base_model: str | None
    template: str | None
    tables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """SHA-256 of what came out: of the tensors of the model, and of the table (`Table.digest`)."""

    weights: str | None
    table: str | None


@dataclass(frozen=True)
class Cost:
    """What the run took; None where it was not measured."""

    wall_seconds: float | None = None
    peak_memory_bytes: int | None = None
    energy_joules: float | None = None
    flops: float | None = None


def build_record(
    spec: Mapping[str, Any],
    run: Run,
    provenance: Mapping[str, Any],
    inputs: Inputs,
    outputs: Outputs,
    scores: Mapping[str, Mapping[str, Any]],
    verdict: Mapping[str, Any],
    losses: Mapping[str, Sequence[float | None]] | None = None,
    steps: Sequence[int] = (),
    cost: Cost | None = None,
    papers: Sequence[Mapping[str, Any]] = (),
    missing: Mapping[str, str] | None = None,
    submitted_at: str | None = None,
) -> dict[str, Any]:
    """The record of a run, with its number.

    spec        all that defines the run; its id in the record is the SHA-256 of its canonical form
    provenance  from `provenance.gather`
    scores      by name, each as `scores.json` has it: value, n, interval, direction, reason
    losses      of each term, one a step (and "total"); `steps` are the steps' numbers
    papers      from `papers.papers_of`
    missing     why a value is null, by its place ("cost.energy_joules"); the rest says "not measured"

    A part that does not fit the schema is a `UserError` that names it.
    """
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "source": {"kind": OURS, "id": sha256_of(spec), "version": 1},
        "metadata": {"submitted_at": submitted_at or now(), "title": f"{run.method} on {run.task}"},
        "run": asdict(run),
        "spec": dict(spec),
        "provenance": dict(provenance),
        "inputs": asdict(inputs),
        "outputs": asdict(outputs),
        "scores": {name: dict(score) for name, score in scores.items()},
        "verdict": dict(verdict),
        "losses": {"step": list(steps), "terms": {name: list(values) for name, values in (losses or {}).items()}},
        "cost": asdict(cost or Cost()),
        "papers": [dict(paper) for paper in papers],
    }
    record["missing"] = _reasons(record, missing or {})
    record = parse_json(canonical_bytes(record), "the record")  # plain JSON from here on, whatever types were given
    problems = record_problems(record)
    if problems:
        raise UserError(f"not a run record: {'; '.join(problems[:3])}")
    return {**record, "number": number_of(record)}


def read_record(path: str | Path) -> dict[str, Any]:
    """The record of a file or of a run's folder; a `UserError` where it is none. Its number is not checked here."""
    path = Path(path)
    record = read_json(path / RECORD_NAME if path.is_dir() else path)
    problems = record_problems(record)
    if problems:
        raise UserError(f"{path}: not a run record of unlearnkit: {'; '.join(problems[:3])}")
    return dict(record)


def write_record(folder: str | Path, record: Mapping[str, Any]) -> Path:
    """Write `record.json` into a run's folder, whole or not at all; returns its path."""
    path = Path(folder) / RECORD_NAME
    write_whole(path, [canonical_bytes(record), b"\n"])
    return path


def _reasons(record: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Why each null of the sections that hold facts is null; a reason for a value that is there is left out."""
    nulls = [
        f"{section}.{name}"
        for section in ("run", "provenance", "inputs", "outputs", "cost")
        for name, value in record[section].items()
        if value is None
    ]
    return {place: given.get(place, "not measured") for place in nulls}
