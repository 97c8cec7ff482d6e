"""The numbers that a user sets for training, and the trainer's configuration made of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from unlearnkit.errors import UserError, unknown
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import PAIRINGS

SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are the field's: AdamW at 1e-5, linear decay, one epoch of warm-up left to the user.

    warmup is in steps where it is 1 or more, else a share of all steps. max_grad_norm 0 clips nothing. token_budget bounds
    memory and changes no result.
    """

    lr: float = 1e-5
    epochs: float = 10
    batch_size: int = 8
    accumulate: int = 1
    warmup: float = 0.0
    schedule: str = "linear"
    weight_decay: float = 0.01
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    seed: int = 0
    pairing: str = "epoch"
    token_budget: int = 2048
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "epochs", "batch_size", "accumulate", "token_budget"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: give a number above 0")
        for name in ("warmup", "weight_decay", "max_grad_norm", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: give a number of 0 or more")
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.pairing not in PAIRINGS:
            raise unknown("pairing", self.pairing, PAIRINGS)

    def for_spec(self) -> dict[str, Any]:
        """What belongs to the identity of a run: everything but what only bounds memory or cuts the step.

        Batch size times accumulation is the step; how it is cut changes nothing.
        """
        said = asdict(self)
        for name in ("token_budget", "gradient_checkpointing", "batch_size", "accumulate"):
            del said[name]
        return said | {"step_rows": self.batch_size * self.accumulate}

    def config(self, out: Path, objective: str, save: str = "epoch") -> UnlearnConfig:
        """The trainer's configuration; bf16 by autocast where the GPU has it, with float32 weights either way."""
        gpu = torch.cuda.is_available()
        return UnlearnConfig(
            output_dir=str(out),
            objective=objective,
            token_budget=self.token_budget,
            pairing=self.pairing,
            learning_rate=self.lr,
            num_train_epochs=self.epochs,
            per_device_train_batch_size=self.batch_size,
            gradient_accumulation_steps=self.accumulate,
            warmup_steps=self.warmup,
            lr_scheduler_type=self.schedule,
            weight_decay=self.weight_decay,
            adam_beta2=self.adam_beta2,
            adam_epsilon=self.adam_epsilon,
            max_grad_norm=self.max_grad_norm,
            seed=self.seed,
            save_strategy=save,
            bf16=gpu and torch.cuda.is_bf16_supported(),
            use_cpu=not gpu,
            activation_checkpointing=self.gradient_checkpointing,
        )
