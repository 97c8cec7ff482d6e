"""AltPO: prefer another plausible answer, which the model itself made up, to the one that is to be forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from unlearnkit.objectives.dpo import DPO


@dataclass(frozen=True)
class AltPO(DPO):
    r"""L = −(scale/β) log σ(β (log π/π_ref (alternate) − log π/π_ref (answer))), AltPO (arXiv:2409.13474).

    `dpo` with other answers: instead of a refusal the view `alternate` holds one of several answers that the model gave
    when it was asked for a plausible one with other facts. The retain loss of the paper is `+ rt` with a weight. At
    π = π_ref the loss is (2/β) log 2.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> one = TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]]))
    >>> round(AltPO(beta=0.1)(View(one, one), View(one, one)).item(), 4)
    13.8629
    """

    summary = "−(2/β) E[log σ(β(log π/π_ref(alternate) − log π/π_ref(answer)))]"
    paper = "arXiv:2409.13474"
    alternates = "generated"
