"""Do two measurements, or two beginnings of a training run, agree within a tolerance? Names the first row that does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unlearnkit.records.checks import Check, judge
from unlearnkit.table import Table

KEY = ("split", "index", "kind")


def apart(one: float | None, other: float | None) -> float:
    """|one − other| / max(1, |one|): absolute for small losses, relative for large ones; infinite where one is missing.

    >>> apart(0.5, 0.25), apart(200.0, 201.0), apart(1.0, None)
    (0.25, 0.005, inf)
    """
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    gap = abs(one - other) / max(1.0, abs(one))
    return math.inf if math.isnan(gap) else gap


def tables_agree(said: Table, found: Table, tolerance: float, near_ties: float) -> list[Check]:
    """The same rows; each answer's mean loss within `tolerance`; all but a share of `near_ties` of the generations."""
    before, after = _by_key(said), _by_key(found)
    odd = [key for key in before if key not in after] + [key for key in after if key not in before]
    odd += [key for key in before if key in after and _texts(before[key]) != _texts(after[key])]
    rows = judge("rows", [f"{_named(key)} is not the same" for key in odd], f"{len(before)} answers")
    if odd:
        return [rows]
    gaps = {key: apart(before[key]["loss"], after[key]["loss"]) for key in before}
    wrong = [
        f"{_named(key)}: the table says {before[key]['loss']:.6g} nats a token, measured again {after[key]['loss']:.6g}"
        for key, gap in gaps.items()
        if gap > tolerance
    ]
    good = f"within {tolerance:g} (largest difference {max(gaps.values(), default=0.0):.2g})"
    return [rows, judge("losses measured again", wrong, good), _generations(before, after, near_ties)]


def _generations(before: Mapping[Any, Any], after: Mapping[Any, Any], near_ties: float) -> Check:
    asked = [key for key, row in before.items() if row["generation"] is not None]
    changed = [key for key in asked if before[key]["generation"] != after[key]["generation"]]
    good = f"{len(asked) - len(changed)} of {len(asked)} the same, at most {near_ties:.0%} may differ"
    few = len(changed) <= near_ties * len(asked)
    return judge("generations", [] if few else [f"{_named(key)} is another answer" for key in changed], good)


def losses_agree(
    said: Mapping[str, Sequence[float | None]],
    found: Mapping[str, Sequence[float | None]],
    count: int,
    tolerance: float,
) -> list[Check]:
    """Each term's loss over the first `count` steps, within `tolerance`, step by step."""
    if count == 0:
        return [judge("losses trained again", ["the record holds no loss of these steps"], "")]
    wrong, largest = [], 0.0
    for step in range(count):
        for name in said:
            one, other = said[name][step], _at(found.get(name, ()), step)
            gap = apart(one, other)
            largest = max(largest, gap)
            if gap > tolerance:
                wrong.append(f"step {step + 1}: the loss '{name}' was {_shown(one)}, trained again {_shown(other)}")
    good = f"{count} steps of {', '.join(said)} within {tolerance:g} (largest difference {largest:.2g})"
    return [judge("losses trained again", wrong, good)]


def _at(values: Sequence[float | None], step: int) -> float | None:
    return values[step] if step < len(values) else None


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:.6g}"


def _by_key(table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    columns = table.data.select([*KEY, "question", "text", "loss", "generation"]).to_pylist()
    return {tuple(row[name] for name in KEY): row for row in columns}


def _texts(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row["question"], row["text"]


def _named(key: Sequence[Any]) -> str:
    return f"{key[0]} row {key[1]}, {key[2]}"
