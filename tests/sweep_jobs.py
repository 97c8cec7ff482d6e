"""Cell functions for the tests of sweeps; in a module of their own, so that other processes can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def square(spec: dict[str, Any]) -> int:
    with Path(spec["log"]).open("a") as log:
        log.write(f"{spec['value']}\n")
    return int(spec["value"]) ** 2


def fail(spec: dict[str, Any]) -> int:
    raise ValueError("on\npurpose")


def odd(spec: dict[str, Any]) -> object:
    return object()


def die(spec: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait(spec: dict[str, Any]) -> dict[str, int]:
    time.sleep(0.5)
    return {"number": spec["number"], "pid": os.getpid()}


def read(spec: dict[str, Any], places: dict[str, str]) -> str:
    return f"{spec['part']}: {Path(places['file']).read_text()}"
