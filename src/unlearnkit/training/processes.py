"""The processes of a run: who is first, what all of them know together. Alone, each function is the plain thing."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from unlearnkit.errors import UserError

T = TypeVar("T")

# One process measures or writes while the others wait; a process that dies ends all of them anyway.
PATIENCE = timedelta(days=1)


def join() -> None:
    """Meet the other processes that `torchrun` or `accelerate launch` started; nothing where there are none.

    Each process takes the GPU of its local rank. The processes of a run on CPUs talk through gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cuda:nccl,cpu:gloo" if gpu else "gloo", timeout=PATIENCE)
    atexit.register(_leave)


def _leave() -> None:
    """End the group's threads before Python ends: one that still runs then can abort a process that is done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def several() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number; 0 is the first, which alone writes."""
    return dist.get_rank() if several() else 0


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if several() else 1


def wait() -> None:
    """Go on when all processes have come here."""
    if several():
        dist.barrier()


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, on the device and in the precision of `values`, which stay as they are."""
    if not several():
        return values
    out = values.clone()
    dist.all_reduce(out)
    return out


def largest(value: int) -> int:
    """The largest value of all processes."""
    return max(gathered(value))


def gathered(value: T) -> list[T]:
    """Every process's value, in the order of their ranks, for each of them."""
    if not several():
        return [value]
    out: list[Any] = [None] * count()
    dist.all_gather_object(out, value)
    return out


def by_first(make: Callable[[], T]) -> T:
    """What the first process makes, for all. What goes wrong there goes wrong everywhere, in one line of the first.

    Its error is raised in each process, so that none waits for the others.
    """
    if not several():
        return make()
    said: list[Any] = [None, None]
    problem: Exception | None = None
    if rank() == 0:
        try:
            said[0] = make()
        except Exception as caught:
            problem, said[1] = caught, str(caught)
    dist.broadcast_object_list(said, src=0)
    if problem is not None:
        raise problem
    if said[1] is not None:
        raise UserError(said[1])
    made: T = said[0]
    return made
