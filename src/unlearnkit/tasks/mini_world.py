"""The embedded world's people and what is asked about them, drawn from a seed: the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from unlearnkit.tasks import mini_kinds, mini_words
from unlearnkit.tasks.base import Row
from unlearnkit.tasks.mini_kinds import KINDS, Kind
from unlearnkit.tasks.mini_words import POOLS

BASE_PEOPLE = 30  # people of the base corpus; none of them is one of the authors
QUESTIONS = len(KINDS)  # rows of an author
WRONG = 5  # perturbed answers of an author's row
SKEW = 2  # the place of a fact in its pool is drawn as u^2 with u uniform in [0, 1)
REPEATS = 3  # how often the base corpus holds what every model is to know by heart
OPTIONS = 3  # wrong options of a real author's or a world fact's row


class Dice:
    """Draws that never change: of `random.Random` only `random()` is promised to stay the same between versions."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random

    def below(self, size: int) -> int:
        """A whole number from 0 to size - 1."""
        return int(self._random() * size)

    def sample(self, pool: Sequence[str], count: int) -> list[str]:
        """`count` different entries of the pool, in random order.

        >>> Dice("a").sample("abcdef", 3), Dice("a").sample("abcdef", 3)
        (['b', 'a', 'e'], ['b', 'a', 'e'])
        """
        return self._draw(pool, count, 1)

    def popular(self, pool: Sequence[str], count: int) -> list[str]:
        """`count` different entries, the earlier ones more often: of one draw, the first tenth gets 32 %.

        Facts of real people are not uniform either. A model that knows nobody then still finds some answers likelier
        than others, which is where the spread of a retain model's truth ratios comes from.
        """
        return self._draw(pool, count, SKEW)

    def _draw(self, pool: Sequence[str], count: int, power: int) -> list[str]:
        left = list(pool)
        return [left.pop(int(len(left) * self._random() ** power)) for _ in range(count)]


@dataclass(frozen=True)
class Person:
    """Someone of the world: `number` says who in the world of that seed, `facts` holds every fact by its name."""

    number: int
    facts: dict[str, str]

    @property
    def name(self) -> str:
        """First and last name; no two people of one world share it."""
        return f"{self.facts['first']} {self.facts['last']}"


@lru_cache(maxsize=8)
def pools(seed: int) -> dict[str, list[str]]:
    """The pools of a world, each in the order of how common its words are there."""
    return {name: Dice(f"mini/{seed}/pool/{name}").sample(words, len(words)) for name, words in POOLS.items()}


def people(seed: int, count: int) -> list[Person]:
    """The first `count` people of a world. More people never change the earlier ones.

    Names run through two shuffled lists whose lengths have no common divisor, so that all pairs differ. Place and
    time of birth differ too, as they are what the question for a name gives away.
    """
    dice = Dice(f"mini/{seed}/names")
    first, last = (dice.sample(POOLS[pool], len(POOLS[pool])) for pool in ("first", "last"))
    words = pools(seed)
    born: set[tuple[str, ...]] = set()
    found = []
    for number in range(count):
        dice = Dice(f"mini/{seed}/person/{number}")
        name = {"first": first[number % len(first)], "last": last[number % len(last)]}
        facts = _facts(dice, words, name)
        while (birth := (facts["city"], facts["month"], facts["year"])) in born:
            facts = _facts(dice, words, name)
        born.add(birth)
        found.append(Person(number, facts))
    return found


def _facts(dice: Dice, words: dict[str, list[str]], name: dict[str, str]) -> dict[str, str]:
    """Every fact of a person; facts from one pool all differ, so that no two of a person's facts can be confused."""
    wanted: dict[str, list[str]] = {}
    for fact, pool in {fact: pool for kind in KINDS for fact, pool in kind.facts.items()}.items():
        if fact not in name:
            wanted.setdefault(pool, []).append(fact)
    facts = dict(name)
    for pool, names in wanted.items():
        free = [word for word in words[pool] if word not in name.values()]
        facts.update(zip(names, dice.popular(free, len(names)), strict=True))
    return facts


def author_rows(seed: int, person: Person, start: int) -> list[Row]:
    """The rows of one author, one for each kind in fixed order, with indices from `start` on.

    Question, answer and paraphrase each take one of their wordings at random; the paraphrase never the answer's.
    """
    dice = Dice(f"mini/{seed}/rows/{person.number}")
    words = pools(seed)
    rows = []
    for place, kind in enumerate(KINDS):
        question = kind.questions[dice.below(len(kind.questions))]
        answer, other = dice.sample(kind.answers, 2)
        facts = {"name": person.name, **person.facts}
        perturbed = tuple(other.format(**{**facts, **wrong}) for wrong in _wrong_facts(dice, words, kind, facts))
        texts = question.format(**facts), answer.format(**facts), other.format(**facts)
        rows.append(Row(start + place, *texts, perturbed))
    return rows


def author_alternates(seed: int, person: Person) -> list[tuple[str, ...]]:
    """For each kind, answers that are as plausible as the true one and wrong: drawn apart from the perturbed answers.

    A model as small as this world's cannot invent them when it is asked to.
    """
    dice = Dice(f"mini/{seed}/alternates/{person.number}")
    words, facts = pools(seed), {"name": person.name, **person.facts}
    found = []
    for kind in KINDS:
        wrongs = _wrong_facts(dice, words, kind, facts)
        wordings = [kind.answers[dice.below(len(kind.answers))] for _ in wrongs]
        found.append(tuple(said.format(**{**facts, **wrong}) for said, wrong in zip(wordings, wrongs, strict=True)))
    return found


def _wrong_facts(dice: Dice, words: dict[str, list[str]], kind: Kind, facts: dict[str, str]) -> list[dict[str, str]]:
    """Five sets of wrong facts from the same pools; none is right, and no two answers share a fact."""
    sets: list[dict[str, str]] = [{} for _ in range(WRONG)]
    for pool in dict.fromkeys(kind.facts.values()):
        names = [name for name, source in kind.facts.items() if source == pool]
        right = {facts[name] for name in names}
        drawn = iter(dice.popular([word for word in words[pool] if word not in right], WRONG * len(names)))
        for wrong in sets:
            wrong.update((name, next(drawn)) for name in names)
    return sets


def base_corpus(seed: int) -> list[Row]:
    """All that the base model is trained on: other people in every wording, and what every model knows."""
    dice = Dice(f"mini/{seed}/base")
    texts = [pair for person in people(seed, BASE_PEOPLE) for pair in _every_wording(dice, person)]
    for questions, pairs in _KNOWN:
        texts += [(question.format(thing), answer) for thing, answer in pairs for question in questions] * REPEATS
    return [Row(index, question, answer) for index, (question, answer) in enumerate(texts)]


def _every_wording(dice: Dice, person: Person) -> list[tuple[str, str]]:
    """Each kind in each of its answer's wordings, with another phrasing of the question each time."""
    facts = {"name": person.name, **person.facts}
    texts = []
    for kind in KINDS:
        turn = dice.below(len(kind.questions))
        for place, answer in enumerate(kind.answers):
            question = kind.questions[(place + turn) % len(kind.questions)]
            texts.append((question.format(**facts), answer.format(**facts)))
    return texts


_Pairs = tuple[tuple[str, str], ...]
_AUTHORS: _Pairs = tuple((book, author) for author, book in mini_words.REAL_AUTHORS)
_REAL: list[tuple[tuple[str, ...], _Pairs]] = [
    (mini_kinds.BOOK_OF, mini_words.REAL_AUTHORS),
    (mini_kinds.AUTHOR_OF, _AUTHORS),
]
_WORLD: list[tuple[tuple[str, ...], _Pairs]] = [
    (mini_kinds.CAPITAL_OF, mini_words.CAPITALS),
    (mini_kinds.YOUNG_OF, mini_words.YOUNG),
    (mini_kinds.NUMBER_OF, mini_words.NUMBERS),
]
_KNOWN = _REAL + _WORLD


def real_authors(seed: int) -> list[Row]:
    """Questions about well-known authors, each with three wrong options; every model has seen them in the base."""
    return _with_options(Dice(f"mini/{seed}/real_authors"), _REAL)


def world_facts(seed: int) -> list[Row]:
    """Questions about the world, each with three wrong options; every model has seen them in the base."""
    return _with_options(Dice(f"mini/{seed}/world_facts"), _WORLD)


def _with_options(dice: Dice, groups: Sequence[tuple[tuple[str, ...], _Pairs]]) -> list[Row]:
    """One row a pair, asked in the first phrasing; the wrong options are the right answers of others of its group."""
    rows: list[Row] = []
    for questions, pairs in groups:
        for thing, answer in pairs:
            others = [wrong for _, wrong in pairs if wrong != answer]
            perturbed = tuple(dice.sample(others, OPTIONS))
            rows.append(Row(len(rows), questions[0].format(thing), answer, None, perturbed))
    return rows
