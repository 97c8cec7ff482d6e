"""TNPO: negative preference optimisation token by token, so that a forgotten token stops while others go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class TNPO(Term):
    r"""L = −(2/β) E[log σ(−β log π(y_t|x, y_<t)/π_ref(y_t|x, y_<t))], the mean over tokens; TNPO (arXiv:2502.19301).

    NPO's eq. 3 with a token in the place of the answer; β is 4 there. Its gradient is that of token-mean gradient ascent
    times 2 σ(β log π/π_ref). variant="original" is the authors' code, which minimises that weight, detached, times
    log π: the same gradient but for 1e-5 that is added to the weight's denominator, another value. For one token with
    log π = log π_ref = −1 the formula gives (2/4) log 2 = 0.3466 and the code −0.9997.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> one = TokenStats(torch.tensor([[-1.0]]), torch.tensor([[True]]))
    >>> round(TNPO()(View(one, one)).item(), 4), round(TNPO(variant="original")(View(one, one)).item(), 4)
    (0.3466, -0.9997)
    """

    summary = "−(2/β) E[log σ(−β log π/π_ref)] a token, on the forget set"
    paper = "arXiv:2502.19301"
    reference = "tokens"
    beta: float = 4.0
    variant: Literal["paper", "original"] = "paper"

    def __post_init__(self) -> None:
        self.require_positive("beta")

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    def __call__(self, forget: View) -> Tensor:
        mine, theirs = forget.policy.logp, forget.reference.logp
        if self.variant == "paper":
            return -2 / self.beta * logsigmoid(-self.beta * (mine - theirs))
        now, before = (self.beta * mine.detach()).exp(), (self.beta * theirs).exp()
        return 2 * now / (now + before + 1e-5) * mine
