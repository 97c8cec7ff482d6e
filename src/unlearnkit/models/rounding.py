"""Weights rounded to a few bits, in plain torch: what a user who shrinks a model does to what it has forgotten."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.errors import UserError

GROUP = 64  # weights that share a scale, along a row


@torch.no_grad()
def round_weights(model: Any, bits: int) -> Any:
    """Round the weights of every linear layer to `bits` bits, in place; returns the model.

    Symmetric, to the nearest, one scale a group of 64 weights of a row. What comes before and after the layers is left
    alone: embeddings, an output head that is tied to them, norms and biases.
    """
    if not 2 <= bits <= 8:
        raise UserError(f"{bits} bits: give a number from 2 to 8")
    head = model.get_output_embeddings()
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and layer is not head:
            layer.weight.copy_(rounded(layer.weight, bits))
    return model


def rounded(weight: Tensor, bits: int) -> Tensor:
    """s · round(w / s) with s = max|w| / (2^(bits − 1) − 1) over each group; (out, in).

    >>> rounded(torch.tensor([[0.7, -0.2, 0.06]]), 4)  # steps of 0.1
    tensor([[ 0.7000, -0.2000,  0.1000]])
    """
    groups = torch.split(weight.float(), GROUP, dim=-1)
    most = 2 ** (bits - 1) - 1
    scales = [group.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / most for group in groups]
    parts = [(group / scale).round() * scale for group, scale in zip(groups, scales, strict=True)]
    return torch.cat(parts, dim=-1).to(weight.dtype)
