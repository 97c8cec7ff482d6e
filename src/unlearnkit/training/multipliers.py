"""Weights that change as training goes, such as a dual variable: held for the terms, and written into checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import ExportableState
from transformers.training_args import TrainingArguments

from unlearnkit.objectives import Objective


class Multipliers(TrainerCallback, ExportableState):  # type: ignore[misc,unused-ignore]
    """The multiplier of each term that has one, under the term's name. It is part of `trainer_state.json`."""

    def __init__(self, objective: Objective) -> None:
        self.terms = {
            label: (number, term)
            for number, (label, (_, term)) in enumerate(zip(objective.labels, objective.terms, strict=True))
            if term.first_multiplier is not None
        }
        self.values = {label: float(term.first_multiplier or 0.0) for label, (_, term) in self.terms.items()}

    def of(self, number: int) -> float:
        """What the term at this place of the objective is multiplied with; 1 where it has no multiplier."""
        return next((self.values[label] for label, (place, _) in self.terms.items() if place == number), 1.0)

    def step(self, means: Sequence[float], epochs: float) -> None:
        """Move on after a step in which the terms had these means, so many epochs into training."""
        for label, (number, term) in self.terms.items():
            self.values[label] = term.next_multiplier(self.values[label], means[number], epochs)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"values": dict(self.values)}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Take up the values of the checkpoint that a run goes on from."""
        callbacks: Any = state.stateful_callbacks or {}
        kept = callbacks.get(type(self).__name__)
        if state.global_step > 0 and kept is not None:
            self.values |= {label: float(value) for label, value in kept["attributes"]["values"].items()}
