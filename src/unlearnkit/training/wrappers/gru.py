"""Gradient rectified unlearning: where the forget gradient would undo what is to be retained, that part is taken out."""

from __future__ import annotations

from dataclasses import dataclass

from unlearnkit.training.gradients import Gradient, added, dot
from unlearnkit.training.wrappers.base import Step, Wrapper

ROUNDING = 1e-6  # against noise there is no conflict, but a projection on it would depend on how a step is cut


@dataclass(frozen=True)
class GRU(Wrapper):
    r"""g = g_f − (⟨g_f, g_r⟩/‖g_r‖²) g_r where ⟨g_f, g_r⟩ < 0, else g_f; GRU (arXiv:2503.09117).

    The nearest gradient to g_f along which the retain loss does not grow, to first order; the inner product is over all
    trained weights. As in the paper, the retain terms are a constraint and not descended on: `npo + rt` and `npo + 5*rt`
    are the same step. `descend=True` adds g_r, as the terms without a wrapper would. Here g_r is the gradient of the whole
    step's retain rows; the paper's running mean of it over steps, which would add the size of the model to every
    checkpoint, is not built. A g_r a million times shorter than g_f is rounding, as KL's is at the start, and rectifies
    nothing. With an optimiser that rescales gradients, as AdamW does, the update itself may still have a
    part against g_r. Costs a second gradient's memory.

    >>> import torch
    >>> class Step:
    ...     forget = lambda self: [torch.tensor([2.0, -1.0])]
    ...     retain = lambda self: [torch.tensor([0.0, 4.0])]
    >>> GRU().gradient(Step())[0].tolist(), GRU(descend=True).gradient(Step())[0].tolist()
    ([2.0, 0.0], [2.0, 4.0])
    """

    summary = "∇L_f less its part against ∇L_r"
    paper = "arXiv:2503.09117"
    needs_retain = True
    descend: bool = False

    def gradient(self, step: Step) -> Gradient:
        """Of the step: the forget gradient, rectified."""
        forget, retain = step.forget(), step.retain()
        conflict, size = dot(forget, retain), dot(retain, retain)
        real = size > (ROUNDING**2) * dot(forget, forget)
        against = -conflict / size if conflict < 0 and real else 0.0
        return added(forget, retain, against + float(self.descend))
