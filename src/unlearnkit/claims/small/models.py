"""The models that TOFU is run with: a folder of checkpoints that the user gives, or small ones trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from unlearnkit.canonical import sha256_of
from unlearnkit.claims.mini.cells import quiet
from unlearnkit.claims.small.recipe import RECIPE
from unlearnkit.errors import UserError
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import load_model
from unlearnkit.run.folder import write_json
from unlearnkit.run.models import is_model_folder, starting_model
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import finetune
from unlearnkit.sweep import Progress
from unlearnkit.tasks import tofu
from unlearnkit.tasks.base import digest_rows
from unlearnkit.tasks.splits import FULL, Split, parse_split
from unlearnkit.text.template import Template


def retain_of(split: str) -> str:
    """The name of the model that never saw the split.

    >>> retain_of("forget05")
    'retain95'
    """
    return Split("retain", parse_split(split).percent).name


def given_splits(models: Path, splits: Sequence[str]) -> list[str]:
    """Those of the splits whose retain model lies in the folder beside the target model `full`."""
    if not models.is_dir():
        raise UserError(f"--models {models}: no such directory; it holds the models {FULL} and {retain_of(splits[-1])}")
    if not is_model_folder(models / FULL):
        raise UserError(f"--models {models}: there is no model in {FULL}, the one that is to forget")
    found = [split for split in splits if is_model_folder(models / retain_of(split))]
    if not found:
        wanted = ", ".join(retain_of(split) for split in reversed(splits))
        raise UserError(f"--models {models}: there is no retain model, which is one of {wanted}")
    return found


def inputs(data: Path, models: Path | None, splits: Sequence[str]) -> dict[str, str]:
    """Digests of the rows, and of the weights of the given models; of the recipe where they are trained."""
    quiet()
    task = tofu.load(FULL, data=data)
    said = {
        FULL: digest_rows(task.train),
        **{name: digest_rows(rows) for name, rows in task.evaluation.items() if rows},
    }
    said = {f"rows of {name}": digest for name, digest in said.items()} | {"refusals": sha256_of(list(task.refusals))}
    if models is None:
        return said | {"recipe": sha256_of(asdict(RECIPE))}
    used = (FULL, *(retain_of(split) for split in given_splits(models, splits)))
    return said | {f"weights of {name}": weights_digest(load_model(str(models / name)).model) for name in used}


def train(folder: Path, data: Path, splits: Sequence[str], progress: Progress | None) -> None:
    """Train the target model and the retain models of the splits into `folder`, each a run that is resumed."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "small.json", dict(RECIPE.model))
    parts = [FULL, *(retain_of(split) for split in splits)]
    for number, part in enumerate(parts, 1):
        task = tofu.load(part, data=data)
        start = starting_model(f"init:{folder / 'small.json'}", task=task)
        told = None if progress is None else _told(progress, f"training {part}, model {number} of {len(parts)}")
        finetune(
            start, Template(start.loaded.tokenizer), task, folder / part, Settings(**RECIPE.finetune), progress=told
        )


def _told(progress: Progress, which: str) -> Progress:
    """Progress that says which model it is of, and that there is time for a walk."""

    def tell(what: str, done: int, total: int) -> None:
        progress(f"{which} (hours in all on a CPU): {what}", done, total)

    return tell
