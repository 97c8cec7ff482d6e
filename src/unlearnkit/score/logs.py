"""Read measurements from a file, whoever wrote it: our Parquet tables and the JSON logs of TOFU and open-unlearning."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.score.open_unlearning_log import is_open_unlearning_log, read_open_unlearning_log
from unlearnkit.score.tofu_log import is_tofu_log, read_tofu_log
from unlearnkit.table import Table

ACCEPTED = "a table.parquet of ours, an eval_log_aggregated.json of TOFU or NPO, or a TOFU_EVAL.json of open-unlearning"


def read_measurements(path: str | Path) -> Table:
    """The table in a file, recognised by what it holds and not by its name. Anything else is a `UserError`."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: a folder; name the file in it ({ACCEPTED})")
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise UserError(f"{path}: cannot be read ({problem.strerror}); expected {ACCEPTED}") from None
    if content.startswith(b"PAR1"):
        return Table.load(path)
    log = _parse(path, content)
    digest = hashlib.sha256(content).hexdigest()
    if is_tofu_log(log):
        return read_tofu_log(log, str(path), digest)
    if is_open_unlearning_log(log):
        return read_open_unlearning_log(log, str(path), digest)
    hint = "; these are scores, not what they were computed from" if "scores" in log or "agg_value" in log else ""
    raise UserError(f"{path}: not a log that this version knows{hint}; expected {ACCEPTED}")


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        log = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise UserError(f"{path}: neither Parquet nor JSON ({problem}); expected {ACCEPTED}") from None
    if not isinstance(log, dict):
        raise UserError(f"{path}: holds a {type(log).__name__}, not a log; expected {ACCEPTED}")
    return log
