"""A causal language model and its tokeniser from the Hub or a directory: safetensors only, no remote code."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedTokenizerFast,
)

from unlearnkit.errors import UserError, unknown
from unlearnkit.models import adapters

CPU = torch.device("cpu")
QUANTIZATIONS = ("nf4",)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Loaded(NamedTuple):
    """A model in evaluation mode on its device, with its tokeniser."""

    model: Any
    tokenizer: Any


def default_device() -> torch.device:
    """The GPU of this process's local rank where there is one, else the CPU."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else CPU


def parse_dtype(name: str) -> torch.dtype:
    """A torch dtype by its name; bf16 and fp32 are understood too."""
    full = {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}.get(name, name)
    if full not in DTYPES:
        raise unknown("dtype", name, DTYPES)
    return DTYPES[full]


def load_model(
    name: str, dtype: str = "float32", device: torch.device | None = None, quantize: str | None = None
) -> Loaded:
    """Load `name`, a directory or a Hub id, with its tokeniser.

    Weights are loaded in float32 by default: AdamW steps on bfloat16 weights round most small updates away. With
    `quantize="nf4"` they become four bits each, which needs a GPU. Only safetensors are read and no code of the
    repository is run. A folder that holds an adapter is loaded with its base model, the adapter merged into it. A missing
    model, one without safetensors, or one whose tokeniser has ids that it lacks is a `UserError`.
    """
    device = device or default_device()
    options = {} if quantize is None else {"quantization_config": quantization(quantize, device), "device_map": device}
    kind = parse_dtype(dtype)
    _check_place(name)
    if (Path(name) / adapters.CONFIG).is_file():
        base = load_model(adapters.base_of(Path(name)), dtype, device, quantize)
        loaded = Loaded(adapters.with_adapter(base.model, Path(name)).eval(), base.tokenizer)
        has_tokenizer = (Path(name) / "tokenizer_config.json").is_file()
        return loaded._replace(tokenizer=load_tokenizer(name)) if has_tokenizer else loaded
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=kind, use_safetensors=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError, SafetensorError) as problem:
        raise UserError(f"model '{name}' could not be loaded: {_first_line(problem)}") from None
    tokenizer = load_tokenizer(name)
    check_pair(name, model, tokenizer)
    return Loaded((model if quantize else model.to(device)).eval(), tokenizer)


def quantization(name: str, device: torch.device) -> Any:
    """How to load weights with four bits each (QLoRA, arXiv:2305.14314); needs a GPU and bitsandbytes."""
    if name not in QUANTIZATIONS:
        raise unknown("quantization", name, QUANTIZATIONS)
    if device.type != "cuda":
        raise UserError(f"--quantize {name} needs a GPU; leave it out, --lora works on a CPU without it")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"--quantize {name} needs bitsandbytes: pip install bitsandbytes")
    config: Any = BitsAndBytesConfig
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type=name,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def load_tokenizer(name: str) -> Any:
    """The tokeniser that lies beside a model."""
    _check_place(name)
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as problem:
        raise UserError(f"the tokenizer of '{name}' could not be loaded: {_first_line(problem)}") from None


def new_model(config: dict[str, Any], tokenizer: Any, seed: int, device: torch.device | None = None) -> Loaded:
    """A randomly initialised model of a configuration such as {"model_type": "llama", "hidden_size": 192, ...}.

    The vocabulary and the special tokens are those of the tokeniser; the weights are a function of (config, seed).
    """
    fields = dict(config)
    kind = fields.pop("model_type", None)
    if not isinstance(kind, str):
        raise UserError('the model configuration needs a "model_type", such as "llama"')
    ids = {
        name: getattr(tokenizer, name)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        if getattr(tokenizer, name) is not None
    }
    try:
        ready = AutoConfig.for_model(kind, **{"vocab_size": len(tokenizer), **ids, **fields})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = AutoModelForCausalLM.from_config(ready, dtype=torch.float32)  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UserError(f"the model configuration cannot be built: {_first_line(problem)}") from None
    check_pair("the configuration", model, tokenizer)
    return Loaded(model.to(device or default_device()).eval(), tokenizer)


def wrap_tokenizer(tokenizer_json: str, max_length: int) -> Any:
    """A tokeniser with <pad>, <bos> and <eos> from the JSON of the `tokenizers` library."""
    from tokenizers import Tokenizer

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(tokenizer_json),
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def check_pair(name: str, model: Any, tokenizer: Any) -> None:
    """Refuse a tokeniser with ids that the model's embedding does not have."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UserError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens but the model knows {rows}; they do not belong together"
        )


def context_length(model: Any) -> int | None:
    """How many positions the model was built for, None where its configuration does not say."""
    config = model.config.get_text_config()
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if length else None


def _check_place(name: str) -> None:
    """A path that is meant as a directory but is none gets a clear line, instead of a question to the Hub."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file() and not (path / adapters.CONFIG).is_file():
            raise UserError(f"model '{name}': the directory has no config.json; give the folder that holds the model")
        return
    if path.exists():
        raise UserError(f"model '{name}' is a file; give a directory or a Hub id")
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or not name.strip():
        raise UserError(f"model '{name}': there is no such directory")


def _first_line(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0] if lines else type(problem).__name__


def read_config(path: str) -> dict[str, Any]:
    """The JSON object of a model configuration file."""
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise UserError(f"init:{path}: not a readable JSON file ({_first_line(problem)})") from None
    if not isinstance(config, dict):
        raise UserError(f"init:{path}: a model configuration is a JSON object")
    return config
