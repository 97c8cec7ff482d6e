"""CE-U: train towards the model's own distribution without the true token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnkit.errors import UserError
from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class CEU(Term):
    r"""L = E[CE(sg(softmax(z with z_y = −∞)), softmax(z))], the mean over tokens; CE-U (arXiv:2503.01224).

    z are the model's own logits and y the true token, whose target probability becomes 0; sg stops the gradient. No
    reference, and the loss cannot run away as gradient ascent does. The first `skip` tokens of each answer are left out:
    1 in the paper (a footnote of its training settings) and in its code. Three equal logits: two tokens of target 1/2
    each, at probability 1/3, hence log 3.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> even = torch.zeros(1, 2, 3); mask = torch.tensor([[True, True]]); said = torch.tensor([[0, 1]])
    >>> [round(x, 4) for x in CEU()(View(TokenStats(even.sum(-1), mask, even, targets=said)))[0].tolist()]
    [1.0986, 1.0986]
    >>> CEU().weights(mask).tolist()
    [[0.0, 1.0]]
    """

    summary = "E[CE(sg(softmax(z, z_y = −∞)), softmax(z))] a token, on the forget set"
    paper = "arXiv:2503.01224"
    policy = "logits"
    skip: int = 1

    def __post_init__(self) -> None:
        if self.skip < 0:
            raise UserError(f"ceu(skip={self.skip}): how many first tokens to leave out, 0 or more")

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    def weights(self, *masks: Tensor) -> Tensor:
        weights = masks[0].float()
        weights[:, : self.skip] = 0  # rows are left-aligned
        return weights

    def __call__(self, forget: View) -> Tensor:
        logits, targets = forget.policy.logits, forget.policy.targets
        assert logits is not None
        assert targets is not None
        goal = logits.detach().scatter(-1, targets[..., None], -torch.inf).softmax(-1)
        return -(goal * logits.log_softmax(-1)).sum(-1)
