"""Models of the embedded world that know its forget set, models that do not, and models made to forget it.

The cells of the meta-evaluation: each trains one model and hands back its scores and its verdict.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unlearnkit.claims.mini.cells import MiniWorld, kept_table, other_answers, quiet, world_of
from unlearnkit.measure import measure
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import Loaded
from unlearnkit.models.rounding import round_weights
from unlearnkit.run.mini_models import fit, mini_model
from unlearnkit.run.models import Start
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import unlearn
from unlearnkit.score import score_table
from unlearnkit.sweep import Cell
from unlearnkit.tasks import mini
from unlearnkit.tasks.mini_recipe import DEMO, RECIPE, Phase
from unlearnkit.text.template import Template

_HERE = "unlearnkit.claims.mini.pool"
Looked = dict[str, Any]  # {"scores": {metric: value}, "verdict": label}

RELEARN = Phase(epochs=1, lr=5e-4, batch_size=16)  # a third of the rate that the models were finetuned with
BITS = {"int8": 8, "int4": 4}


def trained_cell(where: MiniWorld, part: str, run: int, epochs: int) -> Cell:
    """A model finetuned on `part` ("full" knows the forget set, "retain90" does not) with another seed and length."""
    spec = where.spec() | {"part": part, "run": run, "epochs": epochs}
    return Cell(f"world {where.world}: {part}, seed {run}, {epochs} epochs", f"{_HERE}:run_trained", spec)


def unlearned_cell(where: MiniWorld, objective: str, settings: Mapping[str, Any], then: bool) -> Cell:
    """A model made to forget by a formula; `then` it sees the forget set once more, and its weights are rounded."""
    chosen = DEMO.settings(where.world) | dict(settings)
    more = ", ".join(f"{key} {value}" for key, value in settings.items())
    spec = where.spec() | {"objective": objective, "settings": chosen, "then": then} | other_answers(where, objective)
    return Cell(f"world {where.world}: {objective} ({more})", f"{_HERE}:run_unlearned", spec)


def retain_cell(where: MiniWorld) -> Cell:
    """The retain model, relearned and rounded as the unlearned ones are."""
    return Cell(f"world {where.world}: the retain model", f"{_HERE}:run_retain", where.spec())


def run_trained(spec: Mapping[str, Any]) -> Looked:
    """{"scores", "verdict"} of one finetuned model."""
    where = world_of(spec)
    loaded = mini_model(f"mini:base@{where.world}")
    rows = list(mini.load(str(spec["part"]), seed=where.world).train)
    phase = replace(RECIPE.finetune, epochs=int(spec["epochs"]))
    fit(loaded, rows, phase, where.world + 1000 * int(spec["run"]), "model", None)
    return _look(where, loaded)


def run_unlearned(spec: Mapping[str, Any]) -> dict[str, Looked]:
    """By stage: "unlearned" and, where asked, "relearned", "int8" and "int4"."""
    where = world_of(spec)
    loaded = mini_model(where.target)
    start = Start(loaded, weights_digest(loaded.model), where.target)
    with tempfile.TemporaryDirectory() as scratch:
        unlearn(
            start,
            Template(loaded.tokenizer),
            where.task(),
            str(spec["objective"]),
            scratch,
            Settings(**spec["settings"]),
            save_checkpoints=False,
        )
    return _stages(where, loaded) if spec["then"] else {"unlearned": _look(where, loaded)}


def run_retain(spec: Mapping[str, Any]) -> dict[str, Looked]:
    """The stages of the retain model."""
    where = world_of(spec)
    return _stages(where, mini_model(where.retain))


def _stages(where: MiniWorld, loaded: Loaded) -> dict[str, Looked]:
    """Look at the model, at its rounded weights, and at what one epoch on the forget set makes of it."""
    kept = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    looked = {"unlearned": _look(where, loaded)}
    for name, bits in BITS.items():
        round_weights(loaded.model, bits)
        looked[name] = _look(where, loaded)
        loaded.model.load_state_dict(kept)
    fit(loaded, list(where.task().forget), RELEARN, where.world, "relearning", None)
    looked["relearned"] = _look(where, loaded)
    return looked


def _look(where: MiniWorld, loaded: Loaded) -> Looked:
    """Measure and score against the world's retain and target models."""
    quiet()
    task = where.task()
    table = measure(loaded.model, Template(loaded.tokenizer), task, max_new_tokens=where.max_new_tokens)
    target, retain = (kept_table(where, name) for name in (where.target, where.retain))
    found = score_table(table, retain, target=target, intervals=False)
    return {
        "scores": {name: score.value for name, score in found.scores.items()},
        "verdict": found.verdict["label"],
    }
