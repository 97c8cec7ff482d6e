"""A run that is killed at any moment goes on from its newest whole checkpoint to the very same weights."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from unlearnkit.cli.main import main
from unlearnkit.records.weights import files_digest
from unlearnkit.training.checkpoints import ASIDE, is_whole, newest_checkpoint, step_of

pytestmark = pytest.mark.slow
STEPS = 32  # 16 rows in steps of 4, 8 epochs
TRIES = 10


class Places(NamedTuple):
    """The model, a data set of TOFU's form with 40 rows, and a folder for runs."""

    model: Path
    data: Path
    runs: Path

    def begin(self, name: str) -> ForkServerProcess:
        """`unlearnkit unlearn` as a process of its own, forked from one that has imported everything."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["unlearnkit.run.train", "unlearnkit.run.models", "peft"])
        said = ["unlearn", "--model", str(self.model), "--task", "tofu:forget40", "--data", str(self.data)]
        said += ["--objective", "npo + rt", "--lr", "1e-3", "--epochs", "8", "--batch-size", "4", "--measure", "no"]
        process = context.Process(target=main, args=([*said, "--out", str(self.runs / name)],))
        process.start()
        return process

    def finish(self, name: str) -> tuple[str, list[dict[str, float]]]:
        """Run to the end; the digest of the final weights and the log of all steps."""
        process = self.begin(name)
        process.join(120)
        assert process.exitcode == 0
        log = json.loads((self.runs / name / "log.json").read_text())
        return files_digest(self.runs / name), [line for line in log if "loss" in line]


@pytest.fixture(scope="module")
def places(tiny_folder: Path, tofu_like: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tiny_folder, tofu_like, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(places: Places) -> tuple[str, list[dict[str, float]], float]:
    """What the run gives when nobody disturbs it, and the seconds from its first checkpoint to its end."""
    process = places.begin("whole")
    out = places.runs / "whole"
    until(lambda: newest_checkpoint(out) is not None, process)
    began = time.monotonic()
    process.join(120)
    took = time.monotonic() - began
    return *places.finish("whole"), took  # a finished run is read


def until(happened: Callable[[], bool], process: ForkServerProcess) -> None:
    """Wait for something, or for the end of the process."""
    while not happened() and process.is_alive():
        time.sleep(0.0005)


@pytest.mark.parametrize("number", range(TRIES))
def test_a_killed_run_ends_with_the_same_weights(
    places: Places, whole: tuple[str, list[dict[str, float]], float], number: int
) -> None:
    digest, log, took = whole
    assert [line["step"] for line in log] == list(range(1, STEPS + 1))
    draw = random.Random(number)
    name, out = f"killed{number}", places.runs / f"killed{number}"
    process = places.begin(name)
    until(lambda: newest_checkpoint(out) is not None, process)
    if number % 2:  # while a checkpoint is being written
        time.sleep(draw.uniform(0, 0.6) * took)
        until(lambda: any((out / ASIDE).glob("checkpoint-*/*")), process)
        time.sleep(draw.uniform(0, 0.02) if number > 1 else 0)
    else:
        time.sleep(draw.uniform(0, 0.9) * took)
    process.kill()
    process.join()
    assert number != 1 or any((out / ASIDE).glob("checkpoint-*/*")), "no checkpoint was cut off half-way"
    checkpoint = newest_checkpoint(out)
    assert checkpoint is not None
    if not (out / "run.json").exists():
        assert 0 < step_of(Path(checkpoint)) <= STEPS
    assert places.finish(name) == (digest, log)
    assert not (out / ASIDE).exists()


def test_half_a_checkpoint_is_passed_over(places: Places, whole: tuple[str, list[dict[str, float]], float]) -> None:
    out = places.runs / "half"
    shutil.copytree(places.runs / "whole", out)
    for late in ("run.json", "record.json", "model.safetensors"):
        (out / late).unlink(missing_ok=True)
    newest = out / f"checkpoint-{STEPS}" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert newest_checkpoint(out) == str(out / f"checkpoint-{STEPS - 4}")
    assert places.finish("half") == whole[:2]
    assert is_whole(out / f"checkpoint-{STEPS}")
