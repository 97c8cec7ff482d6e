"""One optimiser step as a sum over its rows: how it is cut, and the loss of each piece.

Every term is a sum over examples or tokens divided by the weights of the whole step, so the pieces can be any size. That
is used: the rows of all views are pooled, sorted by length and run under a budget of tokens, wasting little on padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unlearnkit.models.forward import answer_stats
from unlearnkit.models.reference import Reference
from unlearnkit.objectives import Objective, Term
from unlearnkit.stats import TokenStats, View
from unlearnkit.text.batches import by_length
from unlearnkit.training.data import Answer, Example

Piece = dict[str, list[Answer]]  # rows of each view that are run together; tied views have the same examples in order


def tied_views(objective: Objective) -> list[tuple[str, ...]]:
    """Views in groups: what one term reads together must be run together.

    >>> from unlearnkit.objectives import parse_objective
    >>> tied_views(parse_objective("dpo + rt"))
    [('forget', 'alternate'), ('retain',)]
    """
    groups: list[set[str]] = [{view} for view in objective.views]
    for _, term in objective.terms:
        touched = [group for group in groups if group & set(term.reads)]
        groups = [group for group in groups if group not in touched] + [set().union(*touched)]
    ordered = [tuple(view for view in objective.views if view in group) for group in groups]
    return sorted(ordered, key=lambda group: objective.views.index(group[0]))


def cut(objective: Objective, examples: Sequence[Example], token_budget: int) -> list[Piece]:
    """The examples' rows in pieces of at most `token_budget` padded tokens; tied rows stay together."""
    bundles = [
        {view: example[view] for view in group} for group in tied_views(objective) for example in examples if example
    ]
    # a bundle is padded to its longest row as often as it has rows
    lengths = [len(bundle) * max(len(answer.row.ids) for answer in bundle.values()) for bundle in bundles]
    pieces: list[Piece] = []
    for places in by_length(lengths, token_budget):
        piece: Piece = {}
        for place in places:
            for view, answer in bundles[place].items():
                piece.setdefault(view, []).append(answer)
        pieces.append(piece)
    return pieces


def step_weights(objective: Objective, examples: Sequence[Example]) -> Tensor:
    """The sum of each term's weights over these examples: how many examples or tokens it averages over; (terms,)."""
    real = [example for example in examples if example]
    if not real:
        return torch.zeros(len(objective.terms), dtype=torch.float64)
    masks = {view: _mask([example[view] for example in real]) for view in objective.views}
    sums = [term.weights(*(masks[view] for view in term.reads)).double().sum() for _, term in objective.terms]
    return torch.stack(sums)


def _mask(answers: Sequence[Answer]) -> Tensor:
    lengths = torch.tensor([len(answer.row.answer) for answer in answers])
    return torch.arange(int(lengths.max()))[None, :] < lengths[:, None]


def piece_views(model: Any, objective: Objective, reference: Reference | None, piece: Piece) -> dict[str, View]:
    """One forward pass over all rows of a piece, and what the reference says of those that some term compares."""
    device = next(model.parameters()).device
    policy_need, reference_need = objective.policy_need(), objective.reference_need()
    pooled = [answer.row for answers in piece.values() for answer in answers]
    keep_logits = any(policy_need[view] == "logits" for view in piece)
    stats = answer_stats(model, pooled, logits=keep_logits)
    views: dict[str, View] = {}
    start = 0
    for view, answers in piece.items():
        mine = _rows(stats, start, start + len(answers))
        start += len(answers)
        theirs = None
        if reference is not None and reference_need[view] != "none":
            keys, rows = [answer.key for answer in answers], [answer.row for answer in answers]
            theirs = reference.stats(view, keys, rows, logits=reference_need[view] == "logits", hidden_layer=None)
            theirs = theirs.each(lambda part: part.to(device))
        views[view] = View(mine, theirs)
    return views


def _rows(stats: TokenStats, start: int, stop: int) -> TokenStats:
    """Some rows of pooled statistics, without the padding that only longer rows of other views needed."""
    mask = stats.mask[start:stop]
    width = int(mask.sum(-1).max())
    return stats.each(lambda part: part[start:stop, :width])


def term_sums(objective: Objective, views: dict[str, View], statistics: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The sum of each term's losses over a piece, None where the piece has nothing for it."""
    sums: list[Tensor | None] = []
    for (_, term), statistic in zip(objective.terms, statistics, strict=True):
        if any(view not in views for view in term.reads):
            sums.append(None)
            continue
        given = [views[view] for view in term.reads]
        values = term(*given) if statistic is None else term(*given, statistic=statistic)
        weights = term.weights(*(view.policy.mask for view in given))
        sums.append((values * weights).sum())
    return sums


def statistic_sums(
    model: Any, term: Term, reference: Reference | None, examples: Sequence[Example], token_budget: int
) -> Tensor:
    """The sum of a term's step statistic over these examples and their number, without gradient: (2,)."""
    alone = Objective(((1.0, term),))
    total = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for piece in cut(alone, [{v: e[v] for v in term.reads} for e in examples if e], token_budget):
            views = piece_views(model, alone, reference, piece)
            values = term.statistic(*(views[view] for view in term.reads))
            total += torch.stack([values.double().sum().cpu(), torch.tensor(float(len(values)), dtype=torch.float64)])
    return total
