"""IDK: train refusals as the answers to forget questions. TOFU's "preference optimisation" is this with the retain rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class IDK(Term):
    r"""L = −E[log π(refusal_t|x, refusal_<t)], the mean over all tokens of the refusals.

    join="retain" is what TOFU's and NPO's code calls `idk`: refusals and retain answers in one batch and one token mean
    over both, in which the longer retain answers dominate. `idk + rt` weighs the two alike.
    TOFU (arXiv:2401.06121), "preference optimisation"; NPO (arXiv:2404.05868), section 5.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> refusal = View(TokenStats(torch.tensor([[-4.0]]), torch.tensor([[True]])))
    >>> retain = View(TokenStats(torch.tensor([[-1.0, -1.0, -1.0]]), torch.tensor([[True, True, True]])))
    >>> IDK()(refusal).mean().item(), IDK(join="retain")(refusal, retain).mean().item()
    (4.0, 1.75)
    """

    summary = "−E[log π(refusal|x)] on forget questions"
    paper = "arXiv:2401.06121"
    join: Literal["nothing", "retain"] = "nothing"

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("alternate",) if self.join == "nothing" else ("alternate", "retain")

    def weights(self, *masks: Tensor) -> Tensor:
        return torch.cat(masks, dim=1).float()

    def __call__(self, *views: View) -> Tensor:
        return -torch.cat([view.policy.logp for view in views], dim=1)
