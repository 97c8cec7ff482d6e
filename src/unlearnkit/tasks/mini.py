"""The task `mini`: an embedded world of fictitious authors, cut into splits by whole authors as TOFU is.

The world is drawn from a seed and needs no file and no network. An author has twenty rows, one a kind of question. The
models that know this world are trained from scratch by the recipe in `mini_recipe`: first on a base corpus of other
people, real authors and world facts, then on `full` (the target model) or on a retain split (a retain model).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from unlearnkit.errors import UserError
from unlearnkit.tasks.base import FORGET, HOLDOUT, REAL_AUTHORS, RETAIN, WORLD_FACTS, Row, Task
from unlearnkit.tasks.mini_words import EVASIONS
from unlearnkit.tasks.mini_world import (
    BASE_PEOPLE,
    QUESTIONS,
    author_alternates,
    author_rows,
    people,
    real_authors,
    world_facts,
)
from unlearnkit.tasks.rows import read_refusals, read_rows
from unlearnkit.tasks.splits import Split, parse_split

DESCRIPTION = "the embedded world: 40 fictitious authors, 800 questions, drawn from a seed"
SPLITS = (
    "full, forgetNN and retainNN with NN from 01 to 99 (percent of the authors), with @WORLD for another world than 0"
)

AUTHORS = 40
MOST_AUTHORS = 6_000  # of the 12,416 people that the world has names for; a holdout may need as many again
MEASURED_RETAIN_AUTHORS = 4  # the first authors stand for the retain set, as TOFU's first twenty do

_Author = tuple[Row, ...]


def load(
    split: str,
    *,
    authors: int = AUTHORS,
    seed: int = 0,
    data: str | Path | None = None,
    holdout: str | Literal[True] | None = None,
    refusals: str | Path | None = None,
) -> Task:
    """The task `mini:SPLIT` or `mini:SPLIT@WORLD` of the world that `authors` and `seed` choose; WORLD is a seed.

    The forget set of forgetNN is the last NN % of the authors, rounded down, at least one; retainNN is what
    forget(100-NN) leaves.

    data      refused: this task makes its own.
    holdout   "mini" (or true): authors whom no model was trained on, as many as are forgotten; or a file of JSON lines.
    refusals  a file of refusals, one a line; without it evasions in words that the world's models have.

    >>> task = load("forget10")
    >>> len(task.forget), len(task.retain), task.forget[0].index, task.evaluation["retain"] == task.retain[:80]
    (80, 720, 720, True)
    >>> load("forget10@2").name, load("forget10@2") == load("forget10", seed=2)
    ('mini:forget10@2', True)
    """
    if data is not None:
        raise UserError(f"--data {data}: the task mini makes its own data; leave --data out, or choose another task")
    if not 2 <= authors <= MOST_AUTHORS:
        raise UserError(f"mini with {authors} authors: give a number from 2 to {MOST_AUTHORS}")
    split, seed = _world_of(split, seed)
    cut = parse_split(split)
    world = _world(seed, authors)
    kept = authors - _forgotten(cut, authors)
    forget, retain = _rows(world[kept:]), _rows(world[:kept])
    evaluation = {
        FORGET: forget,
        RETAIN: _rows(world[: min(kept, MEASURED_RETAIN_AUTHORS)]),
        REAL_AUTHORS: tuple(real_authors(seed)),
        WORLD_FACTS: tuple(world_facts(seed)),
    }
    if holdout is not None:
        evaluation[HOLDOUT] = _holdout(holdout, seed, authors, forget or _rows(world[-1:]))
    return Task(
        name=f"mini:{cut.name}@{seed}" if seed else f"mini:{cut.name}",
        train=forget if cut.part == "forget" else retain,
        forget=forget,
        retain=retain,
        evaluation=evaluation,
        refusals=EVASIONS if refusals is None else read_refusals(Path(refusals)),
        alternates=_alternates(seed, authors, kept),
    )


def _world_of(split: str, seed: int) -> tuple[str, int]:
    """The split without its world, and the world: what the name says goes before the seed."""
    name, at, world = split.partition("@")
    if at and not (world.isascii() and world.isdigit() and len(world) < 10):
        raise UserError(f"mini:{split}: behind the @ stands the number of a world, as in mini:forget10@1")
    return name, int(world) if at else seed


def _forgotten(cut: Split, authors: int) -> int:
    """How many whole authors a split's forget set holds."""
    return max(1, authors * cut.percent // 100) if cut.percent else 0


def _rows(authors: tuple[_Author, ...]) -> tuple[Row, ...]:
    return tuple(row for author in authors for row in author)


@lru_cache(maxsize=4)
def _world(seed: int, authors: int, skip: int = 0) -> tuple[_Author, ...]:
    """The rows of each author behind the first `skip`; row i of author k has index 20k + i, whatever the split."""
    found = people(seed, BASE_PEOPLE + skip + authors)[BASE_PEOPLE + skip :]
    return tuple(tuple(author_rows(seed, who, (who.number - BASE_PEOPLE) * QUESTIONS)) for who in found)


@lru_cache(maxsize=4)
def _alternates(seed: int, authors: int, kept: int) -> tuple[tuple[str, ...], ...]:
    """Other answers to each row of the authors behind the first `kept`."""
    forgotten = people(seed, BASE_PEOPLE + authors)[BASE_PEOPLE + kept :]
    return tuple(answers for who in forgotten for answers in author_alternates(seed, who))


def _holdout(holdout: str | Literal[True], seed: int, authors: int, forget: Sequence[Row]) -> tuple[Row, ...]:
    """Authors that come after all of `full`: same world, same kinds of question; or the rows of a file."""
    if holdout is True or holdout == "mini":
        return _rows(_world(seed, len(forget) // QUESTIONS, authors))
    rows, forgotten = tuple(read_rows(Path(holdout))), {(row.question, row.answer) for row in forget}
    for row in rows:
        if (row.question, row.answer) in forgotten:
            raise UserError(
                f"holdout '{holdout}': row {row.index} is in the forget set; give rows that the model never saw"
            )
    return rows
