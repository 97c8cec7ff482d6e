"""A retain loss that must stay below a bound: its weight is a dual variable that grows while it is not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearnkit.errors import UserError
from unlearnkit.objectives.base import Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class Dual(Term):
    r"""L = λ (R − ε), R = −E[log π(y_t|x, y_<t)] on the retain set; then λ ← max(0, λ + η (R − ε)). PDU (arXiv:2506.05314).

    The constraint R ≤ ε of PDU, `pdu + dual(eps=0.3)`, and of any other forget term: `npo + dual(eps=0.3)`. λ is
    `first` at first and moves by `rate` = η after every optimiser step, once `warmup` epochs are over; `rate=0` keeps it.
    The retain loss is that of the step's rows, over all processes, from before the step's update. In the authors' code each
    process has a λ of its own, moved after every micro-batch: the same where a step is one batch of one process. No option
    reproduces that, as a result would depend on how a step is cut. Their code can also move λ once an epoch, by the loss
    over all rows; their scripts for TOFU and MUSE all move it a step at a time (on TOFU at rate 5, after 5 epochs), so that
    is not built. They start λ at 50 to 100, because PDU's forget loss is in the hundreds.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> term = Dual(eps=0.5, rate=2.0)
    >>> term(View(TokenStats(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]])))).tolist()
    [[0.5, 1.5]]
    >>> term.next_multiplier(1.0, value=1.0, epochs=0.0), term.next_multiplier(1.0, value=-0.75, epochs=0.0)
    (3.0, 0.0)
    """

    summary = "λ (−E[log π(y|x)] − ε) on the retain set, λ ← max(0, λ + η (…))"
    paper = "arXiv:2506.05314"
    eps: float = 0.3
    first: float = 1.0
    rate: float = 1.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("first", "rate", "warmup"):
            if not getattr(self, name) >= 0:
                raise UserError(f"dual({name}={getattr(self, name):g}): {name} must be 0 or more")

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    @property
    def first_multiplier(self) -> float | None:
        return self.first

    def next_multiplier(self, multiplier: float, value: float, epochs: float) -> float:
        return max(0.0, multiplier + self.rate * value) if epochs >= self.warmup else multiplier

    def __call__(self, retain: View) -> Tensor:
        return -retain.policy.logp - self.eps
