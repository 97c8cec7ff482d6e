"""Rows into batches: sorted by length, under a budget of tokens, padded on the right with their mask carried along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unlearnkit.text.template import Encoded


class Batch(NamedTuple):
    """Padded rows.

    input_ids       (batch, time)
    attention_mask  1 on a row's own tokens; carried from the tokeniser, never guessed from the pad id; (batch, time)
    predicts        position of the token before each scored token, in the flattened (batch * time); (scored,)
    targets         the scored tokens; (scored,)
    mask            True where a row has a scored token, rows left-aligned; (batch, tokens)
    """

    input_ids: Tensor
    attention_mask: Tensor
    predicts: Tensor
    targets: Tensor
    mask: Tensor


def collate(rows: Sequence[Encoded], device: torch.device | str = "cpu") -> Batch:
    """Pad rows on the right. The pad id is 0: it is masked out of attention and never scored."""
    width = max(len(row.ids) for row in rows)
    answers = [len(row.ids) - row.prompt_length for row in rows]
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    attention = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.arange(max(answers))[None, :] < torch.tensor(answers)[:, None]
    predicts, targets = [], []
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        attention[place, : len(row.ids)] = 1
        start = place * width + row.prompt_length - 1
        predicts.append(torch.arange(start, start + answers[place]))
        targets.append(ids[place, row.prompt_length : len(row.ids)])
    parts = (ids, attention, torch.cat(predicts), torch.cat(targets), mask)
    return Batch(*(part.to(device, non_blocking=True) for part in parts))


def by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places 0..n-1 in batches, longest first, so that rows x longest row stays within `budget` tokens.

    A row longer than the budget gets a batch of its own. The longest come first: what does not fit fails at once.

    >>> by_length([3, 9, 4, 2], budget=9)
    [[1], [2, 0], [3]]
    """
    batches: list[list[int]] = []
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    for place in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def cheapest(lengths: Sequence[int], budget: int, overhead: int) -> list[list[int]]:
    """As `by_length`, but cut where the padded tokens of all batches, and `overhead` for each batch, are the fewest.

    What a batch costs beside its tokens, such as adding up a gradient, is as much as `overhead` tokens cost.

    >>> by_length([9, 2, 2, 2, 2], budget=18), cheapest([9, 2, 2, 2, 2], budget=18, overhead=1)
    ([[0, 1], [2, 3, 4]], [[0], [1, 2, 3, 4]])
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    costs, starts = [0], [0]
    for stop in range(1, len(order) + 1):
        ways = []
        for start in reversed(range(stop)):
            padded = (stop - start) * lengths[order[start]]
            if padded > budget and start < stop - 1:
                break  # more rows, and longer ones, fit even less
            ways.append((costs[start] + padded + overhead, start))
        cost, start = min(ways)
        costs.append(cost)
        starts.append(start)
    batches: list[list[int]] = []
    stop = len(order)
    while stop:
        batches.append(order[starts[stop] : stop])
        stop = starts[stop]
    return batches[::-1]
