"""Progress of everything long, on standard error: a bar on a terminal, else a line every half minute."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function to be called with (what, done, total); each `what` replaces the line of the one before."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    with Progress(*columns, console=console, transient=True) as bar:
        line = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(line, description=what, completed=done, total=total)

        yield show


def _lines(every: float = 30.0) -> Callable[[str, int, int], None]:
    """For logs: one line every so many seconds, so that a long run can be watched and a short one says nothing."""
    last = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)

    return show


def quiet_libraries() -> None:
    """Keep the bars and notes of the libraries below off the terminal; errors still show, and our own warnings in a line."""
    from transformers.utils import logging as theirs

    theirs.set_verbosity_error()  # type: ignore[no-untyped-call]
    theirs.disable_progress_bar()  # type: ignore[no-untyped-call]
    for category in (UserWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module="torch|transformers|accelerate")
    warnings.formatwarning = lambda message, *_, **__: f"unlearnkit: {message}\n"
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    sys.stderr.flush()
