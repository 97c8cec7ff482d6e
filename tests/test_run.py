"""Runs: folders that know what they hold, runs that go on where they stopped, models by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnkit.errors import Diverged, UserError
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import load_model, load_tokenizer
from unlearnkit.run.compare import compare
from unlearnkit.run.evaluate import evaluate
from unlearnkit.run.folder import RunFolder, write_json
from unlearnkit.run.mini_models import MiniModel
from unlearnkit.run.models import Start, starting_model
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import Watch, finetune, unlearn
from unlearnkit.spec import RunSpec
from unlearnkit.tasks import load_task
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Template
from unlearnkit.training.checkpoints import newest_checkpoint, rotate, seal

SPEC = RunSpec("unlearn", "mini:forget10", "weights", "template", {}, {"lr": 0.1})
OTHER = RunSpec("unlearn", "mini:forget10", "weights", "template", {}, {"lr": 0.2})


def test_a_folder_is_new_then_unfinished_then_finished(tmp_path: Path) -> None:
    folder = RunFolder.claim(tmp_path / "run", SPEC)
    assert folder.state == "new"
    (folder.path / "checkpoint-3").mkdir()
    assert RunFolder.claim(tmp_path / "run", SPEC).state == "unfinished"
    folder.finish({"seconds": 1})
    assert RunFolder.claim(tmp_path / "run", SPEC).state == "finished"
    assert folder.result() == {"id": SPEC.id, "seconds": 1}


def test_another_run_is_refused_and_forcing_moves_it_aside(tmp_path: Path) -> None:
    first = RunFolder.claim(tmp_path / "run", SPEC)
    write_json(first.path / "precious.json", [1])
    with pytest.raises(UserError, match=r"its lr is 0\.1, not 0\.2"):
        RunFolder.claim(tmp_path / "run", OTHER)
    assert json.loads((first.path / "precious.json").read_text()) == [1]
    forced = RunFolder.claim(tmp_path / "run", OTHER, force=True)
    assert forced.state == "new"
    assert (tmp_path / "run.old1/precious.json").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_other_things_is_never_taken(tmp_path: Path, force: bool) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="no run of unlearnkit"):
        RunFolder.claim(tmp_path, SPEC, force=force)
    with pytest.raises(UserError, match="is a file"):
        RunFolder.claim(tmp_path / "letter.txt", SPEC, force=force)
    assert (tmp_path / "letter.txt").read_text() == "dear"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_spec_is_its_values() -> None:
    assert SPEC.id != OTHER.id
    assert RunSpec(**SPEC.to_json()).id == SPEC.id


def task_of(sentences: list[tuple[str, str]]) -> Task:
    rows = [Row(n, q, a, f"So: {a}", ("In Rome.", "Never.")) for n, (q, a) in enumerate(sentences)]
    forget, retain = rows[:8], rows[8:]
    return Task("small:forget30", forget, forget, retain, {"forget": forget, "retain": retain[:6]}, ("No idea.",))


def start_of(folder: Path) -> Start:
    loaded = load_model(str(folder), device=torch.device("cpu"))
    return Start(loaded, weights_digest(loaded.model))


SETTINGS = Settings(lr=1e-3, epochs=3, batch_size=4, seed=2)


def unlearn_into(out: Path, folder: Path, sentences: list[tuple[str, str]], **more: Any) -> Any:
    start = start_of(folder)
    watch = Watch(max_new_tokens=4)
    return unlearn(
        start, Template(start.loaded.tokenizer), task_of(sentences), "npo + rt", out, SETTINGS, watch=watch, **more
    )


def test_a_run_leaves_its_model_its_losses_and_its_trajectory(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    done = unlearn_into(tmp_path / "run", tiny_folder, sentences)
    assert [entry["epoch"] for entry in done.trajectory] == [0, 1, 2, 3]
    changed = load_model(str(tmp_path / "run"), device=torch.device("cpu")).model
    assert weights_digest(changed) == weights_digest(done.model)
    assert weights_digest(changed) != start_of(tiny_folder).digest
    log = json.loads((tmp_path / "run/log.json").read_text())
    assert [line["step"] for line in log if "loss/npo" in line] == [1, 2, 3, 4, 5, 6]
    again = unlearn_into(tmp_path / "run", tiny_folder, sentences)
    assert again.model is None, "a finished run is read, not run again"
    assert again.trajectory == done.trajectory


def test_a_run_that_diverges_leaves_the_losses_of_the_steps_before(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    start = start_of(tiny_folder)
    wild = Settings(lr=50.0, epochs=20, batch_size=8, optimizer="sgd", max_grad_norm=0.0, schedule="constant")
    with pytest.raises(Diverged) as ended:
        unlearn(start, Template(start.loaded.tokenizer), task_of(sentences), "ga", tmp_path / "run", wild)
    last = int(str(ended.value).split(":")[0].removeprefix("step ")) - 1
    steps = [line["step"] for line in json.loads((tmp_path / "run/log.json").read_text()) if "loss/ga" in line]
    assert last >= 1
    assert str(ended.value).endswith(str(tmp_path / "run/log.json"))
    assert steps == list(range(1, last + 1))
    assert not (tmp_path / "run/run.json").exists(), "it is not finished"


def test_a_run_that_stopped_goes_on_to_the_same_weights(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path
) -> None:
    whole = unlearn_into(tmp_path / "whole", tiny_folder, sentences)
    stopped = tmp_path / "stopped"
    unlearn_into(stopped, tiny_folder, sentences)
    for late in [stopped / "run.json", stopped / "model.safetensors", stopped / "epochs/003.parquet"]:
        late.unlink()
    import shutil

    shutil.rmtree(stopped / "checkpoint-6")
    assert newest_checkpoint(stopped) == str(stopped / "checkpoint-4")
    resumed = unlearn_into(stopped, tiny_folder, sentences)
    assert weights_digest(resumed.model) == weights_digest(whole.model)
    assert resumed.trajectory == whole.trajectory


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, shorten, flip])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json", "complete.json"])
def test_a_checkpoint_that_was_cut_off_is_not_taken(tmp_path: Path, name: str, damage: Any) -> None:
    for step in (2, 4, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for number, file in enumerate(("model.safetensors", "optimizer.pt", "trainer_state.json")):
            (folder / file).write_bytes(bytes(range(step, step + 20 + number)))
        seal(folder)
    (tmp_path / "checkpoint-of-mine").mkdir()
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    damage(tmp_path / "checkpoint-10" / name)
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    damage(tmp_path / "checkpoint-4" / name)
    damage(tmp_path / "checkpoint-2" / name)
    assert newest_checkpoint(tmp_path) is None


def test_what_was_never_finished_is_no_checkpoint_to_keep(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/model.safetensors").write_bytes(b"weights")
        if step != 8:
            seal(tmp_path / f"checkpoint-{step}")
    (tmp_path / ".unfinished").mkdir()
    rotate(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-6"]


def test_evaluations_are_compared(tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path: Path) -> None:
    start = start_of(tiny_folder)
    template, task = Template(start.loaded.tokenizer), task_of(sentences)
    scores = evaluate(start.loaded, template, task, tmp_path / "target", max_new_tokens=4)
    said = json.loads((tmp_path / "target/scores.json").read_text())
    assert said["scores"]["forget_probability"]["value"] == scores["forget_probability"].value
    assert said["scores"]["forget_quality"]["value"] is None
    assert "reference" in said["scores"]["forget_quality"]["reason"]
    tuned = finetune(start, template, task, tmp_path / "tuned", SETTINGS, save_checkpoints=False)
    evaluate(start.loaded._replace(model=tuned.model), template, task, tmp_path / "retain", max_new_tokens=4)
    unlearn_into(tmp_path / "run", tiny_folder, sentences)
    entries = compare([tmp_path / "run"], tmp_path / "target", tmp_path / "retain", tmp_path / "out")
    assert [entry["objective"] for entry in entries[:3]] == ["target", "retain", "npo(beta=0.1) + rt"]
    assert entries[1]["forget_quality"] == 1
    assert (tmp_path / "out/tradeoff.png").read_bytes().startswith(b"\x89PNG")
    assert "`npo(beta=0.1) + rt` | 3 |" in (tmp_path / "out/table.md").read_text()


def test_a_new_model_brings_a_tokenizer_of_the_whole_task(sentences: list[tuple[str, str]], tmp_path: Path) -> None:
    config = {
        "model_type": "llama",
        "vocab_size": 320,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    write_json(tmp_path / "small.json", config)
    task = task_of(sentences)
    name = f"init:{tmp_path / 'small.json'}"
    first, again = starting_model(name, task=task, seed=1), starting_model(name, task=task, seed=1)
    assert first.digest == again.digest
    assert weights_digest(first.loaded.model) == weights_digest(again.loaded.model)
    assert weights_digest(starting_model(name, task=task, seed=2).loaded.model) != weights_digest(first.loaded.model)
    encoded = Template(first.loaded.tokenizer).encode("Who?", "Ann Lee.")
    assert first.loaded.tokenizer.decode(encoded.prompt).endswith("Answer: ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere/at/all", "no such directory"),
        ("./nowhere", "no such directory"),
        ("init:missing.json", "not a readable JSON"),
        ("mini:targt", "the embedded world has"),
        ("mini:retain100", "the embedded world has"),
    ],
)
def test_models_that_are_not_there_are_named(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        starting_model(name)


def test_a_model_of_one_embedded_world_is_not_asked_about_another() -> None:
    with pytest.raises(UserError, match="knows world 1, task mini:forget10 is of world 0; give --task mini:forget10@1"):
        starting_model("mini:target@1", task=load_task("mini:forget10"))
    with pytest.raises(UserError, match=r"give --task mini:forget10$"):
        starting_model("mini:target", task=load_task("mini:forget10@2"))


def test_pickled_weights_are_not_read(tiny_folder: Path, tmp_path: Path) -> None:
    model, _ = load_model(str(tiny_folder), device=torch.device("cpu"))
    for file in tiny_folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="could not be loaded"):
        load_model(str(tmp_path))
    assert load_tokenizer(str(tmp_path)).eos_token == "<eos>"


def test_names_of_the_embedded_world() -> None:
    assert MiniModel.parse("mini:target@3") == MiniModel("full", 3, 0)
    assert MiniModel.parse("mini:base").part == "base"
    digests = {MiniModel.parse(f"mini:{n}").digest() for n in ("target", "target@1", "retain90", "retain90@0.1")}
    assert len(digests) == 4


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"epochs": -1}, {"schedule": "liner"}, {"pairing": "x"}, {"seed": -1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Settings(**wrong)
