"""How fast a language model collapses: GA's and NPO's way from the start, on the embedded world, fitted as in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unlearnkit.claims.synthetic.divergence import Growth

    Curves = Mapping[str, NDArray[np.float64]]

BETAS = (0.05, 0.1, 0.2, 0.5)
STEPS, QUICK_STEPS = 150, 80
RATE = 2e-4  # a quarter of the demo's: steps are of the whole forget set, and there are many
PICTURE = "collapse_speed.png"
_SHORT = (
    f"The reduced version ends after {QUICK_STEPS} steps of one world, before GA's way has become straight. It shows the "
    f"order of the methods; GA's growth needs the whole one, with {STEPS} steps and the mean of two worlds."
)
# Fits begin at this share of the steps: behind the first plunge, from answers known by heart to answers of no probability.
# Chosen on the curves of world 0; the other worlds were not looked at.
FIRST = 0.4


def run(request: Request) -> Answer:
    """GA and NPO at several β for many steps; forget loss and distance to the start at each; two fits of each curve."""
    from unlearnkit.claims.synthetic.divergence import growth

    steps, betas = (QUICK_STEPS, BETAS[1::2]) if request.quick else (STEPS, BETAS)
    nll, kl = _curves(request, betas, steps)
    first = FIRST * steps
    time = range(steps)
    fits = {
        quantity: {name: growth(time, curve, first) for name, curve in curves.items()}
        for quantity, curves in (("nll", nll), ("kl", kl))
    }
    _draw(nll, kl, first, request.out / PICTURE)
    return Answer(
        verdict=_verdict(fits["kl"]),
        checks=[*_checks("forget loss", fits["nll"]), *_checks("distance to the start", fits["kl"])],
        numbers={
            "steps": steps,
            "first": first,
            "fits": {
                quantity: {
                    name: {"r2_t": fit.linear.r2, "r2_ln_t": fit.logarithmic.r2, "slope_t": fit.linear.slope,
                           "slope_ln_t": fit.logarithmic.slope}
                    for name, fit in curves.items()
                }
                for quantity, curves in fits.items()
            },
            "last": {name: {"nll": float(nll[name][-1]), "kl": float(kl[name][-1])} for name in nll},
        },
        tables=[_table("Forget loss, nats an answer", fits["nll"], nll), _table("KL(start ‖ now)", fits["kl"], kl)],
        pictures=[Picture(PICTURE, "Forget loss and distance to the start against steps, and the latter against the "
                          "logarithm of steps, where NPO's curves are straight. Dotted: where the fits begin.")],
        notes=[
            "The paper proves linear against logarithmic growth for gradient descent on a logistic regression. A language "
            "model under AdamW is neither. The fits begin behind the first plunge, from answers known by heart to answers "
            "of no probability; where that is was chosen on the curves of world 0.",
            "GA is on summed log-probabilities, NPO's limit as β → 0. Every step is on the whole forget set.",
            *([_SHORT] if request.quick else []),
        ],
    )  # fmt: skip


def _curves(request: Request, betas: tuple[float, ...], steps: int) -> tuple[Curves, Curves]:
    """The means over the worlds at each step: forget loss and KL by method."""
    import numpy as np

    from unlearnkit.claims.mini.cells import MiniWorld, models_cell
    from unlearnkit.claims.mini.collapse import collapse_cell

    worlds = [MiniWorld("forget10", world) for world in request.seeds]
    request.sweep([models_cell(where) for where in worlds], "models")
    methods = {"GA": None, **{f"NPO β={beta:g}": beta for beta in betas}}
    cells = [collapse_cell(where, beta, steps, RATE) for beta in methods.values() for where in worlds]
    results = request.sweep(cells, "runs")
    by_method = {name: results[n * len(worlds) : (n + 1) * len(worlds)] for n, name in enumerate(methods)}
    nll, kl = (
        {name: np.mean([one[quantity] for one in found], axis=0) for name, found in by_method.items()}
        for quantity in ("nll", "kl")
    )
    return nll, kl


def _checks(what: str, fits: Mapping[str, Growth]) -> list[Check]:
    npo = {name: fit for name, fit in fits.items() if name != "GA"}
    line = fits["GA"]
    slopes = [fit.logarithmic.slope for fit in npo.values()]
    return [
        Check(
            f"GA's {what} grows at least linearly: R² against t above R² against ln t",
            line.linear.r2 > line.logarithmic.r2 and line.linear.slope > 0,
            f"{line.linear.r2:.4f} against {line.logarithmic.r2:.4f}",
        ),
        Check(
            f"NPO's {what} grows logarithmically for every β: R² against ln t above R² against t",
            all(fit.logarithmic.r2 > fit.linear.r2 for fit in npo.values()),
            ", ".join(f"{n}: {fit.logarithmic.r2:.4f} against {fit.linear.r2:.4f}" for n, fit in npo.items()),
        ),
        Check(
            f"its slope falls with β ({what})",
            all(one > other for one, other in pairwise(slopes)),
            ", ".join(f"{name}: {slope:.2f}" for name, slope in zip(npo, slopes, strict=True)),
        ),
    ]


def _verdict(fits: Mapping[str, Growth]) -> str:
    line = fits["GA"].linear
    slopes = ", ".join(f"{f.logarithmic.slope:.2f} ({n})" for n, f in fits.items() if n != "GA")
    return f"KL to the start: GA gains {line.slope:.3f} nats a token a step, NPO per unit of ln t {slopes}."


def _table(title: str, fits: Mapping[str, Growth], curves: Curves) -> Grid:
    rows = [
        [
            name,
            f"{curves[name][-1]:.2f}",
            f"{fit.linear.r2:.4f}",
            f"{fit.logarithmic.r2:.4f}",
            f"{fit.linear.slope:.3f}",
            f"{fit.logarithmic.slope:.2f}",
        ]
        for name, fit in fits.items()
    ]
    return Grid(
        title, ["method", "at the last step", "R² against t", "R² against ln t", "slope in t", "slope in ln t"], rows
    )


def _draw(nll: Curves, kl: Curves, first: float, path: Path) -> None:
    from unlearnkit.claims.drawing import dress, save, sheet
    from unlearnkit.report.palette import PRINT

    figure, panels = sheet(1, 3, 12.5, 4)
    top = max(float(curve[-1]) for name, curve in kl.items() if name != "GA")
    for axes, curves in zip(panels, (nll, kl, kl), strict=True):
        for number, (name, curve) in enumerate(curves.items()):
            axes.plot(range(len(curve)), curve, color=PRINT.of(number), linewidth=1.5, label=name)
        axes.axvline(first, color=PRINT.ink, linewidth=0.8, linestyle=":")
    most = max(float(curve[-1]) for name, curve in nll.items() if name != "GA")
    panels[0].set_ylim(0, 1.6 * most)
    for axes in panels[1:]:
        axes.set_ylim(0, 1.6 * top)
    panels[2].set_xscale("log")
    panels[2].set_xlim(left=3)
    dress(panels[0], "forget loss", "step", "−log π(answer | question), nats")
    dress(panels[1], "distance to the start", "step", "KL(start ‖ now), nats a token")
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
    seeds=(0, 1),
    quick_seeds=(0,),
)
