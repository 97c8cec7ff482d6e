"""Sharpness-aware unlearning: forget also at the worst weights nearby, so that little relearning does not bring it back."""

from __future__ import annotations

from dataclasses import dataclass

from unlearnkit.errors import UserError
from unlearnkit.training.gradients import Gradient, added, dot, moved
from unlearnkit.training.wrappers.base import Step, Wrapper


@dataclass(frozen=True)
class SAM(Wrapper):
    r"""g = ∇L_f(θ + ρ ∇L_f(θ)/‖∇L_f(θ)‖) + ∇L_r(θ), the step of min_θ max_{‖ε‖≤ρ} L_f(θ + ε) + L_r(θ) (arXiv:2502.05374).

    ε is the worst change of the weights to first order; the norm is over all trained weights. Costs the forget rows twice
    and a copy of the trained weights. `rho=0` is the plain step. The paper's ρ is 0.01. A statistic such as KTO's baseline
    is taken at θ + ε too.

    >>> import torch
    >>> class Bowl:  # L_f = (w₁² + 4 w₂²) / 2 at w = (3, 1), no retain terms: ∇L_f = (3, 4)
    ...     parameters = [torch.nn.Parameter(torch.tensor([3.0, 1.0]))]
    ...     forget = lambda self, again=False: [self.parameters[0].detach() * torch.tensor([1.0, 4.0])]
    ...     retain = lambda self: [None]
    >>> [round(one, 4) for one in SAM(rho=0.5).gradient(Bowl())[0].tolist()]  # at (3 + 0.5 · 3/5, 1 + 0.5 · 4/5)
    [3.3, 5.6]
    """

    summary = "∇L_f(θ + ρ ∇L_f/‖∇L_f‖) + ∇L_r(θ)"
    paper = "arXiv:2502.05374"
    rho: float = 0.01

    def __post_init__(self) -> None:
        if not self.rho >= 0:
            raise UserError(f"sam(rho={self.rho:g}): rho must be 0 or more")

    def gradient(self, step: Step) -> Gradient:
        """Of the step: the forget gradient where its loss is worst nearby, and the retain gradient here."""
        uphill = step.forget()
        length = dot(uphill, uphill) ** 0.5
        with moved(step.parameters, uphill, self.rho / length if length > 0 else 0.0):
            forget = step.forget(again=True)
        return added(forget, step.retain())
