"""NPO on TOFU: it leads the trade-off, is the first to forget half of the data, tends to GA, and needs a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request

if TYPE_CHECKING:
    from unlearnkit.claims.mini.paths import Path, Point
    from unlearnkit.claims.mini.runs import Runs

SPLITS = ("forget10", "forget20", "forget30", "forget50", "forget90")
LOSSES = {"GA": "ga", "DPO": "dpo(beta=0.1)", "NPO": "npo(beta=0.1)", "KTO": "kto(beta=0.1)", "IDK": "idk"}
KEEPERS = {"": "", "+RT": " + rt", "+KL": " + kl"}
METHODS = {f"{loss}{keeper}": LOSSES[loss] + KEEPERS[keeper] for loss in LOSSES for keeper in KEEPERS}
KEPT = 0.8  # utility that a result must keep to be called reasonable
WEIGHTS = (0, 1, 2, 5)
WEIGHED = "forget50"
BETAS = (1.0, 0.5, 0.1, 0.02, 0.004)


class Plan(NamedTuple):
    """What is run: the whole table, or a part that shows the same."""

    splits: Sequence[str]
    methods: Mapping[str, str]
    weights: Sequence[int]
    betas: Sequence[float]


WHOLE = Plan(SPLITS, METHODS, WEIGHTS, BETAS)
QUICK = Plan(
    ("forget10",), {name: METHODS[name] for name in ("GA", "GA+RT", "NPO", "NPO+RT", "IDK+RT")}, (), (1.0, 0.1, 0.004)
)


def run(request: Request) -> Answer:
    """The method table on every split, the weights of the retain loss, and β toward 0."""
    plan = QUICK if request.quick else WHOLE
    tables = _tables(request, plan)
    checks = [_leads(tables["forget10"]), *(_first(ways, split) for split, ways in tables.items() if _half(split))]
    grids = [_grid(split, ways) for split, ways in tables.items()]
    numbers: dict[str, Any] = {"methods": {split: _plain(ways) for split, ways in tables.items()}}
    pictures = [_draw_methods(request, tables)]
    for part in (_toward_ga(request, plan), *([_weighed(request, plan)] if plan.weights else [])):
        checks.append(part.check)
        grids.append(part.grid)
        pictures.append(part.picture)
        numbers |= part.numbers
    held = sum(check.held for check in checks)
    return Answer(
        verdict=f"{held} of {len(checks)} parts held. {checks[0].what}: {checks[0].found}.",
        checks=checks,
        numbers=numbers,
        tables=grids,
        pictures=pictures,
        notes=_notes(request),
    )


class Part(NamedTuple):
    """One of the claim's parts with all that is shown of it."""

    check: Check
    grid: Grid
    picture: Picture
    numbers: Mapping[str, Any]


Ways = Mapping[str, "Path"]


def _tables(request: Request, plan: Plan) -> dict[str, Ways]:
    """The median way of every method, by split."""
    from unlearnkit.claims.mini.runs import unlearned

    runs = unlearned(request, plan.splits, tuple(plan.methods.values()))
    return {split: {name: runs.way(split, formula) for name, formula in plan.methods.items()} for split in plan.splits}


def _half(split: str) -> bool:
    return int(split.removeprefix("forget")) >= 50


def _best(way: Path) -> Point:
    from unlearnkit.claims.mini.paths import best

    return best(way, KEPT)


def _leaders(ways: Ways) -> tuple[str, str]:
    """The best method of the NPO family, and the best of all others."""
    order = sorted(ways, key=lambda name: (_best(ways[name]).log10, _best(ways[name]).utility), reverse=True)
    return next(n for n in order if n.startswith("NPO")), next(n for n in order if not n.startswith("NPO"))


def _duel(ways: Ways) -> tuple[str, str, str]:
    from unlearnkit.claims.mini.paths import said

    ours, other = _leaders(ways)
    return ours, other, f"{ours} {said(_best(ways[ours]))}, {other} {said(_best(ways[other]))}"


def _leads(ways: Ways) -> Check:
    ours, other, found = _duel(ways)
    lead = _best(ways[ours]).log10 > _best(ways[other]).log10
    return Check(f"forget10: an NPO method has the highest forget quality with {KEPT:.0%} of the utility", lead, found)


def _first(ways: Ways, split: str) -> Check:
    """Reasonable: meaningful forgetting with the utility kept."""
    from unlearnkit.claims.mini.paths import MEANINGFUL

    ours, other, found = _duel(ways)
    alone = _best(ways[ours]).quality > MEANINGFUL >= _best(ways[other]).quality
    return Check(
        f"{split}: only NPO methods have forget quality above 0.05 with {KEPT:.0%} of the utility", alone, found
    )


def _grid(split: str, ways: Ways) -> Grid:
    from unlearnkit.claims.mini.paths import said

    order = sorted(ways, key=lambda name: -_best(ways[name]).log10)
    rows = [[name, f"`{METHODS[name]}`", said(_best(ways[name])), said(ways[name][-1])] for name in order]
    return Grid(
        split, ["method", "objective", f"best forget quality with {KEPT:.0%} of the utility", "at the end"], rows
    )


def _plain(ways: Ways) -> dict[str, Any]:
    return {name: [point._asdict() for point in way] for name, way in ways.items()}


def _draw_methods(request: Request, tables: Mapping[str, Ways]) -> Picture:
    from unlearnkit.claims.mini.tradeoffs import Look, draw_tradeoffs

    looks = {
        f"{loss}{keeper}": Look(colour, marker, line)
        for colour, loss in enumerate(LOSSES)
        for marker, (keeper, line) in enumerate(zip(KEEPERS, (":", "-", "--"), strict=True))
    }
    draw_tradeoffs(tables, dict.fromkeys(tables, 1), request.out / "npo_tofu_methods.png", looks)
    return Picture(
        "npo_tofu_methods.png",
        "Every method from the target model (right, below) on; the last epoch is filled. A colour is a loss; circles have "
        "nothing beside it, the other two markers the retain loss and the divergence.",
    )


def _toward_ga(request: Request, plan: Plan) -> Part:
    """NPO's way approaches that of GA on summed log-probabilities, its limit, as β falls."""
    from unlearnkit.claims.mini.runs import unlearned
    from unlearnkit.claims.mini.tradeoffs import draw_tradeoffs

    limit, formulas = 'ga(unit="sequence")', {beta: f"npo(beta={beta:g})" for beta in plan.betas}
    runs = unlearned(request, ("forget10",), (limit, *formulas.values()))
    apart = {beta: _distance(runs, formula, limit) for beta, formula in formulas.items()}
    names = {f"NPO β={beta:g}": runs.way("forget10", formula) for beta, formula in formulas.items()}
    names["GA (sequence)"] = runs.way("forget10", limit)
    draw_tradeoffs({"forget10": names}, {"forget10": 1}, request.out / "npo_tofu_beta.png")
    falls = all(one >= other for one, other in pairwise(apart.values()))
    said = ", ".join(f"β={beta:g}: {distance:.2f}" for beta, distance in apart.items())
    return Part(
        Check("NPO tends to GA as β → 0: the difference of forget NLL at the end falls", falls, f"{said} (shares of GA's)"),
        Grid("β toward 0", ["β", "difference to GA"], [[f"{beta:g}", f"{d:.3f}"] for beta, d in apart.items()],
             "|forget NLL of NPO − of GA| / GA's at the last epoch, the median of the worlds."),
        Picture("npo_tofu_beta.png", "NPO at falling β, and GA on summed log-probabilities, to which it tends."),
        {"toward_ga": {f"{beta:g}": distance for beta, distance in apart.items()}},
    )  # fmt: skip


def _distance(runs: Runs, formula: str, limit: str) -> float:
    from statistics import median

    ends = [
        [runs.trajectories["forget10", world, which][-1]["forget_nll"] for which in (formula, limit)]
        for world in runs.worlds
    ]
    return float(median(abs(mine - its) / its for mine, its in ends))


def _weighed(request: Request, plan: Plan) -> Part:
    """The weight of the retain loss, where half of the data is to be forgotten."""
    from unlearnkit.claims.mini.paths import said
    from unlearnkit.claims.mini.runs import unlearned
    from unlearnkit.claims.mini.tradeoffs import draw_tradeoffs

    formulas = {weight: "npo(beta=0.1)" + (f" + {weight}*rt" if weight else "") for weight in plan.weights}
    runs = unlearned(request, (WEIGHED,), tuple(formulas.values()))
    ways = {weight: runs.way(WEIGHED, formula) for weight, formula in formulas.items()}
    draw_tradeoffs(
        {WEIGHED: {f"w = {w}": way for w, way in ways.items()}}, {WEIGHED: 1}, request.out / "npo_tofu_weight.png"
    )
    ends = {weight: way[-1].utility for weight, way in ways.items()}
    most = max(ways, key=lambda weight: (_best(ways[weight]).log10, _best(ways[weight]).utility))
    return Part(
        Check(
            f"the retain weight matters at {WEIGHED}: utility at the end rises from w = 0 to w = {plan.weights[-1]}",
            ends[plan.weights[-1]] > ends[0] + 0.1,
            f"best is w = {most}; " + ", ".join(f"w={w}: {100 * end:.0f} %" for w, end in ends.items()),
        ),
        Grid(f"The retain weight at {WEIGHED}", ["w", f"best with {KEPT:.0%} kept", "at the end"],
             [[str(w), said(_best(way)), said(way[-1])] for w, way in ways.items()]),
        Picture("npo_tofu_weight.png", f"NPO on {WEIGHED} with w times the retain loss."),
        {"weights": _plain({str(w): way for w, way in ways.items()})},
    )  # fmt: skip


def _notes(request: Request) -> list[str]:
    return [
        "Every method has the demo's learning rate, epochs and batch size, and weight 1 on what keeps: one that would want "
        "another is not shown at its best.",
        "Answers here have nine tokens where TOFU's have forty, so at β = 0.1 NPO brakes later.",
        f"Median over {len(request.seeds)} world{'s' if len(request.seeds) > 1 else ''}, epoch by epoch.",
    ]


CLAIM = Claim(
    name="npo-tofu",
    paper="NPO, arXiv:2404.05868, section 5",
    sentence=(
        "NPO-based methods lead the trade-off on forget10 and are the first with reasonable results at forgetting half of "
        "the data and more; NPO tends to GA as β → 0, and the weight of the retain loss matters."
    ),
    run=run,
    seeds=(0, 1, 2),
    quick_seeds=(0,),
)
