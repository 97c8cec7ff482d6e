"""What a wrapper is: it makes the gradient to step along out of those of any objective's forget and retain terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

from torch import nn

from unlearnkit.errors import UserError
from unlearnkit.objectives import Objective
from unlearnkit.objectives.base import written
from unlearnkit.training.gradients import Gradient


class Step(Protocol):
    """One optimiser step. Gradients are those of the whole step, over its accumulation steps and processes."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """What is trained."""
        ...

    def forget(self, *, again: bool = False) -> Gradient:
        """The gradient of the forget terms at the weights as they are; `again` after a first time at other weights."""
        ...

    def retain(self) -> Gradient:
        """The gradient of the retain terms at the weights as they are."""
        ...


@dataclass(frozen=True)
class Wrapper:
    """A way to take a step, whatever the objective. Fields are hyperparameters.

    An objective's retain terms are those that read nothing but the retain set, its forget terms all others. Losses are
    logged as they are without the wrapper: at the weights from which the step is taken.

    summary       the gradient in one line
    paper         where it comes from
    needs_retain  whether there must be a retain term
    """

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    needs_retain: ClassVar[bool] = False

    def gradient(self, step: Step) -> Gradient:
        """The gradient that the optimiser is given."""
        raise NotImplementedError

    def check(self, objective: Objective) -> None:
        """Refuse an objective that it cannot be applied to."""
        forget, retain = sides(objective)
        if not forget:
            raise UserError(
                f"--wrap {self.name} changes the step of terms that read the forget set; '{objective}' has none"
            )
        if self.needs_retain and not retain:
            raise UserError(
                f"--wrap {self.name} compares with the gradient of terms that read only the retain set; '{objective}' has "
                f"none, add one, such as '{objective} + rt'"
            )

    @cached_property
    def name(self) -> str:
        """The file's name, which is the wrapper's name."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def __str__(self) -> str:
        """The wrapper as one writes it."""
        return written(self.name, self)


def sides(objective: Objective) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places of the forget terms and of the retain terms.

    >>> from unlearnkit.objectives import parse_objective
    >>> sides(parse_objective("npo + rt + kl + kl(on='forget')"))
    ((0, 3), (1, 2))
    """
    places = range(len(objective.terms))
    retain = tuple(place for place in places if set(objective.terms[place][1].reads) == {"retain"})
    return tuple(place for place in places if place not in retain), retain
