"""What a model is, as one number: a digest of its tensors, not of its files."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch.distributed.tensor import DTensor


def weights_digest(model: Any) -> str:
    """SHA-256 over the parameters and stored buffers, by name: dtype, shape and bytes of each.

    A re-saved model keeps its digest, tied weights count once, and the order on disk does not matter.
    """
    sha = hashlib.sha256()
    stored = set(model.state_dict().keys())
    named = dict(model.named_parameters()) | {name: b for name, b in model.named_buffers() if name in stored}
    for name in sorted(named):
        value = named[name].detach()
        value = value.full_tensor() if isinstance(value, DTensor) else value  # sharded: every process must ask
        tensor = value.cpu().contiguous()
        sha.update(f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{list(tensor.shape)}|".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
