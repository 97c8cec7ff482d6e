"""The card of an unlearned model says what was done and measured, and its way to the Hub takes no forgotten row along."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalTokenNotFoundError
from huggingface_hub.utils import filter_repo_objects

from unlearnkit.errors import UserError
from unlearnkit.records.papers import papers_of
from unlearnkit.records.provenance import gather
from unlearnkit.records.record import Inputs, Outputs, Run, build_record
from unlearnkit.report.card import model_card
from unlearnkit.run.push import NEVER, WANTED, check_name, push


def score(value: float | None, reason: str | None = None) -> dict[str, Any]:
    interval = None if value is None else [value - 0.1, value + 0.1]
    return {"value": value, "n": 40, "interval": interval, "direction": "", "reason": reason}


RECORD = build_record(
    spec={"task": "tofu:forget10"},
    run=Run("tofu:forget10", "npo(beta=0.1) + rt", 0, "unlearnkit", "locuslab/tofu_ft_phi-1.5"),
    provenance=gather("cpu", "float32", "single process"),
    inputs=Inputs({}, None, None),
    outputs=Outputs(None, None),
    scores={
        "forget_quality": score(None, "no retain model to compare with"),
        "model_utility": score(0.5),
        "forget_probability": score(float("nan"), "odd"),
        "forget_rouge": score(0.25),
    },
    verdict={"label": "partly forgotten", "reason": "", "strength": ""},
    papers=papers_of("tofu:forget10", ["arXiv:2404.05868"]),
)


def test_the_hub_reads_its_data() -> None:
    card = ModelCard(model_card(RECORD))
    data = card.data.to_dict()
    assert data["base_model"] == "locuslab/tofu_ft_phi-1.5"
    assert data["datasets"] == ["locuslab/TOFU"]
    assert {"unlearning", "unlearnkit"} <= set(data["tags"])
    (model,) = data["model-index"]
    found = {
        metric["type"]: (result["dataset"]["name"], metric["value"])
        for result in model["results"]
        for metric in result["metrics"]
    }
    assert found == {"model_utility": ("tofu:forget10", 0.5), "forget_rouge": ("tofu:forget10", 0.25)}


def test_its_words_are_those_of_the_record() -> None:
    text = ModelCard(model_card(RECORD)).text
    assert "**Partly forgotten.**" in text
    assert "`npo(beta=0.1) + rt`" in text
    assert f"`{RECORD['number']}`" in text
    assert "| model utility | 0.500 | 0.400 to 0.600 | 40 |" in text
    assert "forget quality |" not in text
    assert text.count("arxiv.org/abs/") == 2


def test_a_name_can_not_write_into_the_card() -> None:
    record = copy.deepcopy(RECORD)
    name = "x\n---\nlicense: mine\n<script>|[a](b)`"
    record["run"] |= {"model": name, "task": name, "method": name}
    text = model_card(record)
    assert set(yaml.safe_load(text.split("---\n")[1])) <= {
        "tags",
        "library_name",
        "pipeline_tag",
        "model-index",
    }
    assert "<script>" not in ModelCard(text).text
    assert "license" not in ModelCard(text).data.to_dict()


def test_a_model_of_the_embedded_world_names_nothing_on_the_hub() -> None:
    record = copy.deepcopy(RECORD)
    record["run"] |= {"model": "mini:target", "task": "mini:forget10"}
    record["scores"] = {}
    data = ModelCard(model_card(record)).data.to_dict()
    assert not {"base_model", "datasets", "model-index"} & set(data)
    assert "Nothing was measured." in model_card(record)


class Hub:
    """What `huggingface_hub.HfApi` is asked for."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.problem = problem

    def create_repo(self, repository: str, **more: Any) -> None:
        self.asked.append((repository, more))
        if self.problem is not None:
            raise self.problem

    def upload_folder(self, **more: Any) -> str:
        folder = Path(more["folder_path"])
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        taken = filter_repo_objects(
            names, allow_patterns=more["allow_patterns"], ignore_patterns=more["ignore_patterns"]
        )
        self.asked.append((more["repo_id"], sorted(taken)))
        return f"https://hub/{more['repo_id']}/commit/1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        "record.json",
        "table.parquet",
        "scores.json",
        "log.json",
        "report.html",
        "trajectory.json",
        "training_args.bin",
        "checkpoint-4/model.safetensors",
        "compared/reference.parquet",
        "epochs/001.parquet",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def test_what_goes_to_the_hub_is_the_model_its_card_and_its_record(folder: Path) -> None:
    hub = Hub()
    assert push(folder, "me/model", api=hub) == "https://hub/me/model/commit/1"
    (_, made), (repository, taken) = hub.asked
    assert made == {"private": True, "exist_ok": True}
    assert repository == "me/model"
    assert taken == [
        "README.md",
        "config.json",
        "model.safetensors",
        "record.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not any(
        name.endswith(".parquet") for name in filter_repo_objects(["a.parquet"], allow_patterns=list(WANTED))
    )
    assert NEVER == ("*/*",)


def test_a_refusal_of_the_hub_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the Hub did not take the model"):
        push(folder, "me/model", api=Hub(LocalTokenNotFoundError("no token\nmore")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no model in it"):
        push(tmp_path / "empty", "me/model", api=Hub())


@pytest.mark.parametrize("name", ["a/b/c", "me/mo del", "../up", ""])
def test_a_name_that_the_hub_would_not_take_is_refused_first(name: str) -> None:
    with pytest.raises(UserError, match="--push-to-hub"):
        check_name(name)
    check_name("me/model-1.5")
