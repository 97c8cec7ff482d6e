"""Waist 1: all that an objective may look at. The one place that masks and takes log-softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class TokenStats(NamedTuple):
    """What one model says of the scored tokens of a batch of answers.

    logp    log-probability of each scored token in nats, zero elsewhere; (batch, tokens)
    mask    True where a token is scored; (batch, tokens)
    logits  of the position that predicts each scored token, kept only where a term asks; (batch, tokens, vocab)
    hidden  what one layer puts out at the scored tokens' own positions, kept only where a term asks;
            (batch, tokens, width)
    targets ids of the scored tokens; (batch, tokens)

    Terms with `positions = "all"` get every position of the padded rows instead: "token" then means a position, which
    is scored where it predicts a token of the answer; `targets` is -100 elsewhere.
    """

    logp: Tensor
    mask: Tensor
    logits: Tensor | None = None
    hidden: Tensor | None = None
    targets: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> TokenStats:
        """The same change applied to every part that is kept: a slice, or a move to another device."""
        return TokenStats(
            change(self.logp),
            change(self.mask),
            None if self.logits is None else change(self.logits),
            None if self.hidden is None else change(self.hidden),
            None if self.targets is None else change(self.targets),
        )

    @property
    def sequence(self) -> Tensor:
        """log π(y|x): the sum of the scored tokens' log-probabilities, in nats; (batch,)."""
        return self.logp.sum(-1)

    @property
    def length(self) -> Tensor:
        """Number of scored tokens of each answer; (batch,)."""
        return self.mask.sum(-1)


class View(NamedTuple):
    """One set of answers (forget, retain, alternate) as the model in training and the reference see it."""

    policy: TokenStats
    reference_stats: TokenStats | None = None

    @property
    def reference(self) -> TokenStats:
        """The reference's statistics of the same tokens; an error where no term declared that it reads them."""
        if self.reference_stats is None:
            raise RuntimeError(
                'this term reads the reference but does not say so; set `reference = "tokens"` (or "logits") in its class'
            )
        return self.reference_stats

    @property
    def log_ratio(self) -> Tensor:
        """log π(y|x) − log π_ref(y|x), in nats; (batch,).

        Differences are taken token by token: in float32 the difference of two long sums would lose digits.
        """
        return (self.policy.logp - self.reference.logp).sum(-1)


def token_logp(logits: Tensor, targets: Tensor) -> Tensor:
    """log softmax(logits)[target] in float32, whatever the dtype of the model. (n, vocab), (n,) -> (n,)

    >>> round(token_logp(torch.tensor([[0.0, 1.0]]), torch.tensor([1])).item(), 4)
    -0.3133
    """
    return torch.log_softmax(logits.float(), dim=-1).gather(-1, targets[:, None]).squeeze(-1)
