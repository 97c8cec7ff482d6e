"""Many unlearning runs on the embedded world for one claim: make the models, run the cells, hand back their ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from unlearnkit.claims.base import Request
from unlearnkit.claims.mini.cells import MiniWorld, models_cell, unlearning_cell
from unlearnkit.claims.mini.paths import Path, median_path, path_of
from unlearnkit.sweep import Cell

Settings = Mapping[str, Any]


class Runs(NamedTuple):
    """The trajectories by (split, world, objective), and the size of each split's forget set."""

    worlds: Sequence[int]
    trajectories: Mapping[tuple[str, int, str], Sequence[Mapping[str, Any]]]
    sizes: Mapping[str, int]

    def way(self, split: str, objective: str) -> Path:
        """The median way over the worlds."""
        return median_path([path_of(self.trajectories[split, world, objective]) for world in self.worlds])

    def rows(self, split: str) -> int:
        """Rows of the forget set."""
        return self.sizes[split]


def unlearned(
    request: Request, splits: Sequence[str], objectives: Sequence[str], settings: Settings | None = None
) -> Runs:
    """Every objective on every split in every world of the request's seeds; `settings` differ from the demo's.

    A world's models are made first, each once, so that cells that run beside each other find them.
    """
    places = [MiniWorld(split, world) for split, world in product(splits, request.seeds)]
    request.sweep([models_cell(where) for where in places], "models")
    asked = [(where, objective) for where in places for objective in objectives]
    cells: list[Cell] = [unlearning_cell(where, objective, settings) for where, objective in asked]
    results = request.sweep(cells, "unlearning")
    return Runs(
        request.seeds,
        {
            (where.split, where.world, objective): result["trajectory"]
            for (where, objective), result in zip(asked, results, strict=True)
        },
        {where.split: len(where.task().forget) for where in places},
    )
