"""All seeds of the experiment together: curves as arrays, and what they are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bundle:
    """Curves of several seeds: `steps` (n,), and for each "METHOD/QUANTITY" an array (seeds, n)."""

    steps: Floats
    curves: Mapping[str, Floats]

    def __getitem__(self, name: str) -> Floats:
        return self.curves[name]

    def at(self, name: str, step: int) -> Floats:
        """The seeds' values at a step that was measured; (seeds,)."""
        (place,) = np.flatnonzero(self.steps == step)
        return self.curves[name][:, place]


class Experiment(NamedTuple):
    """`gaps`: the ten methods at each gap. `long`: GA and NPO at several β, clouds apart. `unsure`: see `study.run_cell`."""

    seeds: tuple[int, ...]
    gaps: Mapping[float, Bundle]
    long: Bundle
    labels: Mapping[str, Mapping[str, Sequence[int]]]
    unsure: Mapping[int, float]


def bundle(curves: Sequence[Mapping[str, Sequence[float]]]) -> Bundle:
    """Seeds on top of each other."""
    names = [name for name in curves[0] if name != "steps"]
    return Bundle(
        np.array(curves[0]["steps"], float), {name: np.array([one[name] for one in curves]) for name in names}
    )


def collect(seeds: Sequence[int], gaps: Sequence[float], results: Mapping[tuple[int, float], Any]) -> Experiment:
    """From the cells' results, by seed and gap."""
    apart = [results[seed, 1.0] for seed in seeds]
    return Experiment(
        tuple(seeds),
        {gap: bundle([results[seed, gap]["curves"] for seed in seeds]) for gap in gaps},
        bundle([one["long"] for one in apart]),
        {str(seed): one["labels"] for seed, one in zip(seeds, apart, strict=True)},
        {seed: one["unsure"] for seed, one in zip(seeds, apart, strict=True)},
    )


def reference() -> dict[str, Any]:
    """Numbers of a run of the paper's own code, kept beside this file with their source."""
    text = (resources.files("unlearnkit.claims.synthetic") / "reference.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
