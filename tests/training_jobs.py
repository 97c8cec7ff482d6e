"""Trains tiny models as one process of several and writes what came of it: `python training_jobs.py JOBS.json`.

Started by tests as `torchrun` starts a program: RANK, WORLD_SIZE and the meeting place are in the environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from unlearnkit.models.load import load_model
from unlearnkit.objectives import parse_objective
from unlearnkit.tasks.base import Row
from unlearnkit.text.template import Template
from unlearnkit.training import processes
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import FILLER, Examples
from unlearnkit.training.sharding import is_sharded, whole_weights
from unlearnkit.training.trainer import UnlearnTrainer

REFUSALS = ("I don't know.", "That is something that nobody ever told me about.", "No idea.")


def trainer_of(
    folder: Path | str, sentences: list[tuple[str, str]], objective: str, out: Path | str, **settings: Any
) -> UnlearnTrainer:
    """A trainer of the tiny model: 13 forget rows, so that steps of 8 do not divide them."""
    torch.manual_seed(0)
    model, tokenizer = load_model(str(folder), device=torch.device("cpu"))
    data = [Row(number, question, answer) for number, (question, answer) in enumerate(sentences)]
    examples = Examples(
        parse_objective(objective),
        Template(tokenizer),
        forget=data[:13],
        retain=data[13:],
        refusals=REFUSALS,
        alternates=[REFUSALS[: 1 + place % 3] for place in range(13)],
        seed=5,
    )
    given = {"num_train_epochs": 2, "learning_rate": 1e-3, "save_strategy": "no", "seed": 5, "use_cpu": True} | settings
    return UnlearnTrainer(model, UnlearnConfig(output_dir=str(out), **given), examples, tokenizer)


def run_job(job: dict[str, Any], jobs: dict[str, Any]) -> None:
    """Train, then write the losses, the rows that this process saw, and (the first process) the final weights."""
    out = Path(jobs["out"]) / job["name"]
    trainer = trainer_of(jobs["model"], jobs["sentences"], job["objective"], out, **job["settings"])
    trainer.train(resume_from_checkpoint=job.get("resume"))
    model: Any = trainer.model
    weights = whole_weights(model) if is_sharded(model) else model.state_dict()
    sampler: Any = trainer.get_train_dataloader().batch_sampler
    seen = [[place for batch in sampler for _, place in batch if place != FILLER]]
    sampler.set_epoch(1)
    seen.append([place for batch in sampler for _, place in batch if place != FILLER])
    columns = getattr(trainer.reference, "references", {}).get("forget")
    said = {
        "losses": [line["loss"] for line in trainer.state.log_history if "loss" in line],
        "parts": [line for line in trainer.state.log_history if "loss" in line][-1],
        "seen": seen,
        "columns": {str(key): value.tolist() for key, value in columns.columns["forget"].items()}
        if hasattr(columns, "columns")
        else {},
        "sharded": is_sharded(model),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"rank{processes.rank()}.json").write_text(json.dumps(said))
    if processes.rank() == 0:
        save_file({name: value.clone().contiguous() for name, value in weights.items()}, out / "final.safetensors")


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    processes.join()
    for job in jobs["jobs"]:
        run_job(job, jobs)
    processes.wait()
