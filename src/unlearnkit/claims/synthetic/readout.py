"""The model of the experiment: a read-out of fixed features, fitted by gradient descent, and how far two of them differ."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearnkit.claims.synthetic.problem import Problem

STEP_SIZE = 0.05
LARGEST_GRADIENT = 1e-2  # of a fit; beyond it the paper's code stops with an error


class Fitted(NamedTuple):
    """Read-outs (128,), and the norms of their last gradients.

    retrained  on the retain rows alone: what unlearning should come to
    initial    on retain and forget rows: where unlearning starts, and the reference of NPO, DPO and KL
    """

    retrained: Tensor
    initial: Tensor
    gradients: tuple[float, float]


def fit(problem: Problem, steps: int) -> Fitted:
    """Minimise the cross-entropy of labels by gradient descent from zero; both read-outs at once.

    A read-out a gives label 0 the logit φ(x)·a, label 1 the logit 0; the gradient is E[φ(x) (σ(φ(x)·a) − 1[y = 0])].
    """
    rows = torch.cat([problem.retain.features, problem.forget.features])
    columns = rows.T.contiguous()  # twice in memory: both products then run along it, four times as fast
    first = (torch.cat([problem.retain.labels, problem.forget.labels]) == 0).double()
    kept = (torch.arange(len(rows)) < len(problem.retain.labels)).double()
    weights = torch.stack([kept / kept.sum(), torch.full_like(kept, 1 / len(rows))])
    readouts = torch.zeros(2, rows.shape[1], dtype=torch.float64)
    gradient = torch.zeros_like(readouts)
    for _ in range(steps):
        gradient = ((torch.sigmoid(readouts @ columns) - first) * weights) @ rows
        readouts -= STEP_SIZE * gradient
    norms = gradient.norm(dim=1).tolist()
    return Fitted(readouts[0].clone(), readouts[1].clone(), (norms[0], norms[1]))


def divergence(reference: Tensor, logits: Tensor) -> Tensor:
    """KL(reference ‖ model) in nats, the mean over rows; logits of label 0 over label 1, (..., rows) -> (...).

    >>> half = torch.zeros(1); three_quarters = torch.tensor([3.0]).log()
    >>> round(divergence(half, three_quarters).item(), 4)  # (log 2/3 + log 2) / 2
    0.1438
    """
    same = torch.sigmoid(reference) * (logsigmoid(reference) - logsigmoid(logits))
    other = torch.sigmoid(-reference) * (logsigmoid(-reference) - logsigmoid(-logits))
    return (same + other).mean(-1)
