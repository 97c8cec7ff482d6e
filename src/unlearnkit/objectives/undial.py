"""UNDIAL: distil from the reference with the true token's logit lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from unlearnkit.objectives.base import Positions, Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class UNDIAL(Term):
    r"""L = E[CE(softmax(z_ref − β onehot(y_t)), softmax(z))], the mean over the answer's tokens; UNDIAL (arXiv:2402.10052).

    z_ref are the reference's logits, y_t the true token, β the strength of the penalty (3, 10 or 30 in the paper's search).
    variant="original" is the peers' code: it averages over every position but a row's last, prompt and padding included,
    and reads the ignored label −100 as an index from the vocabulary's end, so that there the token V − 100 is lowered.
    At β = 10 that gives 4.0976 on the golden batch where the answers alone give 8.0004.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> even = TokenStats(torch.zeros(1, 1), torch.tensor([[True]]), torch.zeros(1, 1, 2), targets=torch.tensor([[0]]))
    >>> round(UNDIAL(beta=1.0)(View(even, even)).item(), 4)  # any target costs log 2 under an even policy
    0.6931
    """

    summary = "E[CE(softmax(z_ref − β onehot(y)), softmax(z))] a token, on the forget set"
    paper = "arXiv:2402.10052"
    reference = "logits"
    policy = "logits"
    beta: float = 10.0
    variant: Literal["paper", "original"] = "paper"

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    @property
    def positions(self) -> Positions:
        return "answer" if self.variant == "paper" else "all"

    def weights(self, *masks: Tensor) -> Tensor:
        (mask,) = masks
        if self.variant == "paper":
            return mask.float()
        weights = torch.ones(mask.shape, device=mask.device)
        weights[:, -1] = 0  # the last position predicts nothing
        return weights

    def __call__(self, forget: View) -> Tensor:
        logits, teacher, targets = forget.policy.logits, forget.reference.logits, forget.policy.targets
        assert logits is not None
        assert teacher is not None
        assert targets is not None
        vocabulary = logits.shape[-1]
        lowered = teacher - self.beta * one_hot(targets % vocabulary, vocabulary)  # -100 % V is V - 100
        return -(lowered.softmax(-1) * logits.log_softmax(-1)).sum(-1)
