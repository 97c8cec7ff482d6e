"""Several runs on one task beside each other, with the target and the retain model: a table and the trade-off picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.report.comparison import markdown_table
from unlearnkit.report.tradeoff import UTILITY, draw_tradeoff
from unlearnkit.run.evaluate import read_reference
from unlearnkit.run.folder import write_json, write_text
from unlearnkit.score import score_table
from unlearnkit.score.suite import metric
from unlearnkit.table import Table

Entry = dict[str, Any]


def compare(
    runs: Sequence[Path],
    target: Path,
    retain: Path,
    out: Path,
    protocol: str = "unlearnkit",
    title: str | None = None,
    utility: str = UTILITY,
) -> list[Entry]:
    """Score every measured epoch of `runs` against the retain model; write `results.json`, `table.md`, `tradeoff.png`.

    target, retain  measurements of those two models: evaluation folders, tables or logs
    utility         the metric on the picture's horizontal axis
    """
    metric(utility)
    reference = read_reference(retain)
    before = read_reference(target)
    assert reference is not None
    assert before is not None
    entries = [_entry("target", 0, before, reference, protocol), _entry("retain", 0, reference, reference, protocol)]
    for run in runs:
        entries += _trajectory(run, reference, protocol)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", entries)
    write_text(out / "table.md", markdown_table(entries) + "\n")
    task = str(reference.meta.get("task") or before.meta.get("task") or "the task")
    draw_tradeoff(entries, out / "tradeoff.png", title or f"Unlearning {task}", utility=utility)
    return entries


def _trajectory(run: Path, reference: Table, protocol: str) -> list[Entry]:
    places = sorted((run / "epochs").glob("*.parquet"))
    if not places:
        raise UserError(f"{run}: no measured epochs in it; give folders that `unlearn --measure epoch` wrote")
    said = json.loads((run / "spec.json").read_text(encoding="utf-8"))["settings"]["objective"]
    return [_entry(said, int(place.stem), Table.load(place), reference, protocol) for place in places]


def _entry(name: str, epoch: int, table: Table, reference: Table, protocol: str) -> Entry:
    scores = score_table(table, reference, protocol, intervals=False).scores
    return {"objective": name, "epoch": epoch, **{metric: score.value for metric, score in scores.items()}}
