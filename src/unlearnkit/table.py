"""Waist 2: the table of measurements, all that a metric may look at. One row is one answer under one model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unlearnkit.errors import UserError

FORMAT = "unlearnkit-table-1"

SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),  # forget, retain, real_authors, world_facts, holdout
        pa.field("index", pa.int64(), nullable=False),  # the row's place in the data
        pa.field("kind", pa.string(), nullable=False),  # answer, paraphrase, perturbed_0, perturbed_1, ...
        pa.field("question", pa.string()),
        pa.field("text", pa.string()),  # the answer that was scored
        pa.field("length", pa.int64()),  # scored tokens, the final end-of-sequence token included
        pa.field("loss", pa.float64()),  # mean negative log-probability a scored token, in nats
        pa.field("tokens", pa.list_(pa.int32())),  # the scored tokens; null in tables made from others' logs
        pa.field("logp", pa.list_(pa.float32())),  # log-probability of each, in nats
        pa.field("greedy", pa.list_(pa.bool_())),  # is the token the argmax there?
        pa.field("logp_mean", pa.list_(pa.float32())),  # mean log-probability under the model, over the vocabulary
        pa.field("logp_std", pa.list_(pa.float32())),  # and its standard deviation, as Min-K%++ wants them
        pa.field("ends", pa.bool_()),  # is the last scored token an end-of-sequence token?
        pa.field("prompt_length", pa.int64()),  # tokens before the answer
        pa.field("generation", pa.string()),  # what the model answers; null where it was not asked
        pa.field("generation_cut", pa.string()),  # the same cut where prompt and answer reach 200 tokens, if that cuts
        pa.field("gradient_norm", pa.float64()),  # of the answer's mean loss, mean over tensors; null: not asked
    ]
)


@dataclass(frozen=True)
class Table:
    """Measurements of one model on one task, with where they come from.

    `meta` holds what a comparison must know: "task", "model" (a digest of its weights), "template", "dtype", "source"
    ("measured" or the kind of log that was read), "max_new_tokens".
    """

    data: pa.Table
    meta: Mapping[str, Any]

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> Table:
        """A table from dictionaries with the schema's keys; a key that is left out is null."""
        full = [{name: row.get(name) for name in SCHEMA.names} for row in rows]
        return cls(pa.Table.from_pylist(full, schema=SCHEMA), dict(meta))

    def save(self, path: str | Path) -> None:
        """Write as Parquet: beside the place first, then renamed, so that no half table is ever left."""
        path = Path(path)
        meta = json.dumps({"format": FORMAT, **self.meta}, sort_keys=True)
        whole = self.data.replace_schema_metadata({"unlearnkit": meta})
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(whole, aside)
        os.replace(aside, path)

    @classmethod
    def load(cls, path: str | Path) -> Table:
        """Read a Parquet table; a file that is none, or not one of ours, is a `UserError`."""
        try:
            data = pq.read_table(path)
            data.validate(full=True)  # lengths and text that lie are found here, not in the middle of a score
        except (pa.ArrowException, OSError, UnicodeDecodeError) as problem:
            reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
            raise UserError(f"{path}: not a readable Parquet table ({reason})") from None
        stored = (data.schema.metadata or {}).get(b"unlearnkit")
        if stored is None:
            raise UserError(f"{path}: a Parquet file, but not a table that unlearnkit wrote (no `unlearnkit` metadata)")
        meta = _meta(path, stored)
        if meta.pop("format", None) != FORMAT:
            raise UserError(f"{path}: written in another table format; this version reads {FORMAT}")
        bare = data.replace_schema_metadata(None)
        if not bare.schema.equals(SCHEMA):
            raise UserError(f"{path}: its columns are not those of {FORMAT}; measure again with this version")
        return cls(bare, meta)

    def digest(self) -> str:
        """SHA-256 of the rows and the metadata, independent of how Parquet packed them."""
        sha = hashlib.sha256(json.dumps(dict(self.meta), sort_keys=True).encode())
        for row in self.data.to_pylist():
            sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return sha.hexdigest()


def _meta(path: str | Path, stored: bytes) -> dict[str, Any]:
    """The metadata of a file that anybody may have written."""
    try:
        meta = json.loads(stored)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise UserError(f"{path}: its `unlearnkit` metadata is not a JSON object")
    return meta
