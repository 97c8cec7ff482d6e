"""A cell that watches a model leave its start: the forget set's loss and KL divergence at every step, nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from unlearnkit.claims.mini.cells import MiniWorld, read_log, world_of
from unlearnkit.errors import Diverged
from unlearnkit.models.digest import weights_digest
from unlearnkit.run.mini_models import mini_model
from unlearnkit.run.models import Start
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import unlearn
from unlearnkit.sweep import Cell
from unlearnkit.text.template import Template

GA = 'ga(unit="sequence")'
# Weight 0: the loss of the forget set and the divergence from the start are logged beside the method, and move nothing.
WATCHED = ' + 0*kl(on="forget")'


def formula(beta: float | None) -> str:
    """NPO at β, or GA on summed log-probabilities, with what is to be watched.

    >>> formula(0.1)
    'npo(beta=0.1) + 0*ga(unit="sequence") + 0*kl(on="forget")'
    """
    return (GA if beta is None else f"npo(beta={beta:g}) + 0*{GA}") + WATCHED


def collapse_cell(where: MiniWorld, beta: float | None, optimizer: str, steps: int, lr: float) -> Cell:
    """So many steps on the whole forget set at a constant learning rate, without weight decay or clipping."""
    name = "GA" if beta is None else f"NPO β={beta:g}"
    spec = where.spec() | {"beta": beta, "optimizer": optimizer, "steps": steps, "lr": lr}
    return Cell(f"world {where.world}: {name}, {optimizer}", "unlearnkit.claims.mini.collapse:run_collapse", spec)


def run_collapse(spec: Mapping[str, Any]) -> dict[str, list[float]]:
    """{"nll", "kl"}: before each step, the forget answers' mean −log π(y|x) in nats, and KL(start ‖ now) in nats a token.

    Shorter than the steps asked for where the run diverged: they end with the last step that was a number.
    """
    where = world_of(spec)
    task, loaded = where.task(), mini_model(where.target)
    settings = Settings(
        lr=spec["lr"],
        epochs=spec["steps"],
        batch_size=len(task.forget),  # an epoch is a step
        schedule="constant",
        optimizer=spec["optimizer"],
        weight_decay=0.0,
        max_grad_norm=0.0,
        seed=where.world,
    )
    start = Start(loaded, weights_digest(loaded.model), where.target)
    with tempfile.TemporaryDirectory() as scratch:
        with suppress(Diverged):
            unlearn(
                start,
                Template(loaded.tokenizer),
                task,
                formula(spec["beta"]),
                scratch,
                settings,
                save_checkpoints=False,
            )
        log = read_log(Path(scratch))
    steps = [entry for entry in log if "loss/ga" in entry]
    return {"nll": [-entry["loss/ga"] for entry in steps], "kl": [entry["loss/kl"] for entry in steps]}
