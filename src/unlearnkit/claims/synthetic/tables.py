"""The experiment's tables: where each method is at some steps, and the fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unlearnkit.claims.base import Grid
from unlearnkit.claims.synthetic.divergence import Growth
from unlearnkit.claims.synthetic.runs import Bundle
from unlearnkit.claims.synthetic.settings import methods

STEPS = {
    "forget_distance": (0, 200, 400, 800, 1200, 1975),
    "retain_distance": (400, 1200, 1975),
    "forget_kl": (400, 1200, 1975),
}
WORDS = {"forget_distance": "forget distance", "retain_distance": "retain distance", "forget_kl": "forget KL"}


def distances(bundle: Bundle, gap: float) -> Grid:
    """Medians over the seeds, one line a method, with the mean below where it says something else."""
    shown = [(quantity, step) for quantity, steps in STEPS.items() for step in steps if step in bundle.steps]
    columns = ["method", *(f"{WORDS[quantity]} @{step}" for quantity, step in shown)]
    rows = [
        [method.name, *(_cell(bundle.at(f"{method.name}/{quantity}", step)) for quantity, step in shown)]
        for method in methods(gap)
    ]
    return Grid(
        f"Median (mean) over the seeds, {'clouds apart (α = 1)' if gap else 'no gap (α = 0)'}",
        columns,
        rows,
        "In nats, on 1000 fresh points of each cloud: distances are KL(retrained ‖ unlearned), the forget KL is "
        "KL(initial ‖ unlearned).",
    )


def _cell(values: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return f"{np.median(values):.3g} ({np.mean(values):.3g})"


def fits_table(grown: Mapping[str, Growth], first: float) -> Grid:
    """R² and slopes of both fits."""
    rows = [
        [
            method,
            f"{fit.linear.r2:.5f}",
            f"{fit.logarithmic.r2:.5f}",
            f"{1000 * fit.linear.slope:.2f}",
            f"{fit.logarithmic.slope:.2f}",
        ]
        for method, fit in grown.items()
    ]
    columns = ["run", "R² against t", "R² against ln t", "nats per 1000 steps", "nats a unit of ln t"]
    note = f"Clouds apart, step size 5e-4 for all, the mean over the seeds, fitted from step {first:g} on."
    return Grid("How fast the forget KL grows", columns, rows, note)
