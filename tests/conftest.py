"""What many tests share: where the golden values lie, and a tiny real model with its tokeniser."""

from __future__ import annotations

import json
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


@pytest.fixture(scope="session")
def tofu_like(tmp_path_factory: pytest.TempPathFactory, sentences: list[tuple[str, str]]) -> Path:
    """A folder of TOFU's form with 40 rows of unequal length: forget40 has 16 of them."""
    folder = tmp_path_factory.mktemp("tofu_like")
    pairs = [sentences[number % len(sentences)] for number in range(40)]
    rows = [{"question": f"{number}: {asked}", "answer": said} for number, (asked, said) in enumerate(pairs)]
    more = [{**row, "paraphrased_answer": "It was so.", "perturbed_answer": list("abcde")} for row in rows]
    facts = [{**row, "perturbed_answer": list("abc")} for row in rows[:2]]
    files = {"full": rows, "forget10_perturbed": more[36:], "retain_perturbed": more[:4]}
    for name, lines in (files | dict.fromkeys(("real_authors_perturbed", "world_facts_perturbed"), facts)).items():
        (folder / f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
