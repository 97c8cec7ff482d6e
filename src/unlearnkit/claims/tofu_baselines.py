"""TOFU's own finding: along the whole way, none of its baselines forgets well and keeps what it should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as Folder
from typing import TYPE_CHECKING, NamedTuple

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request

if TYPE_CHECKING:
    from unlearnkit.claims.mini.paths import Path
    from unlearnkit.claims.mini.runs import Runs
    from unlearnkit.claims.small.runs import OnTofu

SPLITS = ("forget01", "forget05", "forget10")
BASELINES = {
    "ga": "gradient ascent",
    "ga + rt": "gradient difference",
    "ga + kl": "KL minimisation",
    "idk + rt": "preference optimisation",
}


class Found(NamedTuple):
    """What the runs found, wherever they took place.

    utility  what "utility" stands for in sentences
    picture  the picture's file
    """

    runs: Runs
    splits: Sequence[str]
    utility: str
    picture: str
    notes: Sequence[str]
    tables: Sequence[Grid] = ()

    def ways(self) -> dict[str, dict[str, Path]]:
        """By split and baseline, the median over the seeds."""
        return {split: {method: self.runs.way(split, method) for method in BASELINES} for split in self.splits}


def run(request: Request) -> Answer:
    """Each baseline on each split, measured every epoch: in several embedded worlds, or with data on TOFU itself."""
    from unlearnkit.claims.mini.tradeoffs import LOWEST, draw_tradeoffs

    found = _in_miniature(request) if request.data is None else _on_tofu(request)
    ways = found.ways()
    titles = {split: split if found.utility in _UTILITIES else f"{split}, utility: {found.utility}" for split in ways}
    draw_tradeoffs(
        {titles[split]: ways[split] for split in ways},
        {titles[split]: found.runs.rows(split) for split in ways},
        request.out / found.picture,
    )
    lowest = min(point.log10 for methods in ways.values() for way in methods.values() for point in way)
    below = f" Forget qualities below 1e{LOWEST:.0f} are drawn there." if lowest < LOWEST else ""
    checks = [_check(split, method, way) for split in ways for method, way in ways[split].items()]
    return Answer(
        verdict=_verdict(checks, found.utility),
        checks=checks,
        numbers={
            split: {method: [at._asdict() for at in way] for method, way in ways[split].items()} for split in ways
        },
        tables=[*found.tables, *(_table(split, ways[split], found) for split in ways)],
        pictures=[
            Picture(
                found.picture,
                "The trade-off of TOFU's baselines, one panel a split, points as large as the "
                "forget set; from the target model (right, below) on. Top right is where one wants to be." + below,
            )
        ],
        notes=[*found.notes, *_coarse(ways, found.utility)],
    )


_UTILITIES = ("utility", "model utility")  # what the picture's axis says already


def _in_miniature(request: Request) -> Found:
    from unlearnkit.claims.mini.runs import unlearned

    splits = SPLITS[-1:] if request.quick else SPLITS
    notes = ["Each line is the median over the worlds, epoch by epoch. All weights are 1, as in the paper."]
    if SPLITS[0] in splits:
        notes.append(
            "forget01 is a single author here, 20 rows: a p-value of so few rows says little, and even the target model "
            "may not be told from the retain model."
        )
    return Found(unlearned(request, splits, tuple(BASELINES)), splits, "utility", "tofu_baselines.png", notes)


def _on_tofu(request: Request) -> Found:
    from unlearnkit.claims.small.runs import unlearned_tofu

    found = unlearned_tofu(request, SPLITS, tuple(BASELINES))
    utility = found.utility.replace("_", " ")
    notes = _notes_on_tofu(found, request.models is None, len(request.seeds))
    return Found(found.runs, list(found.before), utility, "tofu_baselines_data.png", notes, [_before(found)])


def _notes_on_tofu(found: OnTofu, trained: bool, seeds: int) -> list[str]:
    from unlearnkit.claims.small.recipe import RECIPE

    settings = RECIPE.unlearn
    whose = "models of 2.6 million weights that the command trained on it" if trained else "the models that were given"
    notes = [
        f"This is TOFU itself, with {whose}. All weights are 1, and {settings['epochs']} epochs in steps of "
        f"{settings['batch_size']} rows are the paper's; the learning rate of {settings['lr']:g}, {settings['schedule']}, "
        "is this library's choice for small models."
    ]
    if seeds == 1:
        notes.append("Each line is a single run: how far it depends on the order of the rows is not shown.")
    else:
        notes.append(
            "Each line is the median over the seeds, epoch by epoch. A seed draws the order of the rows; the models stay."
        )
    if found.utility != "model_utility":
        notes.append(
            "Utility is the probability of the retain set's answers here: the target model has next to no model utility, "
            "which is a harmonic mean over what TOFU teaches and what it does not, such as real authors."
        )
    return notes


def _before(found: OnTofu) -> Grid:
    """What the target has of the forget set and the retain model has not."""
    shown = ("forget_quality", "model_utility", "forget_probability", "retain_probability")
    rows = [
        [split, role, *(f"{scores[name]:.2g}" for name in shown)]
        for split, models in found.before.items()
        for role, scores in models.items()
    ]
    return Grid("The models before unlearning", ["split", "model", *(name.replace("_", " ") for name in shown)], rows)


def _coarse(ways: Mapping[str, Mapping[str, Path]], utility: str) -> list[str]:
    """Where a single epoch is too long a step, no epoch could have shown both."""
    from unlearnkit.claims.mini.paths import KEPT

    every = [(f"{split}: `{method}`", way) for split, methods in ways.items() for method, way in methods.items()]
    lost = [name for name, way in every if all(point.utility < KEPT for point in way[1:])]
    if not lost:
        return []
    all_lost = len(lost) == len(every)
    which = "None of the ways keeps" if all_lost else f"{len(lost)} of {len(every)} ways do not keep"
    names = "" if all_lost else f" ({'; '.join(lost)})"
    return [
        f"{which} 90 % of the {utility} at any epoch after the start{names}: there the claim holds by what is lost in the "
        "first epoch, and what a way passes through within it is not measured."
    ]


def _verdict(checks: Sequence[Check], utility: str) -> str:
    failed = [check.what.removesuffix(" never has both") for check in checks if not check.held]
    if not failed:
        return f"No baseline has forget quality above 0.05 with 90 % of the {utility} at any epoch."
    return (
        f"{len(failed)} of {len(checks)} ways have forget quality above 0.05 with 90 % of the {utility} at some epoch: "
        f"{'; '.join(failed)}."
    )


def _check(split: str, method: str, way: Path) -> Check:
    from unlearnkit.claims.mini.paths import best, said

    what = f"{split}: {BASELINES[method]} (`{method}`) never has both"
    return Check(what, not any(point.both_high for point in way), f"best with 90 % kept: {said(best(way))}")


def _table(split: str, ways: Mapping[str, Path], found: Found) -> Grid:
    from unlearnkit.claims.mini.paths import best, said

    lines = [[f"`{method}`", BASELINES[method], said(best(way)), said(way[-1])] for method, way in ways.items()]
    return Grid(
        f"{split} ({found.runs.rows(split)} rows)",
        ["objective", "baseline", f"best forget quality with 90 % of the {found.utility}", "at the end"],
        lines,
    )


def _inputs(data: Folder | None, models: Folder | None) -> dict[str, str]:
    if data is None:
        return {}
    from unlearnkit.claims.small.models import inputs

    return inputs(data, models, SPLITS)


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
    takes_data=True,
    data_seeds=(0,),
    inputs=_inputs,
)
