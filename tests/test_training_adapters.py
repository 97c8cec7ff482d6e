"""Adapters, precision and optimisers: what is trained, what is saved, and what is refused."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnkit.errors import UserError
from unlearnkit.measure import measure
from unlearnkit.models.adapters import Lora, attach
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.forward import answer_logps
from unlearnkit.models.load import load_model
from unlearnkit.models.reference import Live
from unlearnkit.objectives import parse_objective
from unlearnkit.run.models import starting_model
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import Trained, finetune, unlearn
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Template
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import Examples
from unlearnkit.training.optimizers import OPTIMIZERS, on_cpu
from unlearnkit.training.references import ByView
from unlearnkit.training.trainer import UnlearnTrainer

CPU = torch.device("cpu")
Sentences = list[tuple[str, str]]
SETTINGS = Settings(lr=1e-2, epochs=3, batch_size=4, seed=2, lora="r=4,dropout=0.1")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def task_of(sentences: Sentences) -> Task:
    rows = [Row(n, q, a, f"So: {a}", ("In Rome.", "Never.")) for n, (q, a) in enumerate(sentences)]
    forget, retain = rows[:8], rows[8:]
    return Task("small:forget30", forget, forget, retain, {"forget": forget, "retain": retain[:6]}, ("No idea.",))


def run(
    folder: Path, sentences: Sentences, out: Path, settings: Settings, objective: str = "npo + kl", save: bool = True
) -> Trained:
    start, task = starting_model(str(folder), dtype=settings.weights), task_of(sentences)
    return unlearn(start, Template(start.loaded.tokenizer), task, objective, out, settings, save_checkpoints=save)


def logp(model: Any, tokenizer: Any, sentences: Sentences) -> list[float]:
    table = measure(model.eval(), Template(tokenizer), task_of(sentences), max_new_tokens=2)
    return [float(loss) for loss in table.data.column("loss").to_pylist()]


def forget_loss(model: Any, tokenizer: Any, sentences: Sentences) -> float:
    """Nats a token, the mean over the forget rows."""
    template = Template(tokenizer)
    rows = template.encode_all([(row.question, row.answer) for row in task_of(sentences).forget])
    return float(torch.stack([-one.mean() for one in answer_logps(model.eval(), rows)]).mean())


def test_an_adapter_is_trained_saved_and_loaded_with_its_base(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path
) -> None:
    done = run(tiny_folder, sentences, tmp_path / "run", SETTINGS)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= names
    assert "model.safetensors" not in names
    assert not [*(tmp_path / "run").rglob("*.bin")], "nothing pickled but the optimiser's own state"
    base = load_model(str(tiny_folder), device=CPU)
    alone = weights_digest(base.model)
    with done.model.disable_adapter():
        assert logp(done.model, base.tokenizer, sentences) == logp(base.model, base.tokenizer, sentences)
    loaded = load_model(str(tmp_path / "run"), device=CPU)
    assert weights_digest(loaded.model) != alone
    again = logp(loaded.model, loaded.tokenizer, sentences)
    assert again == pytest.approx(logp(done.model, base.tokenizer, sentences), rel=1e-5)
    assert again != pytest.approx(logp(base.model, base.tokenizer, sentences), rel=1e-3)


def test_merged_is_a_model_like_any_other(tiny_folder: Path, sentences: Sentences, tmp_path: Path) -> None:
    run(tiny_folder, sentences, tmp_path / "apart", SETTINGS)
    run(tiny_folder, sentences, tmp_path / "merged", replace(SETTINGS, merge=True))
    assert not (tmp_path / "merged/adapter_config.json").exists()
    apart, merged = (load_model(str(tmp_path / name), device=CPU) for name in ("apart", "merged"))
    assert weights_digest(apart.model) == weights_digest(merged.model)


def test_an_adapter_on_an_adapter_finds_both(tiny_folder: Path, sentences: Sentences, tmp_path: Path) -> None:
    run(tiny_folder, sentences, tmp_path / "one", SETTINGS)
    done = run(tmp_path / "one", sentences, tmp_path / "two", SETTINGS)
    loaded = load_model(str(tmp_path / "two"), device=CPU)
    wanted = logp(done.model, loaded.tokenizer, sentences)
    assert logp(loaded.model, loaded.tokenizer, sentences) == pytest.approx(wanted, rel=1e-5)


def test_an_adapter_with_dropout_goes_on_where_it_stopped(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path
) -> None:
    run(tiny_folder, sentences, tmp_path / "whole", SETTINGS)
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    for late in ("run.json", "record.json", "adapter_model.safetensors"):
        (tmp_path / "stopped" / late).unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "stopped/checkpoint-6")
    run(tiny_folder, sentences, tmp_path / "stopped", SETTINGS)
    whole, stopped = (tmp_path / name / "adapter_model.safetensors" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()


def adapted_trainer(folder: Path, sentences: Sentences, objective: str, **settings: Any) -> UnlearnTrainer:
    model, tokenizer = load_model(str(folder), device=CPU)
    checkpointing = settings.get("activation_checkpointing", False)
    task = task_of(sentences)
    examples = Examples(parse_objective(objective), Template(tokenizer), forget=task.forget, retain=task.retain)
    given = {"learning_rate": 1e-2, "max_steps": 3, "save_strategy": "no", "use_cpu": True, "output_dir": "unused"}
    return UnlearnTrainer(attach(model, Lora(r=4), 0, checkpointing), UnlearnConfig(**(given | settings)), examples)


@pytest.mark.parametrize("objective", ["npo + kl", "rmu", "npo + rt"])
def test_computing_activations_twice_trains_the_same_adapter(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for checkpointing in (False, True):
        more = {"activation_checkpointing_kwargs": {"use_reentrant": False}} if checkpointing else {}
        trainer = adapted_trainer(tiny_folder, sentences, objective, activation_checkpointing=checkpointing, **more)
        before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
        trainer.train()
        after = {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}
        assert sum(not torch.equal(before[name], after[name]) for name in before) >= len(before) / 2
        found.append(after)
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


def test_the_reference_is_the_adapter_switched_off(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = adapted_trainer(tiny_folder, sentences, "npo + kl")
    trainer.train()
    assert isinstance(trainer.reference, ByView)
    live = trainer.reference.references["retain"]
    assert isinstance(live, Live)
    assert live.model is trainer.model, "no second model"
    frozen = Live(load_model(str(tiny_folder), device=CPU).model)
    for view in ("forget", "retain"):
        rows = trainer.examples.used(view, 1)
        asked: dict[str, Any] = {"logits": False, "hidden_layer": None}
        mine = trainer.reference.stats(view, [*rows], [*rows.values()], **asked).logp.double().sum(-1)
        theirs = frozen.stats(view, [*rows], [*rows.values()], **asked).logp.double().sum(-1)
        assert torch.allclose(mine, theirs, atol=1e-5, rtol=0)


def test_an_adapter_that_was_trained_before_is_no_reference_switched_off(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = adapted_trainer(tiny_folder, sentences, "ga + rt")
    trainer.train()
    again = adapted_trainer(tiny_folder, sentences, "npo + rt")
    again.model.load_state_dict(trainer.model.state_dict())
    with pytest.raises(UserError, match="merge the adapter first"):
        again.train()


# ------------------------------------------------------------------------------------------------ what cannot be loaded


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(peft_type="IA3"), "kind 'IA3'"),
        (lambda config: config.update(base_model_name_or_path=None), "does not say which model"),
        (lambda config: config.update(base_model_name_or_path="./nowhere"), "there is no such directory"),
        (lambda config: config.update(r=7), "does not fit its base model"),
        (lambda config: config.pop("peft_type"), "cannot be read"),
    ],
)
def test_adapters_that_cannot_be_loaded_are_named(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, change: Any, said: str
) -> None:
    model = attach(load_model(str(tiny_folder), device=CPU).model, Lora(r=4), 0)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    change(config)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        load_model(str(tmp_path), device=CPU)


def test_a_pickled_adapter_is_not_read(tiny_folder: Path, tmp_path: Path) -> None:
    model = attach(load_model(str(tiny_folder), device=CPU).model, Lora(r=4), 0)
    model.save_pretrained(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(UserError, match=r"not there as adapter_model\.safetensors"):
        load_model(str(tmp_path), device=CPU)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": "adamw_8bit"}, "needs a GPU; on a CPU there are adamw, sgd, adafactor"),
        ({"optimizer": "adamw_8bit_sr"}, "needs a GPU"),
        ({"optimizer": "adamw8bit"}, "Did you mean 'adamw_8bit'"),
        ({"lora": "r=16", "quantize": "nf4"}, "--quantize nf4 needs a GPU"),
        ({"lora": "r=16", "quantize": "nf5"}, "Did you mean 'nf4'"),
        ({"merge": True}, "--merge needs an adapter"),
        ({"lora": "r=16", "merge": True, "shard": True}, "cannot go together"),
        ({"lora": "r=0"}, "the rank must be 1 or more"),
        ({"lora": "rank=4"}, "unknown setting of --lora 'rank'"),
        ({"lora": "r=four"}, "'r=four' cannot be read"),
        ({"lora": "r=4,dropout=1"}, "a share from 0 to below 1"),
        ({"lora": "r=4,alpha=-1"}, "must be above 0"),
        ({"weights": "fp16"}, "fp32 or bf16"),
        ({"weights": "int8"}, "unknown dtype"),
    ],
)
def test_what_cannot_run_here_is_refused_at_once(settings: dict[str, Any], said: str) -> None:
    if torch.cuda.is_available() and "GPU" in said:
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=said):
        Settings(**settings)


def test_a_layer_that_is_not_there_is_named(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match="--lora r=4,targets=wq"):
        attach(load_model(str(tiny_folder), device=CPU).model, Lora(r=4, targets=("wq",)), 0)


# --------------------------------------------------------------------------------------------------------- optimisers


@pytest.mark.parametrize("name", on_cpu())
def test_every_optimizer_of_a_cpu_changes_the_model(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path, name: str
) -> None:
    settings = Settings(lr=1e-2, epochs=1, batch_size=4, optimizer=name)
    done = run(tiny_folder, sentences, tmp_path / "run", settings, "npo + rt")
    assert weights_digest(done.model) != weights_digest(load_model(str(tiny_folder), device=CPU).model)


def test_what_a_run_is_does_not_depend_on_how_it_is_written() -> None:
    assert Settings(weights="bf16", lora="r=4").for_spec() == Settings(weights="bfloat16", lora="r=4").for_spec()
    assert "lora" not in Settings().for_spec()
    assert Settings(lora="r=4, alpha=8").for_spec()["lora"] == "r=4,alpha=8"
    assert Settings().for_spec(2) != Settings().for_spec(1)


# ------------------------------------------------------------------------------------------------------- master weights


def test_bf16_weights_are_asked_for_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="most updates are rounded away and the model hardly changes"):
        Settings(weights="bf16")
    assert not OPTIMIZERS["adamw"].rounds
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Settings(weights="fp32")
        Settings(weights="bf16", lora="r=4")  # the adapter is float32 and the weights do not move


@pytest.mark.filterwarnings("ignore:--weights bf16")
def test_at_a_small_rate_fp32_weights_forget_and_bf16_weights_hardly_move(
    tiny_folder: Path, sentences: Sentences, tmp_path: Path
) -> None:
    known = tmp_path / "known"  # all rows by heart first, as a target model has them
    start, task = starting_model(str(tiny_folder)), task_of(sentences)
    learnt = Settings(lr=1e-2, epochs=40, batch_size=6, schedule="constant")
    everything = Task("small:full", task.forget + task.retain, task.forget, task.retain, task.evaluation, task.refusals)
    finetune(start, Template(start.loaded.tokenizer), everything, known, learnt, save_checkpoints=False)
    grown, moved = {}, {}
    for weights in ("float32", "bfloat16"):
        settings = Settings(lr=1e-5, epochs=100, batch_size=4, schedule="constant", weights=weights)
        before = starting_model(str(known), dtype=weights).loaded
        was = {name: value.clone() for name, value in before.model.state_dict().items()}
        first = forget_loss(before.model, before.tokenizer, sentences)
        done = run(known, sentences, tmp_path / weights, settings, "npo", save=False).model
        grown[weights] = forget_loss(done, before.tokenizer, sentences) / first
        changed = sum(int((was[name] != now).sum()) for name, now in done.state_dict().items())
        moved[weights] = changed / sum(value.numel() for value in was.values())
    # measured: the loss grows 10 to 22 times with every weight moved, against 3 % with 1 % of them
    assert moved["float32"] > 0.99
    assert moved["bfloat16"] < 0.05
    assert grown["float32"] > 4
    assert abs(grown["bfloat16"] - 1) < 0.2
