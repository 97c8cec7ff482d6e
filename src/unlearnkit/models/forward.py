"""The one forward pass: training, the reference and measuring all go through `answer_stats`.

Logits are computed at the positions that predict an answer's token and nowhere else. The choice is made by a hook on the
model's output head, so the model is called as a whole (sharded and wrapped models gather their weights as usual) and
whatever it does to its logits afterwards still happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.stats import TokenStats, token_logp
from unlearnkit.text.batches import Batch, by_length, collate
from unlearnkit.text.template import Encoded


def output_head(model: Any) -> nn.Module:
    """The layer that turns hidden states into logits, below whatever wraps the model."""
    bare = getattr(model, "module", model)
    head = bare.get_output_embeddings()
    if head is None:
        raise TypeError(f"{type(bare).__name__} has no output embeddings; only causal language models can be used")
    return head  # type: ignore[no-any-return]


@contextmanager
def head_at(model: Any, positions: Tensor) -> Iterator[None]:
    """Within this block the head sees only `positions` of the flattened (batch * time) hidden states: (n, width)."""

    def pick(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, *others = arguments
        return (hidden.reshape(-1, hidden.shape[-1])[positions], *others)

    handle = output_head(model).register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def answer_logits(model: Any, batch: Batch, **options: Any) -> Any:
    """The model's output for a batch, with `logits` at the positions that predict scored tokens: (scored, vocab)."""
    with head_at(model, batch.predicts):
        return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **options)


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values of the scored tokens in their rows, zero elsewhere: (scored, ...) -> (batch, tokens, ...)."""
    out = values.new_zeros(*mask.shape, *values.shape[1:])
    return out.masked_scatter(mask.view(*mask.shape, *[1] * (values.dim() - 1)).expand_as(out), values)


def answer_stats(
    model: Any, rows: Sequence[Encoded], *, logits: bool = False, hidden_layer: int | None = None
) -> TokenStats:
    """`TokenStats` of a batch of rows. Differentiable; wrap in `torch.no_grad()` where no gradient is wanted.

    logits        keep them too, as float32: (batch, tokens, vocab)
    hidden_layer  keep this layer's output at the positions that predict scored tokens: (batch, tokens, width)
    """
    batch = collate(rows, device=next(model.parameters()).device)
    options = {} if hidden_layer is None else {"output_hidden_states": True}
    out = answer_logits(model, batch, **options)
    hidden = None
    if hidden_layer is not None:
        states = out.hidden_states[hidden_layer + 1]  # place 0 holds the embeddings
        hidden = spread(states.reshape(-1, states.shape[-1])[batch.predicts], batch.mask)
    return TokenStats(
        logp=spread(token_logp(out.logits, batch.targets), batch.mask),
        mask=batch.mask,
        logits=spread(out.logits.float(), batch.mask) if logits else None,
        hidden=hidden,
    )


def answer_logps(model: Any, rows: Sequence[Encoded], token_budget: int = 8192) -> list[Tensor]:
    """Log-probabilities of each row's scored tokens, without gradient, on the CPU: one (tokens,) tensor a row.

    Batches are sorted by length under a budget of padded tokens, so the order of `rows` costs nothing.
    """
    out: list[Tensor] = [torch.empty(0)] * len(rows)
    with torch.no_grad():
        for places in by_length([len(row.ids) for row in rows], token_budget):
            stats = answer_stats(model, [rows[place] for place in places])
            for place, logp, mask in zip(places, stats.logp.cpu(), stats.mask.cpu(), strict=True):
                out[place] = logp[mask].clone()
    return out
