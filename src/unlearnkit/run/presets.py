"""Presets: formulas with a learning rate and a number of epochs that somebody found to work, each with its source."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from unlearnkit.canonical import parse_json
from unlearnkit.errors import unknown


class Preset(NamedTuple):
    """A starting point; what it does not name is left to the user.

    objective  the formula
    lr         AdamW's learning rate
    epochs     passes over the forget set
    warmup     the share of all steps in which the learning rate rises: one epoch everywhere here
    step_rows  forget rows of one optimiser step
    source     who found it, on what
    """

    objective: str
    lr: float
    epochs: float
    warmup: float
    step_rows: int
    source: str


@lru_cache(maxsize=1)
def presets() -> dict[str, Preset]:
    """Every preset by its name, from `presets.json`: tuned ones first, then the settings of the papers.

    >>> presets()["npo"].objective, presets()["npo"].lr
    ('npo(beta=0.1) + 5*rt', 5e-05)
    """
    stored = parse_json(files("unlearnkit.run").joinpath("presets.json").read_bytes())
    return {name: Preset(**fields) for name, fields in stored.items()}


def preset(name: str) -> Preset:
    """A preset by its name; an unknown name is a `UserError` with the nearest one."""
    if name not in presets():
        raise unknown("preset", name, presets())
    return presets()[name]
