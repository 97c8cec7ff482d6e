"""What many tests share: where the golden values lie, and a tiny real model with its tokeniser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and real data, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared: the golden values and the real TOFU data")
    return SHARED


@pytest.fixture(scope="session")
def sentences() -> list[tuple[str, str]]:
    """Questions with answers of unequal length."""
    people = ["Ann Lee", "Bo Chen", "Cy Dorn", "Di Ek", "Ed Falk", "Flo Gant", "Gus Holm", "Ida Jarl", "Jo Kemp"]
    works = ["The Long Road", "Ice", "A Winter of Glass and Other Stories", "Salt", "The Clockmaker", "Two Rivers"]
    pairs = []
    for number, who in enumerate(people):
        pairs.append((f"What did {who} write?", f"{who} wrote {works[number % 6]}."))
        pairs.append((f"When was {who} born?", f"In {1900 + 7 * number}."))
        pairs.append(
            (f"Where does {who} live, and since when?", " ".join(["In a house by the sea."] * (1 + number % 4)))
        )
    return pairs


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, sentences: list[tuple[str, str]]) -> Path:
    """A folder with a random two-layer Llama of 30 thousand parameters and a byte-level BPE: a model like any other."""
    from unlearnkit.models.load import new_model, wrap_tokenizer
    from unlearnkit.run.models import byte_level_bpe

    texts = [text for pair in sentences for text in pair]
    tokenizer = wrap_tokenizer(byte_level_bpe(texts, 400), 128)
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,  # large enough that different tokens get clearly different probabilities
    }
    loaded = new_model(config, tokenizer, seed=0)
    folder = tmp_path_factory.mktemp("tiny")
    loaded.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
