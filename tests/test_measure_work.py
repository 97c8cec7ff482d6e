"""A pass in batches: dealt, stopped, taken up again and cut for memory, it leaves the table that one go leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlearnkit.cli.main import run
from unlearnkit.errors import UserError
from unlearnkit.measure import measure
from unlearnkit.measure.memory import Room, out_of_memory
from unlearnkit.measure.work import Kept, Work, Workers, dealt
from unlearnkit.models.load import Loaded, load_model
from unlearnkit.table import Table
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Template

CPU = torch.device("cpu")
BUDGET = 100


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Loaded:
    return load_model(str(tiny_folder), device=CPU)


@pytest.fixture(scope="module")
def task(sentences: list[tuple[str, str]]) -> Task:
    rows = [Row(n, asked, said, f"Well: {said}", ("In Rome.", "Never.")) for n, (asked, said) in enumerate(sentences)]
    return Task("small", rows, rows[:9], rows[9:], {"forget": rows[:9], "retain": rows[9:20], "holdout": rows[20:]})


def table_of(tiny: Loaded, task: Task, **more: Any) -> Table:
    return measure(tiny.model, Template(tiny.tokenizer), task, max_new_tokens=6, token_budget=BUDGET, **more)


class Stopped(Exception):
    """As if the power went."""


# ---------------------------------------------------------------------------------------------------------------- dealing


@given(costs=st.lists(st.integers(1, 50), max_size=40), count=st.integers(1, 5))
def test_work_is_dealt_whole_and_evenly(costs: list[int], count: int) -> None:
    shares = dealt(costs, count)
    assert sorted(place for share in shares for place in share) == list(range(len(costs)))
    loads = [sum(costs[place] for place in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs, default=0)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_shares_put_together_are_the_whole(total: int) -> None:
    """Each process runs its own batches only; what the others ran is known to it in the end."""

    def share(rank: int, others: list[Any]) -> tuple[list[int], dict[int, Any]]:
        ran: list[int] = []
        kept: list[dict[int, Any]] = []

        def gathered(value: Any) -> list[Any]:
            kept.append(value)
            return [*others, value] if len(kept) == 2 else [value]

        def one(number: int) -> tuple[np.ndarray[Any, Any]]:
            ran.append(number)
            return (np.array([number]),)

        work = Work(Workers(rank, total, gathered))
        if others or total == 1:
            done = work.done("p", [5, 4, 3, 2, 1], one)
            assert [int(parts[0][0]) for parts in done] == [0, 1, 2, 3, 4]
        else:
            with pytest.raises(KeyError):  # alone it has not everything
                work.done("p", [5, 4, 3, 2, 1], one)
        return ran, kept[1]

    found = [share(rank, []) for rank in range(total - 1)]
    ran, _ = share(total - 1, [mine for _, mine in found])
    assert sorted([*ran, *(number for some, _ in found for number in some)]) == [0, 1, 2, 3, 4]


# --------------------------------------------------------------------------------------------------------------- stopping


@pytest.mark.parametrize("phase", ["scoring", "answering"])
def test_what_was_stopped_goes_on_and_ends_the_same(tiny: Loaded, task: Task, tmp_path: Path, phase: str) -> None:
    whole = table_of(tiny, task)
    calls = {"before": 0, "after": 0}
    now = "before"

    def count(*_: Any) -> None:
        calls[now] += 1

    def stop(what: str, done: int, total: int) -> None:
        if what == phase and total / 2 <= done < total:
            raise Stopped

    handle = tiny.model.register_forward_pre_hook(count)
    with pytest.raises(Stopped):
        table_of(tiny, task, keep=tmp_path / "kept", progress=stop)
    now = "after"
    again = table_of(tiny, task, keep=tmp_path / "kept")
    handle.remove()
    assert again.digest() == whole.digest()
    calls["whole"], now = 0, "whole"
    handle = tiny.model.register_forward_pre_hook(count)
    table_of(tiny, task)
    handle.remove()
    assert calls["before"] + calls["after"] == calls["whole"], "nothing ran twice"


def test_batches_of_another_measurement_are_not_taken(tiny: Loaded, task: Task, tmp_path: Path) -> None:
    table_of(tiny, task, keep=tmp_path)
    other = Task(task.name, task.train, task.forget, task.retain, {"forget": task.evaluation["retain"]})
    assert table_of(tiny, other, keep=tmp_path).digest() == table_of(tiny, other).digest()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_spoilt_file_counts_as_not_there(tiny: Loaded, task: Task, tmp_path: Path) -> None:
    table_of(tiny, task, keep=tmp_path)
    for number, path in enumerate(sorted(tmp_path.rglob("*.npz"))):
        content = path.read_bytes()
        path.write_bytes([content[: len(content) // 2], b"", b"no archive"][number % 3])
    assert table_of(tiny, task, keep=tmp_path).digest() == table_of(tiny, task).digest()


def test_small_batches_share_a_file(tmp_path: Path) -> None:
    often, rarely = (Kept(tmp_path / str(every), "k", every) for every in (0.0, 100.0))
    for kept in (often, rarely):
        for batch in range(5):
            kept.add("score", batch, (np.arange(batch),))
        kept.flush("score")
        assert {batch: parts[0].tolist() for batch, parts in kept.read("score").items()} == {
            batch: list(range(batch)) for batch in range(5)
        }
    assert len(list(tmp_path.glob("0.0/k/*"))) == 5
    assert len(list(tmp_path.glob("100.0/k/*"))) == 1


# ----------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "problem",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to ..."
        ),
    ],
)
def test_what_does_not_fit_is_halved(tiny: Loaded, task: Task, problem: RuntimeError) -> None:
    whole = measure(tiny.model, Template(tiny.tokenizer), task, max_new_tokens=6, token_budget=2000)
    sizes: list[int] = []

    def narrow(_: Any, __: Any, given: dict[str, Any]) -> None:
        sizes.append(given["input_ids"].numel())
        if given["input_ids"].numel() > 250:
            raise problem

    handle = tiny.model.register_forward_pre_hook(narrow, with_kwargs=True)
    cut = measure(tiny.model, Template(tiny.tokenizer), task, max_new_tokens=6, token_budget=2000)
    handle.remove()
    assert max(sizes) > 250
    assert sum(size > 250 for size in sizes) < len(sizes) / 2, "it learns from what did not fit"
    for mine, theirs in zip(cut.data.to_pylist(), whole.data.to_pylist(), strict=True):
        assert mine["logp"] == pytest.approx(theirs["logp"], abs=2e-5)
        assert mine["generation"] == theirs["generation"]


def test_a_question_that_fits_nowhere_is_one_line(tiny: Loaded, task: Task) -> None:
    def never(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = tiny.model.register_forward_pre_hook(never)
    with pytest.raises(UserError, match=r"out of memory with a single question of \d+ tokens"):
        table_of(tiny, task)
    handle.remove()


def test_other_errors_are_not_taken_for_memory() -> None:
    def wrong(_: Any) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Room().run([1, 2], len, wrong)
    assert not out_of_memory(RuntimeError("shapes do not fit"))


def test_torch_says_so_when_a_cpu_has_no_more_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)


def test_bfloat16_weights_are_scored_like_float32_ones(tiny_folder: Path, task: Task) -> None:
    """In float32 log space; what differs is the rounding of the weights' products, about 1/256 of a logit."""
    whole, half = (
        table_of(load_model(str(tiny_folder), dtype=kind, device=CPU), task) for kind in ("float32", "bfloat16")
    )
    assert half.meta["dtype"] == "bfloat16"
    for mine, theirs in zip(half.data.to_pylist(), whole.data.to_pylist(), strict=True):
        assert mine["logp"] == pytest.approx(theirs["logp"], abs=0.15)
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=0.05)
        assert len({value.as_integer_ratio()[1] for value in mine["logp"]}) > 1 or len(mine["logp"]) == 1


# -------------------------------------------------------------------------------------------------- from the command line


@pytest.fixture(scope="module")
def command(tiny_folder: Path, tofu_like: Path) -> list[str]:
    said = ["eval", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    return [*said, "--max-new-tokens", "8", "--token-budget", "150"]


def launched(count: int, *command: str) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run(
        [sys.executable, *launcher, "-m", "unlearnkit.cli.main", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_leave_the_table_of_one(command: list[str], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert run([*command, "--out", str(tmp_path / "one")]) == 0
    torch.set_num_threads(threads)
    child = launched(2, *command, "--out", str(tmp_path / "two"))
    assert child.returncode == 0, child.stderr
    assert child.stdout.count("Verdict:") == 1, "only the first process speaks"
    one, two = (Table.load(tmp_path / name / "table.parquet") for name in ("one", "two"))
    assert one.data.equals(two.data)
    assert one.digest() == two.digest()
    files = [{path.name for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]
    assert not [name for name in files[0] if "measuring" in name]
    first, second = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("one", "two"))
    assert first == second
    record = json.loads((tmp_path / "two/record.json").read_text())
    assert record["provenance"]["launcher"] == "2 processes"


KILLED = """
import sys, time
from unlearnkit.measure import work
from unlearnkit.cli.main import run
kept = work.Kept.add
def slowly(self, phase, batch, parts):
    self.every = 0.0
    kept(self, phase, batch, parts)
    print(phase, batch, flush=True)
    time.sleep(0.05)
work.Kept.add = slowly
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("until", ["score", "answer"])
def test_a_killed_evaluation_goes_on(command: list[str], tmp_path: Path, until: str) -> None:
    assert run([*command, "--out", str(tmp_path / "whole")]) == 0
    said = [*command, "--out", str(tmp_path / "killed")]
    child = subprocess.Popen([sys.executable, "-c", KILLED, *said], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(until):
            child.send_signal(signal.SIGKILL)
            break
    child.wait(timeout=60)
    child.stdout.close()
    kept = list((tmp_path / "killed/table.measuring").rglob("*.npz"))
    assert kept
    assert not (tmp_path / "killed/table.parquet").exists()
    assert run(said) == 0
    one, two = (Table.load(tmp_path / name / "table.parquet") for name in ("whole", "killed"))
    assert one.digest() == two.digest()
    assert not (tmp_path / "killed/table.measuring").exists()
