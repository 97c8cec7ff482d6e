"""What a task is: rows of questions and answers, cut into what is forgotten, kept and asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# The four sets that TOFU evaluates on, and the holdout that membership inference compares with.
FORGET, RETAIN, REAL_AUTHORS, WORLD_FACTS, HOLDOUT = (
    "forget",
    "retain",
    "real_authors",
    "world_facts",
    "holdout",
)


@dataclass(frozen=True)
class Row:
    """One question with its answer and, where the data has them, other answers to the same question.

    `index` is the row's place in the file it comes from; for the authors' rows that is the place in `full`, so that
    a row keeps its index in every split. `perturbed` holds wrong answers: five for an author's row, the other three
    options for a real author or a world fact, none where the data has no perturbations.
    """

    index: int
    question: str
    answer: str
    paraphrase: str | None = None
    perturbed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A split of a data set: what to train on, what to forget, what to keep, and what to ask afterwards.

    name        "tofu:forget10", "mini:retain90", "tofu:full": the data set and the split.
    train       the rows of the split that the name gives; finetuning trains on them.
    forget      the rows to forget; empty for `full`. The name `retain90` has the forget set of `forget10`.
    retain      the rows to keep.
    evaluation  for each of "forget", "retain", "real_authors", "world_facts" (and "holdout" where asked for) the rows
                to measure.
    refusals    answers of the "I don't know" kind, for `idk` and `dpo`.
    alternates  other plausible answers to each forget row, for `altpo`, where the data has them; the model makes them up
                where it does not.
    """

    name: str
    train: Sequence[Row]
    forget: Sequence[Row]
    retain: Sequence[Row]
    evaluation: Mapping[str, Sequence[Row]]
    refusals: Sequence[str] = field(default_factory=tuple)
    alternates: Sequence[tuple[str, ...]] = field(default_factory=tuple)


def digest_rows(rows: Sequence[Row]) -> str:
    """SHA-256 over the text of rows, in order: two splits with the same digest hold the same questions and answers.

    >>> digest_rows([Row(0, "Who?", "Ann.")])[:8]
    '205a7ecf'
    """
    sha = hashlib.sha256()
    for row in rows:
        fields = [row.index, row.question, row.answer, row.paraphrase, list(row.perturbed)]
        sha.update(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
    return sha.hexdigest()
