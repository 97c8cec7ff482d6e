"""SimNPO: negative preference optimisation without a reference, by the mean log-probability of a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class SimNPO(Term):
    r"""L = −(2/β) E[log σ(−(β/|y|) log π(y|x) − γ)], SimNPO (arXiv:2410.07163), its objective.

    |y| counts the scored tokens, the end of the sequence included. The authors' code and the peers' take γ inside the
    bracket that β multiplies: variant="original" is −(2/β) log σ(β (−log π(y|x)/|y| − γ)). They are the same for γ = 0. With
    one nat a token, β = 4.5 and γ = 0.5 the paper's formula gives 0.0081 and the code 0.0445.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> view = View(TokenStats(torch.tensor([[-1.0, -1.0]]), torch.tensor([[True, True]])))
    >>> round(SimNPO(beta=4.5)(view).item(), 4)
    0.0049
    >>> round(SimNPO(gamma=0.5)(view).item(), 4), round(SimNPO(gamma=0.5, variant="original")(view).item(), 4)
    (0.0081, 0.0445)
    """

    summary = "−(2/β) E[log σ(−(β/|y|) log π − γ)] on the forget set"
    paper = "arXiv:2410.07163"
    beta: float = 4.5
    gamma: float = 0.0
    variant: Literal["paper", "original"] = "paper"

    def __post_init__(self) -> None:
        self.require_positive("beta")

    @property
    def reduction(self) -> Reduction:
        return "examples"

    def __call__(self, forget: View) -> Tensor:
        per_token = -forget.policy.sequence / forget.policy.length
        margin = self.beta * self.gamma if self.variant == "original" else self.gamma
        return -2 / self.beta * logsigmoid(self.beta * per_token - margin)
