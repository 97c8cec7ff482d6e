"""Check a run against its record in four depths, cheapest first, and name the first thing that differs.

digests  the record against itself, and the table and the weights that lie beside it against the record
scores   the scores and the verdict, made again from the table, bit for bit; needs no torch
measure  the table, measured again from the weights, within a tolerance
train    the losses of the first steps, trained again from the model that the run started from
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnkit.errors import UserError, unknown
from unlearnkit.records.checks import Check, first_failed, judge, skipped
from unlearnkit.records.folder import read_compared, table_place
from unlearnkit.records.numbering import number_of
from unlearnkit.records.record import RECORD_NAME, read_record
from unlearnkit.records.verify import check_digests, check_record, check_scores

if TYPE_CHECKING:
    from unlearnkit.run.repeat import Given

DEPTHS = DIGESTS, SCORES, MEASURE, TRAIN = ("digests", "scores", "measure", "train")
DEMO = "demo"


@dataclass(frozen=True)
class Verified:
    """What was checked of a run, in order. `ok`: nothing that could be checked was wrong."""

    number: str
    depth: str
    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return first_failed(self.checks) is None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        wrong = first_failed(self.checks)
        return {
            "number": self.number,
            "depth": self.depth,
            "verified": self.ok,
            "first_failed": None if wrong is None else wrong.to_json(),
            "checks": [check.to_json() for check in self.checks],
        }


def verify(place: str | Path, depth: str = SCORES, given: Given | None = None) -> Verified:
    """Check the run of a record, down to `depth`; a depth in which something is wrong is the last one.

    place  a run's folder, or its record.json; a record elsewhere is checked against itself only
    given  what the depths `measure` and `train` need beside the folder
    """
    if depth not in DEPTHS:
        raise unknown("depth", depth, DEPTHS)
    place = Path(place)
    record = read_record(place)
    folder = place if place.is_dir() else place.parent if place.name == RECORD_NAME else None
    if folder is None:
        if depth not in (DIGESTS, SCORES):
            raise UserError(f"{place}: a record alone can not be measured or trained again; give the run's folder")
        return Verified(number_of(record), DIGESTS, check_record(record))
    checks: list[Check] = []
    for each in DEPTHS[: DEPTHS.index(depth) + 1]:
        checks += _at_depth(each, folder, record, given)
        if first_failed(checks) is not None:
            return Verified(number_of(record), each, checks)
    return Verified(number_of(record), depth, checks)


def _at_depth(depth: str, folder: Path, record: Mapping[str, Any], given: Given | None) -> list[Check]:
    if record["run"]["method"] == DEMO:
        return [*(check_record(record) if depth == DIGESTS else []), *_demo(depth, folder, record, given)]
    if depth == DIGESTS:
        return check_digests(folder, record)
    if depth == SCORES:
        return _scores(folder, record)
    from unlearnkit.run import repeat  # torch and transformers, only where a model is run

    wanted = given or repeat.Given()
    return repeat.measured_again(folder, record, wanted) if depth == MEASURE else repeat.trained_again(record, wanted)


def _scores(folder: Path, record: Mapping[str, Any]) -> list[Check]:
    """Depth 2, where the run was measured and its table lies here."""
    from unlearnkit.table import Table

    if record["outputs"]["table"] is None:
        return [skipped("scores", record["missing"]["outputs.table"])]
    place = table_place(folder)
    if place is None:
        return [skipped("scores", "its table is not here")]
    return check_scores(record, Table.load(place), read_compared(folder))


def _demo(depth: str, folder: Path, record: Mapping[str, Any], given: Given | None) -> list[Check]:
    """The runs of a demo: the record names each by its number, and each is checked as a run of its own."""
    said = record["verdict"].get("runs")
    if not isinstance(said, dict) or not all(isinstance(number, str) for number in said.values()):
        return [judge("runs", ["the record does not name its runs"], "")]
    found = {path.parent.name: read_record(path) for path in sorted((folder / "runs").glob(f"*/{RECORD_NAME}"))}
    checks: list[Check] = []
    if depth == DIGESTS:
        absent = sorted(set(said.values()) - {number_of(each) for each in found.values()})
        checks.append(judge("runs", [f"no run here has the number {number}" for number in absent], f"{len(said)} runs"))
    for name, each in found.items():
        checks += [
            Check(f"{name}: {check.name}", check.status, check.detail)
            for check in _at_depth(depth, folder / "runs" / name, each, given)
        ]
    return checks
