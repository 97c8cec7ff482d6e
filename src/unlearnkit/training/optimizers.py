"""Optimisers by short names, from libraries that keep them well; what cannot run here is refused before training."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any, NamedTuple

import torch

from unlearnkit.errors import UserError, unknown


class Optimizer(NamedTuple):
    """What `TrainingArguments` calls an optimiser, and what it needs.

    library  which package brings it; empty for torch and transformers
    rounds   whether it rounds updates of bfloat16 weights at random, so that small ones are not lost on average
    """

    optim: str | None = None
    arguments: str | None = None
    library: str = ""
    rounds: bool = False

    def for_config(self) -> dict[str, Any]:
        """Fields of `TrainingArguments`; none for the library's default, which is AdamW in float32."""
        said = {"optim": self.optim, "optim_args": self.arguments}
        return {name: value for name, value in said.items() if value is not None}


OPTIMIZERS = {
    "adamw": Optimizer(),
    "sgd": Optimizer("sgd"),
    "adafactor": Optimizer("adafactor"),
    "adamw_8bit": Optimizer("adamw_bnb_8bit", library="bitsandbytes"),
    "paged_adamw_8bit": Optimizer("paged_adamw_8bit", library="bitsandbytes"),
    "adamw_8bit_sr": Optimizer("adamw_torch_8bit", "bf16_stochastic_round=True", "torchao", rounds=True),
    "adamw_4bit_sr": Optimizer("adamw_torch_4bit", "bf16_stochastic_round=True", "torchao", rounds=True),
}


def optimizer_named(name: str) -> Optimizer:
    """An optimiser by its name. One that needs a GPU where there is none, or a package that is missing, is a `UserError`.

    >>> optimizer_named("adamw_8bt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
      ...
    unlearnkit.errors.UserError: unknown optimizer 'adamw_8bt'. Did you mean 'adamw_8bit'? Known: adafactor, adamw, ...
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    found = OPTIMIZERS[name]
    if found.library and not torch.cuda.is_available():
        raise UserError(f"--optimizer {name} needs a GPU; on a CPU there are {', '.join(on_cpu())}")
    if found.library and importlib.util.find_spec(found.library) is None:
        raise UserError(f"--optimizer {name} needs {found.library}: pip install {found.library}")
    return found


def on_cpu() -> list[str]:
    """The names that work without a GPU."""
    return [name for name, one in OPTIMIZERS.items() if not one.library]


def warn_of_lost_updates(weights: str, optimizer: str, lr: float) -> None:
    """Say that steps on bfloat16 weights are rounded away.

    bfloat16 has 8 bits: between 0.03 and 0.06 its steps are 2.4e-4 wide, and AdamW moves a weight by about lr. On a model
    of 0.8 M parameters 200 steps of NPO at lr 1e-5 moved 8.5 % of the weights at all.
    """
    if weights in ("bfloat16", "bf16") and not OPTIMIZERS[optimizer].rounds:
        warnings.warn(
            f"--weights bf16 with --optimizer {optimizer}: steps of about lr={lr:g} are smaller than half of what tells "
            "neighbouring bfloat16 numbers apart, so most updates are rounded away and the model hardly changes; leave "
            "--weights at fp32, or take --optimizer adamw_8bit_sr, which rounds at random (GPU)",
            stacklevel=2,
        )
