"""PDU's forget loss: flatten the logits of the forget set, so that no token stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import pad

from unlearnkit.objectives.base import Positions, Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class PDU(Term):
    r"""L = E[(max_v z_v − mean_v z_v)²], the mean over the answer's tokens; PDU (arXiv:2506.05314), logit-margin flattening.

    z are the logits that predict a token of the answer. The whole method is `pdu + dual(eps=0.3)`: this loss under a
    constraint on the retain loss, whose weight is the dual variable. variant="original" is the authors' code: its mask
    comes from labels that are not shifted, so it flattens the logits one position later, from those that predict the
    second token to those behind the end of the sequence (244.12 on the golden batch where the formula gives 249.82).

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> mask = torch.tensor([[True]]); one = TokenStats(torch.zeros(1, 1), mask, torch.tensor([[[3.0, 0.0, 0.0]]]))
    >>> PDU()(View(one)).item()  # (3 − 1)²
    4.0
    """

    summary = "E[(max z − mean z)²] a token, on the forget set; the method is pdu + dual"
    paper = "arXiv:2506.05314"
    policy = "logits"
    variant: Literal["paper", "original"] = "paper"

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    @property
    def positions(self) -> Positions:
        return "answer" if self.variant == "paper" else "all"

    def weights(self, *masks: Tensor) -> Tensor:
        (mask,) = masks
        return mask.float() if self.variant == "paper" else pad(mask, (1, -1)).float()

    def __call__(self, forget: View) -> Tensor:
        logits = forget.policy.logits
        assert logits is not None
        return (logits.amax(-1) - logits.mean(-1)).square()
