"""Cells on a Ray cluster: the same function call as here, on other machines that have unlearnkit installed."""

from __future__ import annotations

import importlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unlearnkit.errors import UserError

if TYPE_CHECKING:
    from unlearnkit.sweep import Cell, Outcome

PATIENCE = 10.0  # seconds to wait for a cluster's port


def run_on_ray(cells: Sequence[Cell], address: str, attempt: Callable[..., Outcome]) -> Iterator[tuple[Cell, Outcome]]:
    """Each cell with its outcome, in the order in which they end. A cell asks for one core.

    attempt  what is called with a cell's function, spec and places; it must be importable on the cluster

    A cluster that was started here, or a connection that was made here, is closed again.
    """
    ray = _library()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        yield from _dealt(ray, cells, attempt)
    finally:
        if ours:
            ray.shutdown()


def _dealt(ray: Any, cells: Sequence[Cell], attempt: Callable[..., Outcome]) -> Iterator[tuple[Cell, Outcome]]:
    task = ray.remote(num_cpus=1)(attempt)
    waiting = {task.remote(cell.function, dict(cell.spec), dict(cell.places)): cell for cell in cells}
    while waiting:
        (done, *_), _ = ray.wait(list(waiting), num_returns=1)
        cell = waiting.pop(done)
        try:
            outcome: Outcome = ray.get(done)
        except ray.exceptions.RayError as problem:
            outcome = {"error": f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"}
        yield cell, outcome


def _library() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UserError(
            "--ray needs Ray, which is not installed; pip install 'unlearnkit[ray]', or leave --ray out to run here"
        ) from None


def _connect(ray: Any, address: str) -> None:
    place = re.fullmatch(r"(?:ray://)?([^/:]+):(\d{1,5})", address)
    if place is not None:
        _knock(address, place[1], int(place[2]))
    more = {"include_dashboard": False} if address == "local" else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here reports to nobody
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except (ConnectionError, ValueError, RuntimeError, OSError) as problem:
        raise _nobody(address, problem) from None


def _knock(address: str, host: str, port: int) -> None:
    """Ask for a connection first: Ray itself goes on trying for minutes."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as problem:
        raise _nobody(address, problem) from None


def _nobody(address: str, problem: Exception) -> UserError:
    said = " ".join(str(problem).split())[:200]
    return UserError(f"--ray {address}: no cluster answers there ({said}); 'local' starts one here")
