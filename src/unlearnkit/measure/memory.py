"""A batch that does not fit into memory is cut in two, again and again, instead of ending the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from unlearnkit.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

# How torch's CPU allocator puts it; there is no class of its own for that.
_CPU_SAYS = ("can't allocate memory", "not enough memory")


class Room:
    """How large a batch may be: unlimited until one did not fit, then half of that one."""

    def __init__(self) -> None:
        self.limit: int | None = None

    def run(self, pieces: Sequence[T], size: Callable[[Sequence[T]], int], act: Callable[[Sequence[T]], R]) -> list[R]:
        """`act` on all pieces at once, or on as few at a time as memory allows; what each call gave, in order.

        size  of some pieces, in tokens; a batch above the limit is cut before it is tried

        A piece that does not fit alone is a `UserError`. The numbers of a batch that was cut differ from those of the
        whole one by rounding.
        """
        if len(pieces) > 1 and self.limit is not None and size(pieces) > self.limit:
            return self._halves(pieces, size, act)
        try:
            return [act(pieces)]
        except RuntimeError as problem:  # torch.OutOfMemoryError is one
            if not out_of_memory(problem):
                raise
        # outside of `except`: the traceback would keep the tensors of the batch that failed
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(pieces) == 1:
            raise UserError(
                f"out of memory with a single question of {size(pieces)} tokens; measure on a device with more memory, "
                "or load the model in bfloat16"
            )
        self.limit = min(size(pieces) // 2, self.limit or size(pieces))
        return self._halves(pieces, size, act)

    def _halves(
        self, pieces: Sequence[T], size: Callable[[Sequence[T]], int], act: Callable[[Sequence[T]], R]
    ) -> list[R]:
        middle = len(pieces) // 2
        return self.run(pieces[:middle], size, act) + self.run(pieces[middle:], size, act)


def out_of_memory(problem: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    return isinstance(problem, torch.OutOfMemoryError) or any(said in str(problem) for said in _CPU_SAYS)
