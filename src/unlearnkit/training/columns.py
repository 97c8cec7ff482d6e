"""The reference's log-probabilities as columns: each process computes its share, all of them know all, a disk keeps them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Mapping
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
from unlearnkit.models.forward import answer_logps
from unlearnkit.models.reference import Columns, adapter_off
from unlearnkit.text.batches import by_length
from unlearnkit.text.template import Encoded
from unlearnkit.training import processes

BATCH = 2048  # padded tokens of a batch
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

    def file(self, rows: Rows, dtype: str) -> Path:
        """The file of these columns: another weight, row, token, template or dtype is another file."""
        said = {view: [[repr(key), row.prompt_length, *row.ids] for key, row in rows[view].items()] for view in rows}
        name = sha256_of({"weights": self.weights, "template": self.template, "dtype": dtype, "rows": said})
        return self.folder / f"{name}.safetensors"


def reference_columns(
    model: Any,
    rows: Rows,
    *,
    dtype: str,
    off: bool = False,
    precision: AbstractContextManager[Any] | None = None,
    shelf: Shelf | None = None,
) -> Columns:
    """Log-probabilities of every row of each view under `model` as it is now, or as they were kept for it.

    Rows are batched the same way for any number of processes and any cut of the steps, so the values are the same to the
    last bit; on a disk or not.

    off        with the model's adapter switched off
    precision  the context in which training runs the model, such as autocast; `dtype` is its name in the file's key
    """
    file = None if shelf is None else shelf.file(rows, dtype)
    if file is not None and (kept := processes.by_first(lambda: _load(file, rows))) is not None:
        return Columns(kept)
    pooled = [(view, key, row) for view, named in rows.items() for key, row in named.items()]
    batches = by_length([len(row.ids) for _, _, row in pooled], BATCH)
    mine: list[tuple[int, torch.Tensor]] = []
    was_training = model.training
    model.eval()
    with precision if precision is not None else nullcontext(), adapter_off(model) if off else nullcontext():
        for places in batches[processes.rank() :: processes.count()]:
            mine += zip(places, answer_logps(model, [pooled[place][2] for place in places], 10**9), strict=True)
    model.train(was_training)
    known = {place: values for part in processes.gathered(mine) for place, values in part}
    columns: dict[str, dict[Hashable, torch.Tensor]] = {view: {} for view in rows}
    for place, (view, key, _) in enumerate(pooled):
        columns[view][key] = known[place]
    if file is not None and processes.rank() == 0:
        _save(columns, file)
    return Columns(columns)


def _save(columns: Mapping[str, Mapping[Hashable, torch.Tensor]], file: Path) -> None:
    """One tensor a view, its rows behind each other. A disk that is full or closed costs time later, not the run."""
    flat = {view: torch.cat([*named.values()]).float().contiguous() for view, named in columns.items() if named}
    lengths = {view: [len(one) for one in named.values()] for view, named in columns.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, [safetensors.torch.save(flat, metadata={"lengths": json.dumps(lengths)})])
    except (OSError, UserError):
        return


def _load(file: Path, rows: Rows) -> dict[str, dict[Hashable, torch.Tensor]] | None:
    """What is kept, None where nothing is or where it is not what these rows need."""
    try:
        flat = safetensors.torch.load(file.read_bytes())
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
