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
HEAVY = {"forget50": 5, "forget90": 12}  # the paper's weights for NPO+RT on these splits; here every loss is given them
# What brakes these losses is β log π/π_ref of a whole answer, and answers have 9 tokens here where TOFU's have about 40, so
# this β stands for the paper's 0.1. It is shown beside the retain loss on two splits.
BETA_HERE = 0.45
BRAKED = {f"{loss}+RT β={BETA_HERE}": f"{loss.lower()}(beta={BETA_HERE}) + rt" for loss in ("DPO", "NPO", "KTO")}
BRAKED_ON = ("forget10", "forget50")
KEPT = 0.8  # utility that a result must keep to be called reasonable
WEIGHTS = {"forget10": (0, 1, 2, 5), "forget50": (0, 1, 2, 5), "forget90": (0, 1, 5, 12)}
BETAS = (1.0, 0.5, 0.1, 0.02, 0.004)


class Plan(NamedTuple):
    """What is run: the whole table, or a part that shows the same."""

    splits: Sequence[str]
    methods: Mapping[str, str]
    weights: Mapping[str, Sequence[int]]
    betas: Sequence[float]
    braked: Sequence[
        str
    ] = ()  # the splits on which losses with a brake are shown at the β that stands for the paper's too

    def on(self, split: str) -> dict[str, str]:
        """The formulas by name: the methods; on some splits the paper's weight of the retain loss, and the β that stands for
        the paper's."""
        weight = HEAVY.get(split)
        heavy = {f"{loss}+{weight}RT": f"{formula} + {weight}*rt" for loss, formula in LOSSES.items()} if weight else {}
        return {**self.methods, **heavy, **(BRAKED if split in self.braked else {})}


WHOLE = Plan(SPLITS, METHODS, WEIGHTS, BETAS, BRAKED_ON)
QUICK = Plan(
    ("forget10",), {name: METHODS[name] for name in ("GA", "GA+RT", "NPO", "NPO+RT", "IDK+RT")}, {}, (1.0, 0.1, 0.004)
)


def run(request: Request) -> Answer:
    """The method table on every split, the weights of the retain loss, and β toward 0."""
    plan = QUICK if request.quick else WHOLE
    tables = _tables(request, plan)
    duels = {split: _duel(ways) for split, ways in tables.items()}
    checks = [_leads(duels["forget10"]), *(_first(duel, split) for split, duel in duels.items() if _half(split))]
    grids = [_who_leads(duels), *(_grid(split, ways, plan.on(split)) for split, ways in tables.items())]
    numbers: dict[str, Any] = {"methods": {split: _plain(ways) for split, ways in tables.items()}}
    pictures = [_draw_methods(request, tables, plan)]
    for part in (_toward_ga(request, plan), *([_weighed(request, plan)] if plan.weights else [])):
        checks.append(part.check)
        grids.append(part.grid)
        pictures.append(part.picture)
        numbers |= part.numbers
    held = sum(check.held for check in checks)
    return Answer(
        verdict=f"{held} of {len(checks)} parts held. {_standing(duels)}",
        checks=checks,
        numbers=numbers,
        tables=grids,
        pictures=pictures,
        notes=_notes(request, plan),
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

    tables: dict[str, Ways] = {}
    for split in plan.splits:
        runs = unlearned(request, (split,), tuple(plan.on(split).values()))
        tables[split] = {name: runs.way(split, formula) for name, formula in plan.on(split).items()}
    return tables


def _half(split: str) -> bool:
    return int(split.removeprefix("forget")) >= 50


def _best(way: Path) -> Point:
    from unlearnkit.claims.mini.paths import best

    return best(way, KEPT)


class Duel(NamedTuple):
    """The best method of the NPO family, and the best of all others, each with the best point of its way."""

    ours: str
    mine: Point
    other: str
    its: Point

    @property
    def ahead(self) -> bool:
        """Whether the NPO method has the higher forget quality."""
        return self.mine.log10 > self.its.log10

    def said(self) -> list[str]:
        """Both in words."""
        from unlearnkit.claims.mini.paths import said

        return [f"{self.ours} {said(self.mine)}", f"{self.other} {said(self.its)}"]


def _duel(ways: Ways) -> Duel:
    found = {name: _best(way) for name, way in ways.items()}
    order = sorted(found, key=lambda name: (found[name].log10, found[name].utility), reverse=True)
    ours, other = (next(n for n in order if n.startswith("NPO") is family) for family in (True, False))
    return Duel(ours, found[ours], other, found[other])


def _leads(duel: Duel) -> Check:
    what = f"forget10: an NPO method has the highest forget quality with {KEPT:.0%} of the utility"
    return Check(what, duel.ahead, ", ".join(duel.said()))


def _first(duel: Duel, split: str) -> Check:
    """Reasonable: meaningful forgetting with the utility kept."""
    from unlearnkit.claims.mini.paths import MEANINGFUL

    what = f"{split}: only NPO methods have forget quality above {MEANINGFUL} with {KEPT:.0%} of the utility"
    return Check(what, duel.mine.quality > MEANINGFUL >= duel.its.quality, ", ".join(duel.said()))


def _standing(duels: Mapping[str, Duel]) -> str:
    ahead = [split for split, duel in duels.items() if duel.ahead]
    behind = [split for split in duels if split not in ahead]
    return (
        f"With {KEPT:.0%} of the utility kept, an NPO method has the highest forget quality on "
        f"{', '.join(ahead) or 'no split'}, another method on {', '.join(behind) or 'none'}."
    )


def _who_leads(duels: Mapping[str, Duel]) -> Grid:
    rows = [[split, *duel.said()] for split, duel in duels.items()]
    return Grid(f"Highest forget quality with {KEPT:.0%} of the utility", ["split", "NPO methods", "all others"], rows)


def _grid(split: str, ways: Ways, formulas: Mapping[str, str]) -> Grid:
    from unlearnkit.claims.mini.paths import said

    order = sorted(ways, key=lambda name: -_best(ways[name]).log10)
    rows = [[name, f"`{formulas[name]}`", said(_best(ways[name])), said(ways[name][-1])] for name in order]
    return Grid(
        split, ["method", "objective", f"best forget quality with {KEPT:.0%} of the utility", "at the end"], rows
    )


def _plain(ways: Ways) -> dict[str, Any]:
    return {name: [point._asdict() for point in way] for name, way in ways.items()}


def _draw_methods(request: Request, tables: Mapping[str, Ways], plan: Plan) -> Picture:
    from unlearnkit.claims.mini.tradeoffs import Look, draw_tradeoffs

    suffixes = (*KEEPERS, _HEAVY, f"+RT β={BETA_HERE}")
    looks = {  # losses that have the last suffix come first, so that each is a column of the legend
        f"{loss}{suffix}": Look(list(LOSSES).index(loss), marker, line)
        for loss in ("DPO", "NPO", "KTO", "GA", "IDK")
        for marker, (suffix, line) in enumerate(zip(suffixes, (":", "-", "--", "-.", "-"), strict=True))
        if suffix != suffixes[-1] or f"{loss}{suffix}" in BRAKED
    }
    panels = {
        split: {name.replace(f"+{HEAVY.get(split)}RT", _HEAVY): way for name, way in ways.items()}
        for split, ways in tables.items()
    }
    draw_tradeoffs(panels, dict.fromkeys(panels, 1), request.out / "npo_tofu_methods.png", looks)
    more = (
        f", diamonds w times the retain loss with the paper's w ({', '.join(f'{w} on {s}' for s, w in HEAVY.items())}); "
        f"triangles on their tips are at β = {BETA_HERE}"
    )
    return Picture(
        "npo_tofu_methods.png",
        "Every method from the target model (right, below) on; the last epoch is filled. A colour is a loss; circles have "
        f"nothing beside it, squares the retain loss, triangles the divergence{more if plan is WHOLE else ''}.",
    )


_HEAVY = "+w·RT"  # in the picture, where panels share a legend


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
    """The weight of the retain loss beside NPO."""
    from unlearnkit.claims.mini.paths import said
    from unlearnkit.claims.mini.tradeoffs import Look, draw_tradeoffs

    ways = {split: _by_weight(request, split, weights) for split, weights in plan.weights.items()}
    panels = {split: {f"w = {w}": way for w, way in of.items()} for split, of in ways.items()}
    looks = {f"w = {w}": Look(n, n) for n, w in enumerate(sorted({w for of in ways.values() for w in of}))}
    draw_tradeoffs(panels, dict.fromkeys(panels, 1), request.out / "npo_tofu_weight.png", looks)
    ends = {split: {weight: way[-1].utility for weight, way in of.items()} for split, of in ways.items()}
    return Part(
        Check(
            "the retain weight matters: NPO's utility at the end is larger by a tenth of the target's with the largest "
            "weight than without, on every split",
            all(of[max(of)] > of[0] + 0.1 for of in ends.values()),
            "; ".join(f"{s}: " + ", ".join(f"w={w} {100 * end:.0f} %" for w, end in of.items()) for s, of in ends.items()),
        ),
        Grid("NPO by the retain weight", ["split", "w", f"best with {KEPT:.0%} kept", "at the end"],
             [[split, str(w), said(_best(way)), said(way[-1])] for split, of in ways.items() for w, way in of.items()],
             "The paper varies the weight from 0 to 5 on forget10, and uses 5 on forget50 and 12 on forget90."),
        Picture("npo_tofu_weight.png", "NPO with w times the retain loss."),
        {"weights": {split: _plain({str(w): way for w, way in of.items()}) for split, of in ways.items()}},
    )  # fmt: skip


def _by_weight(request: Request, split: str, weights: Sequence[int]) -> dict[int, Path]:
    """NPO's median way with so much of the retain loss."""
    from unlearnkit.claims.mini.runs import unlearned

    formulas = {weight: LOSSES["NPO"] + (f" + {weight}*rt" if weight > 1 else " + rt" * weight) for weight in weights}
    runs = unlearned(request, (split,), tuple(formulas.values()))
    return {weight: runs.way(split, formula) for weight, formula in formulas.items()}


def _notes(request: Request, plan: Plan) -> list[str]:
    said = [
        "Every method has the demo's learning rate, epochs and batch size, and weight 1 on what keeps where no other is "
        "named: one that would want another is not shown at its best.",
        "Answers here have nine tokens where TOFU's have about forty, so at β = 0.1 NPO, DPO and KTO brake later.",
        f"Median over {len(request.seeds)} world{'s' if len(request.seeds) > 1 else ''}, epoch by epoch.",
    ]
    if plan is WHOLE:
        said += [
            "Where the paper gave NPO+RT a larger weight (its table 2), here every loss is shown with it: NPO is not "
            "compared with losses that were given less.",
            f"On {' and '.join(BRAKED_ON)} NPO, DPO and KTO are shown at β = {BETA_HERE} as well, which stands for the "
            "paper's.",
        ]
    return said


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
