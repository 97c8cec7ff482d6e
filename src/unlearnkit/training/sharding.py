"""A model whose weights, gradients and optimiser state are spread over the processes (FSDP2), and whole again on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from unlearnkit.training import processes

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def shard(model: nn.Module) -> None:
    """Spread the weights of each block, and what is left, over all processes, in place.

    Weights are gathered in their own precision when a block runs, so the numbers are those of the whole model.
    """
    mesh = init_device_mesh(next(model.parameters()).device.type, (processes.count(),))
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    for block in max(lists, key=len, default=()):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def is_sharded(model: Any) -> bool:
    """Whether `shard` was called for it."""
    return isinstance(model, FSDPModule)


def release(model: Any) -> None:
    """Let go of the weights that a pass without gradient gathered; until then `parameters()` holds some of them whole."""
    if isinstance(model, FSDPModule):
        model.reshard()


def whole_weights(model: nn.Module) -> dict[str, Any]:
    """All weights by name, on the CPU of the first process; the others get nothing. Every process must call it."""
    return get_model_state_dict(model, options=WHOLE)


def save_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, place: Path) -> None:
    """The optimiser's whole state as one file, written by the first process. Every process must call it."""
    state = get_optimizer_state_dict(model, optimizer, options=WHOLE)
    if processes.rank() == 0:
        torch.save(state, place)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, place: Path) -> None:
    """Take up what `save_optimizer` wrote, with any number of processes."""
    state: dict[str, Any] = {}
    if processes.rank() == 0:
        state = torch.load(place, map_location="cpu", weights_only=True)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(model, optimizer, state, options=options)
