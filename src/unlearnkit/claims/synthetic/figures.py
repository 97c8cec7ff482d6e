"""The paper's figures 3, 4 and 9, and the fits of how fast GA and NPO leave the model that they started from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from unlearnkit.claims.base import Picture
from unlearnkit.claims.drawing import dress, save, sheet
from unlearnkit.claims.synthetic.divergence import Growth
from unlearnkit.claims.synthetic.runs import Bundle, Experiment
from unlearnkit.report.palette import MARKERS, PRINT

SHOWN = ("GA", "GA+RT", "IDK+RT", "NPO", "NPO+RT", "DPO+RT")  # of figures 4 and 9
MARKED = 100  # steps between two markers
_STEP, _FORGET, _RETAIN = "step", "forget distance (nats)", "retain distance (nats)"
_MANY = (
    "Medians over the seeds, bars between the quartiles, ways on logarithmic axes; the paper draws means and standard "
    "deviations, which one seed of these five would rule, on linear axes."
)
_APART, _TOGETHER = "clouds apart", "no gap"


def draw_all(experiment: Experiment, grown: dict[str, Growth], first: float, out: Path, prefix: str) -> list[Picture]:
    """All four pictures into `out`; `first` is the step from which on the fits are made."""
    spread = _MANY if len(experiment.seeds) > 1 else "One seed."
    return [
        _figure_four(experiment, out / f"{prefix}_figure4.png", spread),
        _figure_nine(experiment, out / f"{prefix}_figure9.png", spread),
        _figure_three(experiment.long, out / f"{prefix}_figure3.png", spread),
        _fits(experiment.long, grown, first, out / f"{prefix}_divergence.png"),
    ]


def _figure_four(experiment: Experiment, path: Path, spread: str) -> Picture:
    figure, panels = sheet(2, 2, 10, 7.2)
    apart, together = experiment.gaps[1.0], experiment.gaps[0.0]
    for axes, bundle, quantity, top in (
        (panels[0], apart, "forget_distance", 1.8),
        (panels[1], apart, "retain_distance", 0.3),
        (panels[3], together, "forget_distance", 0.2),
    ):
        _against_steps(axes, bundle, quantity)
        axes.set_ylim(0, top)
    for number, method in enumerate(SHOWN):
        _path(panels[2], apart, method, number)
    panels[2].set(xscale="log", yscale="log", ylim=(0.01, 2))
    dress(panels[0], f"(a1) {_APART}", _STEP, _FORGET)
    dress(panels[1], f"(a2) {_APART}", _STEP, _RETAIN)
    dress(panels[2], f"(a3) {_APART}; star: where all start", _FORGET, _RETAIN)
    dress(panels[3], f"(b) {_TOGETHER}", _STEP, _FORGET)
    panels[0].legend(frameon=False, fontsize=8, ncols=2)
    save(figure, path)
    words = "Figure 4 again: how far from the model retrained without the forget rows, KL(retrained ‖ unlearned)."
    return Picture(path.name, f"{words} {spread}")


def _figure_nine(experiment: Experiment, path: Path, spread: str) -> Picture:
    figure, panels = sheet(1, 2, 10, 3.8)
    for axes, gap, top, title in ((panels[0], 1.0, 25.0, _APART), (panels[1], 0.0, 0.2, _TOGETHER)):
        _against_steps(axes, experiment.gaps[gap], "forget_kl")
        axes.set_ylim(0, top)
        dress(axes, f"({'a' if gap else 'b'}) {title}", _STEP, "forget KL to the start (nats)")
    panels[0].legend(frameon=False, fontsize=8)
    save(figure, path)
    words = "Figure 9 again: how far from the model before unlearning, KL(initial ‖ unlearned) on forget points."
    return Picture(path.name, f"{words} {spread}")


def _figure_three(long: Bundle, path: Path, spread: str) -> Picture:
    figure, (axes,) = sheet(1, 1, 6.4, 4.4)
    for number, method in enumerate(_long_methods(long)):
        _path(axes, long, method, number)
    axes.set(xscale="log", yscale="log")
    dress(axes, f"{_APART}; star: where all start", _FORGET, _RETAIN)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)
    return Picture(path.name, f"Figure 3 again: NPO's way comes to lie on that of GA as β falls. {spread}")


def _fits(long: Bundle, grown: dict[str, Growth], first: float, path: Path) -> Picture:
    figure, panels = sheet(1, 2, 10, 4)
    late = long.steps >= first
    for number, method in enumerate(_long_methods(long)):
        mean, colour = long[f"{method}/forget_kl"].mean(0), PRINT.of(number)
        line = grown[method].linear if number == 0 else grown[method].logarithmic
        x = long.steps if number == 0 else np.log(np.maximum(long.steps, 1))
        fitted = line.slope * x[late] + line.intercept
        label = f"{method}: {line.slope:.3g} " + ("a unit of ln t" if number else "a step")
        for axes in panels:
            axes.plot(long.steps, mean, color=colour, linewidth=3, alpha=0.4)
            axes.plot(long.steps[late], fitted, color=colour, linewidth=1.2, linestyle="--", label=label)
    panels[1].set_xscale("log")
    panels[1].set_xlim(500, 1.02 * long.steps[-1])
    panels[1].set_ylim(0, 1.1 * long[f"{_long_methods(long)[1]}/forget_kl"].mean(0)[-1])
    dress(panels[0], "against t: GA is a straight line", _STEP, "forget KL to the start (nats)")
    dress(panels[1], "against ln t: NPO is", "step, logarithmic", "forget KL to the start (nats)")
    panels[0].legend(frameon=False, fontsize=8)
    save(figure, path)
    words = f"Dashed: the fits from step {first:g} on, linear in t for GA and in ln t for NPO."
    return Picture(path.name, f"Forget KL of the long runs, the mean over the seeds. {words}")


def _long_methods(long: Bundle) -> Sequence[str]:
    return [name.split("/")[0] for name in long.curves if name.endswith("/forget_kl")]


def _against_steps(axes: Axes, bundle: Bundle, quantity: str) -> None:
    """Medians with bars between the quartiles, a marker every hundred steps; bars take turns so that all are seen."""
    places = np.flatnonzero(bundle.steps % MARKED == 0)
    for number, method in enumerate(SHOWN):
        found = bundle[f"{method}/{quantity}"]
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75), axis=0)
        colour = PRINT.of(number)
        axes.plot(
            bundle.steps,
            middle,
            color=colour,
            linewidth=1.4,
            label=method,
            marker=MARKERS[number],
            markersize=4,
            markevery=list(places),
        )
        turn = places[number % 3 :: 3]
        bars = np.stack([middle - low, high - middle])[:, turn]
        axes.errorbar(bundle.steps[turn], middle[turn], bars, color=colour, fmt="none", elinewidth=0.7)


def _path(axes: Axes, bundle: Bundle, method: str, number: int) -> None:
    """The way of a method's medians through the plane of both distances."""
    x, y = (np.median(bundle[f"{method}/{quantity}"], axis=0) for quantity in ("forget_distance", "retain_distance"))
    apart = 2 * MARKED if bundle.steps[-1] < 5000 else 5 * MARKED
    places = list(np.flatnonzero(bundle.steps % apart == 0))
    axes.plot(
        x,
        y,
        color=PRINT.of(number),
        linewidth=1.4,
        label=method,
        marker=MARKERS[number],
        markersize=4,
        markevery=places,
    )
    axes.plot(x[0], y[0], marker="*", markersize=13, color=PRINT.ink, linestyle="none", clip_on=False)
