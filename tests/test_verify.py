"""Every run leaves a record, and a record is checked in four depths; whatever was changed is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearnkit.cli.main import run as cli
from unlearnkit.errors import UserError
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import load_model
from unlearnkit.records.checks import FAILED, NOT_CHECKED, PASSED, first_failed
from unlearnkit.records.record import RECORD_NAME, number_of, read_record, write_record
from unlearnkit.records.weights import files_digest
from unlearnkit.run.agreement import apart, losses_agree, tables_agree
from unlearnkit.run.cost import Clock
from unlearnkit.run.evaluate import evaluate
from unlearnkit.run.folder import RunFolder
from unlearnkit.run.models import Start, public_name
from unlearnkit.run.record import record_demo
from unlearnkit.run.repeat import Given, settings_of
from unlearnkit.run.settings import Settings
from unlearnkit.run.train import Watch, finetune, unlearn
from unlearnkit.run.verify import verify
from unlearnkit.spec import RunSpec
from unlearnkit.table import Table
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Template

SETTINGS = Settings(lr=1e-3, epochs=3, batch_size=2, accumulate=2, warmup=2, seed=2)


@pytest.fixture(scope="module")
def task(sentences: list[tuple[str, str]]) -> Task:
    rows = [Row(n, q, a, f"So: {a}", ("In Rome.", "Never.")) for n, (q, a) in enumerate(sentences)]
    forget, retain = rows[:8], rows[8:]
    return Task("small:forget30", forget, forget, retain, {"forget": forget, "retain": retain[:6]}, ("No idea.",))


def start_of(folder: Path) -> Start:
    loaded = load_model(str(folder), device=torch.device("cpu"))
    return Start(loaded, weights_digest(loaded.model), "tiny")


@pytest.fixture(scope="module")
def runs(tiny_folder: Path, task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of a retain model, the finetuning that made it, and an unlearning run that was compared with it."""
    place = tmp_path_factory.mktemp("runs")
    start = start_of(tiny_folder)
    template = Template(start.loaded.tokenizer)
    finetune(start, template, task, place / "finetune", SETTINGS, save_checkpoints=False)
    evaluate(start.loaded, template, task, place / "eval", max_new_tokens=4)
    reference = Table.load(place / "eval/table.parquet")
    watch = Watch(reference=reference, max_new_tokens=4)
    start = start_of(tiny_folder)
    unlearn(start, template, task, "npo + rt", place / "unlearn", SETTINGS, watch=watch, save_checkpoints=False)
    return place


@pytest.fixture
def unlearned(runs: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(runs / "unlearn", tmp_path / "unlearn"))


def test_an_unlearning_run_is_recorded(runs: Path, tiny_folder: Path) -> None:
    record = read_record(runs / "unlearn")
    table = Table.load(runs / "unlearn/epochs/003.parquet")
    assert record["number"] == number_of(record)
    assert record["source"]["id"] == json.loads((runs / "unlearn/spec.json").read_text())["id"]
    assert record["run"] | {"task": ""} == {
        "task": "",
        "method": "npo(beta=0.1) + rt",
        "seed": 2,
        "protocol": "unlearnkit",
        "model": "tiny",
    }
    assert record["inputs"]["base_model"] == files_digest(tiny_folder)
    assert record["outputs"] == {"weights": files_digest(runs / "unlearn"), "table": table.digest()}
    assert set(record["inputs"]["tables"]) == {"reference", "target"}
    assert record["losses"]["step"] == [1, 2, 3, 4, 5, 6]
    assert set(record["losses"]["terms"]) == {"total", "npo", "rt"}
    assert record["scores"]["forget_probability"]["interval"] is not None
    assert record["scores"] == json.loads((runs / "unlearn/scores.json").read_text())["scores"]
    assert record["verdict"]["strength"].startswith("compared with the retain model and with the model before")
    assert record["cost"]["wall_seconds"] > 0
    assert record["cost"]["peak_memory_bytes"] > 10**7
    assert record["cost"]["flops"] > 0
    assert record["provenance"]["launcher"] == "single process"
    assert record["provenance"]["dtype"].startswith("float32")


def test_an_unlearned_model_has_a_card_and_others_have_none(runs: Path) -> None:
    assert read_record(runs / "unlearn")["number"] in (runs / "unlearn/README.md").read_text()
    assert not (runs / "finetune/README.md").exists()


def test_no_path_is_in_a_record(runs: Path, tiny_folder: Path) -> None:
    for name in ("finetune", "eval", "unlearn"):
        text = (runs / name / RECORD_NAME).read_text()
        assert str(runs) not in text
        assert str(tiny_folder) not in text
        assert str(Path.home()) not in text


def test_a_finetuning_run_that_measured_nothing_says_so(runs: Path) -> None:
    record = read_record(runs / "finetune")
    assert record["run"]["method"] == "finetune"
    assert record["scores"] == {}
    assert record["missing"]["outputs.table"].startswith("the model was not measured")
    assert record["outputs"]["weights"] == files_digest(runs / "finetune")
    found = verify(runs / "finetune")
    assert found.ok
    assert [check.status for check in found.checks] == [PASSED, PASSED, NOT_CHECKED, PASSED, NOT_CHECKED]


def test_an_evaluation_is_recorded_once(runs: Path, task: Task) -> None:
    before = (runs / "eval" / RECORD_NAME).read_bytes()
    start = start_of(runs / "finetune")
    evaluate(start.loaded, Template(start.loaded.tokenizer), task, runs / "eval", max_new_tokens=4)
    assert (runs / "eval" / RECORD_NAME).read_bytes() == before
    record = read_record(runs / "eval")
    assert record["run"]["method"] == "eval"
    assert record["inputs"]["base_model"] == read_record(runs / "finetune")["outputs"]["weights"]
    assert record["missing"]["outputs.weights"] == "an evaluation changes no weights"


@pytest.mark.parametrize("depth", ["digests", "scores", "measure", "train"])
def test_a_run_verifies_at_every_depth(runs: Path, task: Task, tiny_folder: Path, depth: str) -> None:
    found = verify(runs / "unlearn", depth, Given(str(tiny_folder), task))
    assert found.ok, first_failed(found.checks)
    assert all(check.status == PASSED for check in found.checks)
    assert found.depth == depth


def test_the_other_kinds_verify_too(runs: Path, task: Task, tiny_folder: Path) -> None:
    for name, model in (("eval", runs / "finetune"), ("finetune", tiny_folder)):
        found = verify(runs / name, "train", Given(str(model), task))
        assert found.ok, first_failed(found.checks)


def test_digests_and_scores_are_checked_without_torch(runs: Path) -> None:
    code = (
        "import sys; from unlearnkit.run.verify import verify; found = verify(sys.argv[1], 'scores'); "
        "print(found.ok, [name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(runs / "unlearn")], capture_output=True, text=True)
    assert done.stdout.strip() == "True []", done.stderr


def test_a_changed_score_is_named_even_where_the_number_was_made_anew(unlearned: Path) -> None:
    record = read_record(unlearned)
    record["scores"]["model_utility"]["reason"] = "trust me"
    write_record(unlearned, {**record, "number": number_of(record)})
    found = verify(unlearned, "train")
    wrong = first_failed(found.checks)
    assert wrong is not None
    assert (found.depth, wrong.name) == ("scores", "scores")
    assert wrong.detail.startswith("model_utility is ")


def test_changed_weights_are_named(unlearned: Path) -> None:
    tensors = load_file(unlearned / "model.safetensors")
    next(iter(tensors.values()))[0] += 1e-3
    save_file(tensors, unlearned / "model.safetensors", metadata={"format": "pt"})
    found = verify(unlearned, "measure")
    wrong = first_failed(found.checks)
    assert wrong is not None
    assert (found.depth, wrong.name) == ("digests", "weights")


def test_a_made_up_table_is_found_by_measuring(unlearned: Path, task: Task, tiny_folder: Path) -> None:
    """Someone who changes the table and makes scores, digests and number anew is found out by the weights."""
    from unlearnkit.score import score_table

    table = Table.load(unlearned / "table.parquet")
    rows = table.data.to_pylist()
    rows[3] |= {"loss": rows[3]["loss"] + 0.01}
    forged = Table.from_rows(rows, table.meta)
    forged.save(unlearned / "table.parquet")
    record = read_record(unlearned)
    others = {role: Table.load(unlearned / f"compared/{role}.parquet") for role in ("reference", "target")}
    record |= {"scores": score_table(forged, others["reference"], target=others["target"]).to_json()["scores"]}
    record["verdict"] = score_table(forged, others["reference"], target=others["target"]).to_json()["verdict"]
    record["outputs"]["table"] = forged.digest()
    write_record(unlearned, {**record, "number": number_of(record)})
    assert verify(unlearned, "scores").ok
    found = verify(unlearned, "measure", Given(str(tiny_folder), task))
    wrong = first_failed(found.checks)
    assert wrong is not None
    assert wrong.name == "losses measured again"
    row = rows[3]
    assert wrong.detail.startswith(
        f"{row['split']} row {row['index']}, {row['kind']}: the table says {row['loss']:.6g}"
    )


def test_losses_that_did_not_come_from_this_training_are_named(unlearned: Path, task: Task, tiny_folder: Path) -> None:
    record = read_record(unlearned)
    record["losses"]["terms"]["npo"][1] += 0.01
    write_record(unlearned, {**record, "number": number_of(record)})
    found = verify(unlearned, "train", Given(str(tiny_folder), task))
    wrong = first_failed(found.checks)
    assert wrong is not None
    assert wrong.detail.startswith("step 2: the loss 'npo' was ")


def test_the_first_steps_of_an_adapter_are_those_of_an_adapter(task: Task, tiny_folder: Path, tmp_path: Path) -> None:
    settings, start = replace(SETTINGS, lora="r=4", lr=0.02, max_grad_norm=0.0), start_of(tiny_folder)
    template = Template(start.loaded.tokenizer)
    unlearn(start, template, task, "npo + rt", tmp_path / "run", settings, save_checkpoints=False)
    found = verify(tmp_path / "run", "train", Given(str(tiny_folder), task))
    assert first_failed(found.checks) is None, found.checks


def test_other_answers_are_looked_up_again_and_must_be_the_same(task: Task, tiny_folder: Path, tmp_path: Path) -> None:
    """The task's own, and those of a file; without the file the record says that the answers differ."""
    owned = replace(task, alternates=[("Salt.", "Nobody.") for _ in task.forget])
    file = tmp_path / "other.jsonl"
    file.write_text(
        "".join(json.dumps({"question": row.question, "alternates": ["Ice."]}) + "\n" for row in task.forget)
    )
    start = start_of(tiny_folder)
    template, settings = Template(start.loaded.tokenizer), replace(SETTINGS, lr=1e-3)
    for name, given in (("own", None), ("file", file)):
        where = tmp_path / name
        fresh = start_of(tiny_folder)
        unlearn(fresh, template, owned, "altpo + rt", where, settings, alternates=given, save_checkpoints=False)
        found = verify(where, "train", Given(str(tiny_folder), owned, alternates=given))
        assert first_failed(found.checks) is None, found.checks
    wrong = first_failed(verify(tmp_path / "file", "train", Given(str(tiny_folder), owned)).checks)
    assert wrong is not None
    assert wrong.name == "alternates rows"


def test_another_model_another_task_and_another_template_are_named(runs: Path, task: Task, tiny_folder: Path) -> None:
    def wrong(depth: str, place: str, given: Given) -> Any:
        return first_failed(verify(runs / place, depth, given).checks)

    other = Task(**{**vars(task), "evaluation": {"forget": task.forget[:3]}})
    assert wrong("measure", "unlearn", Given(str(tiny_folder), other)).name == "forget rows"
    assert wrong("measure", "unlearn", Given(None, task, template="Q {question} A {answer}")).name == "template"
    assert wrong("measure", "eval", Given(str(tiny_folder), task)).name == "weights that are measured"
    assert wrong("train", "unlearn", Given(str(runs / "finetune"), task)).name == "weights that it started from"
    less = Task(**{**vars(task), "retain": task.retain[1:]})
    assert wrong("train", "unlearn", Given(str(tiny_folder), less)).name == "retain rows"


def test_what_is_lacking_is_said(runs: Path, task: Task, unlearned: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --model"):
        verify(runs / "unlearn", "train", Given(None, task))
    with pytest.raises(UserError, match="unknown depth 'deep'"):
        verify(runs / "unlearn", "deep")
    alone = tmp_path / "said.json"
    shutil.copy(unlearned / RECORD_NAME, alone)
    assert verify(alone).ok
    with pytest.raises(UserError, match="give the run's folder"):
        verify(alone, "measure")
    (unlearned / "model.safetensors").unlink()
    with pytest.raises(UserError, match="the weights are not here"):
        verify(unlearned, "measure", Given(None, task))
    (unlearned / "table.parquet").unlink()
    assert [check.status for check in verify(unlearned).checks][-1] == NOT_CHECKED


@pytest.mark.parametrize(
    "changed",
    [{"lr": "much"}, {"epochs": 1e9}, {"step_rows": 10**9}, {"step_rows": "all"}, {"lr": -1}, {"seed": None}],
)
def test_a_record_can_not_ask_for_just_anything(runs: Path, changed: dict[str, Any]) -> None:
    record = read_record(runs / "unlearn")
    record["spec"]["settings"] |= changed
    with pytest.raises(UserError):
        settings_of(record)


def test_the_step_of_several_processes_becomes_one_batch(runs: Path) -> None:
    record = read_record(runs / "unlearn")
    assert settings_of(record).batch_size == 4
    record["provenance"]["launcher"] = "2 processes"
    assert settings_of(record).batch_size == 8


def test_near_ties_are_allowed_and_other_answers_are_not(runs: Path) -> None:
    table = Table.load(runs / "eval/table.parquet")
    rows = table.data.to_pylist()
    asked = [n for n, row in enumerate(rows) if row["generation"] is not None]
    rows[asked[0]] |= {"generation": "something else"}
    other = Table.from_rows(rows, table.meta)
    share = 1 / len(asked)
    assert [check.status for check in tables_agree(table, other, 0, share)] == [PASSED] * 3
    assert [check.status for check in tables_agree(table, other, 0, share / 2)] == [PASSED, PASSED, FAILED]
    fewer = Table.from_rows(rows[1:], table.meta)
    assert tables_agree(table, fewer, 1, 1)[0].detail.startswith("forget row 0, answer is not the same")


def test_a_loss_that_is_missing_or_no_number_does_not_agree() -> None:
    assert apart(float("nan"), 1.0) == float("inf")
    assert losses_agree({"rt": [1.0, 2.0]}, {"rt": [1.0]}, 2, 0.1)[0].status == FAILED
    assert losses_agree({"rt": [1.0, 2.0]}, {"rt": [1.0]}, 1, 0.1)[0].status == PASSED
    assert losses_agree({"rt": []}, {}, 0, 0.1)[0].status == FAILED


def test_a_demo_names_its_runs(runs: Path, tmp_path: Path, tiny_folder: Path) -> None:
    folder = RunFolder.claim(tmp_path / "demo", RunSpec("demo", "mini:forget10", "a" * 64, "plain", {}, {"seed": 0}))
    shutil.copytree(runs / "unlearn", folder.path / "runs/1-npo")
    numbers = {"npo(beta=0.1) + rt": read_record(runs / "unlearn")["number"]}
    model = load_model(str(tiny_folder), device=torch.device("cpu")).model
    record_demo(folder, model, "mini:target@0", {}, numbers, Clock())
    found = verify(folder.path)
    assert found.ok
    assert "1-npo: scores" in [check.name for check in found.checks]
    shutil.rmtree(folder.path / "runs/1-npo")
    assert first_failed(verify(folder.path).checks).name == "runs"  # type: ignore[union-attr]


def test_the_command_line_answers_with_its_exit_code(
    runs: Path, unlearned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(["verify", str(runs / "unlearn")]) == 0
    assert f"{read_record(unlearned)['number']} verified, depth scores" in capsys.readouterr().out
    record = read_record(unlearned)
    record["cost"]["wall_seconds"] = 1.0
    write_record(unlearned, record)
    assert cli(["verify", str(unlearned), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["verified"], said["first_failed"]["name"], said["depth"]) == (False, "number", "digests")
    assert cli(["verify", str(unlearned / "nothing")]) == 2
    assert cli(["verify", str(unlearned), "--depth", "all"]) == 2
    assert "unknown depth 'all'" in capsys.readouterr().err


def test_a_model_is_called_by_its_name_and_not_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    assert public_name(str(tmp_path / "full")) == "full"
    assert public_name("runs/full/model") == "model"
    assert public_name("init:/home/me/small.json") == "a new model"
