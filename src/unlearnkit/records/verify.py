"""Check a run against its record, without a model: digests first (depth 1), then scores from the table (depth 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnkit.canonical import canonical_json, sha256_of
from unlearnkit.errors import UserError
from unlearnkit.records.checks import Check, first_failed, judge, skipped
from unlearnkit.records.numbering import number_of
from unlearnkit.records.record import TABLE_NAME
from unlearnkit.records.weights import files_digest, has_weights

if TYPE_CHECKING:
    from unlearnkit.table import Table

MODEL_FOLDERS = (".", "model")  # where a run keeps its weights, relative to its own folder


def check_record(record: Mapping[str, Any]) -> list[Check]:
    """Does a record have the number that it bears, and is its spec the one that its id names?"""
    number, said = number_of(record), record.get("number")
    spec, source = sha256_of(record["spec"]), record["source"]["id"]
    return [
        judge("number", [] if said == number else [f"the record says {said!r}, its content gives {number}"], number),
        judge("spec", [] if source == spec else [f"the record says {source!r}, the spec gives {spec}"], spec),
    ]


def check_digests(run_dir: str | Path, record: Mapping[str, Any]) -> list[Check]:
    """Depth 1: the record against itself, and the table and the weights in the run's folder against the record.

    What is not there is not checked. What is there but can not be read fails.
    """
    from unlearnkit.table import Table

    folder = Path(run_dir)
    path = folder / TABLE_NAME
    table = (lambda: Table.load(path).digest()) if path.is_file() else None
    model = next((folder / name for name in MODEL_FOLDERS if has_weights(folder / name)), None)
    weights = (lambda: files_digest(model)) if model is not None else None
    said = record["outputs"]
    return [
        *check_record(record),
        _compare("table", said["table"], table),
        _compare("weights", said["weights"], weights),
    ]


def check_scores(record: Mapping[str, Any], table: Table, tables: Mapping[str, Table] | None = None) -> list[Check]:
    """Depth 2: score the table again, and compare with the record's scores and verdict bit for bit.

    tables  the other tables that the record says it compared with, by role: "reference", "target", ...; where one is
            not given, the scores are not checked, as they would differ
    """
    given, wanted = dict(tables or {}), record["inputs"]["tables"]
    checks = [_compare("table", record["outputs"]["table"], table.digest)]
    for role in sorted(wanted):
        other = given.get(role)
        checks.append(_compare(f"table of the {role}", wanted[role], None if other is None else other.digest))
    absent = sorted(set(wanted) - set(given))
    if absent:
        return [*checks, skipped("scores", f"the record compares with other tables; give {', '.join(absent)}")]
    if first_failed(checks) is not None:
        return [*checks, skipped("scores", "the tables are not those of the record")]
    used = {role: given[role] for role in wanted}
    return [*checks, _check_scored(record, table, used)]


def _check_scored(record: Mapping[str, Any], table: Table, tables: dict[str, Table]) -> Check:
    from unlearnkit.score import score_table

    reference, target = tables.pop("reference", None), tables.pop("target", None)
    try:
        found = score_table(table, reference, record["run"]["protocol"], target, tables).to_json()
    except UserError as problem:
        return judge("scores", [str(problem)], "")
    problems = _differences(record["scores"], found["scores"])
    problems += [f"the verdict is {found['verdict']!r}"] if _differ(record["verdict"], found["verdict"]) else []
    return judge("scores", problems, f"{len(found['scores'])} scores and the verdict are the same to the last bit")


def _differences(said: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs, by name, in the order of the names."""
    return [
        f"{name} is {_brief(found.get(name))}, the record says {_brief(said.get(name))}"
        for name in sorted(set(said) | set(found))
        if _differ(said.get(name), found.get(name))
    ]


def _differ(one: Any, other: Any) -> bool:
    return canonical_json(one) != canonical_json(other)


def _brief(score: Any) -> str:
    return canonical_json(score)[:200] if score is not None else "absent"


def _compare(name: str, said: str | None, digest: Callable[[], str] | None) -> Check:
    if said is None:
        return skipped(name, "the record holds no digest of it")
    if digest is None:
        return skipped(name, "it is not here")
    try:
        found = digest()
    except UserError as problem:
        return judge(name, [str(problem)], "")
    return judge(name, [] if found == said else [f"the record says {said}, what is here has {found}"], found)
