"""What is measured on the way of a run: a table for each epoch, and the scores of all of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from unlearnkit.measure.measure import MAX_NEW_TOKENS, Progress
from unlearnkit.run.folder import RunFolder
from unlearnkit.run.shared_measuring import table_at
from unlearnkit.score import score_table
from unlearnkit.table import Table
from unlearnkit.tasks.base import Task
from unlearnkit.text.template import Template


class Watch(NamedTuple):
    """What to measure on the way, if anything.

    every_epoch  measure after each epoch; else after the last one
    start        measure before the first step too, as epoch 0
    reference    a retain model's table, for forget quality
    target       the table of the model before the first step, where that is not measured here
    """

    every_epoch: bool = True
    start: bool = True
    reference: Table | None = None
    protocol: str = "unlearnkit"
    max_new_tokens: int = MAX_NEW_TOKENS
    target: Table | None = None

    def for_spec(self) -> dict[str, Any]:
        """What belongs to the identity of a run."""
        return {
            "measured": "every epoch" if self.every_epoch else "end",
            "protocol": self.protocol,
            "max_new_tokens": self.max_new_tokens,
            "reference": None if self.reference is None else self.reference.digest(),
        }


class Trajectory:
    """Measures a model after each epoch and keeps a table for each, so that a resumed run measures none twice.

    Of several processes each measures its share of the rows; a sharded model (`spread`) is run by all of them.
    """

    def __init__(
        self,
        folder: RunFolder,
        template: Template,
        task: Task,
        watch: Watch | None,
        progress: Progress | None,
        last_epoch: int,
        spread: bool = False,
    ) -> None:
        self.folder, self.template, self.task = folder, template, task
        self.watch, self.progress, self.last_epoch = watch, progress, last_epoch
        self.spread = spread

    def look(self, model: Any, epoch: int) -> None:
        """Measure the model of this epoch, unless its table is there or nobody asked for it. Every process must call it."""
        if self.watch is None or not (self.watch.every_epoch or epoch == self.last_epoch):
            return
        table_at(
            self.folder.path / "epochs" / f"{epoch:03d}.parquet",
            model,
            self.template,
            self.task,
            spread=self.spread,
            max_new_tokens=self.watch.max_new_tokens,
            progress=self.progress,
        )

    def entries(self) -> list[dict[str, Any]]:
        """The scores of every measured epoch, compared with the model before the first step where that was measured."""
        if self.watch is None:
            return []
        out, places = [], sorted((self.folder.path / "epochs").glob("*.parquet"))
        target = self.watch.target
        if target is None and places and int(places[0].stem) == 0:
            target = Table.load(places[0])
        for place in places:
            scores = score_table(
                Table.load(place), self.watch.reference, self.watch.protocol, target=target, intervals=False
            )
            values = {name: score.value for name, score in scores.scores.items()}
            out.append({"epoch": int(place.stem), **values})
        return out
