"""WGA: gradient ascent weighted by confidence, so that tokens which are forgotten stop being pushed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class WGA(Term):
    r"""L = E[sg(p_t^β) log p_t], the mean over tokens, p_t = π(y_t|x, y_<t); WGA (arXiv:2502.19301).

    sg stops the gradient: p_t^β is a weight. β = 0 is gradient ascent. The peers' code keeps a frozen reference that it
    never reads; none is made here and the numbers are the same. A token with p = 1/e has the loss −1/e at β = 1.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> view = View(TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]])))
    >>> [round(loss, 4) for loss in WGA()(view)[0].tolist()]
    [-0.3679, -0.2707]
    """

    summary = "E[sg(p^β) log p] a token, on the forget set"
    paper = "arXiv:2502.19301"
    beta: float = 1.0

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    def __call__(self, forget: View) -> Tensor:
        logp = forget.policy.logp
        return (self.beta * logp.detach()).exp() * logp
