"""Several processes give what one gives: two of them over gloo, started as `torchrun` starts them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unlearnkit.cli.main import run
from unlearnkit.objectives import find_term, term_names
from unlearnkit.training.gradients import average_gradients
from unlearnkit.training.wrappers.find import wrapper_names

pytestmark = pytest.mark.slow
WORKER = Path(__file__).with_name("training_jobs.py")
PAIRS = ["npo + rt", "npo + kl", "dpo + rt", "kto + rt"]
# Plain gradient descent: Adam's first step is lr times the sign of a gradient, also where that is rounding noise. Clipped
# to so little that each term takes steps of one length, far above the rounding of the weights.
DESCENT: dict[str, Any] = {"optim": "sgd", "weight_decay": 0.0, "learning_rate": 50.0, "max_grad_norm": 1e-3}
DESCENT["num_train_epochs"] = 1


def alone(name: str) -> str:
    """A formula whose gradient is this term's; one that reads no forget rows gets a term beside it that moves the model."""
    return name if {"forget", "alternate"} & set(find_term(name)().reads) else f"{name} + npo"


def jobs_of() -> dict[str, tuple[str, dict[str, Any]]]:
    """Formula and settings by the name of a job: the pairs for two epochs, every term and every wrapper for one."""
    jobs: dict[str, tuple[str, dict[str, Any]]] = {formula: (formula, {}) for formula in PAIRS}
    jobs |= {name: (alone(name), DESCENT) for name in term_names()}
    for name in wrapper_names():
        jobs[f"npo + rt with {name}"] = ("npo + rt", DESCENT | {"wrap": name})
    jobs["kto + kl with sam"] = ("kto + kl", DESCENT | {"wrap": "sam(rho=0.1)"})
    return jobs


JOBS = jobs_of()


def start(count: int, *command: str, **environment: str) -> None:
    """Run a Python program in so many processes, as `torchrun` does, and wait for them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    said = [child.communicate(timeout=300)[0] for child in children]
    assert not any(child.returncode for child in children), "\n".join(said)


Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def results(
    tiny_folder: Path, sentences: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Results]:
    """Losses, rows and weights of every objective by one process with steps of 8 and by two with 4 each."""
    found: dict[int, Results] = {}
    for count in (1, 2):
        out = tmp_path_factory.mktemp(f"by{count}")
        cut = {"per_device_train_batch_size": 8 // count, "token_budget": 120}
        asked = {name: (formula, cut | more) for name, (formula, more) in JOBS.items()}
        # steps of 12: the second one has a single row, and another process none
        asked["few"] = ("npo + rt", {"per_device_train_batch_size": 12 // count})
        if count == 2:
            asked |= {
                f"sharded {name}": (formula, more | {"shard": True}) for name, (formula, more) in [*asked.items()]
            }
        jobs = [
            {"name": name, "objective": formula, "settings": settings} for name, (formula, settings) in asked.items()
        ]
        place = out / "jobs.json"
        place.write_text(json.dumps({"model": str(tiny_folder), "sentences": sentences, "out": str(out), "jobs": jobs}))
        start(count, str(WORKER), str(place))
        found[count] = {
            job["name"]: {
                "ranks": [json.loads((out / job["name"] / f"rank{rank}.json").read_text()) for rank in range(count)],
                "weights": load_file(out / job["name"] / "final.safetensors"),
            }
            for job in jobs
        }
    return found


def distance(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    return sum(float((some[name].double() - others[name].double()).square().sum()) for name in some) ** 0.5


@pytest.mark.parametrize("name", [*JOBS, "few"])
@pytest.mark.parametrize("kind", ["", "sharded "])
def test_two_processes_are_one(results: dict[int, Results], tiny_folder: Path, name: str, kind: str) -> None:
    alone, both = results[1][name], results[2][kind + name]
    assert len(alone["ranks"][0]["losses"]) == (4 if name in (*PAIRS, "few") else 2)  # 13 rows in steps of 8
    for one in both["ranks"]:
        assert one["sharded"] == bool(kind)
        assert one["losses"] == pytest.approx(alone["ranks"][0]["losses"], rel=1e-6, abs=1e-7)
        for label, part in alone["ranks"][0]["parts"].items():
            if label.startswith("loss/"):
                assert one["parts"][label] == pytest.approx(part, rel=1e-5, abs=1e-7)
    before = load_file(tiny_folder / "model.safetensors")
    update = distance(before, alone["weights"])
    assert distance(alone["weights"], both["weights"]) <= 1e-4 * update
    assert update > 0


def test_each_row_is_seen_once_by_one_process(results: dict[int, Results]) -> None:
    for result in results[2].values():
        first, second = (one["seen"] for one in result["ranks"])
        for epoch in range(2):
            assert sorted(first[epoch] + second[epoch]) == list(range(13))
        assert first != second


def test_columns_are_computed_once_and_known_to_all(results: dict[int, Results]) -> None:
    alone = results[1]["npo + rt"]["ranks"][0]["columns"]
    first, second = (one["columns"] for one in results[2]["npo + rt"]["ranks"])
    assert len(alone) == 13
    assert first == second
    for key, values in alone.items():
        assert sum(first[key]) == pytest.approx(sum(values), abs=1e-5)


LEAVING = """
import atexit, os, sys
import torch.distributed as dist
atexit.register(lambda: dist.is_initialized() and os._exit(3))  # what is registered first runs last
from unlearnkit.training import processes
processes.join()
assert processes.gathered(processes.rank()) == [0, 1]
"""


def test_the_group_has_ended_before_python_does() -> None:
    """A thread of a group that is still there when Python ends aborted one run in four, with all its work done."""
    start(2, "-c", LEAVING)


def test_alone_a_gradient_stays_as_it_is() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.full((3,), 2.0)
    average_gradients([weight])
    assert weight.grad.tolist() == [2.0, 2.0, 2.0]


# ------------------------------------------------------------------------------------------------- from the command line


@pytest.fixture(scope="module")
def command(tiny_folder: Path, tofu_like: Path) -> list[str]:
    """`unlearn` on a data set of TOFU's form with 40 rows, 16 of them to be forgotten."""
    said = ["unlearn", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    return [*said, "--objective", "npo + kl", "--lr", "1e-3", "--epochs", "2", "--max-new-tokens", "4"]


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in json.loads((out / "log.json").read_text()) if "loss" in line]


def test_a_launched_run_leaves_what_a_plain_one_leaves(command: list[str], tiny_folder: Path, tmp_path: Path) -> None:
    assert run([*command, "--batch-size", "8", "--out", str(tmp_path / "one")]) == 0
    launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "unlearnkit.cli.main"]
    child = subprocess.run(
        [sys.executable, *launched, *command, "--batch-size", "4", "--out", str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.count("unlearned 16 rows") == 1, "only the first process speaks"
    one, two = ({path.name for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-6)
    before, *after = (
        load_file(path / "model.safetensors") for path in (tiny_folder, tmp_path / "one", tmp_path / "two")
    )
    assert distance(*after) <= 1e-4 * distance(before, after[0])


def test_a_sharded_run_goes_on_to_the_same_weights(command: list[str], tmp_path: Path) -> None:
    said = ["-m", "unlearnkit.cli.main", *command, "--batch-size", "4", "--shard", "--out", str(tmp_path / "run")]
    start(2, *said)
    whole, log = (tmp_path / "run/model.safetensors").read_bytes(), losses(tmp_path / "run")
    for late in ("run.json", "record.json", "model.safetensors", "epochs/002.parquet"):
        (tmp_path / "run" / late).unlink()
    shutil.rmtree(tmp_path / "run/checkpoint-4")
    kept = (tmp_path / "run/checkpoint-2").stat().st_mtime_ns
    start(2, *said)
    assert (tmp_path / "run/checkpoint-2").stat().st_mtime_ns == kept, "it went on, and did not begin again"
    assert (tmp_path / "run/model.safetensors").read_bytes() == whole
    assert losses(tmp_path / "run") == log
