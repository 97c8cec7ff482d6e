"""Other models read the generations: a classifier and a language model, both small, random and on this disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from unlearnkit.cli.main import run
from unlearnkit.errors import UserError
from unlearnkit.measure.judges import clean_probabilities, load_classifier, surprises
from unlearnkit.models.load import load_model, load_tokenizer
from unlearnkit.score import read_measurements, score_table
from unlearnkit.text.template import Template


@pytest.fixture(scope="module")
def classifier(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DistilBERT with four classes, as the peer's classifier has, and the tiny model's tokeniser."""
    tokenizer = load_tokenizer(str(tiny_folder))
    config = AutoConfig.for_model(
        "distilbert", vocab_size=len(tokenizer), dim=16, hidden_dim=32, n_layers=2, n_heads=2, num_labels=4,
        max_position_embeddings=32, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForSequenceClassification.from_config(config)
    folder = tmp_path_factory.mktemp("classifier")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_each_text_gets_the_probability_that_it_has_alone(classifier: Path) -> None:
    judge = load_classifier(str(classifier))
    texts = ["In Rome.", "", "the the the the", "Ann Lee wrote Ice. " * 30, "Salt"]
    for text, p in zip(texts, clean_probabilities(judge, texts), strict=True):
        ids = judge.tokenizer(text)["input_ids"][:32]
        with torch.no_grad():
            expected = judge.model(torch.tensor([ids])).logits.softmax(-1)[0, 0]
        assert p == pytest.approx(float(expected), abs=1e-5)


def test_the_surprise_is_the_readers_loss(tiny_folder: Path) -> None:
    reader = load_model(str(tiny_folder))
    row = Template(reader.tokenizer).encode("Who?", "Ann Lee.")
    with torch.no_grad():
        logits = reader.model(torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(row.answer))
    assert surprises(reader, [("Who?", "Ann Lee.")])[0] == pytest.approx(float(expected), rel=1e-5)


def test_a_reader_cuts_what_it_cannot_read_and_refuses_a_question_that_fills_its_context(tiny_folder: Path) -> None:
    reader = load_model(str(tiny_folder))
    whole = Template(reader.tokenizer).encode("Who?", "Ann Lee wrote Ice.")
    limit = reader.model.config.max_position_embeddings = len(whole.ids) - 2
    with torch.no_grad():
        logits = reader.model(torch.tensor([whole.ids[:limit]])).logits[0, whole.prompt_length - 1 : -1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(whole.ids[whole.prompt_length : limit]))
    assert surprises(reader, [("Who?", "Ann Lee wrote Ice.")])[0] == pytest.approx(float(expected), rel=1e-5)
    reader.model.config.max_position_embeddings = whole.prompt_length
    with pytest.raises(UserError, match="this question alone"):
        surprises(reader, [("Who?", "Ann Lee wrote Ice.")])


def test_an_evaluation_asks_them_and_its_table_remembers(
    classifier: Path, tiny_folder: Path, tofu_like: Path, tmp_path: Path
) -> None:
    said = ["eval", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    said += ["--max-new-tokens", "6", "--out", str(tmp_path / "out")]
    judges = ["--fluency-model", str(classifier), "--perplexity-model", str(tiny_folder)]
    assert run([*said, *judges]) == 0
    scores = json.loads((tmp_path / "out/scores.json").read_text())["scores"]
    table = read_measurements(tmp_path / "out/table.parquet")
    told = [row["generation"] for row in table.data.to_pylist() if row["split"] == "forget" and row["kind"] == "answer"]
    expected = np.mean(clean_probabilities(load_classifier(str(classifier)), told))
    assert scores["fluency_classifier"]["value"] == pytest.approx(float(expected), abs=1e-5)
    assert scores["generation_loss"]["value"] > 0
    again = score_table(table)
    assert again["fluency_classifier"].value == scores["fluency_classifier"]["value"]
    assert run(said) == 2, "without them it is another evaluation"


def test_without_a_judge_the_scores_say_why(tiny_folder: Path, tofu_like: Path, tmp_path: Path) -> None:
    said = ["eval", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    assert run([*said, "--max-new-tokens", "2", "--out", str(tmp_path / "out")]) == 0
    scores = json.loads((tmp_path / "out/scores.json").read_text())["scores"]
    for name, option in (("fluency_classifier", "--fluency-model"), ("generation_loss", "--perplexity-model")):
        assert scores[name]["value"] is None
        assert option in scores[name]["reason"]


def test_a_classifier_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load_classifier(str(tmp_path))
