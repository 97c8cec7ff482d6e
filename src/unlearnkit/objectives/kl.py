"""KL divergence from the reference: keep the retain set's whole next-token distribution where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unlearnkit.errors import UserError
from unlearnkit.objectives.base import Positions, Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class KL(Term):
    r"""L = E[KL(π_ref(·|x, y_<t) ‖ π(·|x, y_<t))], the mean over the scored tokens, in nats.

    The direction is the one that TOFU's and NPO's code has (NPO's paper, section 2, writes KL(π‖π_ref)). on="forget" is
    the one on forget rows that NPO's code has beside it.

    mask="all" is those codes' mean over every position of the padded rows, prompt and padding alike: 0.0235 on the golden
    batch, where the answers alone give 0.0051. Rows are padded to the longest of the batch, or to `length`, which is 500 in
    TOFU's and NPO's code; without it the loss depends on how a step is cut. mask="text" leaves the padding out: 0.0076.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> mask = torch.tensor([[True]]); even = torch.zeros(1, 1, 2); tilted = torch.tensor([[[1.0, 0.0]]])
    >>> reference = TokenStats(torch.zeros(1, 1), mask, even); policy = TokenStats(torch.zeros(1, 1), mask, tilted)
    >>> round(KL()(View(policy, reference)).item(), 4)
    0.1201
    """

    summary = "E[KL(π_ref ‖ π)] a token, on the retain set"
    paper = "arXiv:2401.06121"
    reference = "logits"
    policy = "logits"
    on: Literal["retain", "forget"] = "retain"
    mask: Literal["answer", "text", "all"] = "answer"
    length: int = 0

    def __post_init__(self) -> None:
        if self.length and self.mask != "all":
            raise UserError(f"kl(length={self.length}) pads rows, which only kl(mask='all') reads")

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.on,)

    @property
    def positions(self) -> Positions:
        return "answer" if self.mask == "answer" else "all"

    @property
    def padded_to(self) -> int:
        return self.length

    def weights(self, *masks: Tensor) -> Tensor:
        (mask,) = masks
        if self.mask == "text":
            # what predicts the last token is scored, so a row ends one position behind it
            lasts = mask.shape[-1] - mask.flip(-1).int().argmax(-1)
            return (torch.arange(mask.shape[-1], device=mask.device)[None, :] <= lasts[:, None]).float()
        return mask.float() if self.mask == "answer" else torch.ones(mask.shape, device=mask.device)

    def __call__(self, *views: View) -> Tensor:
        (view,) = views
        assert view.policy.logits is not None
        assert view.reference.logits is not None
        reference = view.reference.logits.log_softmax(-1)
        divergence = (reference.exp() * (reference - view.policy.logits.log_softmax(-1))).sum(-1)
        return divergence * view.policy.mask if self.mask == "answer" else divergence
