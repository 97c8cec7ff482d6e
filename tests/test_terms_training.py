"""Terms with more than a loss: what they read in training, exactness under any cut, and a dual variable that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from unlearnkit.errors import UserError
from unlearnkit.models.forward import answer_stats, layer_place, position_stats
from unlearnkit.models.load import load_model
from unlearnkit.objectives import parse_objective
from unlearnkit.tasks.base import Row
from unlearnkit.text.template import Encoded, Template
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import Examples
from unlearnkit.training.trainer import UnlearnTrainer

Sentences = list[tuple[str, str]]


def trainer_of(folder: Path, sentences: Sentences, objective: str, out: Path, **settings: Any) -> UnlearnTrainer:
    torch.manual_seed(0)
    model, tokenizer = load_model(str(folder), device=torch.device("cpu"))
    data = [Row(number, question, answer) for number, (question, answer) in enumerate(sentences)]
    examples = Examples(
        parse_objective(objective),
        Template(tokenizer),
        forget=data[:13],
        retain=data[13:],
        refusals=("I don't know.", "That is something that nobody ever told me about.", "No idea."),
        seed=5,
    )
    given = {"num_train_epochs": 2, "learning_rate": 1e-3, "save_strategy": "no", "seed": 5, "use_cpu": True} | settings
    return UnlearnTrainer(model, UnlearnConfig(output_dir=str(out), **given), examples, tokenizer)


def losses_and_weights(trainer: UnlearnTrainer) -> tuple[list[float], torch.Tensor]:
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return losses, torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


# With a learning rate at which the weights move by far more than their rounding, and the loss does not run away.
EXACT = [
    ("kto + rt", 0.05),
    ("kto(beta=0.5, variant='original') + kl", 0.05),
    ("rmu(layer=1)", 0.3),
    ("rmu(layer=0, variant='original') + 0.5*rt", 0.3),
    ("pdu + dual(eps=1.0, rate=3)", 0.3),
    ("pdu(variant='original') + rt", 0.3),
    ("jensun + jensun(on='retain')", 0.3),
    ("jensun(on='forget') + kl(mask='text')", 0.3),
    ("undial + simnpo", 1.0),
    ("rt + kl(mask='all', length=128)", 0.3),
    ("ceu + tnpo + wga + satimp", 0.3),
]


@pytest.mark.parametrize(("objective", "rate"), EXACT, ids=[formula for formula, _ in EXACT])
def test_a_step_is_the_same_however_it_is_cut(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, objective: str, rate: float
) -> None:
    # plain gradient descent: Adam's first step is lr times the sign of a gradient, also where that is rounding noise
    settings = {"optim": "sgd", "weight_decay": 0.0, "learning_rate": rate}
    whole = {"per_device_train_batch_size": 8, "token_budget": 10**6, **settings}
    apart = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "token_budget": 60, **settings}
    losses, weights = losses_and_weights(trainer_of(tiny_folder, sentences, objective, tmp_path, **whole))
    other_losses, other_weights = losses_and_weights(trainer_of(tiny_folder, sentences, objective, tmp_path, **apart))
    start = torch.cat([weight.detach().flatten() for weight in load_model(str(tiny_folder)).model.cpu().parameters()])
    assert other_losses == pytest.approx(losses, rel=1e-6, abs=1e-7)
    assert float((other_weights - weights).norm()) <= 1e-4 * float((weights - start).norm())


def test_the_dual_variable_follows_the_retain_loss(tiny_folder: Path, sentences: Sentences, tmp_path: Path) -> None:
    """λ ← max(0, λ + η (R − ε)) with the R of each step, once the warm-up is over; and the loss is F + λ (R − ε)."""
    trainer = trainer_of(
        tiny_folder, sentences, "pdu + 0.5*dual(eps=4.0, first=0.7, rate=0.1, warmup=1)", tmp_path, num_train_epochs=4
    )
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    assert len(lines) == 8  # two steps an epoch
    multiplier = 0.7
    for step, line in enumerate(lines):
        assert line["loss"] == pytest.approx(line["loss/pdu"] + 0.5 * multiplier * line["loss/dual"], rel=1e-5)
        if step >= 2:
            multiplier = max(0.0, multiplier + 0.1 * line["loss/dual"])
        assert line["multiplier/dual"] == pytest.approx(multiplier, rel=1e-6)
    assert len({line["multiplier/dual"] for line in lines}) == 7


def test_the_dual_variable_stops_at_zero(tiny_folder: Path, sentences: Sentences, tmp_path: Path) -> None:
    trainer = trainer_of(tiny_folder, sentences, "ga + dual(eps=100.0)", tmp_path)
    trainer.train()
    assert trainer.multipliers.values == {"dual": 0.0}


class StopAfter(TrainerCallback):  # type: ignore[misc,unused-ignore]
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        control.should_training_stop = state.global_step >= self.steps


def test_a_resumed_run_has_the_dual_variable_of_its_checkpoint(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path
) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 3}
    formula = "npo + dual(eps=1.0, rate=0.5)"
    whole, whole_weights = losses_and_weights(
        trainer_of(tiny_folder, sentences, formula, tmp_path / "whole", **settings)
    )
    stopped = trainer_of(tiny_folder, sentences, formula, tmp_path / "cut", **settings)
    stopped.add_callback(StopAfter(3))
    stopped.train()
    kept = json.loads((tmp_path / "cut/checkpoint-3/trainer_state.json").read_text())["stateful_callbacks"]
    assert kept["Multipliers"]["attributes"]["values"] == stopped.multipliers.values != {"dual": 1.0}
    resumed = trainer_of(tiny_folder, sentences, formula, tmp_path / "cut", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut/checkpoint-3"))
    weights = torch.cat([weight.detach().flatten() for weight in resumed.model.parameters()])
    assert [line["loss"] for line in resumed.state.log_history if "loss" in line] == whole
    assert torch.equal(weights, whole_weights)


def test_hidden_states_are_those_of_the_tokens_themselves(tiny_folder: Path) -> None:
    model = load_model(str(tiny_folder), device=torch.device("cpu")).model
    rows = [Encoded((1, 5, 6, 7, 2), 2), Encoded((1, 9, 8), 2)]
    stats = answer_stats(model, rows, hidden_layer=0)
    with torch.no_grad():
        after = model(torch.tensor([[1, 5, 6, 7, 2]]), output_hidden_states=True).hidden_states[1]
    assert stats.hidden is not None
    assert torch.allclose(stats.hidden[0], after[0, 2:], atol=1e-6)
    assert not stats.hidden[1, 1:].any()  # nothing behind the end of the shorter row
    assert stats.targets is not None
    assert stats.targets.tolist() == [[6, 7, 2], [8, 0, 0]]


def test_all_positions_hold_the_answer_where_it_is_predicted(tiny_folder: Path) -> None:
    model = load_model(str(tiny_folder), device=torch.device("cpu")).model
    rows = [Encoded((1, 5, 6, 7, 2), 2), Encoded((1, 9, 8), 2)]
    every, answers = position_stats(model, rows, 7), answer_stats(model, rows, logits=True)
    assert every.mask.int().tolist() == [[0, 1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]]
    assert every.targets is not None
    assert every.targets[0].tolist() == [-100, 6, 7, 2, -100, -100, -100]
    assert every.logits is not None
    assert answers.logits is not None
    assert torch.allclose(every.logits[every.mask], answers.logits[answers.mask], atol=1e-5)
    assert torch.allclose(every.logp[every.mask], answers.logp[answers.mask], atol=1e-5)


def test_a_layer_that_is_not_there_is_refused_before_training(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"layer 2 was asked for, but the model has 2 layers: 0 to 1"):
        trainer_of(tiny_folder, sentences, "rmu(layer=2)", tmp_path)


def test_the_paper_s_depth_is_layer_7_of_32() -> None:
    class Deep(torch.nn.Module):
        class config:
            num_hidden_layers = 32

            @classmethod
            def get_text_config(cls) -> Any:
                return cls

        def __init__(self) -> None:
            super().__init__()
            self.experts = torch.nn.ModuleList(torch.nn.Identity() for _ in range(64))
            self.blocks = torch.nn.ModuleList(torch.nn.Identity() for _ in range(32))

    model = Deep()
    assert layer_place(model, -1) is model.blocks[7]
    assert layer_place(model, 31) is model.blocks[31]
