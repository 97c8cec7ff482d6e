"""The leaderboard of a ledger: for one task, each method's best and median, its seeds, and who replicated it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnkit.canonical import parse_json, revive
from unlearnkit.records.events import CORRECTION, REPLICATION
from unlearnkit.records.ledger import summarise
from unlearnkit.records.ledger_lines import MAX_LINE
from unlearnkit.records.ledger_store import Store
from unlearnkit.records.numbering import number_of

_LINK = re.compile(r"https?://[^\s\"'<>`\\]+|(?!\.{0,2}/)(?:[\w.-]+/)*[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """One record of the task, as little of it as the table needs."""

    number: str
    sha256: str
    method: str
    model: str
    protocol: str
    seed: int | None
    scores: Mapping[str, Mapping[str, Any]]
    signer: str
    key: str
    created_at: str
    location: str | None
    replicated_by: tuple[str, ...]
    contested_by: tuple[str, ...]

    def value(self, metric: str) -> float | None:
        """The score, where it is a finite number."""
        found = self.scores.get(metric, {}).get("value")
        number = float(found) if isinstance(found, int | float) else None
        return number if number is not None and abs(number) != float("inf") and number == number else None


@dataclass(frozen=True)
class Row:
    """One method under one protocol on one model: the best entry by the metric, and the median over all."""

    method: str
    model: str
    protocol: str
    entries: Sequence[Entry]
    best: Entry | None
    median: float | None
    also_median: float | None

    def best_value(self, metric: str) -> float | None:
        """A score of the best entry, where there is one."""
        return None if self.best is None else self.best.value(metric)

    @property
    def seeds(self) -> list[int]:
        """The different seeds, in order."""
        return sorted({entry.seed for entry in self.entries if entry.seed is not None})

    @property
    def replicated(self) -> dict[str, tuple[str, ...]]:
        """Who replicated which record, by its number; the record's own signer does not count."""
        return {entry.number: entry.replicated_by for entry in self.entries if entry.replicated_by}


@dataclass(frozen=True)
class Board:
    """A leaderboard: what it is of, what it was made from, its rows, the best first, and every task there was."""

    task: str
    metric: str
    also: str
    state_sha256: str
    rows: Sequence[Row]
    tasks: frozenset[str]


def leaderboard(
    paths: Iterable[str | Path], task: str, metric: str = "forget_quality", also: str = "model_utility"
) -> Board:
    """Merge ledgers and rank the methods of a task by `metric`; `also` is shown beside it.

    Records that their own signer has withdrawn by a correction are left out. What is best follows from the direction
    that the scores state; where it is "closest to the retain model", nothing is called best. A score that is missing
    counts as a run, and is in no median.
    """
    with Store() as store:
        for path in paths:
            store.load(path)
        rivals = {record.removeprefix("sha256:") for one in store.equivocations() for record in one.records}
        entries: dict[str, Entry] = {}
        tasks: set[str] = set()
        for line in store.standing():
            event = parse_json(line, "event", MAX_LINE)
            its_task = event["payload"]["canonical_record"]["run"]["task"]
            tasks.add(its_task)
            if its_task == task:
                entry = _entry(event, store, rivals)
                entries.setdefault(entry.sha256, entry)
        state = summarise(store, 0).state_sha256
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries.values():
        groups.setdefault((entry.method, entry.model, entry.protocol), []).append(entry)
    rows = [_row(names, group, metric, also) for names, group in groups.items()]
    return Board(task, metric, also, state, sorted(rows, key=lambda row: _rank(row, metric)), frozenset(tasks))


def _entry(event: Mapping[str, Any], store: Store, rivals: set[str]) -> Entry:
    payload, signer = event["payload"], event["signer"]
    record, digest = payload["canonical_record"], payload["canonical_sha256"]
    others: dict[str, list[str]] = {"yes": [], "no": ["its own signer, by a rival record"] if digest in rivals else []}
    for line in store.about(digest):
        other = parse_json(line, "event", MAX_LINE)
        if other["kind"] == REPLICATION and other["signer"]["public_key"] != signer["public_key"]:
            others["no" if other["payload"].get("agrees") is False else "yes"].append(_name(other["signer"]))
        elif other["kind"] == CORRECTION:
            others["no"].append(_name(other["signer"]))
    run, location = record["run"], payload.get("location")
    return Entry(
        number_of(record),
        digest,
        run["method"],
        run["model"],
        run["protocol"],
        run["seed"],
        scores=revive(record["scores"]),
        signer=_name(signer),
        key=signer["public_key"],
        created_at=event["created_at"],
        location=location if location is not None and _LINK.fullmatch(location) and ".." not in location else None,
        replicated_by=tuple(sorted(set(others["yes"]))),
        contested_by=tuple(sorted(set(others["no"]))),
    )


def _row(names: tuple[str, str, str], entries: list[Entry], metric: str, also: str) -> Row:
    scored = [entry for entry in entries if entry.value(metric) is not None]
    sign = _sign(entries, metric)
    ranked = sorted(scored, key=lambda entry: (-sign * (entry.value(metric) or 0.0), entry.sha256))
    medians = [[value for entry in entries if (value := entry.value(name)) is not None] for name in (metric, also)]
    median, also_median = (statistics.median(values) if values else None for values in medians)
    return Row(*names, entries, ranked[0] if ranked and sign else None, median, also_median)


def _rank(row: Row, metric: str) -> tuple[bool, float, str, str, str]:
    best = row.best_value(metric)
    sign = _sign(row.entries, metric)
    return best is None, -sign * (best or 0.0), row.method, row.model, row.protocol


def _sign(entries: Sequence[Entry], metric: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither, or where entries do not agree on it."""
    said = {str(entry.scores[metric].get("direction")).split(" ")[0] for entry in entries if metric in entry.scores}
    return {"higher": 1, "lower": -1}.get(said.pop(), 0) if len(said) == 1 else 0


def _name(signer: Mapping[str, Any]) -> str:
    """A signer's own name is only a claim; the fingerprint beside it is not."""
    return f"{signer['signer_id']} ({signer['public_key_fingerprint'][:8]})"
