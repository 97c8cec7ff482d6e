"""A model by the name that a user gives: a Hub id, a folder, `init:CONFIG`, or one of the embedded world's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unlearnkit.errors import UserError
from unlearnkit.models import adapters
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import (
    Loaded,
    load_model,
    load_tokenizer,
    new_model,
    parse_dtype,
    read_config,
    wrap_tokenizer,
)
from unlearnkit.run.mini_models import MiniModel, mini_model
from unlearnkit.tasks.base import Task


class Start(NamedTuple):
    """A model to start from.

    digest  what stands for it in a spec: of its weights, or of the configuration and seed of a new model
    name    what a record calls it; never a path
    drawn   digest of the weights of a new model
    """

    loaded: Loaded
    digest: str
    name: str = ""
    drawn: str | None = None

    @property
    def weights(self) -> str:
        """Digest of the weights that the run starts from."""
        return self.drawn or self.digest


def public_name(name: str) -> str:
    """What to call a model in a record: a Hub id or a name as it is, a folder by its last part alone.

    >>> public_name("locuslab/tofu_ft_phi-1.5"), public_name("mini:target@1"), public_name("/home/me/runs/full/")
    ('locuslab/tofu_ft_phi-1.5', 'mini:target@1', 'full')
    """
    if name.startswith("init:") or not name:
        return "a new model"
    path = Path(name)
    folder = path.is_dir() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    return path.resolve().name if folder else name


def starting_model(
    name: str,
    *,
    task: Task | None = None,
    tokenizer: str | None = None,
    seed: int = 0,
    dtype: str = "float32",
    quantize: str | None = None,
) -> Start:
    """Load what `name` says.

    name       "locuslab/tofu_ft_phi-1.5" (Hub), "runs/full" (a folder), "mini:target" (the embedded world),
               "init:small.json" (a new model of that configuration)
    tokenizer  for `init:` only: whose tokeniser to take; without it one is trained on the task's text, with the
               configuration's "vocab_size"
    dtype      of the weights; `quantize` makes them four bits each
    """
    if name.startswith("init:"):
        if parse_dtype(dtype) != torch.float32 or quantize:
            raise UserError(f"model '{name}': a new model starts in fp32; leave --weights and --quantize out")
        return _new(read_config(name.removeprefix("init:")), task, tokenizer, seed)
    if tokenizer is not None:
        raise UserError("--tokenizer goes with --model init:CONFIG; another model brings its own")
    if name.startswith("mini:") and task is not None and task.name.startswith("mini:"):
        _same_world(name, task.name)
    loaded = mini_model(name) if name.startswith("mini:") else load_model(name, dtype, quantize=quantize)
    if name.startswith("mini:") and (parse_dtype(dtype) != torch.float32 or quantize):
        loaded = load_model(str(loaded.model.config.name_or_path), dtype, quantize=quantize)
    return Start(loaded, weights_digest(loaded.model), public_name(name))


def _same_world(model: str, task: str) -> None:
    """A model of one embedded world knows nobody of another: what it would forget it never knew."""
    known, asked = MiniModel.parse(model).world, int(task.partition("@")[2] or 0)
    if known != asked:
        right = f"{task.partition('@')[0]}@{known}" if known else task.partition("@")[0]
        raise UserError(f"model {model} knows world {known}, task {task} is of world {asked}; give --task {right}")


def _new(config: dict[str, Any], task: Task | None, tokenizer: str | None, seed: int) -> Start:
    ready = trained_tokenizer(config, task) if tokenizer is None else load_tokenizer(tokenizer)
    loaded = new_model({key: value for key, value in config.items() if key != "vocab_size"}, ready, seed)
    text = json.dumps({"config": config, "seed": seed, "vocabulary": ready.get_vocab()}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Start(loaded, digest, public_name("init:"), weights_digest(loaded.model))


def trained_tokenizer(config: dict[str, Any], task: Task | None) -> Any:
    """A byte-level BPE of the configuration's "vocab_size", trained on the questions and answers of the whole task.

    The whole task: a target and a retain model that start from the same configuration get the same tokeniser.
    """
    size = config.get("vocab_size")
    if not isinstance(size, int) or size < 300:
        raise UserError('init:CONFIG needs a "vocab_size" of 300 or more to train a tokenizer, or give --tokenizer')
    if task is None:
        raise UserError("init:CONFIG needs --task: a new tokenizer is trained on its text")
    # only evaluation sets that are kept and trained rows: never a paraphrase or a perturbed answer
    rows = sorted(
        {(row.index, row.question, row.answer) for part in (task.train, task.forget, task.retain) for row in part}
    )
    texts = [text for _, question, answer in rows for text in (question, answer)]
    return wrap_tokenizer(byte_level_bpe(texts, size), int(config.get("max_position_embeddings", 512)))


def byte_level_bpe(texts: list[str], size: int) -> str:
    """The JSON of a byte-level BPE with <pad>, <bos>, <eos>, which puts <bos> first and keeps `\\nAnswer: ` whole.

    An isolated `\\nAnswer: ` makes the prompt's tokens a prefix of the whole text's tokens for every answer.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("\nAnswer: "), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 1)]
    )
    return str(bpe.to_str())


def is_model_folder(path: str | Path) -> bool:
    """Whether a folder holds a model that can be loaded."""
    return (Path(path) / "config.json").is_file() or (Path(path) / adapters.CONFIG).is_file()
