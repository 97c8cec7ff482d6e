"""The rows of a report: each question with what the model said before, says after, and what the retain model says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from unlearnkit.report.gather import Story
from unlearnkit.report.leaks import leaked_words
from unlearnkit.table import Table

ANSWER = "answer"
_COLUMNS = ("split", "index", "kind", "question", "text", "loss", "generation")
# "retain set": with "retain model" beside it, "retain" alone says too little
SETS = {
    "forget": "forget set",
    "retain": "retain set",
    "real_authors": "real authors",
    "world_facts": "world facts",
    "holdout": "holdout",
}

Key = tuple[str, int]
Held = Mapping[Key, Mapping[str, Any]]


def rows_of(story: Story) -> dict[str, Any]:
    """What the page's table of rows is made from, as plain values.

    "sets"  name and title of each set of rows, in the order of the table
    "runs"  the names of the runs
    "rows"  for each question: set "s", index "i", question "q", gold answer "g"; of the models before ("b") and of the
            retain model ("n") the answer, cut at leaked words, with the gold answer's probability a token ("p"); and
            the same of each run ("r")
    """
    before, unseen = _held(story.table("target")), _held(story.table("reference"))
    runs = [_held(run.table) for run in story.runs]
    rows = []
    for key, row in runs[0].items():
        others = unseen.get(key, {}).get("generation")
        question, gold = row["question"] or "", row["text"] or ""

        def said(held: Held, key: Key = key, gold: str = gold, question: str = question, others: Any = others) -> Any:
            found = held.get(key)
            if found is None:
                return None
            answer = found["generation"]
            cut = None if answer is None else leaked_words(answer, gold, question, others)
            return {"a": cut, "p": probability(found["loss"])}

        models = {"b": said(before), "n": said(unseen), "r": [said(run) for run in runs]}
        rows.append({"s": key[0], "i": key[1], "q": question, "g": gold, **models})
    sets = dict.fromkeys(row["s"] for row in rows)
    return {
        "sets": [[name, SETS.get(name, name)] for name in sets],
        "runs": [run.name for run in story.runs],
        "rows": rows,
    }


def leaking(rows: Mapping[str, Any]) -> list[tuple[int, int]]:
    """For each run, how many answers to forget rows hold a leaked word, and how many answers there are."""
    forget = [row for row in rows["rows"] if row["s"] == "forget"]
    found = []
    for number in range(len(rows["runs"])):
        answers = [row["r"][number]["a"] for row in forget if row["r"][number] and row["r"][number]["a"] is not None]
        found.append((sum(len(answer) > 1 for answer in answers), len(answers)))
    return found


def probability(loss: float | None) -> float | None:
    """exp(−loss): the geometric mean of the probabilities of the gold answer's tokens, to four digits.

    >>> probability(0.5), probability(None)
    (0.6065, None)
    """
    if loss is None or not math.isfinite(loss):
        return None
    return float(f"{math.exp(-loss):.4g}")


def _held(table: Table | None) -> Held:
    """The gold answers of a table with what was generated, by set and index."""
    if table is None:
        return {}
    return {
        (row["split"], row["index"]): row
        for row in table.data.select(list(_COLUMNS)).to_pylist()
        if row["kind"] == ANSWER
    }
