"""Which metrics deserve trust, and whether the verdict does: models that know, models that do not, and what unlearns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Request

if TYPE_CHECKING:
    from unlearnkit.claims.mini.cells import MiniWorld
    from unlearnkit.score.trust import Faithfulness

# Which way each metric points: 1 where more of it means more knowledge.
SIGNS = {
    "extraction_strength": 1,
    "exact_memorization": 1,
    "forget_probability": 1,
    "forget_paraphrase_probability": 1,
    "forget_rouge": 1,
    "forget_rouge1": 1,
    "forget_rouge_f1": 1,
    "forget_loss": -1,
    "forget_truth_ratio": -1,
    "forget_truth_ratio_normalised": 1,
    "log10_forget_quality": -1,
    "mia_loss": 1,
    "mia_zlib": 1,
    "mia_min_k": 1,
    "mia_min_k_plus_plus": 1,
    "mia_reference": 1,
    "privleak": -1,
    "privacy": -1,
    "memorization": -1,
}
# What the verdict reads must tell the two sets of models apart at least so well.
FAITHFUL = 0.9
LENGTHS = (6, 10)  # epochs of finetuning: a model that is a little short of the recipe, and the recipe
METHODS = (
    "ga + 3*rt",
    "npo(beta=0.1) + 3*rt",
    "0.125*simnpo(beta=3.5, gamma=1, variant='original') + rt",
    "dpo(beta=0.1) + rt",
    "idk + rt",
)
# Runs made to earn a label each; the target model and a retain model of another seed earn the two that are left.
EARNED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "partly forgotten": ("npo(beta=0.1) + 3*rt", {"epochs": 2}),
    "over-forgotten": ("ga + 3*rt", {}),
    "collapsed": ("ga", {}),
}
KNOWS, LACKS = "full", "retain90"


class Pools(NamedTuple):
    """What was looked at, in every world.

    knowing, ignorant  models finetuned with and without the forget set
    unlearned          the stages of each method in each world, by (world, objective)
    retain             the stages of each world's retain model
    weak               models after too little unlearning
    earned             by label, what its runs were called
    """

    knowing: Sequence[Mapping[str, Any]]
    ignorant: Sequence[Mapping[str, Any]]
    unlearned: Mapping[tuple[int, str], Mapping[str, Any]]
    retain: Mapping[int, Mapping[str, Any]]
    weak: Sequence[Mapping[str, Any]]
    earned: Mapping[str, Sequence[str]]


def run(request: Request) -> Answer:
    """Make the models, score every metric's faithfulness and robustness, and count the verdicts."""
    pools = _pools(request)
    faithful = {name: _faithful(name, pools) for name in SIGNS}
    robust = {name: _robust(name, pools) for name in SIGNS}
    checks = [_read_by_verdict(faithful), *_verdicts(pools)]
    top = max(SIGNS, key=lambda name: (faithful[name].value, robust[name]["robustness"]))
    return Answer(
        verdict=(
            f"{len(pools.knowing)} models with the knowledge and {len(pools.ignorant)} without: most trusted is {top} "
            f"(faithfulness {faithful[top].value:.3f}, robustness {robust[top]['robustness']:.2f})."
        ),
        checks=checks,
        numbers={name: {**faithful[name]._asdict(), **robust[name]} for name in SIGNS}
        | {"verdicts": _counts(pools), "earned": {label: list(found) for label, found in pools.earned.items()}},
        tables=[_trust_table(faithful, robust), _verdict_table(pools)],
        notes=_notes(),
    )


def _pools(request: Request) -> Pools:
    from unlearnkit.claims.mini.cells import MiniWorld, models_cell
    from unlearnkit.claims.mini.pool import retain_cell, trained_cell, unlearned_cell

    worlds = [MiniWorld("forget10", world, holdout=True) for world in request.seeds]
    methods, runs = (METHODS[:2], (1,)) if request.quick else (METHODS, (1, 2))
    request.sweep([models_cell(where) for where in worlds], "models")
    variants = list(product(worlds, runs, LENGTHS))
    knowing = request.sweep([trained_cell(where, KNOWS, n, length) for where, n, length in variants], "knowing")
    ignorant = request.sweep([trained_cell(where, LACKS, n, length) for where, n, length in variants], "ignorant")
    pairs = list(product(worlds, methods))
    stages = request.sweep([unlearned_cell(where, method, {}, True) for where, method in pairs], "unlearned")
    retain = request.sweep([retain_cell(where) for where in worlds], "retain models")
    weak = request.sweep([unlearned_cell(where, method, {"epochs": 1}, False) for where, method in pairs], "weak")
    return Pools(
        knowing,
        ignorant,
        {(where.world, method): stage for (where, method), stage in zip(pairs, stages, strict=True)},
        {where.world: stage for where, stage in zip(worlds, retain, strict=True)},
        [stage["unlearned"] for stage in weak],
        _earned(request, worlds, knowing, ignorant),
    )


def _earned(
    request: Request, worlds: Sequence[MiniWorld], knowing: Sequence[Any], ignorant: Sequence[Any]
) -> dict[str, list[str]]:
    """What the runs were called that were made to earn a label."""
    from unlearnkit.claims.mini.pool import unlearned_cell

    found = {"untouched": [one["verdict"] for one in knowing], "forgotten": [one["verdict"] for one in ignorant]}
    for label, (objective, settings) in EARNED.items():
        cells = [unlearned_cell(where, objective, settings, False) for where in worlds]
        found[label] = [stage["unlearned"]["verdict"] for stage in request.sweep(cells, label)]
    return found


def _value(looked: Mapping[str, Any], name: str) -> float:
    """A metric turned so that more of it means more knowledge."""
    value = looked["scores"][name]
    if value is None:
        raise RuntimeError(f"{name} has no value for a model of the embedded world")
    return SIGNS[name] * float(value)


def _faithful(name: str, pools: Pools) -> Faithfulness:
    from unlearnkit.score.trust import faithfulness

    return faithfulness(*([_value(one, name) for one in pool] for pool in (pools.knowing, pools.ignorant)))


def _robust(name: str, pools: Pools) -> dict[str, float]:
    """Means over methods and worlds, and their harmonic mean."""
    from unlearnkit.score.trust import quantisation, relearning, robustness

    def at(stages: Mapping[str, Any], stage: str) -> float:
        return _value(stages[stage], name)

    pairs = [(stages, pools.retain[world]) for (world, _), stages in pools.unlearned.items()]
    relearned = mean(
        relearning((at(mine, "unlearned"), at(mine, "relearned")), (at(its, "unlearned"), at(its, "relearned")))
        for mine, its in pairs
    )
    rounded = {
        stage: mean(quantisation(at(mine, "unlearned"), at(mine, stage)) for mine, _ in pairs)
        for stage in ("int8", "int4")
    }
    return {"relearn": relearned, **rounded, "robustness": robustness(relearned, rounded["int4"])}


def _read_by_verdict(faithful: Mapping[str, Faithfulness]) -> Check:
    from unlearnkit.score.verdict import VIEWS

    names = [view.metric.name for view in VIEWS]
    said = ", ".join(f"{name} {faithful[name].value:.3f}" for name in names)
    return Check(
        f"every view that the verdict reads has a faithfulness of {FAITHFUL} or more",
        all(faithful[name].value >= FAITHFUL for name in names),
        said,
    )


def _counts(pools: Pools) -> dict[str, dict[str, int]]:
    """How often each label was given, by what is known of the models."""
    relearned = [stages["relearned"] for stages in pools.unlearned.values()]
    groups = {
        "finetuned with the forget set": pools.knowing,
        "after one epoch of unlearning": pools.weak,
        "unlearned, then relearned": relearned,
        "finetuned without it": pools.ignorant,
        "unlearned to the end": [stages["unlearned"] for stages in pools.unlearned.values()],
    }
    return {name: _tally([str(one["verdict"]) for one in group]) for name, group in groups.items()}


def _tally(labels: Sequence[str]) -> dict[str, int]:
    return {label: labels.count(label) for label in dict.fromkeys(labels)}


def _verdicts(pools: Pools) -> list[Check]:
    counts = _counts(pools)
    know = [name for name in counts if name not in ("finetuned without it", "unlearned to the end")]
    missed = {name: counts[name].get("forgotten", 0) for name in know}
    cleared, all_of = counts["finetuned without it"].get("forgotten", 0), len(pools.ignorant)
    return [
        Check(
            "no model that has the knowledge is called forgotten",
            not any(missed.values()),
            "; ".join(f"{name}: {missed[name]} of {sum(counts[name].values())}" for name in know),
        ),
        Check(
            "at least 90 % of the models trained without it are called forgotten",
            cleared >= 0.9 * all_of,
            f"{cleared} of {all_of}",
        ),
        Check(
            "each of the five labels is earned: by finetuned models, and by every run made for one of the other three",
            all(set(found) == {label} for label, found in pools.earned.items() if label in EARNED)
            and all(label in found for label, found in pools.earned.items()),
            "; ".join(f"{label}: {_tally(found)}" for label, found in pools.earned.items()),
        ),
    ]


def _trust_table(faithful: Mapping[str, Faithfulness], robust: Mapping[str, Mapping[str, float]]) -> Grid:
    order = sorted(SIGNS, key=lambda name: (-faithful[name].value, -robust[name]["robustness"]))
    rows = [
        [
            f"`{name}`",
            f"{faithful[name].value:.3f}",
            f"{faithful[name].interval[0]:.2f} to {faithful[name].interval[1]:.2f}",
            *(f"{robust[name][part]:.2f}" for part in ("relearn", "int8", "int4", "robustness")),
        ]
        for name in order
    ]
    return Grid(
        "Which metrics deserve trust",
        ["metric", "faithfulness", "95 % interval", "relearning", "8 bits", "4 bits", "robustness"],
        rows,
        "Faithfulness: AUC of telling models with the knowledge from models without it. Relearning: how alike the unlearned "
        "and the retain model gain from one epoch on the forget set. 8 and 4 bits: how alike the metric is before and after "
        "the weights were rounded. Robustness: harmonic mean of relearning and 4 bits.",
    )


def _verdict_table(pools: Pools) -> Grid:
    from unlearnkit.score.verdict import LABELS

    counts = _counts(pools)
    rows = [[name, *(str(found.get(label, 0)) for label in LABELS)] for name, found in counts.items()]
    return Grid("What the verdict says", ["models", *LABELS], rows)


def _notes() -> list[str]:
    return [
        "The models of a world share their base model, and differ in the seed and the length of finetuning: "
        f"{' or '.join(map(str, LENGTHS))} epochs. "
        "Each is compared with its world's first retain and target model, of which none is in the pools.",
        "A model of 1.1 million weights is not a language model of billions: read the order of the metrics, not "
        "the decimals. Published for Llama-3.2-1B (arXiv:2605.24614): extraction strength 0.891, exact memorisation 0.817, "
        "probability 0.816, truth ratio p/(p+w) 0.947, ROUGE 0.722, loss attack 0.902.",
    ]


CLAIM = Claim(
    name="metric-trust",
    paper="OpenUnlearning, arXiv:2506.12618, section 5; arXiv:2605.24614",
    sentence=(
        "The metrics that the verdict leans on tell models that know the forget set from models that never saw it, and so "
        "does the verdict."
    ),
    run=run,
    seeds=(0, 1, 2),
    quick_seeds=(0,),
)
