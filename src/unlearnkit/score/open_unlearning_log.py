"""The evaluation log of locuslab/open-unlearning: `TOFU_EVAL.json`, row values under `value_by_index`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.score.log_values import by_index, number, numbers, question_in, text
from unlearnkit.score.measured import ANSWER, PARAPHRASE, PERTURBED
from unlearnkit.table import Table

SETS = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
KINDS = {"Q_A_Prob": ANSWER, "Q_A_PARA_Prob": PARAPHRASE, "Q_A_PERT_Prob": PERTURBED}

# Row scores that are kept as they are, since the log has not the tokens they were made from.
SCORES = {"extraction_strength": "extraction_strength", "exact_memorization": "exact_memorization"}
ATTACKS = ("mia_min_k", "mia_min_k_plus_plus", "mia_zlib", "mia_reference", "mia_gradnorm")

Rows = dict[tuple[str, int, str], dict[str, Any]]


def is_open_unlearning_log(log: Mapping[str, Any]) -> bool:
    """Does any entry hold `value_by_index`, or two sets of them as the membership attacks do?"""
    return any(
        isinstance(entry, Mapping)
        and any(isinstance(held, Mapping) and "value_by_index" in held for held in (entry, entry.get("forget")))
        for entry in log.values()
    )


def read_open_unlearning_log(log: Mapping[str, Any], where: str, digest: str) -> Table:
    """The log as a table: losses and texts; row scores made from tokens are kept under "stored" in the metadata.

    The log has no lengths. The holdout's rows come from the loss attack.
    """
    rows: Rows = {}
    for short, split in SETS.items():
        for suffix, kind in KINDS.items():
            _read_losses(rows, split, kind, _values(log, f"{short}_{suffix}", where), f"{where}: {short}_{suffix}")
        _read_texts(rows, split, _values(log, f"{short}_Q_A_ROUGE", where), f"{where}: {short}_Q_A_ROUGE")
    for split, values in _attack(log, "mia_loss", where).items():
        for index, value in _scores(values, f"{where}: mia_loss: {split}").items():
            rows.setdefault((split, int(index), ANSWER), {}).setdefault("loss", value)
    if not rows:
        raise UserError(f"{where}: has none of the rows of a TOFU evaluation (forget_Q_A_Prob, ...)")
    table = [{"split": split, "index": index, "kind": kind, **row} for (split, index, kind), row in rows.items()]
    return Table.from_rows(table, {"source": "open-unlearning-log", "log": digest, "stored": _stored(log, where)})


def _read_losses(rows: Rows, split: str, kind: str, values: Mapping[int, Any], where: str) -> None:
    for index, value in values.items():
        at = f"{where}[{index}]"
        losses = numbers(_field(value, "avg_loss", at), f"{at}: avg_loss")
        if kind != PERTURBED and len(losses) != 1:
            raise UserError(f"{at}: {len(losses)} losses where one is expected")
        for place, loss in enumerate(losses):
            rows[split, index, f"{PERTURBED}{place}" if kind == PERTURBED else kind] = {"loss": loss}


def _read_texts(rows: Rows, split: str, values: Mapping[int, Any], where: str) -> None:
    for index, value in values.items():
        at = f"{where}[{index}]"
        row = rows.setdefault((split, index, ANSWER), {})
        prompt = text(_field(value, "input", at), f"{at}: input")
        row["question"] = None if prompt is None else question_in(prompt)
        row["text"] = text(_field(value, "ground_truth", at), f"{at}: ground_truth")
        row["generation"] = text(_field(value, "generation", at), f"{at}: generation")


def _stored(log: Mapping[str, Any], where: str) -> dict[str, dict[str, dict[str, float]]]:
    stored: dict[str, dict[str, dict[str, float]]] = {}
    for theirs, ours in SCORES.items():
        if values := _values(log, theirs, where):
            stored[ours] = {"forget": _scores(values, f"{where}: {theirs}")}
    for attack in ATTACKS:
        if sets := _attack(log, attack, where):
            stored[attack] = {split: _scores(values, f"{where}: {attack}") for split, values in sets.items()}
    for short, split in SETS.items():
        for name in (f"{short}_truth_ratio", f"{short}_Truth_Ratio"):
            if values := _values(log, name, where):
                stored.setdefault("truth_ratio", {})[split] = _scores(values, f"{where}: {name}")
        if values := _values(log, f"{short}_Q_A_ROUGE", where):
            for which in ("rouge1_recall", "rougeL_recall", "rougeL_f1"):
                kept = _scores(values, f"{where}: {short}_Q_A_ROUGE", which)
                if kept and any(value is not None and "generation" not in value for value in values.values()):
                    stored.setdefault(which, {})[split] = kept
    return stored


def _values(log: Mapping[str, Any], name: str, where: str) -> dict[int, Any]:
    """The rows of an entry; none where the log has no such entry, or only its aggregate."""
    entry = log.get(name)
    if not isinstance(entry, Mapping) or entry.get("value_by_index") is None:
        return {}
    return by_index(entry["value_by_index"], f"{where}: {name}")


def _attack(log: Mapping[str, Any], name: str, where: str) -> dict[str, dict[int, Any]]:
    entry = log.get(name)
    if not isinstance(entry, Mapping):
        return {}
    return {split: found for split in ("forget", "holdout") if (found := _values(entry, split, f"{where}: {name}"))}


def _scores(values: Mapping[int, Any], where: str, key: str = "score") -> dict[str, float]:
    found = {str(i): number(_field(value, key, f"{where}[{i}]"), f"{where}[{i}]") for i, value in values.items()}
    return {index: value for index, value in found.items() if value is not None}


def _field(value: Any, name: str, where: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: a {type(value).__name__} where an object with '{name}' is expected")
    return value.get(name)
