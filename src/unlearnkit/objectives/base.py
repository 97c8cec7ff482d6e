"""What a term of an objective is. A new method is one file beside this one: a frozen dataclass that is called with views."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar, Literal

from torch import Tensor

from unlearnkit.errors import UserError
from unlearnkit.stats import View

Need = Literal["none", "tokens", "logits", "hidden"]
Reduction = Literal["examples", "tokens"]
VIEWS = ("forget", "retain", "alternate")


@dataclass(frozen=True)
class Term:
    """One term of an objective. Fields are hyperparameters; the parameters of `__call__` name the views that it reads.

    `__call__` returns the loss of each example, (batch,), or of each scored token, (batch, tokens). The trainer sums them
    and divides by the weights of the whole optimiser step, so cutting a step into smaller batches never changes it.

    summary    the formula in one line
    paper      where it comes from
    reference  what it reads of the reference model: "none", "tokens" (log-probabilities), "logits" or "hidden"
    policy     what it reads of the model in training, beyond the log-probabilities: "tokens", "logits" or "hidden"
    """

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    reference: ClassVar[Need] = "none"
    policy: ClassVar[Need] = "tokens"
    __call__: ClassVar[Callable[..., Tensor]]

    @property
    def reduction(self) -> Reduction:
        """Whether the mean is taken over "examples" or over scored "tokens"."""
        raise NotImplementedError

    @property
    def reads(self) -> tuple[str, ...]:
        """The views that `__call__` is given, in order."""
        return tuple(name for name in inspect.signature(type(self).__call__).parameters if name in VIEWS)

    @property
    def wants_statistic(self) -> bool:
        """Whether `statistic` is to be averaged over the whole optimiser step and given to `__call__`."""
        return type(self).statistic is not Term.statistic

    def statistic(self, *views: View) -> Tensor:
        """A value an example whose mean over the whole optimiser step `__call__` gets as `statistic`; (batch,)."""
        raise NotImplementedError

    def weights(self, *masks: Tensor) -> Tensor:
        """The weight of each value that `__call__` returns, from the masks of the views that it reads."""
        mask = masks[0]
        return mask.any(-1).float() if self.reduction == "examples" else mask.float()

    def require_positive(self, *names: str) -> None:
        """Refuse hyperparameters that are not above zero; called by terms from `__post_init__`."""
        for name in names:
            if not getattr(self, name) > 0:
                raise UserError(f"{self.name}({name}={getattr(self, name):g}): {name} must be above 0")

    @cached_property
    def name(self) -> str:
        """The file's name, which is the term's name in a formula."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def __str__(self) -> str:
        """The term as one writes it: numbers always, other options where they differ from their default."""
        said = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default or (isinstance(value, float) and not isinstance(value, bool)):
                said.append(f"{field.name}={value!r}" if not isinstance(value, float) else f"{field.name}={value:g}")
        return f"{self.name}({', '.join(said)})" if said else self.name


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms: `npo(beta=0.1) + 5*rt`."""

    terms: tuple[tuple[float, Term], ...]

    @cached_property
    def views(self) -> tuple[str, ...]:
        """Every view that some term reads, forget first."""
        read = {view for _, term in self.terms for view in term.reads}
        return tuple(view for view in VIEWS if view in read)

    @property
    def lead(self) -> str:
        """The view whose rows an epoch goes through once: forget where it is read, also through its refusals."""
        return "retain" if self.views == ("retain",) else "forget"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name for each term, unique within the objective, for logs."""
        names = [term.name for _, term in self.terms]
        seen: dict[str, int] = {}
        out = []
        for name in names:
            seen[name] = seen.get(name, 0) + 1
            out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
        return tuple(out)

    def reference_need(self) -> Mapping[str, Need]:
        """For each view, the most that some term reads of the reference there."""
        return {view: self._most(view, "reference") for view in self.views}

    def policy_need(self) -> Mapping[str, Need]:
        """For each view, the most that some term reads of the model in training."""
        return {view: self._most(view, "policy") for view in self.views}

    def _most(self, view: str, what: str) -> Need:
        order: tuple[Need, ...] = ("none", "tokens", "logits", "hidden")
        needs: list[Need] = [getattr(term, what) for _, term in self.terms if view in term.reads]
        return max(needs, key=order.index, default="none")

    def __str__(self) -> str:
        out = ""
        for weight, term in self.terms:
            sign = " - " if weight < 0 else " + "
            size = "" if abs(weight) == 1 else f"{abs(weight):g}*"
            out += f"{sign}{size}{term}"
        return out.removeprefix(" + ") if out.startswith(" + ") else "-" + out.removeprefix(" - ")
