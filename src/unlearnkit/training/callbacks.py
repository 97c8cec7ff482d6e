"""What watches a run: a function called with the model after every epoch, and progress for people who wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

Progress = Callable[[str, int, int], None]


class EachEpoch(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Calls `look(model, epoch)` before the first step (epoch 0) and after each epoch, with the model in eval mode.

    Looking changes nothing: the model goes back to training mode, and nothing random is used here. Of several processes
    each one looks. A resumed run looks at the epoch that its checkpoint closes once more: it may have been stopped before
    that was done.
    """

    def __init__(self, look: Callable[[Any, int], None], start: bool = True) -> None:
        self.look, self.start = look, start

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Epoch 0: the model that the run starts from; or the epoch at whose end the run was stopped."""
        if self.start and state.global_step == 0:
            self._look(more["model"], 0)
        epochs = state.epoch or 0.0
        if state.global_step > 0 and epochs == round(epochs):
            self._look(more["model"], round(epochs))

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """The model after a whole pass over the lead rows."""
        self._look(more["model"], round(state.epoch or 0))

    def _look(self, model: Any, epoch: int) -> None:
        training = model.training
        model.eval()
        self.look(model, epoch)
        model.train(training)


class ShowSteps(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Tells `progress` how many steps are done, with the loss in words."""

    def __init__(self, progress: Progress, what: str = "training") -> None:
        self.progress, self.what, self.loss = progress, what, ""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Keep the newest loss for the next line."""
        loss = (more.get("logs") or {}).get("loss")
        self.loss = "" if loss is None else f", loss {loss:.4g}"

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """One more step is done."""
        self.progress(f"{self.what}{self.loss}", state.global_step, state.max_steps)
