"""An objective on one stored batch of token ids: for debugging a method, and for comparing with other people's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from unlearnkit.canonical import read_json
from unlearnkit.errors import UserError
from unlearnkit.models.load import context_length, load_model
from unlearnkit.models.reference import Live, Reference
from unlearnkit.objectives import Objective
from unlearnkit.text.template import Encoded
from unlearnkit.training.data import Answer, Example
from unlearnkit.training.step import cut, piece_views, statistic_sums, step_weights, term_sums

IGNORED = -100
COLUMNS = ("input_ids", "labels", "attention_mask")


class Stored(NamedTuple):
    """A stored batch: the rows of each view, and how many positions they were padded to."""

    rows: dict[str, list[Encoded]]
    widths: dict[str, int]


def read_batch(path: str | Path) -> Stored:
    """A batch from JSON: {"forget": {"input_ids": [[...]], "labels": [[...]], "attention_mask": [[...]]}, ...}.

    A label of -100 is not scored; the scored labels of a row are one run at its end and equal its ids. Padding is on the
    right.
    """
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise UserError(f'{path}: a batch is a JSON object with a view for each key, such as "forget"')
    batch = Stored({}, {})
    for view, part in stored.items():
        if isinstance(part, dict) and set(COLUMNS) <= set(part):
            ids, labels, attention = (_integers(f"{path}: {view}.{name}", part[name]) for name in COLUMNS)
            if not [len(row) for row in ids] == [len(row) for row in labels] == [len(row) for row in attention]:
                raise UserError(f"{path}: {view}: {', '.join(COLUMNS)} must have the same rows and lengths")
            batch.rows[view] = [
                _row(f"{path}: {view}[{n}]", *row) for n, row in enumerate(zip(ids, labels, attention, strict=True))
            ]
            batch.widths[view] = max(len(row) for row in ids)
    if not batch.rows:
        raise UserError(f"{path}: no view has {', '.join(COLUMNS)}")
    return batch


def _integers(where: str, rows: Any) -> list[list[int]]:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise UserError(f"{where}: a list of rows was expected, each a list of integers")
    if not all(isinstance(value, int) for row in rows for value in row):
        raise UserError(f"{where}: every value must be an integer")
    return [[int(value) for value in row] for row in rows]


def _row(where: str, ids: list[int], labels: list[int], attention: list[int]) -> Encoded:
    # an end-of-sequence target behind the last attended id is scored too, though as an input it is padding
    used = max(
        (n for n, (a, label) in enumerate(zip(attention, labels, strict=True)) if a or label != IGNORED), default=0
    )
    kept, scored = ids[: used + 1], labels[: used + 1]
    start = next((n for n, label in enumerate(scored) if label != IGNORED), 0)
    if start == 0:
        raise UserError(f"{where}: it needs a prompt and at least one scored label")
    if scored[start:] != kept[start:]:
        raise UserError(f"{where}: scored labels must be one run up to the end of the row and equal its ids")
    if not all(attention[:used]):
        raise UserError(f"{where}: attention_mask must be 1 up to the end of the row; pad on the right")
    return Encoded(tuple(kept), start)


def batch_loss(
    objective: Objective, batch: str | Path, model: str, reference: str | None, token_budget: int = 4096
) -> dict[str, Any]:
    """Loss, gradient norm and each term's part. The gradient is over all parameters, a tied one counted once."""
    views, widths = read_batch(batch)
    missing = [view for view in objective.views if view not in views]
    if missing:
        raise UserError(f"{batch}: objective '{objective}' reads {', '.join(missing)}, which the batch lacks")
    if len({len(views[view]) for view in objective.views}) != 1:
        raise UserError(f"{batch}: the views that '{objective}' reads have different numbers of rows")
    policy = load_model(model).model
    _check_ids(batch, [row for view in objective.views for row in views[view]], policy)
    theirs: Reference | None = None
    if any(need != "none" for need in objective.reference_need().values()):
        if reference is None:
            raise UserError(f"objective '{objective}' compares with a reference model; give --reference")
        theirs = Live(load_model(reference).model)
    examples: list[Example] = [
        {view: Answer(n, views[view][n]) for view in objective.views} for n in range(len(views[objective.views[0]]))
    ]
    means = _means(policy, objective, theirs, examples, token_budget, widths)
    norms = [p.grad.double().norm() for p in policy.parameters() if p.grad is not None]
    norm = torch.stack(norms).norm() if norms else torch.zeros(())
    terms = {label: float(mean) for label, mean in zip(objective.labels, means, strict=True)}
    loss = sum(weight * mean for weight, mean in zip(_weights(objective), terms.values(), strict=True))
    return {"objective": str(objective), "loss": loss, "grad_norm": float(norm), "terms": terms}


def _check_ids(batch: str | Path, rows: list[Encoded], model: Any) -> None:
    known, limit = model.get_input_embeddings().weight.shape[0], context_length(model)
    if max(max(row.ids) for row in rows) >= known or min(min(row.ids) for row in rows) < 0:
        raise UserError(f"{batch}: an id is not in the model's vocabulary of {known}; batch and model do not match")
    if limit is not None and max(len(row.ids) for row in rows) > limit:
        raise UserError(f"{batch}: a row is longer than the {limit} positions that the model reads")


def _weights(objective: Objective) -> list[float]:
    """Each term's weight at the first step."""
    return [w if t.first_multiplier is None else w * t.first_multiplier for w, t in objective.terms]


def _means(
    policy: Any,
    objective: Objective,
    reference: Reference | None,
    examples: list[Example],
    token_budget: int,
    widths: dict[str, int],
) -> torch.Tensor:
    """Each term's mean over the batch; gradients are left in the model."""
    totals = step_weights(objective, [examples], widths)
    totals = torch.where(totals == 0, 1, totals)
    statistics: list[torch.Tensor | None] = []
    for _, term in objective.terms:
        if not term.wants_statistic:
            statistics.append(None)
            continue
        sums = statistic_sums(policy, term, reference, examples, token_budget)
        statistics.append((sums[:-1] / sums[-1]).float())
    means = torch.zeros(len(objective.terms), dtype=torch.float64)
    for piece in cut(objective, examples, token_budget, widths):
        parts = term_sums(objective, piece_views(policy, objective, reference, piece), statistics)
        shares = [None if one is None else one / total for one, total in zip(parts, totals.tolist(), strict=True)]
        loss = sum(w * share for w, share in zip(_weights(objective), shares, strict=True) if share is not None)
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        for n, share in enumerate(shares):
            if share is not None:
                means[n] += share.detach().double().cpu()
    return means
