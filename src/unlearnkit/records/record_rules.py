"""The frozen schema of a run record, as rules that name what does not fit. Read without trust, so that it bounds too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from unlearnkit.canonical import FLOAT_KEY, sha256_of
from unlearnkit.records.numbering import is_run_record
from unlearnkit.records.times import is_time

SECTIONS = {
    "schema_version",
    "source",
    "metadata",
    "run",
    "spec",
    "provenance",
    "inputs",
    "outputs",
    "scores",
    "verdict",
    "losses",
    "cost",
    "papers",
    "missing",
}
SCORE_KEYS = {"value", "n", "interval", "direction", "reason"}
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def record_problems(record: Any) -> list[str]:
    """What keeps a value read from JSON from being a run record; empty where it is one."""
    if not isinstance(record, dict):
        return ["it is no object"]
    keys = set(record) - {"number"}
    if keys != SECTIONS:
        odd = ", ".join(sorted(map(repr, keys ^ SECTIONS))[:5])
        return [f"its sections are not those of the schema ({odd})"]
    if record["schema_version"] != "1.0" or not is_run_record(record):
        return ["it is not of schema 1.0 of unlearnkit's run records"]
    shapes = {name: list if name == "papers" else dict for name in SECTIONS - {"schema_version"}}
    wrong = [
        f"{name} is no {shape.__name__}"
        for name, shape in sorted(shapes.items())
        if not isinstance(record[name], shape)
    ]
    return wrong or [problem for rule in _RULES for problem in rule(record)]


def score_problem(score: Any) -> str | None:
    """What keeps a value from being a score as `scores.json` has it."""
    if not isinstance(score, dict) or set(score) != SCORE_KEYS:
        return f"it has not the keys {', '.join(sorted(SCORE_KEYS))}"
    if not is_number(score["value"]) and score["value"] is not None:
        return "its value is no number"
    if not is_count(score["n"]):
        return "its n is no count"
    interval = score["interval"]
    if interval is not None and not (
        isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval))
    ):
        return "its interval is not two numbers"
    if not isinstance(score["direction"], str):
        return "its direction is no text"
    if score["reason"] is not None and not isinstance(score["reason"], str):
        return "its reason is no text"
    return "it is missing without a reason" if score["value"] is None and not score["reason"] else None


def is_number(value: Any) -> bool:
    """A JSON number, or the encoding of one that JSON lacks; true and false are none."""
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, dict) and set(value) == {FLOAT_KEY}
    )


def is_count(value: Any) -> bool:
    """A whole number from zero on."""
    return type(value) is int and value >= 0


def is_digest(value: Any) -> bool:
    """A SHA-256 in hexadecimal."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _source(record: Mapping[str, Any]) -> Iterator[str]:
    source, metadata = record["source"], record["metadata"]
    if set(source) != {"kind", "id", "version"} or source["version"] != 1 or source["id"] != sha256_of(record["spec"]):
        yield "source.id is not the hash of the spec"
    if set(metadata) != {"submitted_at", "title"} or not is_time(metadata["submitted_at"]):
        yield "metadata.submitted_at is no moment of UTC"
    elif not isinstance(metadata["title"], str):
        yield "metadata.title is no text"


def _run(record: Mapping[str, Any]) -> Iterator[str]:
    run = record["run"]
    if set(run) != {"task", "method", "seed", "protocol", "model"}:
        yield "run has not the keys task, method, seed, protocol, model"
        return
    yield from (
        f"run.{name} is no text" for name in ("task", "method", "protocol", "model") if not isinstance(run[name], str)
    )
    if run["seed"] is not None and type(run["seed"]) is not int:
        yield "run.seed is no whole number"


def _digests(record: Mapping[str, Any]) -> Iterator[str]:
    inputs, outputs = record["inputs"], record["outputs"]
    if set(inputs) != {"rows", "base_model", "template", "tables"} or set(outputs) != {"weights", "table"}:
        yield "inputs or outputs have not their keys"
        return
    found = {f"inputs.{name}": inputs[name] for name in ("base_model", "template") if inputs[name] is not None}
    found |= {f"outputs.{name}": value for name, value in outputs.items() if value is not None}
    for section in ("rows", "tables"):
        if not isinstance(inputs[section], dict):
            yield f"inputs.{section} is no object"
        else:
            found |= {f"inputs.{section}.{name}": value for name, value in inputs[section].items()}
    yield from (f"{place} is no SHA-256" for place, value in found.items() if not is_digest(value))


def _scores(record: Mapping[str, Any]) -> Iterator[str]:
    for name, score in record["scores"].items():
        problem = score_problem(score)
        if problem:
            yield f"the score {name!r}: {problem}"


def _losses(record: Mapping[str, Any]) -> Iterator[str]:
    losses = record["losses"]
    if (
        set(losses) != {"step", "terms"}
        or not isinstance(losses["step"], list)
        or not isinstance(losses["terms"], dict)
    ):
        yield "losses has not a list `step` and an object `terms`"
        return
    if not all(map(is_count, losses["step"])):
        yield "losses.step holds what is no step"
    for name, values in losses["terms"].items():
        if not isinstance(values, list) or len(values) != len(losses["step"]):
            yield f"losses.terms.{name} has not one value a step"
        elif not all(value is None or is_number(value) for value in values):
            yield f"losses.terms.{name} holds what is no number"


def _cost(record: Mapping[str, Any]) -> Iterator[str]:
    cost = record["cost"]
    if set(cost) != {"wall_seconds", "peak_memory_bytes", "energy_joules", "flops"}:
        yield "cost has not its keys"
    elif not all(value is None or is_number(value) for value in cost.values()):
        yield "cost holds what is no number"


def _papers(record: Mapping[str, Any]) -> Iterator[str]:
    for paper in record["papers"]:
        if not isinstance(paper, dict) or set(paper) != {"role", "arxiv", "pith"}:
            yield "a paper has not the keys role, arxiv, pith"
        elif not isinstance(paper["role"], str) or not isinstance(paper["arxiv"], str):
            yield "a paper's role or arxiv is no text"
        elif paper["pith"] is not None and not isinstance(paper["pith"], str):
            yield "a paper's pith is no text"


def _missing(record: Mapping[str, Any]) -> Iterator[str]:
    if not all(isinstance(reason, str) and reason for reason in record["missing"].values()):
        yield "a reason in missing is no text"
    nulls = {
        f"{section}.{name}"
        for section in ("run", "provenance", "inputs", "outputs", "cost")
        for name, value in record[section].items()
        if value is None
    }
    if nulls != set(record["missing"]):
        yield f"missing does not name just the nulls ({', '.join(sorted(nulls ^ set(record['missing']))[:3])})"


_RULES: tuple[Callable[[Mapping[str, Any]], Iterator[str]], ...] = (
    _source,
    _run,
    _digests,
    _scores,
    _losses,
    _cost,
    _papers,
    _missing,
)
