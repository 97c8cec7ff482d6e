"""Presets are data that reads, and the verb `objectives` says what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unlearnkit.cli.main import run
from unlearnkit.errors import UserError
from unlearnkit.objectives import parse_objective, term_names
from unlearnkit.run.presets import preset, presets
from unlearnkit.run.settings import Settings


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_a_formula_with_settings_and_a_source(name: str) -> None:
    found = preset(name)
    assert parse_objective(found.objective).views
    settings = Settings(lr=found.lr, epochs=found.epochs, warmup=found.warmup)
    assert settings.warmup * settings.epochs == pytest.approx(1)  # an epoch of warm-up
    assert found.step_rows > 0
    assert "arXiv:" in found.source or "OpenUnlearning" in found.source


def test_the_tuned_presets_are_those_of_the_150_checkpoints() -> None:
    tuned = {name: (p.objective, p.lr, p.epochs) for name, p in presets().items() if "150 TOFU" in p.source}
    assert tuned == {
        "altpo": ("altpo(beta=0.1) + 2*rt", 5e-5, 10),
        "npo": ("npo(beta=0.1) + 5*rt", 5e-5, 10),
        "simnpo": ("0.125*simnpo(beta=3.5, gamma=1, variant='original') + rt", 5e-5, 10),
        "idkdpo": ("dpo(beta=0.1) + rt", 5e-5, 10),
        "graddiff": ("ga + 5*rt", 2e-5, 5),
    }


def test_an_unknown_preset_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="Did you mean 'simnpo'"):
        preset("simpno")


def test_the_list_holds_every_term_with_its_brackets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run(["objectives"]) == 0
    said = capsys.readouterr().out
    assert all(f" {name} " in said for name in term_names())
    assert "E[log π(y|x)] on the forget set" in said  # a table could take the bracket for markup


def test_one_term_is_explained_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["objectives", "kto"]) == 0
    assert "app. E.1.3" in capsys.readouterr().out
    assert run(["objectives", "kto", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reads"] == ["forget", "alternate"]
    assert told["reference"] == {"forget": "tokens", "alternate": "tokens"}
    assert told["choices"] == {"variant": ["paper", "original"]}


def test_presets_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run(["objectives", "--presets"]) == 0
    assert "npo(beta=0.1) + 5*rt" in capsys.readouterr().out
    assert run(["objectives", "--presets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["graddiff"]["lr"] == 2e-5


ROW = {"input_ids": [[1, 5, 6, 2, 0]], "labels": [[-100, -100, 6, 2, -100]], "attention_mask": [[1, 1, 1, 1, 0]]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"input_ids": [[1, 5, 6, 2]]}, "same rows and lengths"),
        ({"input_ids": "text"}, "a list of rows was expected"),
        ({"labels": [[-100, -100, 6.5, 2, -100]]}, "must be an integer"),
        ({"labels": [[-100] * 5]}, "at least one scored label"),
        ({"labels": [[-100, 5, -100, 2, -100]]}, "one run"),
        ({"attention_mask": [[0, 1, 1, 1, 0]]}, "pad on the right"),
        ({"input_ids": [[1, 5, 6, 999999, 0]], "labels": [[-100, -100, 6, 999999, -100]]}, "vocabulary"),
    ],
)
def test_a_bad_batch_is_refused_by_name(
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, object],
    said: str,
) -> None:
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps({"forget": ROW | changed}))
    assert run(["objectives", "--loss", "ga", "--batch", str(batch), "--model", str(tiny_folder), "--json"]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert "Traceback" not in complaint


def test_only_terms_that_read_padding_count_how_far_a_batch_is_padded(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {}
    for extra in (0, 3):
        filling = {"input_ids": 0, "labels": -100, "attention_mask": 0}
        batch = tmp_path / f"{extra}.json"
        batch.write_text(
            json.dumps({"forget": {name: [row[0] + [filling[name]] * extra] for name, row in ROW.items()}})
        )
        for formula in ("undial", "undial(variant='original')"):
            given = ["--batch", str(batch), "--model", str(tiny_folder), "--reference", str(tiny_folder), "--json"]
            assert run(["objectives", "--loss", formula, *given]) == 0
            losses[formula, extra] = json.loads(capsys.readouterr().out)["loss"]
    assert losses["undial", 0] == losses["undial", 3]
    assert losses["undial(variant='original')", 0] != losses["undial(variant='original')", 3]
