"""Gradients of all processes, averaged once a step, whatever each process had to compute for it.

The stock wrapper averages during the backward pass and expects every process to run the same number of passes and every
parameter to take part in each. Here a step is cut into as many pieces as its rows need, a process may have none, and a
term that reads hidden states leaves the layers above without a gradient; so the sums are taken afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unlearnkit.training import processes

BUCKET = 2**25  # numbers that travel together: 128 MiB of float32


def average_gradients(parameters: Iterable[nn.Parameter], bucket: int = BUCKET) -> None:
    """Replace each gradient by its mean over all processes; a parameter without one anywhere stays without.

    Every process must call this with the same parameters in the same order. The result is the same, to the bit, in all.
    """
    if not processes.several():
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    device = trained[0].device
    have = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.int32, device=device)
    used = processes.summed(have).tolist()
    gradients = []
    for parameter, times in zip(trained, used, strict=True):
        if times and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if times and parameter.grad is not None:
            gradients.append(parameter.grad)
    for some in _buckets(gradients, bucket):
        flat = torch.cat([gradient.reshape(-1) for gradient in some])
        dist.all_reduce(flat)
        flat /= processes.count()
        start = 0
        for gradient in some:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


def _buckets(tensors: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Tensors of one dtype in groups of about `size` numbers, in order."""
    group: list[Tensor] = []
    for tensor in tensors:
        if group and (sum(one.numel() for one in group) + tensor.numel() > size or group[0].dtype != tensor.dtype):
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group
