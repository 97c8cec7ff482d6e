"""Forward and backward over the rows of one optimiser step, piece by piece, for all of its terms or for some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unlearnkit.models.reference import Reference
from unlearnkit.objectives import Objective, Term
from unlearnkit.training import processes
from unlearnkit.training.data import Example, Examples
from unlearnkit.training.multipliers import Multipliers
from unlearnkit.training.step import Piece, cut, piece_views, statistic_sums, step_weights, term_sums, tied_views

Batches = Sequence[Sequence[Example]]


class Totals(NamedTuple):
    """What the whole optimiser step has in common, over its accumulation steps and processes.

    batches     this process's rows, one list an accumulation step
    weights     how many examples or tokens each term averages over; (terms,)
    statistics  the step's mean of each term's statistic, None for terms without one
    """

    batches: Batches
    weights: Tensor
    statistics: list[Tensor | None]


class Passes:
    """Runs the rows of a step, and keeps account of each term's mean.

    Processes share their gradients when the step is complete, so each has the pieces that its rows need, and none where
    they are all fillers. Only a sharded model is run equally often by all.

    context   what a piece is run in, such as autocast
    backward  adds the gradient of a loss to that of the model's weights
    """

    def __init__(
        self,
        examples: Examples,
        token_budget: int,
        device: torch.device,
        spread: bool,
        context: Callable[[], AbstractContextManager[Any]],
        backward: Callable[[Tensor], None],
    ) -> None:
        self.examples, self.objective = examples, examples.objective
        self.token_budget, self.device, self.spread = token_budget, device, spread
        self.context, self.backward = context, backward
        self.reference: Reference | None = None
        self.multipliers = Multipliers(self.objective)
        # on the device: to fetch a number is to wait for the pass that it comes from
        self.means = torch.zeros(len(self.objective.terms), dtype=torch.float64, device=device)

    # -- before the first pass -----------------------------------------------------------------------------------

    def totals(self, model: Any, batches: Batches) -> Totals:
        """The step's totals over all processes, known before the first of its pieces is run."""
        weights = self.summed(step_weights(self.objective, batches))
        weights = torch.where(weights == 0, 1, weights)  # a term with nothing to average over has a loss of 0
        return Totals(batches, weights, self.statistics(model, batches))

    def statistics(self, model: Any, batches: Batches) -> list[Tensor | None]:
        """Each term's statistic of the step under the model as it is now."""
        examples = [example for batch in batches for example in batch]
        return [
            self._statistic(model, term, examples).to(self.device) if term.wants_statistic else None
            for _, term in self.objective.terms
        ]

    def _statistic(self, model: Any, term: Term, examples: list[Example]) -> Tensor:
        """The mean of a term's statistic over the step. Where weights are gathered, all processes run alike."""
        sums = torch.zeros(term.statistics + 1, dtype=torch.float64)
        together = [[example] for example in examples] if self.spread else [examples]
        model.eval()
        for some in together:
            real = any(some)
            rows = some if real or not self.spread else [self.examples[(0, 0)]]
            sums += float(real) * statistic_sums(model, term, self.reference, rows, self.token_budget)
        sums = self.summed(sums)
        return (sums[:-1] / sums[-1]).float()

    def summed(self, values: Tensor) -> Tensor:
        """Summed over processes, in float64."""
        return processes.summed(values.to(self.device)).cpu()

    # -- a pass ------------------------------------------------------------------------------------------------------

    def run(
        self,
        model: Any,
        examples: Sequence[Example],
        totals: Totals,
        numbers: Sequence[int] | None = None,
        counted: bool = True,
    ) -> Tensor:
        """Add the gradient of these examples' share of the step's loss; the share is returned, without gradient.

        numbers  the places of the terms in the objective; all of them without
        counted  whether the terms' means are counted towards `means`
        """
        numbers = range(len(self.objective.terms)) if numbers is None else numbers
        part = self.objective.part(numbers)
        model.train()
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        for piece, idle in self._pieces(part, examples):
            with self.context():
                share = self._share(model, part, numbers, piece, totals, idle, counted)
            self.backward(share)
            loss += share.detach()
        return loss

    def _pieces(self, part: Objective, examples: Sequence[Example]) -> list[tuple[Piece, bool]]:
        """What this process runs, and whether a piece is idle: only there because the others run one like it.

        Where weights are gathered, all processes run the same number of pieces of the same views.
        """
        if not self.spread:
            return [(piece, False) for piece in cut(part, examples, self.token_budget)]
        pieces: list[tuple[Piece, bool]] = []
        for views in tied_views(part):
            tied = Objective(tuple(one for one in part.terms if set(one[1].reads) <= set(views)))
            mine = cut(tied, examples, self.token_budget)
            (idle,) = cut(tied, [self.examples[(0, 0)]], self.token_budget)
            more = processes.largest(len(mine)) - len(mine)
            pieces += [(piece, False) for piece in mine] + [(idle, True)] * more
        return pieces

    def _share(
        self,
        model: Any,
        part: Objective,
        numbers: Sequence[int],
        piece: Piece,
        totals: Totals,
        idle: bool,
        counted: bool,
    ) -> Tensor:
        """A piece's part of the step's loss. Processes average their gradients, hence the factor of their number."""
        views = piece_views(model, part, self.reference, piece)
        sums = term_sums(part, views, [totals.statistics[number] for number in numbers])
        share = torch.zeros((), device=self.device)
        for number, (weight, _), total in zip(numbers, part.terms, sums, strict=True):
            if total is None:
                continue
            if idle:
                share = share + 0.0 * total
                continue
            mean = total / totals.weights[number].to(total.dtype)
            if counted:
                self.means[number] += mean.detach()
            share = share + weight * self.multipliers.of(number) * processes.count() * mean
        return share
