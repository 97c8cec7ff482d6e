"""The trainer: exact under any cut of a step, every row once, and a clear end when a loss is no number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearnkit.errors import Diverged, UserError
from unlearnkit.models.load import load_model
from unlearnkit.models.reference import Columns
from unlearnkit.objectives import parse_objective, term_names
from unlearnkit.tasks.base import Row
from unlearnkit.text.template import Template
from unlearnkit.training.callbacks import EachEpoch
from unlearnkit.training.columns import Shelf
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import FILLER, Examples, StepSampler
from unlearnkit.training.references import ByView
from unlearnkit.training.trainer import UnlearnTrainer

REFUSALS = ("I don't know.", "That is something that nobody ever told me about.", "No idea.")


def rows(sentences: list[tuple[str, str]]) -> list[Row]:
    return [Row(number, question, answer) for number, (question, answer) in enumerate(sentences)]


def trainer_of(
    folder: Path, sentences: list[tuple[str, str]], objective: str, out: Path, **settings: Any
) -> UnlearnTrainer:
    torch.manual_seed(0)
    model, tokenizer = load_model(str(folder), device=torch.device("cpu"))
    data = rows(sentences)
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
    shelf = given.pop("shelf", None)
    return UnlearnTrainer(model, UnlearnConfig(output_dir=str(out), **given), examples, tokenizer, shelf=shelf)


def run(trainer: UnlearnTrainer) -> tuple[list[float], dict[str, torch.Tensor], float]:
    """Losses by step, final weights, and the norm of the whole update."""
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    after = trainer.model.state_dict()
    update = sum(float((after[name] - before[name]).square().sum()) for name in before) ** 0.5
    return losses, {name: value.clone() for name, value in after.items()}, update


@pytest.mark.parametrize("objective", ["npo + rt", "npo + kl", "dpo + rt", "idk(join='retain')", "ga - 0.3*rt"])
@pytest.mark.parametrize(
    "cut",
    [
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {"per_device_train_batch_size": 8, "token_budget": 40},
    ],
    ids=["accumulated", "small pieces"],
)
def test_a_step_is_the_same_however_it_is_cut(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path, objective: str, cut: dict[str, int]
) -> None:
    whole = trainer_of(tiny_folder, sentences, objective, tmp_path, per_device_train_batch_size=8, token_budget=10**6)
    losses, weights, update = run(whole)
    other_losses, other_weights, _ = run(trainer_of(tiny_folder, sentences, objective, tmp_path, **cut))
    assert len(losses) == 4  # 13 rows in steps of 8, twice
    assert other_losses == pytest.approx(losses, rel=1e-6, abs=1e-7)
    apart = sum(float((other_weights[name] - weights[name]).square().sum()) for name in weights) ** 0.5
    assert apart <= 1e-4 * update


@pytest.mark.parametrize("name", term_names())
def test_every_term_takes_a_step(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path, name: str
) -> None:
    trainer = trainer_of(tiny_folder, sentences, name, tmp_path, max_steps=2)
    losses, _, update = run(trainer)
    assert len(losses) == 2
    assert update > 0
    assert all(abs(loss) < 1e4 for loss in losses)
    assert any(key.startswith(f"loss/{name}") for key in trainer.state.log_history[0])


@given(
    size=st.integers(1, 60),
    batch=st.integers(1, 9),
    world=st.integers(1, 4),
    accumulate=st.integers(1, 4),
    seed=st.integers(0, 99),
    by_length=st.booleans(),
)
def test_every_row_is_dealt_once_and_steps_hold_the_same_rows(
    size: int, batch: int, world: int, accumulate: int, seed: int, by_length: bool
) -> None:
    slots = world * accumulate
    lengths = [place * 7 % 13 for place in range(size)] if by_length else None
    ranks = [list(StepSampler(size, batch, slots, rank, world, seed, lengths)) for rank in range(world)]
    alone = list(StepSampler(size, batch * slots, 1, 0, 1, seed, lengths))
    assert {len(batches) for batches in ranks} == {len(alone) * accumulate}
    for step, whole in enumerate(alone):
        dealt = [
            place
            for batches in ranks
            for part in batches[step * accumulate : (step + 1) * accumulate]
            for _, place in part
            if place != FILLER
        ]
        assert sorted(dealt) == sorted(place for _, place in whole if place != FILLER)
    seen = [place for whole in alone for _, place in whole if place != FILLER]
    assert sorted(seen) == list(range(size))


def test_columns_equal_the_live_reference(tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path) -> None:
    from unlearnkit.models.reference import Live

    trainer = trainer_of(tiny_folder, sentences, "npo + dpo", tmp_path)
    trainer.prepare_reference()
    assert trainer.reference is not None
    live = Live.frozen_copy(trainer.model)
    for view in ("forget", "alternate"):
        used = trainer.examples.used(view, epochs=2)
        keys, encoded = list(used), list(used.values())
        kept = trainer.reference.stats(view, keys, encoded, logits=False, hidden_layer=None).logp.double().sum(-1)
        asked = live.stats(view, keys, encoded, logits=False, hidden_layer=None).logp.double().sum(-1)
        assert torch.allclose(kept, asked, atol=1e-5, rtol=0)  # in float64: near -188 float32 has steps of 1.5e-5


def columns_of(trainer: UnlearnTrainer) -> dict[str, dict[Any, torch.Tensor]]:
    trainer.prepare_reference()
    assert isinstance(trainer.reference, ByView)
    columns = trainer.reference.references["forget"]
    assert isinstance(columns, Columns)
    return {view: dict(named) for view, named in columns.columns.items()}


def test_columns_are_kept_on_disk_and_the_model_is_not_asked_again(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf", "weights", "plain")
    first = columns_of(trainer_of(tiny_folder, sentences, "npo + dpo", tmp_path, shelf=shelf))
    assert len([*shelf.folder.iterdir()]) == 1
    again = trainer_of(tiny_folder, sentences, "npo + dpo", tmp_path, shelf=shelf, token_budget=50)
    with torch.no_grad():
        for parameter in again.model.parameters():
            parameter.fill_(torch.nan)  # whoever asked it would notice
    second = columns_of(again)
    assert [*first] == [*second]
    for view in first:
        assert [*first[view]] == [*second[view]]
        assert all(torch.equal(first[view][key], second[view][key]) for key in first[view])


@pytest.mark.parametrize(
    "other",
    [
        {"shelf": Shelf(Path("shelf"), "other weights", "plain")},
        {"shelf": Shelf(Path("shelf"), "weights", "another template")},
        {"objective": "npo + dpo"},
        {"seed": 6, "objective": "dpo"},
        {"bf16": True},
        {"fewer": 3},
    ],
)
def test_another_weight_template_row_or_dtype_has_columns_of_its_own(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path, other: dict[str, Any]
) -> None:
    def kept(shelf: Shelf, objective: str = "npo", fewer: int = 0, **more: Any) -> set[Path]:
        here = replace(shelf, folder=tmp_path / shelf.folder)
        columns_of(trainer_of(tiny_folder, sentences[fewer:], objective, tmp_path / "out", shelf=here, **more))
        return set(here.folder.iterdir())

    shelf = Shelf(Path("shelf"), "weights", "plain")
    before = kept(shelf)
    assert kept(shelf) == before
    assert len(kept(**({"shelf": shelf} | other)) - before) == 1


def test_columns_that_were_damaged_are_computed_again(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf", "weights", "plain")
    first = columns_of(trainer_of(tiny_folder, sentences, "npo", tmp_path, shelf=shelf))
    (file,) = shelf.folder.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], whole[:-4] + torch.tensor([torch.nan]).numpy().tobytes()):
        file.write_bytes(damaged)
        second = columns_of(trainer_of(tiny_folder, sentences, "npo", tmp_path, shelf=shelf))
        assert all(torch.equal(first["forget"][key], second["forget"][key]) for key in first["forget"])
        assert file.read_bytes() == whole


def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_change(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    trainer = trainer_of(tiny_folder, sentences, "1e38*ga + rt", tmp_path, max_grad_norm=0.0)
    with pytest.raises(Diverged, match=r"step 1: the .* of 'ga' is not a finite number") as ended:
        trainer.train()
    assert "rt=" in str(ended.value)
    assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())


def test_looking_at_the_model_changes_nothing(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    plain, _, _ = run(trainer_of(tiny_folder, sentences, "npo + rt", tmp_path))
    watched = trainer_of(tiny_folder, sentences, "npo + rt", tmp_path)
    seen: list[tuple[int, bool]] = []
    watched.add_callback(EachEpoch(lambda model, epoch: seen.append((epoch, model.training))))
    losses, _, _ = run(watched)
    assert losses == plain
    assert seen == [(0, False), (1, False), (2, False)]


def test_finetuning_goes_through_the_same_door(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    trainer = trainer_of(tiny_folder, sentences, "rt", tmp_path, num_train_epochs=8, learning_rate=1e-2)
    losses, _, _ = run(trainer)
    assert trainer.objective.lead == "retain"
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("objective", "missing", "said"),
    [("ga + rt", "retain", "the retain set"), ("dpo", "refusals", "a refusal"), ("npo", "forget", "the forget set")],
)
def test_a_view_that_the_task_lacks_is_named(
    tiny_folder: Path, sentences: list[tuple[str, str]], objective: str, missing: str, said: str
) -> None:
    _, tokenizer = load_model(str(tiny_folder), device=torch.device("cpu"))
    data: dict[str, Any] = {"forget": rows(sentences), "retain": rows(sentences), "refusals": REFUSALS}
    with pytest.raises(UserError, match=said):
        Examples(parse_objective(objective), Template(tokenizer), **(data | {missing: ()}))


def test_a_row_longer_than_the_context_is_refused_before_training(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="the model reads at most 128"):
        trainer_of(tiny_folder, [("Why?", "x " * 400), *sentences], "ga", tmp_path)
