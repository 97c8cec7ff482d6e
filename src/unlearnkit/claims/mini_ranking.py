"""Is the miniature a faithful stand-in? Methods ranked on the embedded world, and as published for models of 1B and 7B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request
from unlearnkit.claims.ranking.agreement import Agreement, agreement
from unlearnkit.claims.ranking.published import METHODS, PEER_COLUMNS, PEER_METHODS, PEER_TABLES, RATE, Configuration

if TYPE_CHECKING:
    from unlearnkit.claims.mini.cells import MiniWorld

AIM = 0.8
EPOCHS = 10  # the longer of the published two; every epoch of it is measured
WHERE = {"last": f"after {EPOCHS} epochs", "best": "at the best epoch"}  # on its way a method is ranked
JUDGED = "last"  # the published list holds ends of runs
USEFUL = 0.8  # share of the target's utility that a configuration must keep to be ranked, as in the published selection


def run(request: Request) -> Answer:
    """Every configuration in every world; each method ranked by the one with the best median."""
    scores = _scores(request)
    theirs = [method.overall for method in METHODS.values()]
    found = {which: agreement([scores[name][which]["score"] for name in METHODS], theirs) for which in WHERE}
    peers = None if request.quick else _peers(request)
    return Answer(
        verdict="Against 150 checkpoints of Llama-3.2-1B: "
        + "; ".join(f"{WHERE[which]}: {one.said()}" for which, one in found.items())
        + ".",
        checks=[
            Check(
                f"ρ with the published ranking, {WHERE[JUDGED]}, is {AIM} or more",
                found[JUDGED].rho >= AIM,
                found[JUDGED].said(),
            )
        ],
        numbers={
            **{which: one._asdict() for which, one in found.items()},
            "scores": scores,
            "peers": {} if peers is None else _plain(peers),
        },
        tables=[_table(scores), *([] if peers is None else _peer_tables(peers))],
        pictures=[_draw(scores, request)],
        notes=_notes(scores, peers),
    )


def _notes(scores: Mapping[str, Any], peers: Peers | None) -> list[str]:
    said = [
        "Overall: harmonic mean of memorisation, privacy and utility, as in the published list (whose privacy also counts a "
        f"depth score that is not computed here); 0 where less than {USEFUL:.0%} of the target's utility is left.",
        "The published list holds models at the end of 5 or 10 epochs and no epochs between, so ends are what is judged. At "
        "its best epoch a method may pass through a point that the list would not show.",
        "Learning rates, NPO's β, the refusals and the other answers of the embedded world were settled with the published "
        "ranking in view, on the first world. The peer's tables were not used for it. What earlier settings had given is "
        "told in docs/design/shape.md.",
    ]
    if peers is None:
        said.append(
            "The reduced version runs, for each method, the one configuration that the whole version had picked."
        )
    else:
        said += _of_whole(scores, peers)
    said.append("`examples/rank_method.sh FORMULA OUT` runs any other formula as these were run.")
    if moved := _moved(scores):
        said.append(f"What the miniature does not show as published, by place in the list: {'; '.join(moved)}.")
    return said


def _of_whole(scores: Mapping[str, Any], peers: Peers) -> list[str]:
    """How configurations were picked, and what the peer's setting cannot show here."""
    here = [quality for quality, _ in peers.ours.values()]
    there = [quality for table in PEER_TABLES.values() for quality, _ in table.values()]
    edge = [name for name, method in METHODS.items() if scores[name][JUDGED]["rate"] == max(method.rates)]
    other = [name for name in METHODS if scores[name][JUDGED]["score"] and not _is_chosen(scores, name)]
    said = [
        "As in the published list, each method is shown by the best of its configurations: the one whose median over the "
        "worlds is highest.",
        f"One world alone ranks less surely: the same picks have ρ = {', '.join(_each_world(scores))} in the single worlds.",
        "The peer's tables are untuned runs: weight 1, and the smallest learning rate. So run, methods end here with forget "
        f"qualities between 1e{min(here):.0f} and 1e{max(here):.0f}, there between {min(there):.0e} and {max(there):.2g}: "
        "how far an untuned rate goes differs too much for the miniature to rank it.",
    ]
    if edge:
        said.append(f"At the largest learning rate tried, so perhaps not at their best: {', '.join(edge)}.")
    if other:
        said.append(f"The reduced version runs other configurations of {', '.join(other)} than were picked here.")
    return said


def _each_world(scores: Mapping[str, Any]) -> list[str]:
    """ρ by world."""
    theirs = [method.overall for method in METHODS.values()]
    worlds = zip(*(scores[name][JUDGED]["worlds"] for name in METHODS), strict=True)
    return [f"{agreement(ours, theirs).rho:.2f}" for ours in worlds]


def _is_chosen(scores: Mapping[str, Any], name: str) -> bool:
    picked = scores[name][JUDGED]
    return METHODS[name].chosen == Configuration(picked["formula"], picked["rate"])


def _moved(scores: Mapping[str, Any]) -> list[str]:
    """Methods whose place is two or more off, ties shared, in words."""
    from scipy.stats import rankdata

    theirs = rankdata([-method.overall for method in METHODS.values()])
    ours = rankdata([-scores[name][JUDGED]["score"] for name in METHODS])
    return [
        f"{name} is {mine:g} and was {its:g}"
        for name, mine, its in zip(METHODS, ours, theirs, strict=True)
        if abs(mine - its) >= 2
    ]


def _scores(request: Request) -> dict[str, dict[str, Any]]:
    """By method and pick: {"score": median over the worlds, "worlds": each one's, "formula", "rate"}."""
    from unlearnkit.claims.mini.cells import MiniWorld, models_cell

    worlds = [MiniWorld("forget10", world, holdout=True) for world in request.seeds]
    request.sweep([models_cell(where) for where in worlds], "models")
    grid = {name: [method.chosen] if request.quick else method.grid() for name, method in METHODS.items()}
    ways = _ways(request, [(one, where) for where in worlds for ones in grid.values() for one in ones])

    def result(one: Configuration, which: str) -> dict[str, Any]:
        each = [_score(ways[one, where], which) for where in worlds]
        return {"score": median(each), "worlds": each, "formula": one.formula, "rate": one.rate}

    return {
        name: {which: max((result(one, which) for one in ones), key=lambda found: found["score"]) for which in WHERE}
        for name, ones in grid.items()
    }


Ways = Mapping[tuple[Configuration, "MiniWorld"], Sequence[Mapping[str, Any]]]


def _ways(request: Request, asked: Sequence[tuple[Configuration, MiniWorld]]) -> Ways:
    """The epochs of each run, without the start."""
    from unlearnkit.claims.mini.cells import unlearning_cell

    cells = [unlearning_cell(where, one.formula, {"lr": one.rate, "epochs": EPOCHS}) for one, where in asked]
    results = request.sweep(cells, "the grid")
    return {key: result["trajectory"][1:] for key, result in zip(asked, results, strict=True)}


def _score(way: Sequence[Mapping[str, Any]], which: str) -> float:
    return _overall(way[-1]) if which == "last" else max(map(_overall, way))


def _overall(entry: Mapping[str, Any]) -> float:
    """0 where too much of the utility is lost."""
    return float(entry["overall"] or 0.0) if (entry["utility"] or 0.0) >= USEFUL else 0.0


class Peers(NamedTuple):
    """The peer's setting here: each method's log10 forget quality and model utility, and how they rank beside each table."""

    ours: Mapping[str, tuple[float, float]]
    agreements: Mapping[str, Mapping[str, Agreement]]


def _peers(request: Request) -> Peers:
    """Weight 1, the smallest learning rate, last epoch, the peer's protocol; medians over the worlds."""
    from unlearnkit.claims.mini.cells import MiniWorld, unlearning_cell

    worlds = [MiniWorld("forget10", world, holdout=True) for world in request.seeds]
    asked = [(name, where) for name in PEER_METHODS for where in worlds]
    settings = {"lr": RATE, "epochs": EPOCHS}
    cells = [unlearning_cell(where, PEER_METHODS[name], settings) for name, where in asked]
    results = request.sweep(cells, "the peer's setting")
    ends = {key: result["peer"] for key, result in zip(asked, results, strict=True)}

    def middle(name: str, metric: str) -> float:
        return float(median(ends[name, where][metric] for where in worlds))

    ours = {name: (middle(name, "log10_forget_quality"), middle(name, "model_utility")) for name in PEER_METHODS}
    return Peers(
        ours,
        {
            table: {
                what: agreement(
                    [ours[name][place] for name in PEER_METHODS], [rows[name][place] for name in PEER_METHODS]
                )
                for place, what in enumerate(PEER_COLUMNS)
            }
            for table, rows in PEER_TABLES.items()
        },
    )


def _plain(peers: Peers) -> dict[str, Any]:
    return {table: {what: one._asdict() for what, one in pair.items()} for table, pair in peers.agreements.items()} | {
        "here": {name: dict(zip(PEER_COLUMNS, values, strict=True)) for name, values in peers.ours.items()}
    }


def _table(scores: Mapping[str, Mapping[str, Any]]) -> Grid:
    def cells(name: str, which: str) -> list[str]:
        one = scores[name][which]
        worlds = ", ".join(f"{score:.2f}" for score in one["worlds"])
        return [f"**{one['score']:.3f}** ({worlds})", f"`{one['formula']}`, lr {one['rate']:g}"]

    order = sorted(METHODS, key=lambda name: -METHODS[name].overall)
    rows = [
        [name, f"{METHODS[name].overall:.3f}" if METHODS[name].overall else "about 0"]
        + [cell for which in WHERE for cell in cells(name, which)]
        for name in order
    ]
    return Grid(
        "Overall score by method",
        ["method", "published, 1B"] + [head for pick in WHERE.values() for head in (f"{pick} (worlds)", "by")],
        rows,
    )


def _peer_tables(peers: Peers) -> list[Grid]:
    ranks = [[table, *(pair[what].said() for what in PEER_COLUMNS)] for table, pair in peers.agreements.items()]
    rows = [
        [
            name,
            f"1e{quality:.0f}",
            f"{utility:.2f}",
            *(f"{value:.2g}" for of in PEER_TABLES.values() for value in of[name]),
        ]
        for name, (quality, utility) in peers.ours.items()
    ]
    heads = [f"{what}, {where}" for where in ("here", *PEER_TABLES) for what in PEER_COLUMNS]
    return [
        Grid("Against the peer's tables (forget10, last epoch)", ["model", *PEER_COLUMNS], ranks),
        Grid("The numbers behind that", ["method", *heads], rows),
    ]


def _draw(scores: Mapping[str, Mapping[str, Any]], request: Request) -> Picture:
    from unlearnkit.claims.drawing import dress, save, sheet
    from unlearnkit.report.palette import MARKERS, PRINT

    figure, (axes,) = sheet(1, 1, 6, 4.6)
    for number, (name, method) in enumerate(METHODS.items()):
        x, y = method.overall, scores[name][JUDGED]["score"]
        axes.scatter([x], [y], s=50, color=PRINT.of(number), marker=MARKERS[number % len(MARKERS)], label=name)
    dress(axes, "overall score by method", "published, Llama-3.2-1B", f"embedded world, {WHERE[JUDGED]}")
    axes.legend(frameon=False, fontsize=8, loc="center")
    save(figure, request.out / "mini_ranking.png")
    return Picture("mini_ranking.png", "The overall score of each method: as published, and on the embedded world.")


CLAIM = Claim(
    name="mini-ranking",
    paper="this library, against arXiv:2605.24614 and open-unlearning's tables",
    sentence="The embedded world ranks unlearning methods as models of a billion weights do: a stand-in worth having.",
    run=run,
    seeds=(0, 1, 2),
    quick_seeds=(0,),
)
