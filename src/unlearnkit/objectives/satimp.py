"""SatImp: gradient ascent weighted by saturation and by importance, on tokens that are neither lost nor certain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class SatImp(Term):
    r"""L = E[sg(p_t^β1 (1 − p_t)^β2) log p_t], the mean over tokens, p_t = π(y_t|x, y_<t); SatImp (arXiv:2505.11953).

    sg stops the gradient. The peers' code keeps a frozen reference that it never reads; none is made here and the numbers
    are the same. A token with p = 1/2 has the weight 2^−6 at β1 = 5, β2 = 1, so the loss −log 2 / 64.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> view = View(TokenStats(torch.tensor([[0.5]]).log(), torch.tensor([[True]])))
    >>> round(SatImp()(view).item(), 5), round(-torch.tensor(2.0).log().item() / 64, 5)
    (-0.01083, -0.01083)
    """

    summary = "E[sg(p^β1 (1−p)^β2) log p] a token, on the forget set"
    paper = "arXiv:2505.11953"
    beta1: float = 5.0
    beta2: float = 1.0

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    def __call__(self, forget: View) -> Tensor:
        logp = forget.policy.logp
        fixed = logp.detach()
        saturation = (self.beta1 * fixed).exp()
        importance = (-torch.expm1(fixed)) ** self.beta2
        return saturation * importance * logp
