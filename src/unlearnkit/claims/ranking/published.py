"""Published scores of unlearning methods on forget10 of TOFU, and the configurations that stand for them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

RATE = 2e-4  # stands for the published 1e-5
RATES = (RATE, 4e-4, 1e-3)  # the published grid


class Configuration(NamedTuple):
    """One way to run a method."""

    formula: str
    rate: float


class Method(NamedTuple):
    """A method of the published list.

    overall   as published: best overall score among 150 checkpoints of Llama-3.2-1B on forget10 with relative utility of
              0.8 or more (arXiv:2605.24614, method_results.json); the last three are "about 0", tied
    formulas  the configurations tried; the first is the one that won there, where one did
    chosen    the configuration that was the best of them on the embedded world, as the whole claim found it
              (docs/results/mini_ranking.md): the reduced version runs this one
    rates     learning rates tried
    """

    overall: float
    formulas: Sequence[str]
    chosen: Configuration
    rates: Sequence[float] = RATES

    def grid(self) -> list[Configuration]:
        """All configurations, formula by formula."""
        return [Configuration(formula, rate) for formula in self.formulas for rate in self.rates]


def _weighed(loss: str, first: int) -> list[str]:
    """The published weights of the retain loss, the winning one first."""
    weights = sorted((1, 2, 5), key=lambda weight: weight != first)
    return [f"{loss} + {weight}*rt" if weight > 1 else f"{loss} + rt" for weight in weights]


def _simnpo(beta: float, weight: float) -> str:
    return f"{weight}*simnpo(beta={beta}, gamma=1, variant='original') + rt"


def _rmu(layer: int) -> str:
    return f"rmu(layer={layer}, c=10, variant='original')"


_UNDIAL = "undial(beta=10, variant='original')"


# The published grid: weights, margins and strengths as there, under the formulas of the code that it was made with. NPO's β
# is larger by as much as answers are shorter (9 tokens for 40), as what brakes it is β log π/π_ref of the whole answer; the
# methods that compare two answers keep theirs.
METHODS = {
    "AltPO": Method(0.773, _weighed("altpo(beta=0.1)", 2), Configuration("altpo(beta=0.1) + 5*rt", 1e-3)),
    "NPO": Method(0.739, _weighed("npo(beta=0.45)", 5), Configuration("npo(beta=0.45) + rt", 1e-3)),
    "SimNPO": Method(
        0.722,
        [_simnpo(beta, weight) for beta in (3.5, 4.5) for weight in (0.125, 0.25)],
        Configuration(_simnpo(3.5, 0.125), 1e-3),
    ),
    "IdkDPO": Method(0.709, _weighed("dpo(beta=0.1)", 1), Configuration("dpo(beta=0.1) + rt", 1e-3)),
    "GradDiff": Method(0.637, _weighed("ga", 5), Configuration("ga + 5*rt", 4e-4)),
    "RMU": Method(0.0, [_rmu(layer) for layer in (0, 1)], Configuration(_rmu(0), 1e-3)),
    "UNDIAL": Method(0.0, _weighed(_UNDIAL, 1), Configuration(f"{_UNDIAL} + rt", 2e-3), (RATE, 2e-3, 6e-3)),
    "IdkNLL": Method(0.0, _weighed("idk", 1), Configuration("idk + rt", 1e-3)),
}
# The peer's own tables, untuned, last epoch, forget10: forget quality and model utility (docs/repro.md of
# open-unlearning d3d7cf9). Weights are 1 there, the learning rate is 1e-5.
PEER_METHODS = {
    "GradAscent": "ga",
    "GradDiff": "ga + rt",
    "IdkDPO": "dpo(beta=0.1) + rt",
    "NPO": "npo(beta=0.45) + rt",
    "SimNPO": "0.125*simnpo(beta=4.5) + rt",
    "RMU": "rmu(variant='original')",
}
PEER_TABLES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "Llama-2-7b-chat": {
        "GradAscent": (1.06e-239, 0.00),
        "GradDiff": (1.8e-229, 0.58),
        "IdkDPO": (5.42e-13, 0.04),
        "NPO": (0.42, 0.54),
        "SimNPO": (1.47e-198, 0.60),
        "RMU": (6.92e-21, 0.03),
    },
    "Llama-3.2-1B-Instruct": {
        "GradAscent": (1.06e-239, 0.00),
        "GradDiff": (1.06e-239, 0.49),
        "IdkDPO": (4.64e-12, 0.23),
        "NPO": (0.02, 0.46),
        "SimNPO": (2.47e-203, 0.54),
        "RMU": (3.15e-15, 0.59),
    },
}


PEER_COLUMNS = ("forget quality", "model utility")
