"""Gradients of all processes, averaged once a step, whatever each process had to compute for it; and their algebra.

The stock wrapper averages during the backward pass and expects every process to run the same number of passes and every
parameter to take part in each. Here a step is cut into as many pieces as its rows need, a process may have none, and a
term that reads hidden states leaves the layers above without a gradient; so the sums are taken afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearnkit.training import processes

Gradient = list[Tensor | None]  # one for each trained parameter, None where it has no part in the loss
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


def dot(some: Gradient, others: Gradient) -> float:
    """The inner product over all parameters, in float64; of sharded ones over all processes, which must all call it.

    >>> dot([torch.tensor([1.0, 2.0]), None], [torch.tensor([3.0, 4.0]), torch.ones(5)])
    11.0
    """
    pairs = [(one, other) for one, other in zip(some, others, strict=True) if one is not None and other is not None]
    total = sum(((_local(one).double() * _local(other)).sum() for one, other in pairs), torch.zeros(()))
    if any(isinstance(one, DTensor) for one, _ in pairs):
        total = processes.summed(total)
    return float(total)


def added(some: Gradient, others: Gradient, times: float = 1.0) -> Gradient:
    """some + times * others; `some` is used up.

    >>> added([torch.ones(2), None], [None, torch.ones(1)], 3.0)
    [tensor([1., 1.]), tensor([3.])]
    """
    out: Gradient = []
    for one, other in zip(some, others, strict=True):
        if other is None or times == 0:
            out.append(one)
        else:
            out.append(other * times if one is None else one.add_(other, alpha=times))
    return out


@contextmanager
def moved(parameters: Sequence[nn.Parameter], direction: Gradient, by: float) -> Iterator[None]:
    """Within this block the parameters are moved along a direction (used up); after it they are as before, to the bit."""
    pairs = [(one, way) for one, way in zip(parameters, direction, strict=True) if way is not None]
    before = [(one, one.detach().clone()) for one, _ in pairs]
    with torch.no_grad():
        for one, way in pairs:
            one.add_(way, alpha=by)
    direction.clear()
    del pairs
    try:
        yield
    finally:
        with torch.no_grad():
            for one, was in before:
                one.copy_(was)


def _local(gradient: Tensor) -> Tensor:
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient
