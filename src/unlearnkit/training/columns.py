"""The reference's log-probabilities as columns: each process computes its share, all of them know all, a disk keeps them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from unlearnkit.canonical import sha256_of
from unlearnkit.errors import UserError
from unlearnkit.files import write_whole
from unlearnkit.models.reference import Columns, Reference
from unlearnkit.stats import TokenStats
from unlearnkit.text.template import Encoded
from unlearnkit.training import processes

Rows = Mapping[str, Mapping[Hashable, Encoded]]


@dataclass(frozen=True)
class Shelf:
    """Where columns are kept between runs, and of which model they are.

    folder    any folder; a file in it is named by all that decides its values
    weights   digest of the reference's weights
    template  digest of how questions are put
    """

    folder: Path
    weights: str
    template: str

    def place(self, rows: Rows, dtype: str, token_budget: int) -> Path:
        """The file of these columns: another weight, row, token, template, dtype or way to batch is another file."""
        said = {view: [[repr(key), row.prompt_length, *row.ids] for key, row in rows[view].items()] for view in rows}
        how = {"dtype": dtype, "token_budget": token_budget, "processes": processes.count()}
        name = sha256_of({"weights": self.weights, "template": self.template, "rows": said, **how})
        return self.folder / f"{name}.safetensors"


def reference_columns(
    model: Any,
    rows: Rows,
    token_budget: int,
    *,
    dtype: str,
    off: bool = False,
    precision: AbstractContextManager[Any] | None = None,
    shelf: Shelf | None = None,
) -> Columns:
    """Log-probabilities of every row of each view under `model` as it is now, or as they were kept for it.

    off        with the model's adapter switched off
    precision  the context in which training runs the model, such as autocast; `dtype` is its name in the file's key
    """
    place = None if shelf is None else shelf.place(rows, dtype, token_budget)
    if place is not None and (kept := processes.by_first(lambda: _load(place, rows))) is not None:
        return Columns(kept)
    pooled = [(view, key, row) for view, named in rows.items() for key, row in named.items()]
    # dealt by length, so that all processes have about the same to do
    pooled.sort(key=lambda one: -len(one[2].ids))
    mine: dict[str, dict[Hashable, Encoded]] = {view: {} for view in rows}
    for view, key, row in pooled[processes.rank() :: processes.count()]:
        mine[view][key] = row
    with precision if precision is not None else nullcontext():
        parts = processes.gathered(dict(Columns.of(model, mine, token_budget, off).columns))
    columns = {
        view: {key: next(part[view][key] for part in parts if key in part[view]) for key in rows[view]} for view in rows
    }
    if place is not None and processes.rank() == 0:
        _save(columns, place)
    return Columns(columns)


class ByView:
    """A reference that keeps columns for some views and is asked at every step for others."""

    def __init__(self, references: Mapping[str, Reference]) -> None:
        self.references = references

    def stats(self, view: str, keys: Sequence[Hashable], rows: Sequence[Encoded], **asked: Any) -> TokenStats:
        """What the view's own reference says."""
        return self.references[view].stats(view, keys, rows, **asked)


def _save(columns: Mapping[str, Mapping[Hashable, torch.Tensor]], place: Path) -> None:
    """One tensor a view, its rows behind each other. A disk that is full or closed costs time later, not the run."""
    flat = {view: torch.cat([*named.values()]).float().contiguous() for view, named in columns.items() if named}
    lengths = {view: [len(one) for one in named.values()] for view, named in columns.items()}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, [safetensors.torch.save(flat, metadata={"lengths": json.dumps(lengths)})])
    except (OSError, UserError):
        return


def _load(place: Path, rows: Rows) -> dict[str, dict[Hashable, torch.Tensor]] | None:
    """What is kept, None where nothing is or where it is not what these rows need."""
    try:
        flat = safetensors.torch.load(place.read_bytes())
    except (OSError, SafetensorError):
        return None
    columns: dict[str, dict[Hashable, torch.Tensor]] = {}
    for view, named in rows.items():
        lengths = [len(row.answer) for row in named.values()]
        values = flat.get(view, torch.empty(0))
        if values.dim() != 1 or len(values) != sum(lengths) or not torch.isfinite(values).all():
            return None
        ends = [*itertools.accumulate(lengths)]
        columns[view] = {key: values[end - n : end] for key, n, end in zip(named, lengths, ends, strict=True)}
    return columns
