"""TOFU's own finding: along the whole way, none of its baselines forgets well and keeps what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request

if TYPE_CHECKING:
    from unlearnkit.claims.mini.paths import Path

SPLITS = ("forget01", "forget05", "forget10")
BASELINES = {
    "ga": "gradient ascent",
    "ga + rt": "gradient difference",
    "ga + kl": "KL minimisation",
    "idk + rt": "preference optimisation",
}

_FEW_ROWS = [
    "forget01 is a single author here, 20 rows: a p-value of so few rows says little, and even the target model may not be "
    "told from the retain model.",
]


def run(request: Request) -> Answer:
    """Each baseline on each split in each world, measured every epoch; the median way of the worlds is judged."""
    from unlearnkit.claims.mini.runs import unlearned
    from unlearnkit.claims.mini.tradeoffs import draw_tradeoffs

    splits = SPLITS[-1:] if request.quick else SPLITS
    found = unlearned(request, splits, tuple(BASELINES))
    ways = {split: {method: found.way(split, method) for method in BASELINES} for split in splits}
    draw_tradeoffs(ways, {split: found.rows(split) for split in splits}, request.out / "tofu_baselines.png")
    checks = [_check(split, method, ways[split][method]) for split in splits for method in BASELINES]
    failed = [check.what.removesuffix(" never has both") for check in checks if not check.held]
    return Answer(
        verdict=(
            "No baseline has forget quality above 0.05 with 90 % of the utility at any epoch."
            if not failed
            else f"{len(failed)} of {len(checks)} ways have forget quality above 0.05 with 90 % of the utility at some "
            f"epoch: {'; '.join(failed)}."
        ),
        checks=checks,
        numbers={
            split: {method: [point._asdict() for point in way] for method, way in ways[split].items()} for split in ways
        },
        tables=[_table(split, ways[split], found.rows(split)) for split in splits],
        pictures=[
            Picture(
                "tofu_baselines.png",
                "The trade-off of TOFU's baselines, one panel a split, points as large as the "
                "forget set; from the target model (right, below) on. Top right is where one wants to be.",
            )
        ],
        notes=[
            "Each line is the median over the worlds, epoch by epoch. All weights are 1, as in the paper.",
            *(_FEW_ROWS if SPLITS[0] in splits else []),
        ],
    )


def _check(split: str, method: str, way: Path) -> Check:
    from unlearnkit.claims.mini.paths import best, said

    what = f"{split}: {BASELINES[method]} (`{method}`) never has both"
    return Check(what, not any(point.both_high for point in way), f"best with 90 % kept: {said(best(way))}")


def _table(split: str, ways: dict[str, Path], rows: int) -> Grid:
    from unlearnkit.claims.mini.paths import best, said

    lines = [[f"`{method}`", BASELINES[method], said(best(way)), said(way[-1])] for method, way in ways.items()]
    return Grid(
        f"{split} ({rows} rows)",
        ["objective", "baseline", "best forget quality with 90 % of the utility", "at the end"],
        lines,
    )


CLAIM = Claim(
    name="tofu-baselines",
    paper="TOFU, arXiv:2401.06121, section 4",
    sentence=(
        "None of TOFU's baselines unlearns effectively: along the whole trajectory, forget quality and model utility are "
        "never high together."
    ),
    run=run,
    seeds=(0, 1, 2),
    quick_seeds=(0,),
)
