"""Wrappers: their algebra on known losses, exactness under any cut, and what they are refused for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from transformers import TrainerCallback

from unlearnkit.cli.main import run
from unlearnkit.errors import UserError
from unlearnkit.models.load import load_model
from unlearnkit.objectives import parse_objective
from unlearnkit.run.settings import Settings
from unlearnkit.tasks.base import Row
from unlearnkit.text.template import Template
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import Examples
from unlearnkit.training.gradients import Gradient, dot, moved
from unlearnkit.training.trainer import UnlearnTrainer
from unlearnkit.training.wrappers.find import find_wrapper, parse_wrapper, wrapper_names
from unlearnkit.training.wrappers.gru import GRU
from unlearnkit.training.wrappers.sam import SAM

Sentences = list[tuple[str, str]]
numbers = st.floats(-10, 10, width=32)
vectors = st.lists(numbers, min_size=5, max_size=5)


@dataclass
class Known:
    """Forget loss (w − a)ᵀ D (w − a) / 2 and retain loss rᵀ w, over two parameters, one of which the second lacks."""

    start: Tensor
    centre: Tensor
    curve: Tensor
    slope: Tensor

    def __post_init__(self) -> None:
        self.parameters = [torch.nn.Parameter(part.clone()) for part in (self.start[:2], self.start[2:])]

    def forget(self, *, again: bool = False) -> Gradient:
        here = torch.cat([one.detach() for one in self.parameters])
        gradient = self.curve * (here - self.centre)
        return [gradient[:2], gradient[2:]]

    def retain(self) -> Gradient:
        return [self.slope[:2].clone(), None]


def known(start: list[float], centre: list[float], slope: list[float]) -> Known:
    curve = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.25], dtype=torch.float64)
    parts = (torch.tensor(one, dtype=torch.float64) for one in (start, centre))
    return Known(*parts, curve, torch.tensor(slope, dtype=torch.float64))


def flat(gradient: Gradient) -> Tensor:
    return torch.cat([torch.zeros(3) if one is None else one for one in gradient])


@given(start=vectors, centre=vectors, slope=vectors, rho=st.floats(0, 2))
def test_sam_s_gradient_is_that_of_the_worst_point_nearby(
    start: list[float], centre: list[float], slope: list[float], rho: float
) -> None:
    step = known(start, centre, slope)
    here = step.curve * (step.start - step.centre)
    length = float(here.norm())
    there = step.start + (rho / length * here if length > 0 else 0)
    wanted = step.curve * (there - step.centre) + torch.cat([step.slope[:2], torch.zeros(3)])
    assert torch.allclose(flat(SAM(rho=rho).gradient(step)), wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(torch.cat([one.detach() for one in step.parameters]), step.start), (
        "the weights are back, to the bit"
    )


@given(start=vectors, centre=vectors, slope=vectors, descend=st.booleans())
def test_the_rectified_gradient_has_no_part_against_the_retain_gradient(
    start: list[float], centre: list[float], slope: list[float], descend: bool
) -> None:
    step = known(start, centre, slope)
    forget, retain = step.forget(), step.retain()
    rectified = GRU().gradient(known(start, centre, slope))
    assume(dot(retain, retain) == 0 or dot(retain, retain) > 1e-10 * dot(forget, forget))  # less is taken for rounding
    size = dot(forget, forget) ** 0.5 * dot(retain, retain) ** 0.5
    assert dot(rectified, retain) >= -1e-12 * size
    if dot(forget, retain) >= 0:
        assert torch.equal(flat(rectified), flat(forget)), "what does not conflict stays"
    else:
        assert abs(dot(rectified, retain)) <= 1e-9 * size
        taken = flat(forget) - flat(rectified)  # along the retain gradient alone
        assert float((taken * flat(retain)).sum().abs()) == pytest.approx(
            float(taken.norm() * flat(retain).norm()), rel=1e-6, abs=1e-9
        )
    both = GRU(descend=True).gradient(known(start, centre, slope))
    assert torch.allclose(flat(both), flat(rectified) + flat(retain), atol=1e-9)


def test_weights_are_back_also_after_an_error() -> None:
    weight = torch.nn.Parameter(torch.tensor([0.1, 0.2]))
    seen = []

    def fail() -> None:
        with moved([weight], [torch.ones(2)], 3.7):
            seen.extend(weight.tolist())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == pytest.approx([3.8, 3.9])
    assert torch.equal(weight.detach(), torch.tensor([0.1, 0.2]))


# ---------------------------------------------------------------------------------------------------------- in training

STEPS: dict[str, Any] = {"optim": "sgd", "weight_decay": 0.0, "learning_rate": 0.05, "max_grad_norm": 0.0}
WHOLE = {"per_device_train_batch_size": 8, "token_budget": 10**6}
WRAPPERS = ["sam(rho=0.5)", "gru", "gru(descend=True)"]


def trainer_of(folder: Path, sentences: Sentences, objective: str, out: Path, **settings: Any) -> UnlearnTrainer:
    torch.manual_seed(0)
    model, tokenizer = load_model(str(folder), device=torch.device("cpu"))
    data = [Row(number, question, answer) for number, (question, answer) in enumerate(sentences)]
    examples = Examples(
        parse_objective(objective),
        Template(tokenizer),
        forget=data[:13],
        retain=data[13:],
        refusals=("I don't know.", "That is something that nobody ever told me about."),
        seed=5,
    )
    given = {"num_train_epochs": 2, "learning_rate": 1e-3, "save_strategy": "no", "seed": 5, "use_cpu": True} | settings
    return UnlearnTrainer(model, UnlearnConfig(output_dir=str(out), **given), examples, tokenizer)


def losses_and_weights(trainer: UnlearnTrainer) -> tuple[list[float], Tensor]:
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return losses, torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


def weights_of(trainer: UnlearnTrainer) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


def test_every_wrapper_is_tried() -> None:
    assert {parse_wrapper(text).name for text in WRAPPERS} == set(wrapper_names())


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("objective", ["npo + rt", "kto + kl", "pdu + 0.5*dual(eps=1.0, rate=3)"])
def test_a_wrapped_step_is_the_same_however_it_is_cut(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, wrap: str, objective: str
) -> None:
    given = STEPS | {"wrap": wrap, "max_grad_norm": 1.0}
    apart = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "token_budget": 60}
    first = trainer_of(tiny_folder, sentences, objective, tmp_path, **given, **WHOLE)
    start = weights_of(first).clone()
    losses, weights = losses_and_weights(first)
    other_losses, other = losses_and_weights(trainer_of(tiny_folder, sentences, objective, tmp_path, **given, **apart))
    assert len(losses) == 4
    assert other_losses == pytest.approx(losses, rel=1e-6, abs=1e-7)
    assert float((other - weights).norm()) <= 1e-4 * float((weights - start).norm())


@pytest.mark.parametrize("objective", ["npo + rt", "kto + kl"])
def test_sam_at_no_distance_is_the_plain_step_and_at_some_it_is_not(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, objective: str
) -> None:
    plain, weights = losses_and_weights(trainer_of(tiny_folder, sentences, objective, tmp_path, **STEPS, **WHOLE))
    found = {}
    for rho in (0.0, 0.5):
        given = STEPS | WHOLE | {"wrap": f"sam(rho={rho})"}
        found[rho] = losses_and_weights(trainer_of(tiny_folder, sentences, objective, tmp_path, **given))
    assert found[0.0][0] == pytest.approx(plain, rel=1e-6)
    moved_by = float((weights - weights_of(trainer_of(tiny_folder, sentences, objective, tmp_path))).norm())
    assert float((found[0.0][1] - weights).norm()) <= 1e-5 * moved_by
    assert found[0.5][0][0] == pytest.approx(plain[0], rel=1e-6), (
        "the loss of the log is that at the weights themselves"
    )
    assert float((found[0.5][1] - weights).norm()) > 1e-2 * moved_by


def one_step(folder: Path, sentences: Sentences, objective: str, out: Path, **more: Any) -> Tensor:
    """What plain gradient descent with a rate of 1 takes away: the gradient of the first step."""
    given = STEPS | WHOLE | {"learning_rate": 1.0, "lr_scheduler_type": "constant", "max_steps": 1} | more
    trainer = trainer_of(folder, sentences, objective, out, **given)
    before = weights_of(trainer).double()
    trainer.train()
    return before - weights_of(trainer).double()


def test_gru_s_step_is_the_projection_of_the_terms_gradients(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path
) -> None:
    # rt's opposite conflicts with rt on much the same words
    forget = one_step(tiny_folder, sentences, "ga", tmp_path)
    retain = one_step(tiny_folder, sentences, "ga + rt", tmp_path) - forget
    rectified = one_step(tiny_folder, sentences, "ga + rt", tmp_path, wrap="gru")
    both = one_step(tiny_folder, sentences, "ga + 5*rt", tmp_path, wrap="gru(descend=True)")
    conflict = float(forget @ retain)
    assert conflict < 0
    assert torch.allclose(rectified, forget - conflict / float(retain @ retain) * retain, atol=1e-5)
    assert abs(float(rectified @ retain)) < 1e-3 * float(rectified.norm() * retain.norm())
    assert torch.allclose(both, rectified + 5 * retain, atol=1e-5)


class StopAfter(TrainerCallback):  # type: ignore[misc,unused-ignore]
    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        control.should_training_stop = state.global_step >= 2


def test_a_wrapped_run_goes_on_to_the_same_bits(tiny_folder: Path, sentences: Sentences, tmp_path: Path) -> None:
    given = {"wrap": "sam(rho=0.1)", "save_strategy": "steps", "save_steps": 1}
    _, whole = losses_and_weights(trainer_of(tiny_folder, sentences, "npo + rt", tmp_path / "whole", **given))
    stopped = trainer_of(tiny_folder, sentences, "npo + rt", tmp_path / "cut", **given)
    stopped.add_callback(StopAfter())
    stopped.train()
    resumed = trainer_of(tiny_folder, sentences, "npo + rt", tmp_path / "cut", **given)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut/checkpoint-2"))
    assert torch.equal(weights_of(resumed), whole)


# ------------------------------------------------------------------------------------------------------------- as asked


@pytest.mark.parametrize("name", wrapper_names())
def test_a_wrapper_says_what_it_is_and_reads_back_what_it_prints(name: str) -> None:
    wrapper = find_wrapper(name)
    assert wrapper.summary
    assert wrapper.paper.startswith("arXiv:")
    assert parse_wrapper(str(wrapper())) == wrapper()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sma", "unknown wrapper 'sma'. Did you mean 'sam'"),
        ("sam(r=1)", "unknown hyperparameter of 'sam' 'r'"),
        ("sam(rho=-1)", "rho must be 0 or more"),
        ("sam(rho='a')", "a float is allowed"),
        ("gru(descend=1)", "a bool is allowed"),
        ("sam + gru", "cannot be read; write it like 'sam(rho=0.01)'"),
        ("", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        Settings(wrap=text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("wrap", "objective", "said"),
    [
        ("sam", "rt", "'rt' has none"),
        ("gru", "npo", "add one, such as 'npo(beta=0.1) + rt'"),
        ("gru", "rmu", "only the retain set"),
    ],
)
def test_an_objective_without_the_terms_for_it_is_refused(wrap: str, objective: str, said: str) -> None:
    with pytest.raises(UserError, match="--wrap") as refused:
        parse_wrapper(wrap).check(parse_objective(objective))
    assert said in str(refused.value)


def test_a_run_is_another_run_with_a_wrapper_and_the_same_without(
    tiny_folder: Path, tofu_like: Path, tmp_path: Path
) -> None:
    assert "wrap" not in Settings().for_spec()
    assert Settings(wrap="sam( rho=1e-2 )").for_spec()["wrap"] == "sam(rho=0.01)"
    said = ["unlearn", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    said += ["--objective", "npo + rt", "--epochs", "1", "--measure", "no", "--no-checkpoints"]
    assert run([*said, "--out", str(tmp_path / "out"), "--wrap", "gru"]) == 0
    assert json.loads((tmp_path / "out/spec.json").read_text())["settings"]["wrap"] == "gru"
    record = json.loads((tmp_path / "out/record.json").read_text())
    assert record["run"]["method"] == "npo(beta=0.1) + rt with gru"
    assert "2503.09117" in [paper["arxiv"] for paper in record["papers"]]
