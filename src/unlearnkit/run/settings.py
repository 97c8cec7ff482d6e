"""The numbers that a user sets for training, and the trainer's configuration made of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unlearnkit.errors import UserError, unknown
from unlearnkit.models.adapters import Lora, attach
from unlearnkit.models.load import default_device, parse_dtype, quantization
from unlearnkit.run.presets import preset
from unlearnkit.training import processes
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import PAIRINGS
from unlearnkit.training.optimizers import optimizer_named, warn_of_lost_updates
from unlearnkit.training.wrappers.find import parse_wrapper

SAMPLINGS = ("random", "group_by_length")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are the field's: AdamW at 1e-5, linear decay, one epoch of warm-up left to the user.

    warmup is in steps where it is 1 or more, else a share of all steps. max_grad_norm 0 clips nothing. token_budget bounds
    memory and changes no result.

    optimizer  a name of `training.optimizers`
    sampling   "random", or "group_by_length": the rows of a step have like lengths, so less of a batch is padding
    weights    the precision in which weights are held and stepped: "float32" or "bfloat16"
    lora       an adapter such as "r=16,alpha=32" that is trained instead of the weights
    quantize   "nf4": the frozen weights below an adapter in four bits each
    merge      add the adapter into the weights at the end, and save a model like any other
    wrap       a way to take the step of any objective: "sam(rho=0.01)" or "gru"
    shard      spread the model over the processes
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
    sampling: str = "random"
    optimizer: str = "adamw"
    weights: str = "float32"
    lora: str | None = None
    quantize: str | None = None
    merge: bool = False
    shard: bool = False
    wrap: str | None = None

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
        if self.sampling not in SAMPLINGS:
            raise unknown("sampling", self.sampling, SAMPLINGS)
        if self.wrap is not None:
            object.__setattr__(self, "wrap", str(parse_wrapper(self.wrap)))
        self._check_model()

    def _check_model(self) -> None:
        """What is asked of the model must fit together, and run on this machine."""
        object.__setattr__(self, "weights", str(parse_dtype(self.weights)).removeprefix("torch."))
        if self.weights == "float16":
            raise UserError("--weights fp16: weights are trained in fp32 or bf16")
        optimizer_named(self.optimizer)
        if self.lora is not None:
            object.__setattr__(self, "lora", str(Lora.parse(self.lora)))
        if self.quantize is not None:
            quantization(self.quantize, default_device())
        for name, asked in (("--quantize", self.quantize is not None), ("--merge", self.merge)):
            if asked and self.lora is None:
                raise UserError(f"{name} needs an adapter; give --lora r=16 too")
        if self.merge and (self.quantize or self.shard):
            other = "--quantize" if self.quantize else "--shard"
            raise UserError(
                f"--merge and {other} cannot go together; leave --merge out, the adapter loads like a model"
            )
        if self.lora is None:
            warn_of_lost_updates(self.weights, self.optimizer, self.lr)

    def adapted(self, model: Any) -> Any:
        """The model as it is trained: with a new adapter, where one is asked for."""
        if self.lora is None:
            return model
        return attach(model, Lora.parse(self.lora), self.seed, self.gradient_checkpointing)

    def for_spec(self, count: int = 1) -> dict[str, Any]:
        """What belongs to the identity of a run: everything but what only bounds memory or cuts the step.

        Batch size times accumulation is the step of one process; how it is cut changes nothing. What only some runs have
        is left out where it has its default.
        """
        said = asdict(self)
        for name in ("token_budget", "gradient_checkpointing", "batch_size", "accumulate", "shard"):
            del said[name]
        for name in ("sampling", "optimizer", "weights", "lora", "quantize", "merge", "wrap"):
            if said[name] == type(self).__dataclass_fields__[name].default:
                del said[name]
        several = {"processes": count} if count > 1 else {}
        return said | {"step_rows": self.batch_size * self.accumulate} | several

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
            train_sampling_strategy=self.sampling,
            save_strategy=save,
            bf16=gpu and torch.cuda.is_bf16_supported(),
            use_cpu=not gpu,
            activation_checkpointing=self.gradient_checkpointing,
            activation_checkpointing_kwargs={"use_reentrant": False} if self.gradient_checkpointing else None,
            shard=self.shard,
            wrap=self.wrap,
            **optimizer_named(self.optimizer).for_config(),
        )


class StartingPoint(NamedTuple):
    """A formula, and the settings that go with it."""

    objective: str
    settings: dict[str, Any]


def starting_point(
    preset_name: str | None, objective: str | None, accumulate: int = 1, **given: float | None
) -> StartingPoint:
    """What was given, else what the preset says; what neither names keeps its default. None stands for: not given.

    A preset's step is divided among the processes and their accumulation steps.

    >>> starting_point("npo", None, lr=1e-4, epochs=None)
    StartingPoint(objective='npo(beta=0.1) + 5*rt', settings={'lr': 0.0001, 'epochs': 10, 'warmup': 0.1, 'batch_size': 32})
    """
    said = {name: value for name, value in given.items() if value is not None}
    if preset_name is None:
        if objective is None:
            raise UserError("what is to be minimised? give --objective FORMULA, such as 'npo + rt', or --preset NAME")
        return StartingPoint(objective, said)
    tuned = preset(preset_name)
    ours: dict[str, Any] = {"lr": tuned.lr, "epochs": tuned.epochs, "warmup": tuned.warmup}
    if "batch_size" not in said:
        slots = processes.count() * accumulate
        if tuned.step_rows % max(slots, 1):
            raise UserError(
                f"--preset {preset_name} has steps of {tuned.step_rows} rows, which {slots} batches cannot share evenly; "
                "give --batch-size"
            )
        ours["batch_size"] = tuned.step_rows // max(slots, 1)
    return StartingPoint(objective or tuned.objective, ours | said)
