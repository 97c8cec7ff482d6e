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

from unlearnkit.errors import UserError
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
    hidden_layer  keep what this layer puts out at the scored tokens' own positions: (batch, tokens, width)
    """
    batch = collate(rows, device=next(model.parameters()).device)
    with layer_output(model, hidden_layer) as states:
        out = answer_logits(model, batch)
    own = batch.predicts + 1  # the position after the one that predicts it
    return TokenStats(
        logp=spread(token_logp(out.logits, batch.targets), batch.mask),
        mask=batch.mask,
        logits=spread(out.logits.float(), batch.mask) if logits else None,
        hidden=spread(states[0].reshape(-1, states[0].shape[-1])[own], batch.mask) if states else None,
        targets=spread(batch.targets, batch.mask),
    )


def position_stats(model: Any, rows: Sequence[Encoded], width: int) -> TokenStats:
    """`TokenStats` of every position of the rows padded to `width`, prompt and padding alike, with logits.

    A position is scored where it predicts a token of the answer; `targets` is -100 elsewhere. Only formulas that
    reproduce an original which reads every position ask for this: the output head sees all of them.
    """
    batch = collate(rows, device=next(model.parameters()).device)
    known = batch.input_ids.shape[1]
    pad = getattr(_config(model), "pad_token_id", None) or 0
    ids = batch.input_ids.masked_fill(batch.attention_mask == 0, pad)
    ids = torch.nn.functional.pad(ids, (0, width - known), value=pad)
    attention = torch.nn.functional.pad(batch.attention_mask, (0, width - known))
    targets = torch.full_like(batch.input_ids, -100).view(-1).index_copy(0, batch.predicts, batch.targets)
    targets = torch.nn.functional.pad(targets.view(len(rows), known), (0, width - known), value=-100)
    mask = targets != -100
    logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits.float()
    logp = spread(token_logp(logits[mask], targets[mask]), mask)
    return TokenStats(logp, mask, logits, targets=targets)


def layer_place(model: Any, layer: int) -> nn.Module:
    """A transformer block by its number from 0; -1 is as deep as layer 7 of 32. One that is not there is a `UserError`."""
    count = int(_config(model).num_hidden_layers)
    if not -1 <= layer < count:
        raise UserError(f"layer {layer} was asked for, but the model has {count} layers: 0 to {count - 1}")
    lists = (part for part in getattr(model, "module", model).modules() if isinstance(part, nn.ModuleList))
    blocks = next(part for part in lists if len(part) == count)  # the outermost: experts come deeper
    return blocks[7 * count // 32 if layer == -1 else layer]


def _config(model: Any) -> Any:
    return getattr(model, "module", model).config.get_text_config()


@contextmanager
def layer_output(model: Any, layer: int | None) -> Iterator[list[Tensor]]:
    """Within this block the list gets what a layer puts out, (batch, time, width), each time the model is called."""
    states: list[Tensor] = []
    if layer is None:
        yield states
        return

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    handle = layer_place(model, layer).register_forward_hook(keep)
    try:
        yield states
    finally:
        handle.remove()


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
