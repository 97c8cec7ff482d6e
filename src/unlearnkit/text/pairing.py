"""Which retain row and which refusal goes with a forget row, and in which order rows come: functions of the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch


def partner(stream: str, seed: int, epoch: int, index: int, size: int) -> int:
    """A uniform draw from 0..size-1 that depends on its arguments only: not on workers, ranks or resuming.

    stream   "retain" or "alternate": two streams are independent of each other

    >>> partner("retain", seed=0, epoch=0, index=7, size=3600), partner("retain", seed=0, epoch=1, index=7, size=3600)
    (3401, 1735)
    """
    said = f"{stream}/{seed}/{epoch}/{index}".encode()
    # 128 bits modulo a small number: the bias is far below anything measurable
    return int.from_bytes(hashlib.sha256(said).digest()[:16], "big") % size


def frozen_partner(stream: str, index: int, size: int) -> int:
    """NPO's original pairing: `torch.manual_seed(index)` before every draw, so a partner never changes.

    With forget10 it ever sees 378 of the 3,600 retain rows. Retain rows are shifted by the index, refusals are not.

    >>> [frozen_partner("retain", index, 3600) for index in range(4)]
    [44, 2246, 650, 1789]
    >>> [frozen_partner("alternate", index, 100) for index in range(4)]
    [44, 45, 48, 86]
    """
    generator = torch.Generator().manual_seed(index)
    drawn = int(torch.randint(0, size, (1,), generator=generator))
    return drawn if stream == "alternate" else (index + drawn) % size


def shuffled(seed: int, epoch: int, size: int) -> list[int]:
    """The order of the rows in one epoch; a function of (seed, epoch)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(size, generator=generator).tolist()


def grouped(order: list[int], lengths: Sequence[int], step: int, pool: int = 16) -> list[int]:
    """The same rows with steps of like length: each pool of 16 steps is sorted by length, then the steps are shuffled.

    The shuffle follows from the order itself. A last step that is not full stays the last.

    >>> grouped([3, 0, 2, 1, 4], lengths=[5, 9, 5, 9, 7], step=2)
    [0, 2, 3, 1, 4]
    """
    whole = len(order) // step * step
    steps: list[list[int]] = []
    for start in range(0, whole, step * pool):
        sorted_pool = sorted(order[start : min(start + step * pool, whole)], key=lambda place: lengths[place])
        steps += [sorted_pool[k : k + step] for k in range(0, len(sorted_pool), step)]
    turn = shuffled(order[0] if order else 0, len(steps), len(steps))
    return [place for k in turn for place in steps[k]] + order[whole:]
