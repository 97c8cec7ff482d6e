"""Sweeps: a finished cell is never run twice, a failing one is named and loses no other, wherever cells run."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from unlearnkit import sweep as sweeping
from unlearnkit.errors import UserError
from unlearnkit.sweep import Cell, CellsFailed, sweep

HERE = str(Path(__file__).parent)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of cell functions that other processes can import too."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")])))
    return "sweep_jobs"


def square(module: str, value: int, log: Path) -> Cell:
    return Cell(f"square of {value}", f"{module}:square", {"value": value, "log": str(log)})


def calls(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_results_come_in_order_and_finished_cells_are_not_run_again(jobs: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cells = [square(jobs, value, log) for value in (3, 1, 2)]
    assert sweep(cells[:2], tmp_path / "cells") == [9, 1]
    assert calls(log) == 2
    assert sweep(cells, tmp_path / "cells") == [9, 1, 4]
    assert calls(log) == 3


def test_one_cell_asked_for_twice_is_run_once(jobs: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert sweep([square(jobs, 5, log)] * 2, tmp_path / "cells") == [25, 25]
    assert calls(log) == 1


def test_a_failing_cell_is_named_and_the_others_are_kept(jobs: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cells = [Cell("the bad one", f"{jobs}:fail", {}), square(jobs, 2, log)]
    with pytest.raises(CellsFailed, match=r"1 of 2 cells failed.*the bad one: ValueError: on purpose") as caught:
        sweep(cells, tmp_path / "cells")
    assert set(caught.value.failures) == {"the bad one"}
    assert sweep(cells[1:], tmp_path / "cells") == [4]
    assert calls(log) == 1


OTHER = '{"function": "other", "spec": {}, "result": 7, "seconds": 1, "processor_seconds": 1}'


@pytest.mark.parametrize("spoilt", ["", "[]", OTHER])
def test_a_file_that_is_no_finished_cell_is_not_believed(jobs: str, tmp_path: Path, spoilt: str) -> None:
    cell = square(jobs, 4, tmp_path / "log")
    place = tmp_path / "cells" / f"{cell.digest}.json"
    place.parent.mkdir()
    place.write_text(spoilt)
    assert sweep([cell], place.parent) == [16]
    assert json.loads(place.read_text())["spec"] == cell.spec


def test_a_result_that_json_cannot_hold_is_refused(jobs: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="returned what JSON cannot hold"):
        sweep([Cell("odd", f"{jobs}:odd", {})], tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_progress_counts_what_is_there_already(jobs: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    cells = [square(jobs, value, tmp_path / "log") for value in (1, 2)]
    sweep(cells[:1], tmp_path / "cells")
    sweep(cells, tmp_path / "cells", progress=lambda *said: seen.append(said), what="squares")
    assert seen == [("squares", 1, 2), ("squares", 2, 2)]


def test_a_cells_digest_depends_on_function_and_spec_alone() -> None:
    one = Cell("a", "m:f", {"x": 1, "y": 2})
    assert one.digest == Cell("b", "m:f", {"y": 2, "x": 1}).digest
    others = [Cell("a", "m:g", {"x": 1, "y": 2}), Cell("a", "m:f", {"x": 1, "y": 3})]
    assert one.digest not in {other.digest for other in others}


def reading(module: str, folder: Path, text: str) -> list[Cell]:
    (folder / text).write_text(text)
    return [Cell(part, f"{module}:read", {"part": part}, {"file": str(folder / text)}) for part in ("a", "b")]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_places_reach_the_function_and_nothing_else(jobs: str, tmp_path: Path, workers: int) -> None:
    here, there = (reading(jobs, tmp_path, text) for text in ("here", "there"))
    assert [cell.digest for cell in here] == [Cell("", cell.function, cell.spec).digest for cell in there]
    assert sweep(here, tmp_path / "cells", workers=workers) == ["a: here", "b: here"]
    assert sweep(there, tmp_path / "cells", workers=workers) == ["a: here", "b: here"], "kept: the same cells"
    for kept in (tmp_path / "cells").glob("*.json"):
        assert "places" not in json.loads(kept.read_text())
        assert str(tmp_path) not in kept.read_text()


def test_kept_cells_of_earlier_versions_are_still_found() -> None:
    one = Cell("a", "m:f", {"x": 1})
    assert one.digest == "ec63d6d41ba3134ba62347a989fa9219c97e9ec7ec9a68f07c1180fea8034c0c"


def test_without_ray_the_user_is_told_what_to_install(
    jobs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match=r"--ray needs Ray.*pip install 'unlearnkit\[ray\]'"):
        sweep([square(jobs, 2, tmp_path / "log")], tmp_path / "cells", ray="auto")


@pytest.mark.slow
def test_processes_share_the_work_and_one_that_is_killed_loses_no_other(jobs: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cells = [Cell("killed", f"{jobs}:die", {}), *(square(jobs, value, log) for value in range(4))]
    with pytest.raises(CellsFailed, match=r"1 of 5 cells failed.*killed: its process was killed"):
        sweep(cells, tmp_path / "cells", workers=2)
    assert sweep(cells[1:], tmp_path / "cells") == [0, 1, 4, 9]
    kept = [sweeping._read(tmp_path / "cells", cell.digest) for cell in cells[1:]]
    assert None not in kept


@pytest.mark.slow
def test_a_local_ray_with_two_workers(jobs: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra: pip install 'unlearnkit[ray]'")
    import ray

    try:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as problem:  # the machine's, not ours: no shared memory, no free port
        pytest.skip(f"Ray does not start here: {problem}")
    try:
        _on_ray(jobs, tmp_path)
    finally:
        ray.shutdown()


def _on_ray(jobs: str, tmp_path: Path) -> None:
    cells = [Cell(f"pid {number}", f"{jobs}:wait", {"number": number}) for number in range(4)]
    found: list[Mapping[str, Any]] = sweep(cells, tmp_path / "cells", ray="local")
    assert [one["number"] for one in found] == [0, 1, 2, 3]
    pids = {one["pid"] for one in found}
    assert len(pids) >= 2, "two workers share four cells that each take half a second"
    assert os.getpid() not in pids
    with pytest.raises(CellsFailed, match="bad: ValueError: on purpose"):
        sweep([Cell("bad", f"{jobs}:fail", {}), *cells], tmp_path / "cells", ray="local")
    again: list[Mapping[str, Any]] = sweep(cells, tmp_path / "cells", ray="local")
    assert again == found, "finished cells are read: the same processes' numbers"
    assert sweep(reading(jobs, tmp_path, "here"), tmp_path / "cells", ray="local") == ["a: here", "b: here"]


@pytest.mark.slow
@pytest.mark.parametrize("address", ["auto", "localhost:1", "ray://localhost:1"])
def test_a_ray_address_where_nothing_answers_is_a_user_error(jobs: str, tmp_path: Path, address: str) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra: pip install 'unlearnkit[ray]'")
    with pytest.raises(UserError, match="no cluster answers there"):
        sweep([square(jobs, 2, tmp_path / "log")], tmp_path / "cells", ray=address)
