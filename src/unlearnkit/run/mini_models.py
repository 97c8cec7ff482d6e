"""The models of the embedded world, trained from scratch when they are first asked for and kept for the next time.

`mini:base` knows the base corpus, `mini:target` was finetuned on all authors, `mini:retain90` on those of the retain set.
`mini:target@1` is the target of world 1; `mini:retain90@1.2` the retain model of world 1 whose finetuning ran with
seed 2, all else equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers

from unlearnkit.errors import UserError
from unlearnkit.measure.measure import Progress
from unlearnkit.models.load import Loaded, load_model, new_model, wrap_tokenizer
from unlearnkit.objectives import parse_objective
from unlearnkit.run.settings import Settings
from unlearnkit.tasks import mini
from unlearnkit.tasks.base import Row
from unlearnkit.tasks.mini_recipe import RECIPE, Phase
from unlearnkit.tasks.mini_tokenizer import tokenizer_json, tokenizer_texts
from unlearnkit.tasks.mini_world import base_corpus
from unlearnkit.text.template import Template
from unlearnkit.training.callbacks import ShowSteps
from unlearnkit.training.data import Examples
from unlearnkit.training.trainer import UnlearnTrainer

_NAME = re.compile(r"mini:(base|target|retain(?P<percent>\d\d))(@(?P<world>\d{1,6})(\.(?P<run>\d{1,6}))?)?")


@dataclass(frozen=True)
class MiniModel:
    """Which model: `part` is "base", "full" or a retain split; `world` seeds data and base model, `run` the finetuning."""

    part: str
    world: int = 0
    run: int = 0

    @classmethod
    def parse(cls, name: str) -> MiniModel:
        """From "mini:target", "mini:retain90@1" or "mini:retain90@1.2".

        >>> MiniModel.parse("mini:retain90@1.2")
        MiniModel(part='retain90', world=1, run=2)
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise UserError(
                f"model '{name}': the embedded world has mini:base, mini:target and mini:retain01 to mini:retain99, "
                "with @WORLD or @WORLD.RUN behind it for another seed, as in mini:retain90@1.2"
            )
        part = "full" if found[1] == "target" else found[1]
        return cls(part, int(found["world"] or 0), int(found["run"] or 0))

    def digest(self) -> str:
        """SHA-256 of all that decides the weights: recipe, data, seeds and the versions that train it."""
        rows = [(row.question, row.answer) for row in _rows(self)]
        said = {
            "recipe": asdict(RECIPE),
            "model": asdict(self),
            "rows": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """Where checkpoints are kept: `unlearnkit/` in the user's cache directory."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "unlearnkit"


def mini_model(name: str, progress: Progress | None = None) -> Loaded:
    """The model of that name, from the cache or trained now (about a minute for the base model, seconds for others)."""
    which = MiniModel.parse(name)
    kept = cache_folder() / f"mini-{which.part}-{which.digest()[:16]}"
    if not (kept / "config.json").is_file():
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # several would take larger steps, and make another model
            raise UserError(
                f"model '{name}' is not made yet; use it once without a launcher, then with several processes"
            )
        _keep(_train(which, progress), kept)
    return load_model(str(kept))


def _rows(which: MiniModel) -> list[Row]:
    """What this model is trained on last."""
    if which.part == "base":
        return list(base_corpus(which.world))
    return list(mini.load(which.part, seed=which.world).train)


def _train(which: MiniModel, progress: Progress | None) -> Loaded:
    if which.part == "base":
        tokenizer = wrap_tokenizer(
            tokenizer_json(tokenizer_texts(which.world), RECIPE.vocab_size), RECIPE.model["max_position_embeddings"]
        )
        loaded, phase = new_model(dict(RECIPE.model), tokenizer, seed=which.world), RECIPE.base
    else:
        loaded, phase = mini_model(f"mini:base@{which.world}", progress), RECIPE.finetune
    what = {"base": "base model", "full": "target model"}.get(which.part, "retain model")
    fit(loaded, _rows(which), phase, which.world + 1000 * which.run, what, progress)
    return loaded


def fit(loaded: Loaded, rows: list[Row], phase: Phase, seed: int, what: str, progress: Progress | None) -> None:
    """Finetune on rows, in place; `what` names the model in the progress."""
    settings = Settings(**asdict(phase), seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        examples = Examples(parse_objective("rt"), Template(loaded.tokenizer), retain=rows, seed=seed)
        trainer = UnlearnTrainer(loaded.model, settings.config(Path(scratch), "rt", "no"), examples)
        if progress is not None:
            trainer.add_callback(ShowSteps(progress, what))
        trainer.train()
    loaded.model.eval()


def _keep(loaded: Loaded, place: Path) -> None:
    """Save beside the place and rename: two processes that train the same model leave one whole checkpoint."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    loaded.model.save_pretrained(aside)
    loaded.tokenizer.save_pretrained(aside)
    try:
        os.rename(aside, place)
    except OSError:
        shutil.rmtree(aside)
        if not (place / "config.json").is_file():
            raise
