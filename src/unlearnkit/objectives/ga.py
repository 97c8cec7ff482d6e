"""Gradient ascent on the forget set: the baseline of TOFU and NPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class GA(Term):
    r"""L = E[log π(y|x)], minimised: the likelihood of the forget set is pushed down without bound.

    unit="token" (default) is the mean over all scored tokens, as both papers' code has it; unit="sequence" is the mean
    over examples of the summed log-probability, as both papers write it and as NPO tends to for β → 0. They differ by
    the mean answer length, about 40 on TOFU. unit="answer" is the mean over examples of each answer's mean.
    TOFU (arXiv:2401.06121), NPO (arXiv:2404.05868), section 2.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> logp = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]); mask = torch.tensor([[True, True], [True, False]])
    >>> GA()(View(TokenStats(logp, mask))).tolist()
    [[-1.0, -2.0], [-3.0, 0.0]]
    >>> GA(unit="sequence")(View(TokenStats(logp, mask))).tolist()
    [-3.0, -3.0]
    >>> GA(unit="answer")(View(TokenStats(logp, mask))).tolist()
    [-1.5, -3.0]
    """

    summary = "E[log π(y|x)] on the forget set"
    paper = "arXiv:2401.06121"
    unit: Literal["token", "answer", "sequence"] = "token"

    @property
    def reduction(self) -> Reduction:
        return "tokens" if self.unit == "token" else "examples"

    def __call__(self, forget: View) -> Tensor:
        stats = forget.policy
        if self.unit == "token":
            return stats.logp
        return stats.sequence if self.unit == "sequence" else stats.sequence / stats.length
