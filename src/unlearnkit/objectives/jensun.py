"""JensUn: Jensen-Shannon divergences, which are bounded: towards a refusal on forget questions, or from the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unlearnkit.objectives.base import Need, Reduction, Term
from unlearnkit.stats import View


@dataclass(frozen=True)
class JensUn(Term):
    r"""L = E[JSD(π(·|x, ỹ_<t) ‖ onehot(ỹ_t))], ỹ a refusal, a mean over tokens; JensUn (arXiv:2509.02820), forget loss.

    JSD(p ‖ q) = ½ KL(p ‖ (p+q)/2) + ½ KL(q ‖ (p+q)/2); against a one-hot target it is log 2 + ½ (p log p − (1+p) log(1+p))
    with p the target's probability, between 0 and log 2. The whole method is `jensun + jensun(on="retain")`: on="retain" is
    E[JSD(π ‖ π_ref)] over the tokens of the retain answers.

    on="forget" is what the authors' code does: the refusal without its end is written over the positions of the forget
    answer, repeated as often as it fits, and the model reads the true answer before each. (They clamp probabilities at
    1e-9, which moves the loss by less than 1e-5.) A target of probability 1/2 costs 0.2158, one of probability 0 log 2.

    >>> import torch; from unlearnkit.stats import TokenStats, View
    >>> refusal = TokenStats(torch.tensor([[0.5, 1e-20]]).log(), torch.tensor([[True, True]]))
    >>> [round(x, 4) for x in JensUn()(View(refusal))[0].tolist()]
    [0.2158, 0.6931]
    """

    summary = 'E[JSD(π ‖ onehot(refusal))] a token; on="retain": E[JSD(π ‖ π_ref)]'
    paper = "arXiv:2509.02820"
    on: Literal["alternate", "forget", "retain"] = "alternate"

    @property
    def reduction(self) -> Reduction:
        return "tokens"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("forget", "alternate") if self.on == "forget" else (self.on,)

    def reference_on(self, view: str) -> Need:
        return "logits" if view == "retain" else "none"

    def policy_on(self, view: str) -> Need:
        return "tokens" if view == "alternate" else "logits"

    def __call__(self, *views: View) -> Tensor:
        if self.on == "retain":
            return _divergence(views[0])
        return _from_one_hot(views[0].policy.logp if self.on == "alternate" else _written_over(*views))


def _from_one_hot(logp: Tensor) -> Tensor:
    """JSD from a one-hot target of probability exp(logp)."""
    p = logp.exp()
    return math.log(2) + (p * logp - (1 + p) * p.log1p()) / 2


def _written_over(forget: View, alternate: View) -> Tensor:
    """Log-probabilities of the refusal's tokens, over and over, at the positions of the forget answer; (batch, tokens)."""
    logits, refusal = forget.policy.logits, alternate.policy.targets
    assert logits is not None
    assert refusal is not None
    length = (alternate.policy.length - 1).clamp_min(1)  # without the end of the sequence
    places = torch.arange(logits.shape[1], device=logits.device)[None, :] % length[:, None]
    return logits.log_softmax(-1).gather(-1, refusal.gather(1, places)[..., None]).squeeze(-1)


def _divergence(view: View) -> Tensor:
    """JSD between policy and reference at each scored token."""
    assert view.policy.logits is not None
    assert view.reference.logits is not None
    one, other = view.policy.logits.log_softmax(-1), view.reference.logits.log_softmax(-1)
    middle = torch.logaddexp(one, other) - math.log(2)
    return ((one.exp() * (one - middle)).sum(-1) + (other.exp() * (other - middle)).sum(-1)) / 2
