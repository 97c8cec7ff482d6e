"""The size of the gradient of each row's loss, a batch of rows at a time.

A model that is not built as `gradient_squares` needs it, or whose first row comes out differently there, is run plainly:
one row, one backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from unlearnkit.measure.gradient_squares import Owners, Unlike, batch_norms, mean_losses, owners_of
from unlearnkit.measure.memory import Room
from unlearnkit.measure.work import ALONE, Work
from unlearnkit.text.batches import by_length, collate
from unlearnkit.text.template import Encoded


def gradient_norms(
    model: Any,
    rows: Sequence[Encoded],
    *,
    eos: int,
    token_budget: int,
    advance: Callable[[int], None] = lambda done: None,
    work: Work = ALONE,
) -> list[float | None]:
    """Mean over the model's tensors of the L2 norm of the gradient of each row's loss; arXiv:2402.17012, as the peer does.

    The loss is the mean negative log-probability of the answer without its final end-of-sequence token `eos`; a row that
    has no other token has none: None. A tied embedding is one tensor.
    """
    wanted = [without_end(row, eos) for row in rows]
    places = [place for place, row in enumerate(wanted) if row.answer]
    chosen = [wanted[place] for place in places]
    if not chosen:
        return [None] * len(rows)
    owners = owners_of(model)
    with _own_gradients(model):
        fast = owners is not None and _agree(model, owners, chosen[0])
    batches = by_length([len(row.ids) for row in chosen], token_budget)
    room = Room()

    def act(some: Sequence[int]) -> list[float]:
        part = [chosen[place] for place in some]
        if fast and owners is not None:
            return batch_norms(model, owners, part).tolist()
        return [plain_norm(model, row) for row in part]

    def run(number: int) -> tuple[np.ndarray[Any, Any]]:
        with _own_gradients(model):
            found = room.run(batches[number], lambda some: sum(len(chosen[place].ids) for place in some), act)
        return (np.array([value for part in found for value in part], dtype=np.float64),)

    costs = [sum(len(chosen[place].ids) for place in batch) for batch in batches]
    done = work.done("gradient", costs, run, lambda number: advance(len(batches[number])))
    out: list[float | None] = [None] * len(rows)
    for batch, (values,) in zip(batches, done, strict=True):
        for place, value in zip(batch, values.tolist(), strict=True):
            out[places[place]] = value
    return out


def without_end(row: Encoded, eos: int) -> Encoded:
    """The row without a final end-of-sequence token.

    >>> without_end(Encoded((1, 5, 6, 2), 2), eos=2).ids, without_end(Encoded((1, 5, 6), 2), eos=2).ids
    ((1, 5, 6), (1, 5, 6))
    """
    return row._replace(ids=row.ids[:-1]) if row.ids[-1] == eos else row


def plain_norm(model: Any, row: Encoded) -> float:
    """The same for one row by an ordinary backward pass."""
    weights = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    with torch.enable_grad():
        loss = mean_losses(model, collate([row], device=weights[0].device)).sum()
        found = torch.autograd.grad(loss, weights, allow_unused=True)
    norms = [torch.linalg.vector_norm(gradient.float()) for gradient in found if gradient is not None]
    return float(torch.stack(norms).mean())


def _agree(model: Any, owners: Owners, row: Encoded) -> bool:
    """Whether the fast way gives this row what the plain way gives; looser for weights of half precision."""
    try:
        fast = float(batch_norms(model, owners, [row, row])[1])
    except Unlike:
        return False
    plain = plain_norm(model, row)
    tolerance = 1e-3 if owners.embedding.weight.dtype == torch.float32 else 5e-2
    return bool(np.isclose(fast, plain, rtol=tolerance, atol=1e-7))


@contextmanager
def _own_gradients(model: Any) -> Iterator[None]:
    """Within this block every parameter takes part in gradients; afterwards those that did before."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)
