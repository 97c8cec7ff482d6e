"""An objective on one stored batch of token ids: for debugging a method, and for comparing with other people's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unlearnkit.canonical import read_json
from unlearnkit.errors import UserError
from unlearnkit.models.load import load_model
from unlearnkit.models.reference import Live, Reference
from unlearnkit.objectives import Objective
from unlearnkit.text.template import Encoded
from unlearnkit.training.data import Answer, Example
from unlearnkit.training.step import cut, piece_views, statistic_sums, step_weights, term_sums

IGNORED = -100


def read_batch(path: str | Path) -> dict[str, list[Encoded]]:
    """Rows of each view from JSON: {"forget": {"input_ids": [[...]], "labels": [[...]], "attention_mask": [[...]]}, ...}.

    A label of -100 is not scored; the scored labels of a row are one run at its end and equal its ids.
    """
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise UserError(f'{path}: a batch is a JSON object with a view for each key, such as "forget"')
    views: dict[str, list[Encoded]] = {}
    for view, part in stored.items():
        if isinstance(part, dict) and {"input_ids", "labels", "attention_mask"} <= set(part):
            columns = (part["input_ids"], part["labels"], part["attention_mask"])
            views[view] = [_row(f"{path}: {view}[{n}]", *row) for n, row in enumerate(zip(*columns, strict=True))]
    if not views:
        raise UserError(f'{path}: no view has "input_ids", "labels" and "attention_mask"')
    return views


def _row(where: str, ids: list[int], labels: list[int], attention: list[int]) -> Encoded:
    # an end-of-sequence target behind the last attended id is scored too, though as an input it is padding
    used = max(
        (n for n, (a, label) in enumerate(zip(attention, labels, strict=True)) if a or label != IGNORED), default=-1
    )
    kept, scored = ids[: used + 1], labels[: used + 1]
    start = next((n for n, label in enumerate(scored) if label != IGNORED), None)
    if start is None or start == 0:
        raise UserError(f"{where}: it needs a prompt and at least one scored label")
    if scored[start:] != kept[start:]:
        raise UserError(f"{where}: scored labels must be one run up to the end of the row and equal its ids")
    return Encoded(tuple(kept), start)


def batch_loss(
    objective: Objective, batch: str | Path, model: str, reference: str | None, token_budget: int = 4096
) -> dict[str, Any]:
    """Loss, gradient norm and each term's part. The gradient is over all parameters, a tied one counted once."""
    views = read_batch(batch)
    missing = [view for view in objective.views if view not in views]
    if missing:
        raise UserError(f"{batch}: objective '{objective}' reads {', '.join(missing)}, which the batch lacks")
    if len({len(views[view]) for view in objective.views}) != 1:
        raise UserError(f"{batch}: the views that '{objective}' reads have different numbers of rows")
    policy = load_model(model).model
    theirs: Reference | None = None
    if any(need != "none" for need in objective.reference_need().values()):
        if reference is None:
            raise UserError(f"objective '{objective}' compares with a reference model; give --reference")
        theirs = Live(load_model(reference).model)
    examples: list[Example] = [
        {view: Answer(n, views[view][n]) for view in objective.views} for n in range(len(views[objective.views[0]]))
    ]
    parts = _parts(policy, objective, theirs, examples, token_budget)
    norm = torch.stack([p.grad.double().norm() for p in policy.parameters() if p.grad is not None]).norm()
    terms = {label: float(part) for label, part in zip(objective.labels, parts, strict=True)}
    loss = sum(weight * part for (weight, _), part in zip(objective.terms, terms.values(), strict=True))
    return {"objective": str(objective), "loss": loss, "grad_norm": float(norm), "terms": terms}


def _parts(
    policy: Any, objective: Objective, reference: Reference | None, examples: list[Example], token_budget: int
) -> torch.Tensor:
    """Each term's mean over the batch; gradients are left in the model."""
    totals = step_weights(objective, examples)
    statistics: list[torch.Tensor | None] = []
    for _, term in objective.terms:
        if not term.wants_statistic:
            statistics.append(None)
            continue
        total, count = statistic_sums(policy, term, reference, examples, token_budget)
        statistics.append((total / count).float())
    parts = torch.zeros(len(objective.terms), dtype=torch.float64)
    for piece in cut(objective, examples, token_budget):
        sums = term_sums(objective, piece_views(policy, objective, reference, piece), statistics)
        shares = [None if one is None else one / total for one, total in zip(sums, totals.tolist(), strict=True)]
        loss = sum(w * share for (w, _), share in zip(objective.terms, shares, strict=True) if share is not None)
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        for n, share in enumerate(shares):
            if share is not None:
                parts[n] += share.detach().double()
    return parts
