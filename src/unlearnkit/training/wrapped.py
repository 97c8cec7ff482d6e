"""An optimiser step whose gradient a wrapper makes: its forget terms and its retain terms are run apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.training.gradients import Gradient, average_gradients
from unlearnkit.training.passes import Passes, Totals
from unlearnkit.training.sharding import release
from unlearnkit.training.wrappers.base import Wrapper, sides


class WrappedStep:
    """All rows of one step, run as often as its wrapper asks.

    loss  this process's share of the step's loss, at the weights from which the step is taken
    """

    def __init__(self, passes: Passes, model: Any, totals: Totals) -> None:
        self.passes, self.model, self.totals = passes, model, totals
        release(model)
        self.parameters: Sequence[nn.Parameter] = [one for one in model.parameters() if one.requires_grad]
        self.loss = torch.zeros((), dtype=torch.float64, device=passes.device)
        self._forget, self._retain = sides(passes.objective)

    def take(self, wrapper: Wrapper) -> Tensor:
        """Leave the wrapper's gradient in the weights; the loss is returned."""
        for parameter, gradient in zip(self.parameters, wrapper.gradient(self), strict=True):
            parameter.grad = gradient
        return self.loss

    def forget(self, *, again: bool = False) -> Gradient:
        """See `Step`."""
        totals = self.totals
        if again:
            totals = totals._replace(statistics=self.passes.statistics(self.model, totals.batches))
        return self._gradient(self._forget, totals, counted=not again)

    def retain(self) -> Gradient:
        """See `Step`."""
        return self._gradient(self._retain, self.totals, counted=True)

    def _gradient(self, numbers: Sequence[int], totals: Totals, counted: bool) -> Gradient:
        if not numbers:
            return [None] * len(self.parameters)
        for examples in totals.batches:
            loss = self.passes.run(self.model, examples, totals, numbers, counted)
            self.loss += loss * counted
        if not self.passes.spread:
            average_gradients(self.parameters)
        gradient = [one.grad for one in self.parameters]
        for one in self.parameters:
            one.grad = None
        return gradient
