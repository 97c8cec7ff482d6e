"""Greedy generation that starts where the model leaves the gold answer.

The teacher-forced pass has already said, for every prefix of the gold answer, which token greedy decoding takes next. So
the greedy answer equals the gold answer up to the first mismatch: a memorised answer costs nothing, and any other answer
is generated from there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearnkit.measure.memory import Room
from unlearnkit.measure.one_pass import Scored
from unlearnkit.measure.work import ALONE, Parts, Work
from unlearnkit.models.forward import head_at
from unlearnkit.text.batches import by_length
from unlearnkit.text.template import Encoded


def stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: the tokeniser's end of sequence and those of the model's generation settings."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = configured if isinstance(configured, list) else [configured]
    return frozenset(int(token) for token in [tokenizer.eos_token_id, *more] if token is not None)


def agreed_prefix(row: Encoded, scored: Scored, limit: int) -> tuple[list[int], bool]:
    """The start of the greedy answer that the pass has already shown, and whether the answer ends there.

    It is the gold answer up to the first mismatch and the token that greedy decoding takes instead.

    >>> import numpy as np; none = np.zeros(3, dtype=np.float32)
    >>> agreed_prefix(Encoded((9, 5, 6, 2), 1), Scored(none, np.array([5, 7, 2]), none, none), limit=10)
    ([5, 7], False)
    >>> agreed_prefix(Encoded((9, 5, 6, 2), 1), Scored(none, np.array([5, 6, 2]), none, none), limit=10)
    ([5, 6, 2], True)
    """
    taken: list[int] = []
    for gold, greedy in zip(row.answer, scored.argmax.tolist(), strict=True):
        taken.append(greedy)
        if gold != greedy:
            return taken[:limit], len(taken) >= limit
    return taken[:limit], True  # the last gold token is the end of the sequence


def generate(
    model: Any,
    rows: Sequence[Encoded],
    scored: Sequence[Scored],
    *,
    stops: frozenset[int],
    max_new_tokens: int,
    token_budget: int,
    context: int | None = None,
    advance: Callable[[int], None] = lambda done: None,
    work: Work = ALONE,
) -> list[list[int]]:
    """The greedy answer to each row's prompt: token ids without the one that ended it, at most `max_new_tokens`.

    context  tokens that the model can read, prompt and answer together; None for no limit
    """
    answers: list[list[int]] = []
    open_places: list[int] = []
    limits = [min(max_new_tokens, (context or sys.maxsize) - row.prompt_length) for row in rows]
    for place, (row, said) in enumerate(zip(rows, scored, strict=True)):
        taken, done = agreed_prefix(row, said, limits[place])
        answers.append(taken)
        if not done and taken[-1] not in stops:
            open_places.append(place)
    advance(len(rows) - len(open_places))
    starts = [rows[place].prompt + tuple(answers[place]) for place in open_places]
    room = [limits[place] - len(answers[place]) for place in open_places]
    full = [len(start) + left for start, left in zip(starts, room, strict=True)]
    batches = by_length(full, 4 * token_budget)
    memory = Room()

    def run(number: int) -> Parts:
        pieces = memory.run(
            batches[number],
            lambda some: len(some) * max(full[place] for place in some),
            lambda some: _continue(model, [starts[place] for place in some], [room[place] for place in some], stops),
        )
        return _packed([tokens for part in pieces for tokens in part])

    costs = [len(batch) * max(full[place] for place in batch) for batch in batches]
    told = work.done("answer", costs, run, lambda number: advance(len(batches[number])))
    for batch, parts in zip(batches, told, strict=True):
        for place, tokens in zip(batch, _unpacked(parts), strict=True):
            answers[open_places[place]] += tokens
    return [before_stop(tokens, stops) for tokens in answers]


def _packed(answers: Sequence[list[int]]) -> Parts:
    return (
        np.array([len(tokens) for tokens in answers], dtype=np.int64),
        np.array([token for tokens in answers for token in tokens], dtype=np.int64),
    )


def _unpacked(parts: Parts) -> list[list[int]]:
    lengths, tokens = parts
    ends = np.cumsum(lengths).tolist()
    return [tokens[start:end].tolist() for start, end in zip([0, *ends], ends, strict=False)]


def before_stop(tokens: list[int], stops: frozenset[int]) -> list[int]:
    """The tokens before the first one that ends an answer."""
    return next((tokens[:at] for at, token in enumerate(tokens) if token in stops), tokens)


@torch.no_grad()
def _continue(
    model: Any, starts: Sequence[tuple[int, ...]], room: Sequence[int], stops: frozenset[int]
) -> list[list[int]]:
    """Greedy decoding from `starts`, each until a stop token or until its room is used; rows leave as they finish."""
    device = next(model.parameters()).device
    tokens, mask = _pad_left(starts, device)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    out: list[list[int]] = [[] for _ in starts]
    alive = list(range(len(starts)))
    cache = None
    while alive:
        last = torch.arange(1, len(alive) + 1, device=device) * tokens.shape[1] - 1
        with head_at(model, last):
            reply = model(
                input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
        cache = reply.past_key_values
        chosen = reply.logits.float().argmax(-1)
        for number, token in zip(alive, chosen.tolist(), strict=True):
            out[number].append(token)
        stay = [
            at for at, number in enumerate(alive) if out[number][-1] not in stops and len(out[number]) < room[number]
        ]
        if len(stay) < len(alive):
            keep = torch.tensor(stay, dtype=torch.long, device=device)
            alive = [alive[at] for at in stay]
            if not alive:
                break
            cache.batch_select_indices(keep)
            chosen, mask, positions = chosen[keep], mask[keep], positions[keep]
        tokens = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
        positions = positions[:, -1:] + 1
    return out


def _pad_left(starts: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(len(start) for start in starts)
    tokens = torch.zeros(len(starts), width, dtype=torch.long)
    mask = torch.zeros(len(starts), width, dtype=torch.long)
    for place, start in enumerate(starts):
        tokens[place, width - len(start) :] = torch.tensor(start)
        mask[place, width - len(start) :] = 1
    return tokens.to(device), mask.to(device)
