"""Low-rank adapters (LoRA, arXiv:2106.09685): attached to a model, merged into it, and found again on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unlearnkit.errors import UserError, unknown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
EVERY_LAYER = "all-linear"


@dataclass(frozen=True)
class Lora:
    """W + (alpha / r) B A beside each frozen weight W, with A of r rows.

    r        rank of the change
    alpha    its scale; 2r where none is given
    dropout  of what goes into A, in training
    targets  the layers by the ends of their names; every linear layer but the output head without
    """

    r: int = 16
    alpha: int | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.r < 1:
            raise UserError(f"--lora r={self.r}: the rank must be 1 or more")
        if self.alpha is not None and not self.alpha > 0:
            raise UserError(f"--lora alpha={self.alpha}: the scale must be above 0")
        if not 0 <= self.dropout < 1:
            raise UserError(f"--lora dropout={self.dropout:g}: give a share from 0 to below 1")

    @classmethod
    def parse(cls, text: str) -> Lora:
        """From "r=16" or "r=16,alpha=32,dropout=0.05,targets=q_proj+v_proj".

        >>> Lora.parse("r=8,targets=q_proj+v_proj")
        Lora(r=8, alpha=None, dropout=0.0, targets=('q_proj', 'v_proj'))
        """
        given: dict[str, Any] = {}
        read: dict[str, Callable[[str], Any]] = {
            "r": int,
            "alpha": int,
            "dropout": float,
            "targets": lambda said: tuple(said.split("+")),
        }
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, equals, value = part.partition("=")
            if name not in read:
                raise unknown("setting of --lora", name, read)
            try:
                given[name] = read[name](value)
            except ValueError:
                equals = ""
            if not equals or not value or (name == "targets" and not all(given[name])):
                raise UserError(f"--lora {text}: '{part}' cannot be read; write it like r=16,alpha=32,dropout=0.05")
        return cls(**given)

    def __str__(self) -> str:
        """As one writes it, with every setting that is not its default.

        >>> str(Lora.parse("targets=q_proj,r=8"))
        'r=8,targets=q_proj'
        """
        said = [f"r={self.r}"]
        said += [f"alpha={self.alpha}"] if self.alpha is not None else []
        said += [f"dropout={self.dropout:g}"] if self.dropout else []
        return ",".join(said + (["targets=" + "+".join(self.targets)] if self.targets else []))


def attach(model: Any, lora: Lora, seed: int, checkpointing: bool = False) -> Any:
    """The model with a new adapter, float32 and alone in training; at first it changes nothing, as B is zero.

    A is a function of the seed. `checkpointing` says that activations will be computed twice: then what goes into the
    first block must carry a gradient, or a frozen embedding would cut the adapters off.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if getattr(model, "is_loaded_in_4bit", False):
        prepare: Any = prepare_model_for_kbit_training
        model = prepare(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha if lora.alpha is not None else 2 * lora.r,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or EVERY_LAYER,
        task_type="CAUSAL_LM",
    )
    devices = [parameter.device for parameter in [next(model.parameters())] if parameter.is_cuda]
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            adapted: Any = get_peft_model(model, config)
    except ValueError as problem:
        raise UserError(f"--lora {lora}: {' '.join(str(problem).split())[:200]}") from None
    adapted.peft_config["default"].base_model_name_or_path = _findable(model)
    if checkpointing:
        adapted.enable_input_require_grads()
    return adapted


def is_adapted(model: Any) -> bool:
    """Whether a model has an adapter that can be switched off."""
    return hasattr(model, "disable_adapter")


def merged(model: Any) -> Any:
    """The model with its adapter added into its weights; one without an adapter is returned as it is."""
    return model.merge_and_unload() if is_adapted(model) else model


def _findable(model: Any) -> str:
    """What to load for this base model; a folder by its whole path."""
    name = str(model.config.name_or_path)
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name


def base_of(folder: Path) -> str:
    """Which model the adapter in a folder belongs to; an adapter of another kind, or half of one, is a `UserError`."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        base, kind = config["base_model_name_or_path"], config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"model '{folder}': {CONFIG} cannot be read as an adapter's configuration") from None
    if kind != "LORA" or config.get("megatron_config"):  # the second one names code to import
        raise UserError(f"model '{folder}': the adapter is of the kind {str(kind)[:40]!r}; plain LORA is supported")
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"model '{folder}': the adapter's weights are not there as {WEIGHTS}")
    if not isinstance(base, str) or not base:
        raise UserError(f"model '{folder}': the adapter does not say which model it belongs to")
    return base


def with_adapter(base: Any, folder: Path) -> Any:
    """A base model with the adapter of a folder merged into it."""
    from peft import PeftModel

    try:
        model: Any = PeftModel.from_pretrained(base, str(folder), is_trainable=False)
    except (ValueError, RuntimeError, OSError) as problem:
        said = " ".join(str(problem).split())[:200]
        raise UserError(f"model '{folder}': the adapter does not fit its base model ({said})") from None
    whole = merged(model)
    whole.config._name_or_path = whole.name_or_path = str(folder)  # a later adapter belongs to this model
    return whole
