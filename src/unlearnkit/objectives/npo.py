"""Negative preference optimisation: a bounded gradient ascent that slows down as an answer is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class NPO(Term):
    r"""L = −(2/β) log σ(−β log π(y|x)/π_ref(y|x)) = (2/β) log(1 + (π/π_ref)^β), NPO (arXiv:2404.05868), eq. 3.

    π(y|x) is the probability of the whole answer (a sum of log-probabilities, in nats). At π = π_ref the loss is
    (2/β) log 2; its gradient is that of sequence-level gradient ascent times 2σ(β log π/π_ref), which is 1 there and
    vanishes once the answer is forgotten.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> one = TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]]))
    >>> round(NPO(beta=0.1)(View(one, one)).item(), 4)
    13.8629
    >>> forgotten = TokenStats(torch.tensor([[-6.0, -7.0]]), one.mask)  # ten nats below the reference
    >>> round(NPO(beta=0.1)(View(forgotten, one)).item(), 4)
    6.2652
    """

    summary = "−(2/β) E[log σ(−β log π/π_ref)] on the forget set"
    paper = "arXiv:2404.05868"
    reference = "tokens"
    beta: float = 0.1

    def __post_init__(self) -> None:
        self.require_positive("beta")

    @property
    def reduction(self) -> Reduction:
        return "examples"

    def __call__(self, forget: View) -> Tensor:
        return -2 / self.beta * logsigmoid(-self.beta * forget.log_ratio)
