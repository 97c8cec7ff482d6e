"""How fast a language model collapses: GA's and NPO's way from the start, on the embedded world, fitted as in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unlearnkit.claims.synthetic.divergence import Growth

    Curves = Mapping[str, NDArray[np.float64]]

BETAS = (0.05, 0.1, 0.2, 0.5)
PICTURE = "collapse_speed.png"


class Descent(NamedTuple):
    """How the steps are taken, each on the whole forget set.

    first  the share of a curve's steps behind which it is fitted: behind the first plunge, from answers known by heart to
           answers of no probability. Chosen on the curves of world 0; those of the other worlds were not looked at
    """

    title: str
    optimizer: str
    rate: float
    steps: int
    first: float


GRADIENT = Descent("gradient descent", "sgd", 5e-3, 80, 0.5)  # what the theorem is about
ADAMW = Descent("AdamW", "adamw", 2e-4, 150, 0.4)  # what language models are trained with


class Ways(NamedTuple):
    """Under one kind of descent the curves by method, {"nll": {...}, "kl": {...}}, and their fits."""

    descent: Descent
    curves: Mapping[str, Curves]
    fits: Mapping[str, Mapping[str, Growth]]


QUANTITIES = {"nll": "forget loss", "kl": "distance to the start"}


def run(request: Request) -> Answer:
    """GA and NPO at several β for many steps; forget loss and distance to the start at each; two fits of each curve."""
    betas = BETAS[1::2] if request.quick else BETAS
    judged, *others = found = [
        _ways(request, one, betas) for one in ((GRADIENT,) if request.quick else (GRADIENT, ADAMW))
    ]
    _draw(found, request.out / PICTURE)
    return Answer(
        verdict=_verdict(judged),
        checks=_checks(judged),
        numbers={ways.descent.title: _numbers(ways) for ways in found},
        tables=[*map(_beside, others), *(_table(ways, quantity) for ways in found for quantity in QUANTITIES)],
        pictures=[Picture(PICTURE, "Forget loss and distance to the start against steps, and the latter against the "
                          "logarithm of steps, where NPO's curves are straight. Dotted: where the fits of whole runs begin. "
                          "GA leaves the picture.")],
        notes=[*_notes(request), *_ended(found)],
    )  # fmt: skip


def _notes(request: Request) -> list[str]:
    said = [
        "The paper proves linear against logarithmic growth for gradient descent on a logistic regression. A language model "
        "has layers, whose gradients grow with the weights. AdamW, with which such models are trained, takes steps of about "
        "one length whatever the gradient; it is shown beside and not judged (why: docs/design/shape.md).",
        "The fits begin behind the first plunge, from answers known by heart to answers of no probability; where that is "
        "was chosen on the curves of world 0.",
        "Where both of GA's R² are low, it grew faster than along any line.",
        "GA is on summed log-probabilities, NPO's limit as β → 0. Every step is on the whole forget set; curves are means "
        f"over {len(request.seeds)} world{'s' if len(request.seeds) > 1 else ''}.",
    ]
    return said + (["The reduced version leaves AdamW out."] if request.quick else [])


def _ended(found: Sequence[Ways]) -> list[str]:
    """Which runs ended before their last step."""
    return [
        f"Under {ways.descent.title} {name} diverged: after {len(curve)} of {ways.descent.steps} steps its loss or gradient "
        "was no finite number any more in one of the worlds. Its curve ends there and is fitted from "
        f"{ways.descent.first:.0%} of it on."
        for ways in found
        for name, curve in ways.curves["nll"].items()
        if len(curve) < ways.descent.steps
    ]


def _numbers(ways: Ways) -> dict[str, Any]:
    return {
        "steps": ways.descent.steps,
        "first": ways.descent.first,
        "fits": {
            quantity: {
                name: {"r2_t": fit.linear.r2, "r2_ln_t": fit.logarithmic.r2, "slope_t": fit.linear.slope,
                       "slope_ln_t": fit.logarithmic.slope}
                for name, fit in fits.items()
            }
            for quantity, fits in ways.fits.items()
        },
        "last": {
            quantity: {name: {"step": len(curve) - 1, "value": float(curve[-1])} for name, curve in curves.items()}
            for quantity, curves in ways.curves.items()
        },
    }  # fmt: skip


def _ways(request: Request, descent: Descent, betas: Sequence[float]) -> Ways:
    """The means over the worlds at each step that all of them reached, and their fits."""
    import numpy as np

    from unlearnkit.claims.mini.cells import MiniWorld, models_cell
    from unlearnkit.claims.mini.collapse import collapse_cell
    from unlearnkit.claims.synthetic.divergence import growth

    worlds = [MiniWorld("forget10", world) for world in request.seeds]
    request.sweep([models_cell(where) for where in worlds], "models")
    methods = {"GA": None, **{f"NPO β={beta:g}": beta for beta in betas}}
    cells = [
        collapse_cell(where, beta, descent.optimizer, descent.steps, descent.rate)
        for beta in methods.values()
        for where in worlds
    ]
    results = request.sweep(cells, descent.title)
    by_method = {name: results[n * len(worlds) : (n + 1) * len(worlds)] for n, name in enumerate(methods)}
    curves = {
        quantity: {
            name: np.mean(list(zip(*(one[quantity] for one in runs), strict=False)), axis=1)
            for name, runs in by_method.items()
        }
        for quantity in QUANTITIES
    }
    fits = {
        quantity: {name: growth(range(len(curve)), curve, descent.first * len(curve)) for name, curve in of.items()}
        for quantity, of in curves.items()
    }
    return Ways(descent, curves, fits)


def _checks(ways: Ways) -> list[Check]:
    return [check for quantity in QUANTITIES for check in _checks_of(ways, quantity)]


def _beside(ways: Ways) -> Grid:
    """What was asked, of a descent that the claim does not stand on."""
    rows = [[check.what, "yes" if check.held else "no", check.found] for check in _checks(ways)]
    return Grid(f"The same asked under {ways.descent.title}", ["what was asked", "so it is", "found"], rows)


def _checks_of(ways: Ways, quantity: str) -> list[Check]:
    what, fits = f"{QUANTITIES[quantity]}, {ways.descent.title}", ways.fits[quantity]
    npo = {name: fit for name, fit in fits.items() if name != "GA"}
    line = fits["GA"]
    slopes = [fit.logarithmic.slope for fit in npo.values()]
    return [
        Check(
            f"{what}: GA's grows at least linearly, R² against t above R² against ln t",
            line.linear.r2 > line.logarithmic.r2 and line.linear.slope > 0,
            f"{line.linear.r2:.4f} against {line.logarithmic.r2:.4f}",
        ),
        Check(
            f"{what}: NPO's grows logarithmically for every β, R² against ln t above R² against t",
            all(fit.logarithmic.r2 > fit.linear.r2 for fit in npo.values()),
            ", ".join(f"{n}: {fit.logarithmic.r2:.4f} against {fit.linear.r2:.4f}" for n, fit in npo.items()),
        ),
        Check(
            f"{what}: NPO's slope falls with β",
            all(one > other for one, other in pairwise(slopes)),
            ", ".join(f"{name}: {slope:.2f}" for name, slope in zip(npo, slopes, strict=True)),
        ),
    ]


def _verdict(ways: Ways) -> str:
    kl = ways.curves["kl"]
    slopes = ", ".join(f"{f.logarithmic.slope:.2f} ({n})" for n, f in ways.fits["kl"].items() if n != "GA")
    return (
        f"KL to the start in nats a token under {ways.descent.title}: GA is at {kl['GA'][-1]:.3g} after {len(kl['GA'])} "
        f"steps; NPO gains per unit of ln t {slopes}."
    )


def _table(ways: Ways, quantity: str) -> Grid:
    title = {"nll": "Forget loss in nats an answer", "kl": "KL(start ‖ now) in nats a token"}[quantity]
    curves = ways.curves[quantity]
    rows = [
        [
            name,
            f"{curves[name][-1]:.4g}",
            str(len(curves[name])),
            f"{fit.linear.r2:.4f}",
            f"{fit.logarithmic.r2:.4f}",
            f"{fit.linear.slope:.3g}",
            f"{fit.logarithmic.slope:.3g}",
        ]
        for name, fit in ways.fits[quantity].items()
    ]
    heads = ["method", "at the end", "steps", "R² against t", "R² against ln t", "slope in t", "slope in ln t"]
    return Grid(f"{title}, {ways.descent.title}", heads, rows)


def _draw(found: Sequence[Ways], path: Path) -> None:
    from unlearnkit.claims.drawing import dress, save, sheet
    from unlearnkit.report.palette import PRINT

    figure, every = sheet(len(found), 3, 12.5, 4 * len(found))
    for row, ways in enumerate(found):
        panels = every[3 * row : 3 * row + 3]
        for axes, quantity in zip(panels, ("nll", "kl", "kl"), strict=True):
            curves = ways.curves[quantity]
            for number, (name, curve) in enumerate(curves.items()):
                axes.plot(range(len(curve)), curve, color=PRINT.of(number), linewidth=1.5, label=name)
            axes.axvline(ways.descent.first * ways.descent.steps, color=PRINT.ink, linewidth=0.8, linestyle=":")
            axes.set_ylim(0, 1.6 * max(float(curve[-1]) for name, curve in curves.items() if name != "GA"))
        panels[2].set_xscale("log")
        panels[2].set_xlim(10, ways.descent.steps)
        panels[2].set_xticks([10, 20, 40, 80], ["10", "20", "40", "80"])
        panels[2].set_xticks([], minor=True)
        title = ways.descent.title
        dress(panels[0], f"forget loss, {title}", "step", "−log π(answer | question), nats")
        dress(panels[1], f"distance to the start, {title}", "step", "KL(start ‖ now), nats a token")
        dress(panels[2], "the same against ln t", "step", "KL(start ‖ now), nats a token")
        panels[0].legend(frameon=False, fontsize=8)
    save(figure, path)


CLAIM = Claim(
    name="collapse-speed",
    paper="NPO, arXiv:2404.05868, section 3 and theorem 2, on a language model",
    sentence=(
        "On a language model too, gradient ascent leaves its start at least linearly in the number of steps and NPO only "
        "logarithmically, the more slowly the larger β is."
    ),
    run=run,
    seeds=(0, 1, 2),
    quick_seeds=(0,),
)
