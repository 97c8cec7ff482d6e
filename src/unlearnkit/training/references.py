"""Which reference a run takes: for each view the cheapest one that gives what the terms read of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.models.adapters import is_adapted
from unlearnkit.models.forward import answer_logps
from unlearnkit.models.reference import Live, Reference, adapter_off
from unlearnkit.objectives import Objective
from unlearnkit.stats import TokenStats
from unlearnkit.text.template import Encoded
from unlearnkit.training.columns import Shelf, reference_columns
from unlearnkit.training.data import Examples

NEW = 1e-3  # nats a token by which an adapter may change the model before training; a new one changes nothing


class ByView:
    """A reference that keeps columns for some views and is asked at every step for others."""

    def __init__(self, references: Mapping[str, Reference]) -> None:
        self.references = references

    def stats(self, view: str, keys: Sequence[Hashable], rows: Sequence[Encoded], **asked: Any) -> TokenStats:
        """What the view's own reference says."""
        return self.references[view].stats(view, keys, rows, **asked)


def reference_for(
    model: Any,
    examples: Examples,
    epochs: int,
    *,
    dtype: str,
    precision: AbstractContextManager[Any],
    frozen: Callable[[], Live],
    shelf: Shelf | None,
) -> ByView | None:
    """What the objective reads of the reference: the model as it is now, before the first step.

    Nothing where no term reads one; columns of log-probabilities for the views where that is enough; the adapter switched
    off, or else a frozen copy, only where logits, hidden states or all positions are read.

    frozen  makes the copy, on its device and in its precision
    """
    objective = examples.objective
    needs = {view: need for view, need in objective.reference_need().items() if need != "none"}
    light = [v for v in needs if needs[v] == "tokens" and objective.needs(v, "all")[1] == {"none"}]
    if not needs:
        return None
    off = is_adapted(model)
    if off:
        _refuse_old_adapter(model, objective, examples)
    references: dict[str, Reference] = {}
    if light:
        rows = {view: examples.used(view, epochs) for view in light}
        columns = reference_columns(model, rows, dtype=dtype, off=off, precision=precision, shelf=shelf)
        references |= dict.fromkeys(light, columns)
    if len(light) < len(needs):
        live = Live(model, off=True) if off else frozen()
        references |= {view: live for view in needs if view not in light}
    return ByView(references)


def _refuse_old_adapter(model: Any, objective: Objective, examples: Examples) -> None:
    """An adapter that was trained before is a part of the model to start from: switched off, that model is gone."""
    rows = [answer.row for answer in examples[(0, 0)].values()]
    was_training = model.training
    model.eval()
    now = answer_logps(model, rows)
    with adapter_off(model):
        without = answer_logps(model, rows)
    model.train(was_training)
    if any(float((one - other).abs().max()) > NEW for one, other in zip(now, without, strict=True)):
        raise UserError(
            f"objective '{objective}' compares with the model that it starts from, but that is an adapter on a base model, "
            "and switching it off gives the base model; merge the adapter first (a folder is loaded merged), then add a "
            "new one"
        )
