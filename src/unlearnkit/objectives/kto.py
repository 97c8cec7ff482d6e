"""Kahneman-Tversky optimisation with refusals as the baseline: push an answer below what the model does elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class KTO(Term):
    r"""L = −(2/β) E[log σ(z − β log π/π_ref(answer))], z = β E[log π/π_ref(refusal)], NPO (arXiv:2404.05868), app. E.1.3.

    z is one number for the whole optimiser step and gets no gradient. KTO itself is arXiv:2402.01306. At π = π_ref the loss
    is (2/β) log 2. variant="original" is NPO's code: z without β, and 1 added to the loss. With refusals gaining three nats
    and answers where they were, the paper's formula gives 11.0871 and the code 1.9717 at β = 0.1.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> one = TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]]))
    >>> up = TokenStats(torch.tensor([[0.0, 0.0]]), one.mask)
    >>> gain = KTO().statistic(View(up, one)); gain.item()
    3.0
    >>> round(KTO(beta=0.1)(View(one, one), statistic=gain.mean()).item(), 4)
    11.0871
    >>> round(KTO(beta=0.1, variant="original")(View(one, one), statistic=gain.mean()).item(), 4)
    1.9717
    """

    summary = "−(2/β) E[log σ(z − β log π/π_ref)], z = β E[log π/π_ref(refusal)]"
    paper = "arXiv:2404.05868"
    reference = "tokens"
    beta: float = 0.1
    variant: Literal["paper", "original"] = "paper"

    def __post_init__(self) -> None:
        self.require_positive("beta")

    @property
    def reduction(self) -> Reduction:
        return "examples"

    @property
    def statistic_reads(self) -> tuple[str, ...]:
        return ("alternate",)

    def statistic(self, *views: View) -> Tensor:
        (alternate,) = views
        return alternate.log_ratio

    def __call__(self, forget: View, statistic: Tensor) -> Tensor:
        if self.variant == "original":
            return 1 - 2 / self.beta * logsigmoid(statistic - self.beta * forget.log_ratio)
        return -2 / self.beta * logsigmoid(self.beta * (statistic - forget.log_ratio))
