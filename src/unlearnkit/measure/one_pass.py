"""The teacher-forced pass: every answer once, every prompt once, the output head on answer positions only.

All answers to one question share its prompt. Questions are taken together by the length of their prompt; the prompt goes
through the model once, its cache is repeated for each answer, and only the answers follow.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearnkit.measure.memory import Room
from unlearnkit.measure.work import ALONE, Parts, Work
from unlearnkit.models.forward import head_at
from unlearnkit.text.batches import by_length
from unlearnkit.text.template import Encoded

# Stands for the logarithm of 0: its square times 0 is still 0 in float32.
_LEAST = -1e15
# Vocabulary statistics are taken over this many logits at a time, whatever the batch: 2 MiB in float32 stay in a cache.
_LOGITS_AT_ONCE = 2**19
# The prompts of so many budgets of answers are computed together, so that answers of like length can be found.
PROMPTS_AHEAD = 4


class Scored(NamedTuple):
    """What the model says of one answer's tokens.

    logp       log-probability of each token in nats; (tokens,)
    argmax     the token that greedy decoding would have taken there; (tokens,)
    logp_mean  E_{z ~ p}[log p(z)] over the vocabulary, the mean of Min-K%++ (arXiv:2404.02936); (tokens,)
    logp_std   and its standard deviation; (tokens,)
    """

    logp: NDArray[np.float32]
    argmax: NDArray[np.int64]
    logp_mean: NDArray[np.float32]
    logp_std: NDArray[np.float32]


def default_budget(model: Any) -> int:
    """Padded tokens of one batch: few on a CPU, where they fit its cache; on a GPU many, but logits below a gigabyte."""
    weight = model.get_input_embeddings().weight
    return 1024 if weight.device.type == "cpu" else int(max(256, min(16384, 2**28 // weight.shape[0])))


@torch.no_grad()
def score_answers(
    model: Any,
    rows: Sequence[Encoded],
    token_budget: int,
    advance: Callable[[int], None] = lambda done: None,
    work: Work = ALONE,
) -> list[Scored]:
    """One `Scored` for each row, in the order given; rows with the same prompt are found and run together.

    advance  called with the number of rows done after each batch
    work     who takes part, and where finished batches are kept
    """
    batches = _batches(rows, token_budget)
    room = Room()

    def run(number: int) -> Parts:
        questions = _questions(rows, batches[number])
        scored = room.run(
            questions,
            lambda some: _tokens([rows[place] for question in some for place in question]),
            lambda some: _score_questions(
                model,
                [rows[place] for question in some for place in question],
                min(token_budget, room.limit or token_budget),
            ),
        )
        return tuple(np.concatenate(columns) for columns in zip(*scored, strict=True))

    costs = [_tokens([rows[place] for place in batch]) for batch in batches]
    done = work.done("score", costs, run, lambda number: advance(len(batches[number])))
    out: list[Scored | None] = [None] * len(rows)
    for places, parts in zip(batches, done, strict=True):
        for place, scored in zip(places, _split(parts, [len(rows[place].answer) for place in places]), strict=True):
            out[place] = scored
    return [scored for scored in out if scored is not None]


def _questions(rows: Sequence[Encoded], places: Sequence[int]) -> list[list[int]]:
    """The places of a batch by prompt, in order: a question is never cut."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for place in places:
        by_prompt.setdefault(rows[place].prompt, []).append(place)
    return list(by_prompt.values())


def _tokens(rows: Sequence[Encoded]) -> int:
    """Padded tokens of a batch."""
    return len(rows) * max(len(row.ids) for row in rows)


def _batches(rows: Sequence[Encoded], token_budget: int) -> list[list[int]]:
    """Places of rows in batches: prompts of one length together, a prompt's answers never apart from each other."""
    by_width: dict[int, list[list[int]]] = {}
    for places in _questions(rows, range(len(rows))):
        by_width.setdefault(rows[places[0]].prompt_length, []).append(places)
    batches = []
    for groups in by_width.values():
        sizes = [len(group) * max(len(rows[place].ids) for place in group) for group in groups]
        batches += [
            [place for group in chosen for place in groups[group]]
            for chosen in by_length(sizes, PROMPTS_AHEAD * token_budget)
        ]
    return batches


def _score_questions(model: Any, rows: Sequence[Encoded], token_budget: int) -> Parts:
    """The columns of `Scored` for all answers to some questions with prompts of one length, one after the other.

    The prompts come first, then the answers: sorted by length, so that little is padded.
    """
    place = {prompt: number for number, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
    cache = _prompt_cache(model, list(place))
    batches = by_length([len(row.ids) for row in rows], token_budget)
    out: list[Parts] = [()] * len(rows)
    for number, batch in enumerate(batches):
        some = [rows[at] for at in batch]
        mine = cache if cache is None or number == len(batches) - 1 else copy.deepcopy(cache)
        columns = _score_batch(model, some, mine, [place[row.prompt] for row in some])
        for at, parts in zip(batch, _split(columns, [len(row.answer) for row in some]), strict=True):
            out[at] = tuple(parts)
    return tuple(np.concatenate(column) for column in zip(*out, strict=True))


def _score_batch(model: Any, rows: Sequence[Encoded], cache: Any, prompts: Sequence[int]) -> Parts:
    """The columns of `Scored` for a batch of answers; `prompts` says which line of the cache is each one's."""
    device = next(model.parameters()).device
    inputs, mask = _answer_inputs(rows, device)
    options: dict[str, Any] = {"attention_mask": mask, "use_cache": False}
    if cache is not None:
        shared = rows[0].prompt_length - 1
        cache.batch_select_indices(torch.tensor(prompts, device=device))
        options = {
            "past_key_values": cache,
            "attention_mask": torch.cat([torch.ones(len(rows), shared, dtype=mask.dtype, device=device), mask], dim=1),
            "position_ids": (shared + torch.arange(inputs.shape[1], device=device)).expand_as(inputs),
            "use_cache": True,
        }
    picked = mask.flatten().nonzero().squeeze(-1)
    with head_at(model, picked):
        logits = model(input_ids=inputs, **options).logits
    targets = torch.tensor([token for row in rows for token in row.answer], device=device)
    return _statistics(logits, targets)


def _answer_inputs(rows: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor]:
    """The prompt's last token and the answer but for its last: what the scored tokens are predicted from."""
    widths = [len(row.answer) for row in rows]
    inputs = torch.zeros(len(rows), max(widths), dtype=torch.long)
    for place, row in enumerate(rows):
        inputs[place, : widths[place]] = torch.tensor(row.ids[row.prompt_length - 1 : -1])
    mask = (torch.arange(max(widths))[None, :] < torch.tensor(widths)[:, None]).long()
    return inputs.to(device), mask.to(device)


def _prompt_cache(model: Any, prompts: Sequence[tuple[int, ...]]) -> Any:
    """The cache of the prompts but for their last tokens, a line each; None where nothing comes before the last token."""
    if len(prompts[0]) == 1:
        return None
    device = next(model.parameters()).device
    with head_at(model, torch.empty(0, dtype=torch.long, device=device)):
        given = torch.tensor([prompt[:-1] for prompt in prompts], device=device)
        return model(input_ids=given, use_cache=True).past_key_values


def _statistics(logits: Tensor, targets: Tensor) -> Parts:
    """Log-probability of the target, argmax, mean and standard deviation at each position, in float32."""
    parts: list[list[Tensor]] = [[], [], [], []]
    step = max(1, (_LOGITS_AT_ONCE if logits.device.type == "cpu" else 2**26) // logits.shape[-1])
    for start in range(0, len(targets), step):
        logp = torch.log_softmax(logits[start : start + step].float(), dim=-1)
        p = logp.exp()
        # p log p is 0 where p is, and the logarithm there may be -inf
        finite = logp.clamp_min(_LEAST)
        weighted = p * finite
        mean = weighted.sum(-1)
        square = weighted.mul_(finite).sum(-1)
        parts[0].append(logp.gather(-1, targets[start : start + step, None]).squeeze(-1))
        parts[1].append(logp.argmax(-1))
        parts[2].append(mean)
        parts[3].append((square - mean.square()).clamp_min(0).sqrt())
    return tuple(torch.cat(part).cpu().numpy() for part in parts)


def _split(columns: Parts, widths: Sequence[int]) -> list[Scored]:
    ends = np.cumsum(widths)[:-1]
    return [Scored(*parts) for parts in zip(*(np.split(column, ends) for column in columns), strict=True)]
