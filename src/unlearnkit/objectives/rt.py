"""RT: the retain set's negative log-likelihood. Alone it is plain finetuning."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class RT(Term):
    r"""L = −E[log π(y_t|x, y_<t)], the mean over all scored tokens of the retain rows.

    The "retain loss" of NPO (arXiv:2404.05868, section 2) and of TOFU's gradient difference (arXiv:2401.06121).

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> RT()(View(TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]])))).tolist()
    [[1.0, 2.0]]
    """

    summary = "−E[log π(y|x)] on the retain set"
    paper = "arXiv:2401.06121"

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    def __call__(self, retain: View) -> Tensor:
        return -retain.policy.logp
