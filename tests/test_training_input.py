"""Training asked for what cannot be: one line on standard error that says what to change, exit code 2, nothing trained."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unlearnkit.cli.main import run
from unlearnkit.models.adapters import Lora, attach
from unlearnkit.models.load import load_model, wrap_tokenizer
from unlearnkit.run.models import byte_level_bpe

Change = Callable[[Path, Path], None]


def keep(model: Path, data: Path) -> None:
    pass


def another_tokenizer(model: Path, data: Path) -> None:
    texts = [chr(0x4E00 + number) * 3 + f" word{number}" for number in range(400)]
    wrap_tokenizer(byte_level_bpe(texts, 900), 128).save_pretrained(model)


def a_long_question(model: Path, data: Path) -> None:
    rows = [json.loads(line) for line in (data / "full.json").read_text().splitlines()]
    rows[30]["question"] = "Why? " * 100
    (data / "full.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def half_an_adapter(model: Path, data: Path) -> None:
    attach(load_model(str(model), device=torch.device("cpu")).model, Lora(r=2), 0).save_pretrained(model)
    (model / "adapter_model.safetensors").unlink()


def a_narrow_direction(model: Path, data: Path) -> None:
    (data / "narrow.json").write_text("[1.0, 2.0]")


def no_weights(model: Path, data: Path) -> None:
    (model / "model.safetensors").unlink()


CASES: dict[str, tuple[str, Change, str]] = {
    "no objective": ("", keep, "give --objective FORMULA, such as 'npo + rt', or --preset NAME"),
    "no such preset": ("--preset npoo", keep, "Did you mean 'npo'"),
    "no such refusals": ("--objective dpo --refusals nowhere.txt", keep, "nowhere.txt"),
    "alternates for none": ("--objective npo --alternates x.jsonl", keep, "leave --alternates out"),
    "no such alternates": ("--objective altpo --alternates x.jsonl", keep, "cannot be read"),
    "no such layer": ("--objective rmu(layer=9)", keep, "the model has 2 layers: 0 to 1"),
    "no such direction": ("--objective rmu(direction='nowhere.json')", keep, "not a readable JSON file"),
    "a direction of another width": (
        "--objective rmu(direction='{data}/narrow.json')",
        a_narrow_direction,
        "the layer has a width of 32",
    ),
    "an optimizer for GPUs": ("--objective npo --optimizer paged_adamw_8bit", keep, "needs a GPU"),
    "four bits on a CPU": ("--objective npo --lora r=4 --quantize nf4", keep, "needs a GPU"),
    "four bits alone": ("--objective npo --merge", keep, "give --lora r=16 too"),
    "an adapter nowhere": ("--objective npo --lora r=4,targets=wq", keep, "--lora r=4,targets=wq"),
    "another tokenizer": ("--objective npo", another_tokenizer, "they do not belong together"),
    "a long question": ("--objective npo", a_long_question, "the model reads at most 128; shorten the row"),
    "half an adapter": ("--objective npo", half_an_adapter, "not there as adapter_model.safetensors"),
    "no weights": ("--objective npo", no_weights, "could not be loaded"),
    "a share of rows": ("--preset npo --accumulate 5", keep, "cannot share evenly; give --batch-size"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line(
    tiny_folder: Path, tofu_like: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options, change, said = CASES[name]
    if torch.cuda.is_available() and "GPU" in said:
        pytest.skip("there is a GPU here")
    model, data, out = tmp_path / "model", tmp_path / "data", tmp_path / "out"
    shutil.copytree(tiny_folder, model)
    shutil.copytree(tofu_like, data)
    change(model, data)
    capfd.readouterr()
    asked = ["unlearn", "--model", str(model), "--task", "tofu:forget40", "--data", str(data), "--out", str(out)]
    assert run([*asked, *options.format(data=data).split()]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "it/s" not in line and line.strip()]
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert not [*out.rglob("*")] if out.exists() else True


def test_a_preset_is_a_start_and_what_is_given_counts_more(tiny_folder: Path, tofu_like: Path, tmp_path: Path) -> None:
    asked = ["unlearn", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    asked += ["--preset", "npo", "--epochs", "1", "--measure", "no", "--no-checkpoints"]
    assert run([*asked, "--out", str(tmp_path / "one")]) == 0
    assert run([*asked, "--out", str(tmp_path / "two"), "--objective", "ga + rt", "--lr", "1e-6"]) == 0
    one, two = (json.loads((tmp_path / name / "spec.json").read_text())["settings"] for name in ("one", "two"))
    assert (one["objective"], one["lr"], one["epochs"], one["step_rows"]) == ("npo(beta=0.1) + 5*rt", 5e-05, 1, 32)
    assert (two["objective"], two["lr"], two["warmup"]) == ("ga + rt", 1e-06, 0.1)


def test_a_warning_is_one_line(tiny_folder: Path, tofu_like: Path, tmp_path: Path) -> None:
    said = ["unlearn", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    said += ["--objective", "npo", "--epochs", "1", "--measure", "no", "--no-checkpoints", "--weights", "bf16"]
    code = "import sys; from unlearnkit.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *said, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (line,) = done.stderr.splitlines()
    assert line.startswith("unlearnkit: --weights bf16 with --optimizer adamw: steps of about lr=1e-05")
