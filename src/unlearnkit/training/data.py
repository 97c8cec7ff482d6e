"""What a step reads: for each forget row the retain row and the refusal that go with it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from torch.utils.data import DataLoader, Dataset, Sampler

from unlearnkit.errors import UserError, unknown
from unlearnkit.objectives import Objective
from unlearnkit.tasks.base import Row
from unlearnkit.text.pairing import frozen_partner, grouped, partner, shuffled
from unlearnkit.text.template import Encoded, Template

FILLER = -1  # the place of a row that only fills a batch; it is never computed and weighs nothing
PAIRINGS = ("epoch", "frozen")


class Answer(NamedTuple):
    """One row of a view: a key that names it for the reference's columns, and its tokens."""

    key: Hashable
    row: Encoded


Example = dict[str, Answer]  # by view; empty for a filler


class Examples(Dataset[Example]):
    """The rows of each view. An epoch goes once through the rows of `objective.lead`; the others are drawn beside them.

    Item (epoch, place) is the example at `place`, with the partners of that epoch. The answers of the view `alternate` are
    `refusals`, the same for every question, or `alternates`, a few for each row of the forget set, as the terms want it.
    """

    def __init__(
        self,
        objective: Objective,
        template: Template,
        *,
        forget: Sequence[Row] = (),
        retain: Sequence[Row] = (),
        refusals: Sequence[str] = (),
        alternates: Sequence[Sequence[str]] = (),
        seed: int = 0,
        pairing: str = "epoch",
    ) -> None:
        if pairing not in PAIRINGS:
            raise unknown("pairing", pairing, PAIRINGS)
        generated = objective.alternates == "generated"
        self.alternates = alternates if generated else [refusals] * len(forget)
        self.sizes = {"forget": len(forget), "retain": len(retain)}
        self._refuse_missing(objective)
        self.objective, self.template = objective, template
        self.questions = [row.question for row in forget]
        self.draw = partial(partner, seed=seed) if pairing == "epoch" else None
        self.rows: dict[str, dict[Hashable, Encoded]] = {"forget": {}, "retain": {}, "alternate": {}}
        for view, rows in (("forget", forget), ("retain", retain)):
            if view in objective.views:
                encoded = template.encode_all([(row.question, row.answer) for row in rows])
                self.rows[view] = dict(enumerate(encoded))

    def _refuse_missing(self, objective: Objective) -> None:
        for view in {"forget", "retain"} & {*objective.views, objective.lead}:
            if not self.sizes[view]:
                raise UserError(
                    f"objective '{objective}' reads the {view} set, but the task has none; name a task "
                    "that has one, or leave out the terms that read it"
                )
        if "alternate" in objective.views:
            without = self.sizes["forget"] - sum(map(bool, self.alternates))
            if without and objective.alternates == "refusals":
                raise UserError(f"objective '{objective}' reads a refusal, but the task has none; give --refusals FILE")
            if without:
                raise UserError(
                    f"objective '{objective}' reads an answer of the model's own to each question, but {without} of "
                    f"{self.sizes['forget']} have none; give --alternates FILE, or leave it out to have them made up"
                )

    def __len__(self) -> int:
        return self.sizes[self.objective.lead]

    def key(self, view: str, epoch: int, place: int) -> Hashable:
        """Which row of `view` goes with the lead row at `place` in this epoch; a function of (seed, epoch, place)."""
        if view == self.objective.lead:
            return place
        size = len(self.alternates[place]) if view == "alternate" else self.sizes[view]
        drawn = self.draw(view, epoch=epoch, index=place, size=size) if self.draw else frozen_partner(view, place, size)
        return (place, drawn) if view == "alternate" else drawn

    def __getitem__(self, item: tuple[int, int]) -> Example:
        epoch, place = item
        if place == FILLER:
            return {}
        return {view: self._answer(view, self.key(view, epoch, place)) for view in self.objective.views}

    def _answer(self, view: str, key: Hashable) -> Answer:
        if key not in self.rows[view]:
            assert isinstance(key, tuple)
            place, drawn = key
            self.rows[view][key] = self.template.encode(self.questions[place], self.alternates[place][drawn])
        return Answer(key, self.rows[view][key])

    def used(self, view: str, epochs: int) -> dict[Hashable, Encoded]:
        """Every row of `view` that a run of so many epochs reads, by key."""
        keys = dict.fromkeys(self.key(view, epoch, place) for epoch in range(epochs) for place in range(len(self)))
        return {key: self._answer(view, key).row for key in keys}

    def lengths(self) -> list[int]:
        """Tokens of each row that an epoch goes through."""
        return [len(self[(0, place)][self.objective.lead].row.ids) for place in range(len(self))]

    def longest(self) -> int:
        """Tokens of the longest row there is, each question with its longest alternate where one is read."""
        rows = [row for known in self.rows.values() for row in known.values()]
        if "alternate" in self.objective.views:
            wordy = [max(answers, key=len) for answers in self.alternates]
            rows += self.template.encode_all(list(zip(self.questions, wordy, strict=True)))
        return max(len(row.ids) for row in rows)


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Deals each optimiser step's rows to the processes and their accumulation steps: every row once an epoch.

    The rows of step k do not depend on how a step is cut; what is missing to a full batch is filled with rows of weight
    zero. (The stock sampler repeats rows until the last round is full, and so counts some twice.) With `lengths`, a step
    holds rows of like length.
    """

    def __init__(
        self,
        size: int,
        batch: int,
        slots: int,
        rank: int,
        world: int,
        seed: int,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.size, self.batch, self.slots = size, batch, slots
        self.rank, self.world, self.seed = rank, world, seed
        self.lengths = lengths
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch to be dealt next."""
        self.epoch = epoch

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch; the last one may have fewer rows."""
        return -(-self.size // (self.batch * self.slots))

    def __len__(self) -> int:
        return self.steps * (self.slots // self.world)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = shuffled(self.seed, self.epoch, self.size)
        whole = self.batch * self.slots
        if self.lengths is not None:
            order = grouped(order, self.lengths, whole)
        for step in range(self.steps):
            rows = order[step * whole : (step + 1) * whole]
            for slot in range(self.rank, self.slots, self.world):
                mine = rows[slot :: self.slots]
                yield [(self.epoch, place) for place in mine + [FILLER] * (self.batch - len(mine))]


class StepLoader(DataLoader[Example]):
    """A loader that tells its sampler which epoch it is."""

    def set_epoch(self, epoch: int) -> None:
        """Forwarded to the sampler; the trainer calls it before each epoch."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
