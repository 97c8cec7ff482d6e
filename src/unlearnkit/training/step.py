"""One optimiser step as a sum over its rows: how it is cut, and the loss of each piece.

Every term is a sum over examples or tokens divided by the weights of the whole step, so the pieces can be any size. That
is used: the rows of all views are pooled, sorted by length and run under a budget of tokens, wasting little on padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unlearnkit.models.forward import answer_stats, position_stats
from unlearnkit.models.reference import Reference
from unlearnkit.objectives import Objective, Term
from unlearnkit.objectives.base import Positions
from unlearnkit.stats import TokenStats, View
from unlearnkit.text.batches import cheapest
from unlearnkit.training.data import Answer, Example

Views = dict[tuple[str, Positions], View]
# One more piece, whose gradients are to be added up, costs about as much as so many tokens: on a GPU, where the traffic of
# the weights counts, some 100; on a CPU fewer. On TOFU's steps of 16 + 16 rows it leaves 8 % of padding, where filling the
# budget left 34 %.
OVERHEAD = 64
NOTHING: Mapping[str, int] = MappingProxyType({})


class Piece(NamedTuple):
    """Rows that are run together.

    rows    the rows of each view; tied views have the same examples in order
    widths  how many positions a row of each view has where a term reads them all: its longest row in the whole batch
    """

    rows: dict[str, list[Answer]]
    widths: Mapping[str, int]


def tied_views(objective: Objective) -> list[tuple[str, ...]]:
    """Views in groups: what one term reads together must be run together.

    >>> from unlearnkit.objectives import parse_objective
    >>> tied_views(parse_objective("dpo + rt"))
    [('forget', 'alternate'), ('retain',)]
    """
    groups: list[set[str]] = []
    for _, term in objective.terms:
        touched = [group for group in groups if group & set(term.reads)]
        groups = [group for group in groups if group not in touched] + [set(term.reads).union(*touched)]
    ordered = [tuple(view for view in objective.views if view in group) for group in groups]
    return sorted(ordered, key=lambda group: objective.views.index(group[0]))


def cut(
    objective: Objective, examples: Sequence[Example], token_budget: int, least: Mapping[str, int] = NOTHING
) -> list[Piece]:
    """The examples' rows in pieces of at most `token_budget` padded tokens; tied rows stay together.

    least   where a term reads all positions: how many each row of a view has at least
    """
    return _cut(tied_views(objective), _widths(objective, examples, least), examples, token_budget)


def _cut(
    groups: Iterable[tuple[str, ...]], widths: Mapping[str, int], examples: Sequence[Example], token_budget: int
) -> list[Piece]:
    bundles = [{view: example[view] for view in group} for group in groups for example in examples if example]
    # a bundle is padded to its longest row as often as it has rows
    lengths = [
        len(bundle) * max(max(len(answer.row.ids), widths.get(view, 0)) for view, answer in bundle.items())
        for bundle in bundles
    ]
    pieces: list[Piece] = []
    for places in cheapest(lengths, token_budget, OVERHEAD):
        piece = Piece({}, widths)
        for place in places:
            for view, answer in bundles[place].items():
                piece.rows.setdefault(view, []).append(answer)
        pieces.append(piece)
    return pieces


def _widths(objective: Objective, examples: Sequence[Example], least: Mapping[str, int]) -> dict[str, int]:
    """For each view that some term reads at all positions: how many positions its rows are padded to."""
    widths: dict[str, int] = {}
    for _, term in objective.terms:
        for view in term.reads if term.positions == "all" else ():
            longest = max((len(example[view].row.ids) for example in examples if example), default=0)
            widths[view] = max(widths.get(view, 0), longest, term.padded_to, least.get(view, 0))
    return widths


def step_weights(
    objective: Objective, batches: Sequence[Sequence[Example]], least: Mapping[str, int] = NOTHING
) -> Tensor:
    """The sum of each term's weights over these batches: how many examples or tokens it averages over; (terms,)."""
    total = torch.zeros(len(objective.terms), dtype=torch.float64)
    for examples in batches:
        real = [example for example in examples if example]
        if real:
            widths = _widths(objective, real, least)
            total += torch.stack([_weight(term, real, widths) for _, term in objective.terms])
    return total


def _weight(term: Term, examples: Sequence[Example], widths: Mapping[str, int]) -> Tensor:
    rows = {view: [example[view].row for example in examples] for view in term.reads}
    if term.positions == "all":
        masks = [_scored([(r.prompt_length - 1, len(r.ids) - 1) for r in rows[view]], widths[view]) for view in rows]
    else:
        masks = [_scored([(0, len(row.answer)) for row in rows[view]]) for view in rows]
    return term.weights(*masks).double().sum()


def _scored(runs: Sequence[tuple[int, int]], width: int | None = None) -> Tensor:
    """True from start to stop of each row."""
    bounds = torch.tensor(runs)
    places = torch.arange(width or int(bounds.max()))[None, :]
    return torch.logical_and(places >= bounds[:, :1], places < bounds[:, 1:])


def piece_views(model: Any, objective: Objective, reference: Reference | None, piece: Piece) -> Views:
    """One forward pass over all rows of a piece, and what the reference says of those that some term compares."""
    views: Views = {}
    pooled = [view for view in piece.rows if "tokens" in _answer_needs(objective, view)]
    if pooled:
        rows = [answer.row for view in pooled for answer in piece.rows[view]]
        needs = set().union(*(_answer_needs(objective, view) for view in pooled))
        stats = answer_stats(
            model, rows, logits="logits" in needs, hidden_layer=objective.hidden_layer if "hidden" in needs else None
        )
        start = 0
        for view in pooled:
            stop = start + len(piece.rows[view])
            theirs = _reference(model, objective, reference, piece, view, "answer")
            views[view, "answer"] = View(_rows(stats, start, stop), theirs)
            start = stop
    for view in (view for view in piece.widths if view in piece.rows):
        mine = position_stats(model, [answer.row for answer in piece.rows[view]], piece.widths[view])
        views[view, "all"] = View(mine, _reference(model, objective, reference, piece, view, "all"))
    return views


def _answer_needs(objective: Objective, view: str) -> set[str]:
    """What is kept of the model in training on a view's answers; nothing where only all positions are read."""
    needs = objective.needs(view, "answer")[0] - {"none"}
    return {"tokens", *needs} if needs else set()


def _reference(
    model: Any, objective: Objective, reference: Reference | None, piece: Piece, view: str, positions: Positions
) -> TokenStats | None:
    needs = objective.needs(view, positions)[1]
    if reference is None or needs == {"none"}:
        return None
    keys, rows = [answer.key for answer in piece.rows[view]], [answer.row for answer in piece.rows[view]]
    stats = reference.stats(
        view,
        keys,
        rows,
        logits="logits" in needs,
        hidden_layer=objective.hidden_layer if "hidden" in needs else None,
        width=piece.widths[view] if positions == "all" else None,
    )
    device = next(model.parameters()).device
    return stats.each(lambda part: part.to(device))


def _rows(stats: TokenStats, start: int, stop: int) -> TokenStats:
    """Some rows of pooled statistics, without the padding that only longer rows of other views needed."""
    mask = stats.mask[start:stop]
    width = int(mask.sum(-1).max())
    return stats.each(lambda part: part[start:stop, :width])


def term_sums(objective: Objective, views: Views, statistics: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The sum of each term's losses over a piece, None where the piece has nothing for it."""
    sums: list[Tensor | None] = []
    for (_, term), statistic in zip(objective.terms, statistics, strict=True):
        if any((view, term.positions) not in views for view in term.reads):
            sums.append(None)
            continue
        given = [views[view, term.positions] for view in term.reads]
        values = term(*given) if statistic is None else term(*given, statistic=statistic)
        weights = term.weights(*(view.policy.mask for view in given))
        sums.append((values * weights).sum())
    return sums


def statistic_sums(
    model: Any, term: Term, reference: Reference | None, examples: Sequence[Example], token_budget: int
) -> Tensor:
    """The sums of a term's step statistics over these examples and, last, their number, without gradient: (k + 1,)."""
    alone = Objective(((1.0, term),))
    total = torch.zeros(term.statistics + 1, dtype=torch.float64)
    with torch.no_grad():
        for piece in _cut([term.statistic_reads], {}, examples, token_budget):
            views = piece_views(model, alone, reference, piece)
            values = term.statistic(*(views[view, "answer"] for view in term.statistic_reads)).double().cpu()
            counted = torch.cat([values.view(len(values), -1), torch.ones(len(values), 1, dtype=torch.float64)], dim=1)
            total += counted.sum(0)
    return total
