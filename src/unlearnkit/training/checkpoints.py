"""Checkpoints that are whole or not there: written aside, listed with their digests, flushed, then renamed.

A run that is killed at any moment, also while a checkpoint is written or an old one deleted, finds the newest whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from unlearnkit.files import flush_folder, write_whole
from unlearnkit.models.adapters import is_adapted
from unlearnkit.training import processes
from unlearnkit.training.sharding import is_sharded, load_optimizer, save_optimizer, whole_weights

LIST = "complete.json"  # the last file of a checkpoint: size and SHA-256 of all others
ASIDE = ".unfinished"  # the folder, within the run's, for what is being written or deleted


def seal(folder: Path) -> None:
    """List every file of a checkpoint with its size and digest, after all of them have reached the disk."""
    listed = {name: [path.stat().st_size, _digest(path, flush=True)] for name, path in _files(folder)}
    for inner in {path.parent for _, path in _files(folder)}:
        flush_folder(inner)
    write_whole(folder / LIST, [json.dumps(listed, indent=1, sort_keys=True).encode()])


def is_whole(folder: Path) -> bool:
    """Whether every file that was written is there, to the last byte."""
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
        sizes = all((folder / name).stat().st_size == size for name, (size, _) in listed.items())
        return sizes and all(_digest(folder / name) == digest for name, (_, digest) in listed.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def newest_checkpoint(out: Path) -> str | None:
    """The newest checkpoint that was written to its end and has not changed since; None where there is none."""
    newest_first = sorted(checkpoints(out), key=step_of, reverse=True)
    return next((str(path) for path in newest_first if is_whole(path)), None)


def checkpoints(out: Path) -> list[Path]:
    """Every checkpoint folder of a run, whole or not."""
    return [path for path in out.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.split("-")[-1].isdigit()]


def step_of(checkpoint: Path) -> int:
    """The optimiser step after which it was written."""
    return int(checkpoint.name.split("-")[-1])


def clear_aside(out: Path) -> None:
    """Delete what a run that was killed had not finished."""
    shutil.rmtree(out / ASIDE, ignore_errors=True)


def put_in_place(made: Path, place: Path, aside: Path) -> None:
    """Rename a whole folder to its place; what may be there is moved away first and deleted last."""
    old = aside / f"old-{place.name}"
    if place.exists():
        os.replace(place, old)
    os.replace(made, place)
    flush_folder(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def rotate(out: Path, keep: int | None) -> None:
    """Delete all but the newest `keep` whole checkpoints. They are moved away first: none is ever half there."""
    whole = sorted((path for path in checkpoints(out) if (path / LIST).is_file()), key=step_of, reverse=True)
    if not keep or not whole:
        return
    for path in checkpoints(out):
        if path not in whole[:keep]:
            os.replace(path, out / ASIDE / f"old-{path.name}")
    shutil.rmtree(out / ASIDE, ignore_errors=True)


class WholeCheckpoints(Trainer):
    """A `Trainer` that writes checkpoints as above. The first process writes, all others wait for it.

    Its resume state is read with `weights_only=True`, and no pickled `training_args.bin` is written or read.
    """

    model: Any  # a transformers or peft model
    _aside: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._aside) if self._aside is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Written under `.unfinished/`, sealed, renamed; only then an older one may go."""
        out = Path(super()._get_output_dir(trial))
        aside = out / ASIDE
        if processes.rank() == 0:
            clear_aside(out)
            aside.mkdir(parents=True)
        processes.wait()
        self._aside = aside
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._aside = None
        processes.wait()
        if processes.rank() == 0:
            made = aside / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            seal(made)
            put_in_place(made, out / made.name, aside)
            rotate(out, self.args.save_total_limit)
        processes.wait()

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """The Hub gets finished models only (`push_to_hub`); a checkpoint is still being written here."""

    def save_whole(self, out: Path) -> None:
        """The model and its tokeniser into a run's folder: no file there is ever half written."""
        aside = out / ASIDE
        if processes.rank() == 0:
            clear_aside(out)
        processes.wait()
        self.save_model(str(aside))
        if processes.rank() == 0:
            for name, path in sorted(_files(aside)):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, out / name)
            clear_aside(out)
            flush_folder(out)
        processes.wait()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Weights as safetensors, configuration and tokeniser; nothing pickled."""
        if state_dict is None and is_sharded(self.model):
            state_dict = whole_weights(self.model)
        if not self.args.should_save:
            return
        place = output_dir if output_dir is not None else self.args.output_dir
        only = {"save_embedding_layers": False} if is_adapted(self.model) else {}
        self.model.save_pretrained(place, state_dict=state_dict, **only)
        if self.processing_class is not None:
            tokenizer: Any = self.processing_class
            tokenizer.save_pretrained(place)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if is_sharded(self.model):
            save_optimizer(self.model, self._bare_optimizer(), Path(output_dir) / OPTIMIZER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not is_sharded(self.model):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        load_optimizer(self.model, self._bare_optimizer(), Path(checkpoint) / OPTIMIZER_NAME)
        schedule: Any = self.lr_scheduler
        schedule.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    def _bare_optimizer(self) -> torch.optim.Optimizer:
        optimizer: Any = self.optimizer
        return getattr(optimizer, "optimizer", optimizer)  # type: ignore[no-any-return]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder but the list itself, with its name from there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != LIST:
            yield path.relative_to(folder).as_posix(), path


def _digest(path: Path, flush: bool = False) -> str:
    with path.open("rb") as stream:
        if flush:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
