"""What a report is made of, read from the folders of runs: records, tables, losses, trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearnkit.canonical import read_json, revive
from unlearnkit.errors import UserError
from unlearnkit.records.checks import Check
from unlearnkit.records.folder import epoch_places, read_compared, table_place
from unlearnkit.records.record import RECORD_NAME, read_record
from unlearnkit.records.verify import check_record
from unlearnkit.score import Scores, score_table
from unlearnkit.score.protocols import protocol
from unlearnkit.table import Table

TARGET, RETAIN = "target", "retain"
Entry = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run: its record, what it measured, and what that is compared with.

    name      what the page calls it: the objective, or the model that was evaluated
    place     the name of its folder
    table     of the model that came out, or that was evaluated
    tables    of others, by role: "reference" (the retain model), "target" (the model before)
    epochs    scores of each measured epoch; the keys are "epoch" and the metrics
    filled    were tables added that the record does not name? Then scores were made for this page
    """

    name: str
    place: str
    record: Mapping[str, Any]
    table: Table
    tables: Mapping[str, Table]
    epochs: Sequence[Entry]
    filled: bool = False

    @cached_property
    def scores(self) -> Mapping[str, Any]:
        """By metric, as `scores.json` has them: the record's own, unless other tables were given."""
        found: Mapping[str, Any] = self._rescored["scores"] if self.filled else revive(self.record["scores"])
        return found

    @cached_property
    def verdict(self) -> Mapping[str, Any]:
        """The record's verdict, unless other tables were given."""
        found: Mapping[str, Any] = self._rescored["verdict"] if self.filled else revive(self.record["verdict"])
        return found

    @cached_property
    def _rescored(self) -> dict[str, Any]:
        reference, target = self.tables.get("reference"), self.tables.get("target")
        return score_table(self.table, reference, self.protocol, target).to_json()

    @property
    def protocol(self) -> str:
        """Whose conventions the scores follow."""
        return str(self.record["run"]["protocol"])

    @property
    def losses(self) -> tuple[list[int], dict[str, list[float | None]]]:
        """Steps, and each term's loss at each of them."""
        held = revive(self.record["losses"])
        return held["step"], held["terms"]

    def checks(self) -> list[Check]:
        """Does the record have its number, and is the table the one that it names?"""
        found, said = self.table.digest(), self.record["outputs"]["table"]
        status, detail = ("passed", found) if found == said else ("failed", f"the record says {said}, here is {found}")
        return [*check_record(self.record), Check("table", status, detail)]


@dataclass(frozen=True)
class Story:
    """All that a page tells: runs on the same task, and the models that they are compared with."""

    task: str
    runs: Sequence[Run]
    fixed: Sequence[Entry] = field(default_factory=tuple)

    @cached_property
    def before(self) -> Scores | None:
        """The scores of the model before unlearning, where one was measured."""
        return self._others("target")

    @cached_property
    def retain(self) -> Scores | None:
        """The retain model's scores."""
        return self._others("reference")

    def table(self, role: str) -> Table | None:
        """The table of a role, which all runs share."""
        return next((run.tables[role] for run in self.runs if role in run.tables), None)

    def _others(self, role: str) -> Scores | None:
        table = self.table(role)
        if table is None:
            return None
        return score_table(table, self.table("reference"), self.runs[0].protocol, self.table("target"))


def read_story(places: Sequence[str | Path], target: Table | None = None, retain: Table | None = None) -> Story:
    """Read the folders of runs; a demo's folder stands for its runs.

    target, retain  tables of the model before unlearning and of the retain model, where the runs have none or others
    """
    given = {role: table for role, table in (("target", target), ("reference", retain)) if table is not None}
    runs: list[Run] = []
    fixed: list[Entry] = []
    for place in map(Path, places):
        record = read_record(place if place.is_dir() else _no_folder(place))
        if record["run"]["method"] == "demo":
            runs += [_read_run(path.parent, given) for path in sorted((place / "runs").glob(f"*/{RECORD_NAME}"))]
            fixed += [entry for entry in _entries(place / "results.json") if entry.get("epoch") == 0]
        else:
            runs.append(_read_run(place, given))
    if not runs:
        raise UserError(f"{places[0]}: the demo holds no finished run")
    _check_alike(runs, given)
    return Story(runs[0].record["run"]["task"], _told_apart(runs), fixed)


def _no_folder(place: Path) -> Path:
    raise UserError(f"{place}: not the folder of a run; a report reads the tables beside the record too")


def _read_run(folder: Path, given: Mapping[str, Table]) -> Run:
    record = read_record(folder)
    place = table_place(folder)
    if place is None:
        raise UserError(
            f"{folder}: the run measured nothing, so there is nothing to report; run it with --measure epoch"
        )
    own, method = read_compared(folder), record["run"]["method"]
    tables = {**own, **given}
    filled = any(role not in own or own[role].digest() != table.digest() for role, table in given.items())
    name = f"{record['run']['model']}, evaluated" if method == "eval" else method
    run = Run(name, folder.resolve().name, record, Table.load(place), tables, (), filled)
    return Run(**{**_fields(run), "epochs": _trajectory(folder, run)})


def _fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__dataclass_fields__}


def _trajectory(folder: Path, run: Run) -> list[Entry]:
    """Every measured epoch's scores: those that the run wrote, or made again where another retain model is given."""
    written = _entries(folder / "trajectory.json")
    if written and not run.filled:
        return written
    found = []
    for epoch, place in epoch_places(folder).items():
        scores = score_table(Table.load(place), run.tables.get("reference"), run.protocol, intervals=False).scores
        found.append({"epoch": epoch, **{name: score.value for name, score in scores.items()}})
    return found


def _entries(path: Path) -> list[Entry]:
    """A list of objects from a file of a run; empty where there is none."""
    if not path.is_file():
        return []
    held = read_json(path)
    if not isinstance(held, list) or not all(isinstance(entry, dict) for entry in held):
        raise UserError(f"{path}: not a list of measured epochs")
    return held


def _check_alike(runs: Sequence[Run], given: Mapping[str, Table]) -> None:
    """Runs on one page are on one task, scored under one protocol and compared with the same models."""
    for run in runs:
        protocol(run.protocol)
    for what in ("task", "protocol"):
        found = dict.fromkeys(run.record["run"][what] for run in runs)
        if len(found) > 1:
            raise UserError(f"one report shows runs of one {what}; these are of {', '.join(found)}")
    for role, option in (("reference", "retain"), ("target", "target")):
        digests = {run.record["inputs"]["tables"].get(role) for run in runs} - {None}
        if len(digests) > 1 and role not in given:
            raise UserError(
                f"these runs were compared with different {option} models; give the one to show, --{option}"
            )


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """Runs of the same name get their folder's beside it."""
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else Run(**{**_fields(run), "name": f"{run.name} ({run.place})"})
        for run in runs
    ]
