"""Unlearning a read-out by gradient descent on the library's own objectives, many methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.claims.synthetic.problem import Cloud, Problem
from unlearnkit.claims.synthetic.readout import Fitted, divergence
from unlearnkit.objectives import parse_objective
from unlearnkit.objectives.base import Term
from unlearnkit.stats import TokenStats, View

Curves = dict[str, list[float]]
MEASURED = ("forget_distance", "retain_distance", "forget_kl", "retain_kl", "readout_distance", "readout_shift")


class Method(NamedTuple):
    """What a figure calls it, the formula that is minimised, and the step size."""

    name: str
    formula: str
    lr: float


class _Part(NamedTuple):
    """One term and the methods that have it, (k,), with what is the same at every step.

    reads       the views' rows: "forget" or "retain"
    signs       for each view +1 where a label is 0, else -1; (rows,)
    references  for each view the initial read-out's statistics, (k · rows, one token)
    shares      what a row's value adds to the loss of its method, (k · rows,)
    """

    term: Term
    methods: Tensor | slice
    reads: tuple[str, ...]
    signs: tuple[Tensor, ...]
    references: tuple[TokenStats, ...]
    shares: Tensor


class Descent:
    """Full-batch gradient descent from the initial read-out, in float64, without momentum.

    An answer here is one token of a vocabulary of two, so a term's mean over tokens and over examples are one: the mean
    over rows. What a term's value does when a logit moves comes from the term itself, by autograd; from there to the
    read-out it is one product with the features, for all methods at once.
    """

    def __init__(self, problem: Problem, fitted: Fitted, methods: Sequence[Method]) -> None:
        self.fitted, self.methods = fitted, methods
        self.rates = torch.tensor([[method.lr] for method in methods], dtype=torch.float64)
        self.readouts = fitted.initial.repeat(len(methods), 1)
        self.parts = _parts(methods, problem, fitted.initial)
        read = {name for part in self.parts for name in part.reads}
        self.rows = {name: cloud.features for name, cloud in _clouds(problem).items() if name in read}
        # twice in memory: a product along the transposed one is several times as fast
        self.columns = {name: rows.T.contiguous() for name, rows in self.rows.items()}
        self.seen = [cloud.features.T.contiguous() for cloud in (problem.seen_forget, problem.seen_retain)]

    def run(self, steps: int, every: int) -> Curves:
        """Walk so many steps; measured before the update at steps 0, every, 2·every, ...

        Each curve's name is `METHOD/QUANTITY`; `steps` lists the steps.
        """
        names = [f"{method.name}/{quantity}" for quantity in MEASURED for method in self.methods]
        curves: Curves = {"steps": [], **{name: [] for name in names}}
        for step in range(steps):
            if step % every == 0:
                curves["steps"].append(step)
                for name, value in zip(names, self.measure().flatten().tolist(), strict=True):
                    curves[name].append(value)
            self.readouts -= self.rates * self.gradient()
        return curves

    def gradient(self) -> Tensor:
        """Of each method's loss by its own read-out; (methods, 128)."""
        logits = {name: self.readouts @ columns for name, columns in self.columns.items()}
        slopes = {name: torch.zeros_like(found) for name, found in logits.items()}
        for part in self.parts:
            leaves = [logits[name][part.methods].detach().requires_grad_() for name in part.reads]
            views = [
                View(_stats(leaf, signs, reference), reference)
                for leaf, signs, reference in zip(leaves, part.signs, part.references, strict=True)
            ]
            values = part.term(*views)
            found = torch.autograd.grad(values, leaves, part.shares.view_as(values))
            for name, slope in zip(part.reads, found, strict=True):
                slopes[name][part.methods] += slope
        return torch.stack([slopes[name] @ rows for name, rows in self.rows.items()]).sum(0)

    def measure(self) -> Tensor:
        """The quantities of `MEASURED` for each method; (quantities, methods).

        Distances are KL(retrained ‖ θ), the others KL(initial ‖ θ), on 1000 fresh forget or retain points, in nats.
        """
        found = [
            divergence(start @ columns, self.readouts @ columns)
            for start in (self.fitted.retrained, self.fitted.initial)
            for columns in self.seen
        ]
        starts = (self.fitted.retrained, self.fitted.initial)
        return torch.stack([*found, *((self.readouts - start).norm(dim=1) for start in starts)])


def _clouds(problem: Problem) -> dict[str, Cloud]:
    return {"forget": problem.forget, "retain": problem.retain}


def _stats(logits: Tensor, signs: Tensor, like: TokenStats) -> TokenStats:
    """(methods, rows) logits of label 0 over label 1, as answers of one token; both labels' logits are kept as in `like`."""
    return TokenStats(_logp(logits, signs), like.mask, None if like.logits is None else _both(logits))


def _logp(logits: Tensor, signs: Tensor) -> Tensor:
    return logsigmoid(logits * signs).view(-1, 1)


def _both(logits: Tensor) -> Tensor:
    return torch.stack([logits, torch.zeros_like(logits)], -1).view(-1, 1, 2)


def _reference(logits: Tensor, signs: Tensor, whole: bool) -> TokenStats:
    """The same of the initial read-out; `whole` keeps both labels' logits."""
    logp = _logp(logits, signs)
    return TokenStats(logp, torch.ones_like(logp, dtype=torch.bool), _both(logits) if whole else None)


def _parts(methods: Sequence[Method], problem: Problem, initial: Tensor) -> list[_Part]:
    """Methods that share a term are put together, so that it is called once a step."""
    found: dict[Term, list[tuple[int, float]]] = {}
    for number, method in enumerate(methods):
        for weight, term in parse_objective(method.formula).terms:
            found.setdefault(term, []).append((number, weight))
    return [_part(term, users, problem, initial) for term, users in found.items()]


def _rows_of(numbers: Sequence[int]) -> Tensor | slice:
    """An index of these rows; neighbours are taken as a slice, which copies nothing."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if last - first + 1 == len(numbers) else torch.tensor(numbers)


def _part(term: Term, users: Sequence[tuple[int, float]], problem: Problem, initial: Tensor) -> _Part:
    alternate = Cloud(problem.forget.features, problem.refusals)
    clouds = {**_clouds(problem), "alternate": alternate}
    read = [clouds[view] for view in term.reads]
    signs = tuple(1.0 - 2.0 * cloud.labels for cloud in read)
    logits = [(initial @ cloud.features.T).expand(len(users), -1) for cloud in read]
    whole = "logits" in (term.policy, term.reference)
    count = len(read[0].labels)
    return _Part(
        term,
        _rows_of([number for number, _ in users]),
        tuple("retain" if view == "retain" else "forget" for view in term.reads),
        signs,
        tuple(_reference(each, sign, whole) for each, sign in zip(logits, signs, strict=True)),
        torch.tensor([weight / count for _, weight in users], dtype=torch.float64).repeat_interleave(count),
    )
