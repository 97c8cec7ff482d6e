"""From a model and a task to a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unlearnkit.errors import UserError
from unlearnkit.measure.engines import Speaker
from unlearnkit.measure.generate import before_stop, generate, stop_tokens
from unlearnkit.measure.gradient_norm import gradient_norms
from unlearnkit.measure.one_pass import Scored, default_budget, score_answers
from unlearnkit.measure.work import ONE_PROCESS, Kept, Work, Workers
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import context_length
from unlearnkit.table import Table
from unlearnkit.tasks.base import HOLDOUT, Row, Task
from unlearnkit.text.template import Encoded, Template

MAX_NEW_TOKENS = 200
# The original TOFU evaluator stops at this many tokens, the prompt's included.
CUT_AT = 200
# The sets that membership inference tells apart.
ATTACKED = ("forget", HOLDOUT)
# Changes whenever finished batches of an earlier version would not be what this one computes.
VERSION = "pass-2"

Progress = Callable[[str, int, int], None]


class Item(NamedTuple):
    """One answer to be scored."""

    split: str
    row: Row
    kind: str
    text: str


def items(task: Task) -> Iterator[Item]:
    """Every answer of a task's evaluation sets: gold answers, paraphrases and perturbed ones."""
    for split, rows in task.evaluation.items():
        for row in rows:
            yield Item(split, row, "answer", row.answer)
            if row.paraphrase is not None:
                yield Item(split, row, "paraphrase", row.paraphrase)
            for number, text in enumerate(row.perturbed):
                yield Item(split, row, f"perturbed_{number}", text)


def measure(
    model: Any,
    template: Template,
    task: Task,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    token_budget: int | None = None,
    progress: Progress | None = None,
    gradient_norm: bool = False,
    speaker: Speaker | None = None,
    workers: Workers = ONE_PROCESS,
    keep: Path | None = None,
) -> Table:
    """Measure `model` on every answer of `task` and let it answer every question once.

    max_new_tokens  the longest generation; 0 for none
    token_budget    padded tokens of one batch; by default what keeps the logits below a gigabyte
    progress        called with (what, done, total) as it goes on
    gradient_norm   the size of each answer's gradient too, for rows of the forget set and the holdout: a backward pass
    speaker         another engine for the generations; the model at hand without
    workers         the processes that share the rows, each with the whole model; every one of them gets the whole table
    keep            a folder for finished batches: a measurement that is stopped goes on from there. To be removed when
                    the table is safe

    The table is the same for any number of processes, stopped or not, bit for bit where each process computes with as
    many threads on a like machine.
    """
    todo = list(items(task))
    if not todo:
        raise UserError(f"task '{task.name}' has no rows to measure")
    encoded = template.encode_all([(item.row.question, item.text) for item in todo])
    _refuse_long(encoded, context_length(model))
    budget = token_budget or default_budget(model)
    meta = _meta(model, template, task, max_new_tokens)
    work = Work(workers, None if keep is None else Kept(keep, _key(meta, encoded, budget)))
    training = model.training
    model.eval()
    scored = score_answers(model, encoded, budget, _counter(progress, "scoring", len(todo)), work)
    asked = [n for n, item in enumerate(todo) if item.kind == "answer" and item.split != HOLDOUT and max_new_tokens]
    stops = stop_tokens(model, template.tokenizer)
    if speaker is not None:
        told = speaker([encoded[place].prompt for place in asked], max_new_tokens, stops) if asked else []
        answers = [before_stop(tokens, stops) for tokens in told]
    else:
        answers = generate(
            model,
            [encoded[place] for place in asked],
            [scored[place] for place in asked],
            stops=stops,
            max_new_tokens=max_new_tokens,
            context=context_length(model),
            token_budget=budget,
            advance=_counter(progress, "answering", len(asked)),
            work=work,
        )
    attacked = [n for n, item in enumerate(todo) if item.kind == "answer" and item.split in ATTACKED and gradient_norm]
    eos = template.tokenizer.eos_token_id
    norms = gradient_norms(
        model,
        [encoded[place] for place in attacked],
        eos=eos,
        token_budget=budget,
        advance=_counter(progress, "gradients", len(attacked)),
        work=work,
    )
    model.train(training)
    said, sizes = dict(zip(asked, answers, strict=True)), dict(zip(attacked, norms, strict=True))
    rows = [
        _table_row(item, encoded[n], scored[n], eos)
        | _spoken(template, encoded[n], said.get(n))
        | {"gradient_norm": sizes.get(n)}
        for n, item in enumerate(todo)
    ]
    return Table.from_rows(rows, meta)


def _key(meta: Mapping[str, Any], encoded: Sequence[Encoded], budget: int) -> str:
    """SHA-256 of all that decides what a batch is and what it leaves."""
    sha = hashlib.sha256(json.dumps([VERSION, budget, meta], sort_keys=True).encode())
    for row in encoded:
        sha.update(np.array([row.prompt_length, len(row.ids), *row.ids], dtype=np.int64).tobytes())
    return sha.hexdigest()


def _meta(model: Any, template: Template, task: Task, max_new_tokens: int) -> dict[str, Any]:
    return {
        "source": "measured",
        "task": task.name,
        "rows": {split: len(rows) for split, rows in task.evaluation.items()},
        "model": weights_digest(model),
        "template": template.digest,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "max_new_tokens": max_new_tokens,
    }


def _refuse_long(encoded: Sequence[Encoded], limit: int | None) -> None:
    longest = max(len(row.ids) for row in encoded)
    if limit is not None and longest > limit:
        raise UserError(
            f"a question with its answer has {longest} tokens but the model reads at most {limit}; "
            "measure with a model of a longer context"
        )


def _counter(progress: Progress | None, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(what, done, total)

    return advance


def _table_row(item: Item, row: Encoded, scored: Scored, eos: int) -> dict[str, Any]:
    return {
        "split": item.split,
        "index": item.row.index,
        "kind": item.kind,
        "question": item.row.question,
        "text": item.text,
        "length": len(row.answer),
        "loss": float(-scored.logp.astype(np.float64).mean()),
        "tokens": list(row.answer),
        "logp": scored.logp.tolist(),
        "greedy": (scored.argmax == np.array(row.answer)).tolist(),
        "logp_mean": scored.logp_mean.tolist(),
        "logp_std": scored.logp_std.tolist(),
        "ends": row.answer[-1] == eos,
        "prompt_length": row.prompt_length,
    }


def _spoken(template: Template, row: Encoded, answer: list[int] | None) -> dict[str, str | None]:
    """The generated text, and the text that the original evaluator's limit would have left of it."""
    if answer is None:
        return {"generation": None, "generation_cut": None}
    room = max(0, CUT_AT - row.prompt_length)
    cut = _text(template, answer[:room]) if len(answer) > room else None
    return {"generation": _text(template, answer), "generation_cut": cut}


def _text(template: Template, tokens: Sequence[int]) -> str:
    return str(template.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
