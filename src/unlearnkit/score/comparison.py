"""Two tables may be compared only where they score the same rows; what differs is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from unlearnkit.errors import UserError
from unlearnkit.score.measured import ANSWER, Measured, Missing


@dataclass(frozen=True)
class Scored:
    """Rows of one set of one table: what a comparison is made on."""

    measured: Measured
    split: str
    rows: Sequence[int]

    def digest(self) -> str:
        """SHA-256 of the index, the question and all answer texts of the rows."""
        sha = hashlib.sha256()
        for row in self.texts():
            sha.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return sha.hexdigest()

    def complete(self) -> bool:
        """Did we measure the rows ourselves, with question and answer?"""
        columns = (self.measured.texts(name, self.split, ANSWER, self.rows) for name in ("question", "text"))
        return self.measured.measured and all(None not in column for column in columns)

    def questions(self) -> list[str] | None:
        """The questions reduced to letters and digits; None where one is unknown.

        Logs hold questions that were tokenised and decoded again, which may move blanks and punctuation.
        """
        found = self.measured.texts("question", self.split, ANSWER, self.rows)
        return None if None in found else [_letters(text or "") for text in found]

    def texts(self) -> list[list[object]]:
        """[index, question, [kind, text], ...] of every row."""
        found: list[list[object]] = [[index] for index in self.rows]
        for row, text in zip(found, self.measured.texts("question", self.split, ANSWER, self.rows), strict=True):
            row.append(text)
        for kind in self.measured.kinds(self.split):
            held = [place for place, index in enumerate(self.rows) if self.measured.holds(self.split, kind, index)]
            column = self.measured.texts("text", self.split, kind, [self.rows[place] for place in held])
            for place, text in zip(held, column, strict=True):
                found[place].append([kind, text])
        return found

    def span(self) -> str:
        """The rows in a few words."""
        return f"{len(self.rows)} rows ({self.rows[0]} to {self.rows[-1]})"


def difference(model: Scored, reference: Scored) -> str | None:
    """How the scored rows of another table differ from the model's; None where they are the same.

    Compared by the digest of (index, question, texts) where we measured both; where one was read from another tool's
    log, by question; where a log has no questions, by the number of rows. On which retain split the other model was
    trained is not compared: only the rows have to agree.
    """
    if model.complete() and reference.complete():
        return None if model.digest() == reference.digest() else _told(model, _first_difference(model, reference))
    if len(model.rows) != len(reference.rows):
        return _told(model, f"it has {len(reference.rows)} scored rows, this table {len(model.rows)}")
    asked, given = model.questions(), reference.questions()
    if asked is not None and given is not None and sorted(asked) != sorted(given):
        lost = sum(question not in given for question in asked)
        return _told(model, f"{lost} of the {len(asked)} questions are not in it")
    return None


def check_same_rows(model: Measured, reference: Measured, whose: str) -> None:
    """Refuse (`UserError`) a table that is not of the forget rows that are scored here.

    Where both have perturbed answers only the rows with them are compared, since forget quality reads no others.
    """
    for chosen in (Measured.contrasted, Measured.rows):
        try:
            mine, theirs = (Scored(each, "forget", chosen(each, "forget")) for each in (model, reference))
        except Missing:
            continue
        if told := difference(mine, theirs):
            raise UserError(f"{whose} {told}. Give one that was measured on the same rows")
        return


def _first_difference(model: Scored, reference: Scored) -> str:
    if tuple(model.rows) != tuple(reference.rows):
        apart = sorted(set(model.rows) ^ set(reference.rows))
        return f"it scores {reference.span()}, this table {model.span()}; row {apart[0]} is only in one of them"
    for index, ours, theirs in zip(model.rows, model.texts(), reference.texts(), strict=True):
        if ours != theirs:
            return f"the {'question' if ours[1] != theirs[1] else 'answers'} of row {index} differ"
    raise AssertionError("rows with the same texts have the same digest")


def _told(model: Scored, what: str) -> str:
    where = model.split.replace("_", " ")
    return f"does not score the same {where} rows under --protocol {model.measured.protocol.name}: {what}"


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
