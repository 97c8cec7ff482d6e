"""The names of splits: `full`, `forgetNN` and `retainNN` cut one list of rows in two; `DATASET:A-B` names a range."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from unlearnkit.errors import UserError

FULL = "full"
SPLITS = "full, forgetNN and retainNN with NN from 01 to 99 (percent of the rows)"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Split:
    """A split by its name: which part is trained on (`part`) and how many percent are to be forgotten (`percent`).

    `retain90` is the other side of `forget10`: the same cut, so the same `percent`, 10. `full` forgets 0 percent.
    """

    part: str  # "full", "forget" or "retain"
    percent: int

    @property
    def name(self) -> str:
        """The canonical name: two digits, `forget05`.

        >>> Split("forget", 5).name, Split("retain", 10).name, Split("full", 0).name
        ('forget05', 'retain90', 'full')
        """
        if self.part == FULL:
            return FULL
        return f"{self.part}{self.percent if self.part == 'forget' else 100 - self.percent:02d}"

    def cut(self, rows: Sequence[Item], source: str) -> tuple[Sequence[Item], Sequence[Item]]:
        """(retain, forget): the forget set is the last `percent` of the rows in their order, so forget sets are nested.

        `source` names the rows in the error that says that they cannot be cut in whole rows.

        >>> Split("forget", 10).cut(list(range(20)), "full.json")[1]
        [18, 19]
        """
        if len(rows) * self.percent % 100:
            raise UserError(
                f"{source}: {self.percent} % of its {len(rows)} rows is no whole number of rows; "
                f"give all rows, or another split ({SPLITS})"
            )
        border = len(rows) * (100 - self.percent) // 100
        return rows[:border], rows[border:]


def parse_split(text: str) -> Split:
    """The split of a name such as `forget10`, `forget5` (= `forget05`), `retain90`, `full`.

    >>> parse_split("forget5").name, parse_split("retain63").percent
    ('forget05', 37)
    >>> parse_split("forgot10")
    Traceback (most recent call last):
      ...
    unlearnkit.errors.UserError: unknown split 'forgot10'. Did you mean 'forget10'? Known: full, forgetNN and retainNN \
with NN from 01 to 99 (percent of the rows)
    """
    if text == FULL:
        return Split(FULL, 0)
    found = re.fullmatch(r"(forget|retain)([0-9]{1,2})", text)
    number = int(found[2]) if found else 0
    if found is None or number == 0:
        names = [FULL, *(f"{part}{nn:02d}" for part in ("forget", "retain") for nn in range(1, 100))]
        near = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(f"unknown split '{text}'.{hint} Known: {SPLITS}")
    return Split(found[1], number if found[1] == "forget" else 100 - number)


def parse_range(text: str, dataset: str, count: int) -> range | None:
    """The rows that `DATASET:A-B` names, both ends included, out of `count`; None where the text is no such name.

    >>> len(parse_range("tofu:800-1199", "tofu", 4000)), parse_range("my/holdout.jsonl", "tofu", 4000)
    (400, None)
    """
    found = re.fullmatch(rf"{re.escape(dataset)}:([0-9]{{1,9}})-([0-9]{{1,9}})", text)
    if found is None:
        if text.startswith(f"{dataset}:"):
            raise UserError(f"holdout '{text}': rows are named {dataset}:FIRST-LAST, for instance {dataset}:800-1199")
        return None
    first, last = int(found[1]), int(found[2])
    if first > last or last >= count:
        raise UserError(f"holdout '{text}': {dataset} has rows 0-{count - 1}; the first must not be behind the last")
    return range(first, last + 1)
