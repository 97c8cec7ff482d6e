"""How TOFU is run with a model that a laptop trains, as data: a change of a number here makes other models or other runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SmallRecipe:
    """The model, how it learns TOFU, how it is made to forget, and how it is measured.

    model           a configuration for `init:`, of 2.6 million weights; its tokeniser is trained on TOFU's text
    finetune        fields of `Settings`, for target and retain models alike; as the command line reads them, so that a run
                    of `unlearnkit finetune` with the same numbers is the same run
    unlearn         fields of `Settings`; five epochs in steps of 32 are TOFU's (arXiv:2401.06121, section 4), the learning
                    rate is one at which a model of this size forgets within them, and not all of it in the first
    max_new_tokens  the longest generation
    """

    model: Mapping[str, Any] = field(
        default_factory=lambda: {
            "model_type": "llama",
            "vocab_size": 4096,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
        }
    )
    finetune: Mapping[str, Any] = field(
        default_factory=lambda: {"lr": 2e-3, "epochs": 8.0, "batch_size": 8, "warmup": 0.03, "schedule": "cosine"}
    )
    unlearn: Mapping[str, Any] = field(
        default_factory=lambda: {"lr": 1e-4, "epochs": 5, "batch_size": 32, "schedule": "constant"}
    )
    max_new_tokens: int = 60


RECIPE = SmallRecipe()
