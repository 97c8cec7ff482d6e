"""One model's table prepared for scoring: rows chosen by the protocol, columns as arrays in the order of the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unlearnkit.errors import UserError
from unlearnkit.score.protocols import PROTOCOLS, Protocol
from unlearnkit.table import Table

Floats = NDArray[np.float64]
T = TypeVar("T")

ANSWER, PARAPHRASE, PERTURBED = "answer", "paraphrase", "perturbed_"


class Missing(Exception):
    """A score that cannot be given. The message says why and what would mend it; it becomes the score's reason."""


class Measured:
    """A table seen through a protocol.

    `table` is what was measured, `protocol` decides which rows count. Every array that a method returns is in the
    order of the `indices` it was asked for.
    """

    def __init__(self, table: Table, protocol: Protocol) -> None:
        self.table = table
        self.protocol = protocol
        self._places = _places(table)
        self._rows: dict[str, tuple[int, ...]] = {}
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call with this key and kept for the others."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    @property
    def stored(self) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
        """Row scores of a log that has not what they are made of: name -> split -> index -> value."""
        found: Mapping[str, Mapping[str, Mapping[str, float]]] = self.table.meta.get("stored", {})
        return found

    def stored_rows(
        self, name: str, split: str, indices: Sequence[int], convention: str | None = None
    ) -> Floats | None:
        """A log's own row scores by that name; None where it has not all of them, or computed them differently.

        `convention` names a token-wise metric: its stored values hold only under protocols that compute it alike.
        """
        held = self.stored.get(name, {}).get(split, {})
        theirs = PROTOCOLS["open-unlearning"]
        alike = convention is None or theirs.convention(convention) == self.protocol.convention(convention)
        if not alike or any(str(index) not in held for index in indices):
            return None
        return np.array([held[str(index)] for index in indices])

    @property
    def measured(self) -> bool:
        """True where we measured the rows ourselves, False for a table that was read from another tool's log."""
        return bool(self.table.meta.get("source", "measured") == "measured")

    def kinds(self, split: str) -> list[str]:
        """The kinds of answer that a set holds, in order."""
        return sorted(kind for held, kind in self._places if held == split)

    def holds(self, split: str, kind: str, index: int) -> bool:
        """Is there such an answer to that row?"""
        return index in self._places.get((split, kind), {})

    def rows(self, split: str) -> tuple[int, ...]:
        """Indices of the rows of a set that the protocol scores, in the data's order; `Missing` where there are none."""
        if split not in self._rows:
            self._rows[split] = self._select(split)
        return self._rows[split]

    def all_rows(self, split: str, kind: str) -> tuple[int, ...]:
        """Indices of every row of a set that has such an answer, whatever the protocol scores."""
        return tuple(sorted(self._places.get((split, kind), {})))

    def contrasted(self, split: str) -> tuple[int, ...]:
        """Rows of a set that have perturbed answers and a base to compare them with: those of the truth ratio."""
        base = self._places.get((split, self.base_kind(split)), {})
        first = self._places.get((split, f"{PERTURBED}0"), {})
        found = tuple(index for index in self.rows(split) if index in base and index in first)
        if not found:
            raise Missing(f"no {split} row has both a {self.base_kind(split)} and perturbed answers")
        return found

    def base_kind(self, split: str) -> str:
        """What perturbed answers are compared with: the paraphrase; the answer in sets without paraphrases."""
        return PARAPHRASE if (split, PARAPHRASE) in self._places or split in ("forget", "retain") else ANSWER

    def loss(self, split: str, kind: str, indices: Sequence[int]) -> Floats:
        """ℓ: mean negative log-probability a scored token of one kind of answer, in nats; (rows,)."""
        return self._losses[self.places(split, kind, indices)]

    def perturbed_loss(self, split: str, indices: Sequence[int]) -> Floats:
        """ℓ of every perturbed answer, NaN where a row has fewer than the others; (rows, perturbations)."""
        kinds = [kind for kind in self.kinds(split) if re.fullmatch(f"{PERTURBED}[0-9]{{1,9}}", kind)]
        kinds.sort(key=lambda kind: int(kind.removeprefix(PERTURBED)))
        matrix = np.full((len(indices), len(kinds)), np.nan)
        for column, kind in enumerate(kinds):
            held = self._places[split, kind]
            here = [row for row, index in enumerate(indices) if index in held]
            matrix[here, column] = self.loss(split, kind, [indices[row] for row in here])
            if np.isnan(matrix[here, column]).any():
                raise Missing(_not_numbers(split, kind, matrix[here, column]))
        return matrix

    def texts(self, column: str, split: str, kind: str, indices: Sequence[int]) -> list[str | None]:
        """A column of text (question, text, generation, generation_cut) of one kind of answer."""
        taken = self.table.data[column].take(pa.array(self.places(split, kind, indices)))
        found: list[str | None] = taken.to_pylist()
        return found

    def tokens(self, column: str, split: str, kind: str, indices: Sequence[int]) -> list[NDArray[Any]] | None:
        """A column of values a token (logp, greedy, ...), one array a row; None where some row has none."""
        if not indices:
            return []
        taken = self.table.data[column].take(pa.array(self.places(split, kind, indices))).combine_chunks()
        if taken.null_count:
            return None
        flat = taken.flatten().to_numpy(zero_copy_only=False)
        ends = np.cumsum(taken.value_lengths().to_numpy(zero_copy_only=False))
        return np.split(flat, ends[:-1])

    def scored_tokens(self, column: str, split: str, indices: Sequence[int], metric: str) -> list[NDArray[Any]]:
        """A column of values a token of the answers, the final end-of-sequence token left out where the protocol does.

        `Missing` where the table has no tokens (another tool's log) or an answer has none left.
        """
        found = self.tokens(column, split, ANSWER, indices)
        if found is None:
            raise Missing(
                f"needs every token's {column} of the {split} answers, which logs do not hold; measure the model"
            )
        if metric in self.protocol.drops_eos:
            ends = self.flags("ends", split, ANSWER, indices)
            found = [values[:-1] if end else values for values, end in zip(found, ends, strict=True)]
        short = [index for index, values in zip(indices, found, strict=True) if not len(values)]
        if short:
            raise Missing(f"{len(short)} {split} answers have no token to score (row {short[0]} is the first)")
        return found

    def flags(self, column: str, split: str, kind: str, indices: Sequence[int]) -> NDArray[np.bool_]:
        """A column of true or false a row; null counts as false."""
        taken = self.table.data[column].take(pa.array(self.places(split, kind, indices)))
        return np.array([bool(value) for value in taken.to_pylist()], dtype=bool)

    def places(self, split: str, kind: str, indices: Sequence[int]) -> NDArray[np.int64]:
        """Where in the table the rows lie; (rows,)."""
        held = self._places.get((split, kind), {})
        lacking = [index for index in indices if index not in held]
        if lacking:
            raise Missing(
                f"{len(lacking)} of {len(indices)} {split} rows have no {kind} (row {lacking[0]} is the first)"
            )
        return np.fromiter((held[index] for index in indices), dtype=np.int64, count=len(indices))

    @cached_property
    def _losses(self) -> Floats:
        column = self.table.data["loss"].combine_chunks()
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)

    def _select(self, split: str) -> tuple[int, ...]:
        chosen = sorted(self._places.get((split, ANSWER), {}))
        if not chosen:
            raise Missing(f"the table has no {split.replace('_', ' ')} rows")
        if self.protocol.rows is None:
            return tuple(chosen)
        if split == "forget":
            perturbed = self._places.get((split, f"{PERTURBED}0"), {})
            chosen = [index for index in chosen if index in perturbed] or chosen
        return tuple(chosen[: self.protocol.rows])


def finite(values: Floats, split: str, what: str) -> Floats:
    """The same values, or `Missing` where one of them is not a number (a model that diverged, a log with NaN).

    An infinite loss is allowed: it is the logarithm of a probability that is exactly zero.
    """
    if np.isnan(values).any():
        raise Missing(_not_numbers(split, what, values))
    return values


def _not_numbers(split: str, what: str, values: Floats) -> str:
    bad = int(np.isnan(values).sum())
    return (
        f"{bad} of {len(values)} {split} rows have no number as their {what} loss: the model or the log holds NaN there"
    )


def _places(table: Table) -> dict[tuple[str, str], dict[int, int]]:
    columns = (table.data[name].to_pylist() for name in ("split", "kind", "index"))
    places: dict[tuple[str, str], dict[int, int]] = {}
    for row, (split, kind, index) in enumerate(zip(*columns, strict=True)):
        held = places.setdefault((split, kind), {})
        if index in held:
            raise UserError(f"the table holds {split} row {index} ({kind}) twice; measure again, every row once")
        held[index] = row
    return places
