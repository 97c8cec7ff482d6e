"""The recipe of the embedded world's models, as data: changing a number here makes other models, with other digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Phase:
    """One training run: AdamW, linear warm-up over a share of the steps, then the schedule."""

    epochs: int
    lr: float
    batch_size: int
    warmup: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.0
    adam_beta2: float = 0.99
    adam_epsilon: float = 1e-8
    sampling: str = "group_by_length"  # steps of like length make targets that one epoch of unlearning does not break


@dataclass(frozen=True)
class MiniRecipe:
    """What the models are made of and how they are trained."""

    model: Mapping[str, Any] = field(
        default_factory=lambda: {
            "model_type": "llama",
            "hidden_size": 128,
            "intermediate_size": 1024,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 128,
            "tie_word_embeddings": True,
            "initializer_range": 0.08,
        }
    )
    vocab_size: int = 4096
    base: Phase = Phase(epochs=5, lr=3e-3, batch_size=32, weight_decay=0.01)
    finetune: Phase = Phase(epochs=10, lr=1.5e-3, batch_size=16, adam_epsilon=1e-4)


RECIPE = MiniRecipe()


@dataclass(frozen=True)
class DemoRecipe:
    """How the demo unlearns: the same settings for every method, and one weight of the retain loss for both."""

    retain_weight: float = 3.0
    beta: float = 0.1
    lr: float = 8e-4
    epochs: int = 7
    batch_size: int = 16
    schedule: str = "linear"
    max_grad_norm: float = 0.0  # no clipping: it would undo NPO's brake, which is a gradient that shrinks
    max_new_tokens: int = 40

    def settings(self, seed: int) -> dict[str, Any]:
        """What every method is trained with."""
        kept = ("lr", "epochs", "batch_size", "schedule", "max_grad_norm")
        return {name: getattr(self, name) for name in kept} | {"seed": seed}

    def objectives(self) -> tuple[str, ...]:
        """The four formulas, in the order in which they are run."""
        ga, npo, kept = "ga", f"npo(beta={self.beta:g})", f" + {self.retain_weight:g}*rt"
        return ga, ga + kept, npo, npo + kept


DEMO = DemoRecipe()
