"""What a run takes: seconds, memory, operations."""

from __future__ import annotations

import sys
import time

import torch

from unlearnkit.records.record import Cost


class Clock:
    """Runs from the moment that it is made. `resumed` says that an earlier part of the run is not on it."""

    def __init__(self, resumed: bool = False) -> None:
        self.resumed = resumed
        self._began = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def cost(self, flops: float | None = None) -> Cost:
        """What it took until now; seconds are None for a resumed run."""
        seconds = None if self.resumed else round(time.perf_counter() - self._began, 3)
        return Cost(wall_seconds=seconds, peak_memory_bytes=peak_memory(), flops=flops or None)

    def missing(self) -> dict[str, str]:
        """Why a value is None."""
        said = {"cost.energy_joules": "no meter was read"}
        if self.resumed:
            said["cost.wall_seconds"] = "the run was resumed; only its last part was timed"
        return said


def peak_memory() -> int | None:
    """In bytes: the most that torch held on the GPU since the clock began, else the most that this process ever held."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # a system that does not count
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
