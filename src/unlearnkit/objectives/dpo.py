"""Direct preference optimisation with a refusal as the preferred answer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class DPO(Term):
    r"""L = −(scale/β) log σ(β (log π/π_ref (refusal) − log π/π_ref (answer))), NPO (arXiv:2404.05868), eq. 2.

    `scale` is 2, as in NPO's code and in the peers'; the paper writes 1. At π = π_ref the loss is (2/β) log 2.
    TOFU's own code has no prefactor: `scale=0.1` at β = 0.1.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> one = TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]]))
    >>> better = TokenStats(torch.tensor([[-0.5, -1.5]]), one.mask)
    >>> round(DPO(beta=0.1)(View(one, one), View(one, one)).item(), 4)
    13.8629
    >>> round(DPO(beta=0.1)(View(one, one), View(better, one)).item(), 4)  # the refusal gained one nat
    12.8879
    """

    summary = "−(2/β) E[log σ(β(log π/π_ref(refusal) − log π/π_ref(answer)))]"
    paper = "arXiv:2404.05868"
    reference = "tokens"
    beta: float = 0.1
    scale: float = 2.0

    def __post_init__(self) -> None:
        self.require_positive("beta", "scale")

    @property
    def reduction(self) -> Reduction:
        return "examples"

    def __call__(self, forget: View, alternate: View) -> Tensor:
        return -self.scale / self.beta * logsigmoid(self.beta * (alternate.log_ratio - forget.log_ratio))
