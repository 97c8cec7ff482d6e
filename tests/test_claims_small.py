"""Claims on TOFU itself: models that are given or trained, real runs of a tiny one, and made-up results."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unlearnkit.claims import base
from unlearnkit.claims.base import find_claim
from unlearnkit.claims.reproduce import Options, reproduce
from unlearnkit.claims.small import cells as small_cells
from unlearnkit.claims.small import models as small_models
from unlearnkit.claims.small.cells import models_cell, run_models, stage
from unlearnkit.claims.small.recipe import RECIPE
from unlearnkit.cli.main import run
from unlearnkit.models.load import load_model
from unlearnkit.run import settings as run_settings
from unlearnkit.sweep import Cell

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = {**RECIPE.model, "vocab_size": 400, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """Three models of random weights, each other ones, with one tokeniser."""
    folder = tmp_path_factory.mktemp("models")
    for number, name in enumerate(("full", "retain90", "retain95")):
        loaded = load_model(str(tiny_folder))
        for parameter in loaded.model.parameters():
            parameter.data.mul_(1 + 0.1 * number)
        loaded.model.save_pretrained(folder / name)
        loaded.tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One epoch of a tiny model; and a cache in which nothing is found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    once = replace(
        RECIPE, model=TINY, finetune={**RECIPE.finetune, "epochs": 1}, unlearn={**RECIPE.unlearn, "epochs": 1}
    )
    for module in (small_cells, small_models):
        monkeypatch.setattr(module, "RECIPE", replace(once, max_new_tokens=2))


def test_the_recipe_is_that_of_the_example() -> None:
    assert json.loads((EXAMPLES / "tofu_small.json").read_text(encoding="utf-8")) == RECIPE.model
    script = (EXAMPLES / "tofu_small.sh").read_text(encoding="utf-8")
    (line,) = re.findall(r"^train=\((.*?)\)$", script, re.DOTALL | re.MULTILINE)
    said = dict(re.findall(r"--(lr|epochs|batch-size|warmup|schedule) (\S+)", line))
    assert said.pop("schedule") == RECIPE.finetune["schedule"]
    assert {name.replace("-", "_"): float(value) for name, value in said.items()} == {
        name: value for name, value in RECIPE.finetune.items() if name != "schedule"
    }
    assert f"--max-new-tokens {RECIPE.max_new_tokens}" in script


def test_the_recipe_is_one_that_the_trainer_takes() -> None:
    for part in (RECIPE.finetune, RECIPE.unlearn):
        run_settings.Settings(**part)


@pytest.mark.parametrize(
    ("has", "said"),
    [
        (None, "no such directory; it holds the models full and retain90"),
        ([], "there is no model in full"),
        (["retain90"], "there is no model in full"),
        (["full"], "there is no retain model, which is one of retain90, retain95, retain99"),
    ],
)
@pytest.mark.parametrize("name", ["tofu-baselines", "all"])
def test_a_folder_of_models_that_lacks_some_is_refused(
    name: str,
    has: list[str] | None,
    said: str,
    models: Path,
    tofu_like: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = tmp_path / "models", tmp_path / "out"
    if has is not None:
        folder.mkdir()
        for model in has:
            (folder / model).symlink_to(models / model)
    assert run(["reproduce", name, "--data", str(tofu_like), "--models", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_data_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["reproduce", "tofu-baselines", "--data", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such directory" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("short")
def test_given_models_unlearn_on_the_data(models: Path, tofu_like: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["reproduce", "tofu-baselines", "--data", str(tofu_like), "--models", str(models), "--out", str(out)]
    assert run([*asked, "--workers", "1"]) in (0, 1)
    said = json.loads((out / "claim.json").read_text())
    assert list(said["numbers"]) == ["forget05", "forget10"], "there is no retain99"
    assert {method: len(way) for method, way in said["numbers"]["forget10"].items()} == dict.fromkeys(
        ("ga", "ga + rt", "ga + kl", "idk + rt"), 2
    )
    starts = [way[0]["log10"] for way in said["numbers"]["forget10"].values()]
    assert starts == [starts[0]] * 4, "all start at the target model"
    ends = [tuple(way[-1].values()) for way in said["numbers"]["forget10"].values()]
    assert len(set(ends)) == 4, "and end elsewhere"
    weights = {name for name in said["inputs"] if name.startswith("weights")}
    assert weights == {"weights of full", "weights of retain95", "weights of retain90"}
    assert json.loads((out / "spec.json").read_text())["data"] == said["inputs"]
    assert said["seeds"] == [0]
    page = (out / "page.md").read_text()
    assert "unlearnkit reproduce tofu-baselines --data DATA --models MODELS --workers 1 --out DIR" in page
    assert "utility is the probability of the retain set" in page.lower(), "a model of random weights knows nobody"
    assert str(tmp_path) not in page + (out / "claim.json").read_text()
    assert len(list((out / "tables").glob("*.parquet"))) == 4
    assert not (tmp_path / "cache/unlearnkit/mini-tables").exists()
    assert all(str(tmp_path) not in path.read_text() for path in (out / "cells").glob("*.json"))


@pytest.mark.usefixtures("short")
def test_models_that_are_not_given_are_trained_once(
    tofu_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    claim, options = find_claim("tofu-baselines"), Options(quick=True, data=tofu_like, workers=1)
    said = reproduce(claim, tmp_path / "out", options, lambda what, done, total: told.append(what))
    assert list(said["numbers"]) == ["forget10"]
    assert "recipe" in said["inputs"]
    assert said["command"] == "unlearnkit reproduce tofu-baselines --quick --data DATA --workers 1 --out DIR"
    assert {what.split(" (")[0] for what in told if what.startswith("training")} == {
        "training full, model 1 of 2",
        "training retain90, model 2 of 2",
    }
    assert any("hours in all on a CPU" in what for what in told)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/models").glob("*/model.safetensors")}
    assert len(kept) == 2
    (tmp_path / "out/run.json").unlink()  # as if it had been stopped before the page
    again = reproduce(claim, tmp_path / "out", options)
    assert again["resumed"]
    assert again["numbers"] == said["numbers"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.usefixtures("short")
def test_a_cell_refuses_other_models_than_it_was_made_for(models: Path, tofu_like: Path, tmp_path: Path) -> None:
    where = stage("forget10", tofu_like, models, tmp_path / "tables")
    elsewhere = where._replace(places={**where.places, "tables": str(tmp_path / "other")})
    assert models_cell(where).digest == models_cell(elsewhere).digest
    with pytest.raises(RuntimeError, match="the models in the cell's folders are not those"):
        run_models(where.spec, {**where.places, "retain": str(models / "retain95")})
    assert not (tmp_path / "tables").exists()


def trajectory(qualities: Sequence[float], utilities: Sequence[float], scale: float) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "forget_quality": quality,
            "log10_forget_quality": math.log10(quality),
            "forget_probability": 0.3,
            "model_utility": scale * (0.9 if scale < 0.1 else kept),
            "retain_probability": kept,
        }
        for epoch, (quality, kept) in enumerate(zip(qualities, utilities, strict=True))
    ]


@pytest.mark.parametrize("kept", [0.4, 0.88])
@pytest.mark.parametrize("scale", [1.0, 0.02], ids=["with a model utility", "with next to none"])
def test_on_tofu_baselines_hold_only_where_none_has_both(
    monkeypatch: pytest.MonkeyPatch, models: Path, tofu_like: Path, tmp_path: Path, kept: float, scale: float
) -> None:
    def made_up(cells: Sequence[Cell], folder: Path, **given: Any) -> list[Any]:
        found = trajectory([1e-9, 1e-3, 0.3], [0.9, 0.82, kept], scale)
        before = {"target": found[0], "retain": found[0]}
        return [before if cell.function.endswith("run_models") else {"trajectory": found} for cell in cells]

    monkeypatch.setattr(base, "sweep", made_up)
    options = Options(seeds=(0, 1), data=tofu_like, models=models)
    said = reproduce(find_claim("tofu-baselines"), tmp_path / "out", options)
    assert said["held"] is (kept < 0.81)
    assert len(said["checks"]) == 8
    assert said["numbers"]["forget05"]["ga"][-1]["utility"] == pytest.approx(kept / 0.9)
    assert ("retain probability" in said["verdict"]) is (scale < 0.1)
    assert ("next to no model utility" in (tmp_path / "out/page.md").read_text()) is (scale < 0.1)
    assert "at any epoch after the start" not in (tmp_path / "out/page.md").read_text()
    assert (tmp_path / "out" / said["pictures"][0]).stat().st_size > 5_000


@pytest.mark.parametrize("few", [True, False])
def test_the_page_says_where_one_epoch_is_too_long_a_step(
    monkeypatch: pytest.MonkeyPatch, models: Path, tofu_like: Path, tmp_path: Path, few: bool
) -> None:
    def made_up(cells: Sequence[Cell], folder: Path, **given: Any) -> list[Any]:
        lost = trajectory([1e-40, 1e-3], [0.9, 0.5], 1.0)
        kept = trajectory([1e-40, 1e-3], [0.9, 0.85], 1.0)
        before = {"target": kept[0], "retain": kept[0]}
        return [
            before
            if cell.function.endswith("run_models")
            else {"trajectory": kept if few and cell.spec["objective"] != "ga" else lost}
            for cell in cells
        ]

    monkeypatch.setattr(base, "sweep", made_up)
    options = Options(quick=True, data=tofu_like, models=models)
    assert reproduce(find_claim("tofu-baselines"), tmp_path / "out", options)["held"]
    page = (tmp_path / "out/page.md").read_text()
    which = "1 of 4 ways do not keep" if few else "None of the ways keeps"
    assert f"{which} 90 % of the model utility at any epoch after the start" in page
    assert ("(forget10: `ga`)" in page) is few
    assert "below 1e-30 are drawn there" in page
