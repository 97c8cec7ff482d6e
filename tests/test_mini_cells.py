"""Cells on the embedded world: what makes two of them the same, what they refuse, and one that really runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import pytest
import torch

from unlearnkit.claims.mini.cells import (
    MiniWorld,
    forget_nll,
    models_cell,
    run_unlearning,
    unlearning_cell,
)
from unlearnkit.run.models import starting_model
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import unlearn
from unlearnkit.sweep import sweep
from unlearnkit.table import Table
from unlearnkit.tasks import mini
from unlearnkit.tasks.base import Row
from unlearnkit.tasks.mini_recipe import DEMO
from unlearnkit.text.template import Template


@pytest.mark.parametrize(
    ("split", "retain"), [("forget01", "retain99"), ("forget10", "retain90"), ("forget90", "retain10")]
)
def test_a_world_names_its_models(split: str, retain: str) -> None:
    assert MiniWorld(split, 3).models() == {"target": "mini:target@3", "retain": f"mini:{retain}@3"}


def test_what_changes_a_result_changes_the_cell() -> None:
    where = MiniWorld()
    one = unlearning_cell(where, "ga", {"seed": 0})
    assert one.spec["settings"]["lr"] == DEMO.lr
    others = [
        unlearning_cell(where, "ga", {"seed": 1}),
        unlearning_cell(where, "ga + rt", {"seed": 0}),
        unlearning_cell(where, "ga", {"seed": 0, "lr": 1e-5}),
        unlearning_cell(MiniWorld(world=1), "ga", {"seed": 0}),
        unlearning_cell(MiniWorld("forget05"), "ga", {"seed": 0}),
        models_cell(where),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 7
    assert "seed 1" in others[0].name


def test_other_refusals_make_another_cell_and_a_machine_with_other_ones_refuses() -> None:
    spec = dict(unlearning_cell(MiniWorld(), "idk + rt").spec)
    assert "alternate" in spec
    assert "alternate" not in unlearning_cell(MiniWorld(), "npo + rt").spec
    assert spec["alternate"] != unlearning_cell(MiniWorld(), "altpo + rt").spec["alternate"]
    with pytest.raises(RuntimeError, match="other refusals"):
        run_unlearning(spec | {"alternate": "0" * 64})


def test_a_machine_that_would_train_other_models_refuses() -> None:
    spec = dict(unlearning_cell(MiniWorld(), "ga").spec)
    spec["models"] = {"target": "0" * 64, "retain": "0" * 64}
    with pytest.raises(RuntimeError, match="would train other models"):
        run_unlearning(spec)


def test_forget_nll_is_a_sum_over_an_answers_tokens_and_a_mean_over_forget_rows() -> None:
    rows = [
        {"split": "forget", "index": 0, "kind": "answer", "loss": 0.5, "length": 4},
        {"split": "forget", "index": 1, "kind": "answer", "loss": 2.0, "length": 2},
        {"split": "forget", "index": 1, "kind": "paraphrase", "loss": 9.0, "length": 9},
        {"split": "retain", "index": 0, "kind": "answer", "loss": 9.0, "length": 9},
    ]
    assert forget_nll(Table.from_rows(rows, {})) == 3.0


@pytest.mark.slow
@pytest.mark.xdist_group("models of the embedded world")
def test_a_cell_unlearns_and_brings_back_its_trajectory(tmp_path: Path) -> None:
    """Trains the world's models where the cache lacks them: a few minutes then."""
    where = MiniWorld(max_new_tokens=4)
    models, run = sweep([models_cell(where), unlearning_cell(where, "npo(beta=0.1) + rt", {"epochs": 1})], tmp_path)
    assert models["retain"]["forget_quality"] == 1
    assert models["target"]["forget_quality"] < 0.05
    first, last = run["trajectory"]
    assert (first["epoch"], last["epoch"]) == (0, 1)
    assert first["model_utility"] == models["target"]["model_utility"]
    assert last["forget_nll"] > first["forget_nll"] + 1
    steps = [entry["loss/npo"] for entry in run["log"] if "loss/npo" in entry]
    assert steps[0] == pytest.approx(13.8629, abs=1e-3)
    assert len(steps) == 5


@pytest.mark.slow
@pytest.mark.xdist_group("models of the embedded world")
@pytest.mark.filterwarnings("ignore:--weights bf16")
def test_at_rate_1e_5_npo_forgets_with_fp32_weights_and_hardly_moves_bf16_ones(tmp_path: Path) -> None:
    task, grown, moved = mini.load("forget10"), {}, {}
    for weights in ("float32", "bfloat16"):
        start = starting_model("mini:target@0", dtype=weights)
        template, was = Template(start.loaded.tokenizer), copy.deepcopy(start.loaded.model.state_dict())
        first = answer_nll(start.loaded.model, template, task.forget)
        settings = Settings(lr=1e-5, epochs=20, batch_size=16, schedule="constant", max_grad_norm=0, weights=weights)
        unlearn(start, template, task, "npo(beta=0.1)", tmp_path / weights, settings, save_checkpoints=False)
        grown[weights] = answer_nll(start.loaded.model, template, task.forget) / first
        now = start.loaded.model.state_dict()
        moved[weights] = mean((value != now[name]).float().mean().item() for name, value in was.items())
    # measured: the negative log-likelihood of the forget answers grows threefold, against 2 %
    assert moved["float32"] > 0.9
    assert moved["bfloat16"] < 0.2
    assert grown["float32"] > 2
    assert abs(grown["bfloat16"] - 1) < 0.1


@torch.no_grad()
def answer_nll(model: torch.nn.Module, template: Template, rows: Sequence[Row]) -> float:
    """Mean over the rows of −log π(answer|question) in nats, in float32 whatever the weights are."""
    model, total = copy.deepcopy(model).float().eval(), 0.0
    for row in rows:
        encoded = template.encode(row.question, row.answer)
        ids, start = torch.tensor([encoded.ids]), encoded.prompt_length
        scored = model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
        total -= scored.gather(1, ids[0, start:, None]).sum().item()
    return total / len(rows)
