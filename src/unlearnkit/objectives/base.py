"""What a term of an objective is. A new method is one file beside this one: a frozen dataclass that is called with views."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

from torch import Tensor

from unlearnkit.errors import UserError
from unlearnkit.stats import View

Need = Literal["none", "tokens", "logits", "hidden"]
Reduction = Literal["examples", "tokens"]
Positions = Literal["answer", "all"]
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
    alternates what the answers of the view `alternate` are: "refusals", or "generated" by the model itself
    """

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    reference: ClassVar[Need] = "none"
    policy: ClassVar[Need] = "tokens"
    alternates: ClassVar[Literal["refusals", "generated"]] = "refusals"
    __call__: ClassVar[Callable[..., Tensor]]

    @property
    def reduction(self) -> Reduction:
        """Whether the mean is taken over "examples" or over scored "tokens"."""
        raise NotImplementedError

    @property
    def reads(self) -> tuple[str, ...]:
        """The views that `__call__` is given, in order."""
        return tuple(name for name in inspect.signature(type(self).__call__).parameters if name in VIEWS)

    def weights(self, *masks: Tensor) -> Tensor:
        """The weight of each value that `__call__` returns, from the masks of the views that it reads."""
        mask = masks[0]
        return mask.any(-1).float() if self.reduction == "examples" else mask.float()

    # -- what few terms need: each has a default that most never think of --------------------------------------------

    def reference_on(self, view: str) -> Need:
        """What it reads of the reference on one view, where that differs from view to view."""
        return self.reference

    def policy_on(self, view: str) -> Need:
        """What it reads of the model in training on one view, where that differs from view to view."""
        return self.policy

    @property
    def positions(self) -> Positions:
        """The scored tokens of the "answer", or "all" positions of the rows padded to their view's longest.

        The second is for formulas that read prompts and padding, as some originals do; a step that is cut differently is
        then padded differently, so its loss may differ too.
        """
        return "answer"

    @property
    def padded_to(self) -> int:
        """With all positions: at least so many a row; 0 is the longest row."""
        return 0

    @property
    def hidden_layer(self) -> int | None:
        """The layer whose hidden states it reads, counted from 0; -1 is as deep as layer 7 of 32."""
        return None

    def check_width(self, width: int) -> None:
        """Refuse a model whose hidden states have another width than what the term compares them with."""

    @property
    def statistic_reads(self) -> tuple[str, ...]:
        """The views that `statistic` is given."""
        return self.reads

    @property
    def wants_statistic(self) -> bool:
        """Whether `statistic` is to be averaged over the whole optimiser step and given to `__call__`."""
        return type(self).statistic is not Term.statistic

    def statistic(self, *views: View) -> Tensor:
        """Values of each example whose mean over the whole optimiser step `__call__` gets as `statistic`.

        (batch,) or, with k `statistics`, (batch, k); `statistic` is then (1,) or (k,).
        """
        raise NotImplementedError

    @property
    def statistics(self) -> int:
        """How many values an example `statistic` gives."""
        return 1

    @property
    def first_multiplier(self) -> float | None:
        """Where the term's weight changes as training goes: the number that it is multiplied with at first."""
        return None

    def next_multiplier(self, multiplier: float, value: float, epochs: float) -> float:
        """The multiplier after a step in which the term's mean was `value`, so many epochs into training.

        The trainer holds it and writes it into checkpoints: a term itself never changes.
        """
        return multiplier

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
        return written(self.name, self)


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms: `npo(beta=0.1) + 5*rt`."""

    terms: tuple[tuple[float, Term], ...]

    def __post_init__(self) -> None:
        if len({term.hidden_layer for _, term in self.terms} - {None}) > 1:
            raise UserError(f"objective '{self}' reads the hidden states of several layers; one layer can be read")
        if len(self._kinds_of_alternates()) > 1:
            raise UserError(f"objective '{self}' reads refusals and generated answers; one kind can be read in a run")

    @cached_property
    def views(self) -> tuple[str, ...]:
        """Every view that some term reads, forget first."""
        read = {view for _, term in self.terms for view in (*term.reads, *_statistic_reads(term))}
        return tuple(view for view in VIEWS if view in read)

    @property
    def hidden_layer(self) -> int | None:
        """The layer whose hidden states some term reads."""
        return next((term.hidden_layer for _, term in self.terms if term.hidden_layer is not None), None)

    @property
    def alternates(self) -> Literal["refusals", "generated"]:
        """What the answers of the view `alternate` are to be."""
        return next(iter(self._kinds_of_alternates()), "refusals")

    def _kinds_of_alternates(self) -> set[Literal["refusals", "generated"]]:
        return {term.alternates for _, term in self.terms if "alternate" in (*term.reads, *_statistic_reads(term))}

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

    def part(self, numbers: Sequence[int]) -> Objective:
        """The terms at these places, with their weights."""
        return Objective(tuple(self.terms[number] for number in numbers))

    def reference_need(self) -> Mapping[str, Need]:
        """For each view, the most that some term reads of the reference there."""
        return {
            view: max(self.needs(view, "answer")[1] | self.needs(view, "all")[1], key=_ORDER.index)
            for view in self.views
        }

    def needs(self, view: str, positions: Positions) -> tuple[set[Need], set[Need]]:
        """All that terms read on a view at these positions: of the model in training, and of the reference."""
        here = [term for _, term in self.terms if positions == term.positions]
        read = [term for term in here if view in (*term.reads, *_statistic_reads(term))]
        none: set[Need] = {"none"}
        return none | {term.policy_on(view) for term in read}, none | {term.reference_on(view) for term in read}

    def __str__(self) -> str:
        out = ""
        for weight, term in self.terms:
            sign = " - " if weight < 0 else " + "
            size = "" if abs(weight) == 1 else f"{_short(abs(weight))}*"
            out += f"{sign}{size}{term}"
        return out.removeprefix(" + ") if out.startswith(" + ") else "-" + out.removeprefix(" - ")


_ORDER: tuple[Need, ...] = ("none", "tokens", "logits", "hidden")


def _statistic_reads(term: Term) -> tuple[str, ...]:
    return term.statistic_reads if term.wants_statistic else ()


def written(name: str, options: Any) -> str:
    """A name with the fields of a dataclass in brackets: numbers always, others where they differ from their default."""
    said = []
    for field in fields(options):
        value = getattr(options, field.name)
        if value != field.default or isinstance(value, float):
            said.append(f"{field.name}={_short(value) if isinstance(value, float) else repr(value)}")
    return f"{name}({', '.join(said)})" if said else name


def _short(value: float) -> str:
    """A number as one writes it, with all its digits: 5, 0.1, 1e-05."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
