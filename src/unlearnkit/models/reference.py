"""The reference model without a second model in memory, wherever that is possible.

What terms read of the reference decides what is kept: log-probabilities are computed once before training and kept as
columns; only a term that reads the reference's logits or hidden states needs the model itself beside the one in training,
and with an adapter not even then.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from unlearnkit.models.forward import answer_logps, answer_stats, position_stats
from unlearnkit.stats import TokenStats
from unlearnkit.text.template import Encoded


class Reference(Protocol):
    """Whatever can say what the reference model thinks of a batch of rows."""

    def stats(
        self,
        view: str,
        keys: Sequence[Hashable],
        rows: Sequence[Encoded],
        *,
        logits: bool,
        hidden_layer: int | None,
        width: int | None = None,
    ) -> TokenStats:
        """The reference's statistics of `rows`, without gradient; `keys` name the rows within their view.

        With a width: of every position of the rows padded to it.
        """
        ...


class Columns:
    """Log-probabilities of every answer that training will read, computed before the first step.

    NPO on forget10 needs the 400 answers of the forget set. Values are float32, one tensor an answer.
    """

    def __init__(self, columns: Mapping[str, Mapping[Hashable, Tensor]]) -> None:
        self.columns = columns

    @classmethod
    def of(
        cls, model: Any, rows: Mapping[str, Mapping[Hashable, Encoded]], token_budget: int, off: bool = False
    ) -> Columns:
        """Measure the rows of each view under `model`, in evaluation mode (with its adapter off, if `off`)."""
        was_training = model.training
        model.eval()
        with adapter_off(model) if off else nullcontext():
            columns = {
                view: dict(zip(named, answer_logps(model, list(named.values()), token_budget), strict=True))
                for view, named in rows.items()
            }
        model.train(was_training)
        return cls(columns)

    def stats(
        self,
        view: str,
        keys: Sequence[Hashable],
        rows: Sequence[Encoded],
        *,
        logits: bool,
        hidden_layer: int | None,
        width: int | None = None,
    ) -> TokenStats:
        """The kept columns as a padded batch on the CPU; logits and hidden states are not kept."""
        if logits or hidden_layer is not None or width is not None:
            raise RuntimeError("columns keep log-probabilities only; a term that reads logits needs a live reference")
        kept = [self.columns[view][key] for key in keys]
        logp = torch.nn.utils.rnn.pad_sequence(kept, batch_first=True)
        lengths = torch.tensor([len(one) for one in kept])
        return TokenStats(logp, torch.arange(logp.shape[1])[None, :] < lengths[:, None])


class Live:
    """A model that is asked at every step: a frozen copy, or the model in training with its adapter off."""

    def __init__(self, model: Any, off: bool = False) -> None:
        self.model = model
        self.off = off

    @classmethod
    def frozen_copy(cls, model: Any) -> Live:
        """A second copy of the weights that never changes. The dearest way; terms that need only columns avoid it."""
        frozen = copy.deepcopy(model).eval()
        for parameter in frozen.parameters():
            parameter.requires_grad_(False)
        return cls(frozen)

    def stats(
        self,
        view: str,
        keys: Sequence[Hashable],
        rows: Sequence[Encoded],
        *,
        logits: bool,
        hidden_layer: int | None,
        width: int | None = None,
    ) -> TokenStats:
        """One forward pass without gradient."""
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad(), adapter_off(self.model) if self.off else nullcontext():
            if width is None:
                stats = answer_stats(self.model, rows, logits=logits, hidden_layer=hidden_layer)
            else:
                stats = position_stats(self.model, rows, width)
        self.model.train(was_training)
        return stats


def adapter_off(model: Any) -> AbstractContextManager[None]:
    """Within this block a model with a LoRA adapter is its base model again."""
    bare = getattr(model, "module", model)
    return bare.disable_adapter()  # type: ignore[no-any-return]
