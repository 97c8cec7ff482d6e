"""Colours of the pictures: real ones for a file, and stand-ins that a page replaces by its own, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")


@dataclass(frozen=True)
class Palette:
    """series: one colour a method, repeated where there are more; ink for words and models; faint for grids;
    before and retain for the model before unlearning and the retain model."""

    series: Sequence[str]
    ink: str
    faint: str
    before: str
    retain: str

    def of(self, number: int) -> str:
        """The colour of a method by its place."""
        return self.series[number % len(self.series)]


# Okabe and Ito's palette: told apart with any kind of colour vision.
PRINT = Palette(
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#6A51A3"),
    ink="#000000",
    faint="#dddddd",
    before="#777777",
    retain="#000000",
)

# No picture uses these by chance: near-black, each once. `figures.py` writes the page's variables in their place.
STAND_IN = Palette(
    tuple(f"#0301{number:02x}" for number in range(len(PRINT.series))),
    ink="#030200",
    faint="#030201",
    before="#030202",
    retain="#030203",
)
VARIABLES = {
    **{colour: f"var(--series-{number})" for number, colour in enumerate(STAND_IN.series)},
    STAND_IN.ink: "currentColor",
    STAND_IN.faint: "var(--faint)",
    STAND_IN.before: "var(--before)",
    STAND_IN.retain: "var(--retain)",
}
