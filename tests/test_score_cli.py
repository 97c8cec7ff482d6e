"""The verbs `score` and `metrics` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from unlearnkit.cli import metrics as metrics_verb
from unlearnkit.cli import score as score_verb
from unlearnkit.errors import UserError
from unlearnkit.score.suite import metrics
from unlearnkit.table import Table


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    score_verb.register(app)
    metrics_verb.register(app)
    return app


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    rows = [
        {"split": "forget", "index": i, "kind": kind, "question": "?", "text": "It is so.", "loss": loss + i / 7}
        for i in range(3)
        for kind, loss in (("answer", 0.5), ("paraphrase", 0.7), ("perturbed_0", 2.0))
    ]
    Table.from_rows(rows, {"source": "measured"}).save(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_json_has_the_shape_of_scores_json(app: typer.Typer, stored: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(stored), "--reference", str(stored), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert set(found["scores"]) == set(metrics())
    assert set(found["scores"]["forget_quality"]) == {"value", "n", "interval", "direction", "reason"}
    assert found["scores"]["forget_quality"]["value"] == 1
    assert "label" in found["verdict"]


def test_the_table_on_the_terminal_names_reasons(app: typer.Typer, stored: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(stored)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "no generation" in result.stdout
    assert "forget_truth_ratio" in result.stdout


def test_wrong_input_is_a_user_error(app: typer.Typer, stored: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(stored), "--protocol", "tofi"])
    assert isinstance(result.exception, UserError)
    assert "Did you mean 'tofu'" in str(result.exception)


def test_metrics_are_listed_and_explained_from_the_code(app: typer.Typer) -> None:
    listed = CliRunner().invoke(app, ["metrics"], env={"COLUMNS": "250"})
    assert all(name in listed.stdout for name in metrics())
    one = CliRunner().invoke(app, ["metrics", "forget_quality"]).stdout
    assert all(part in one for part in ("Kolmogorov", "direction", "cannot see", "2401.06121"))
    assert isinstance(CliRunner().invoke(app, ["metrics", "forget_qualty"]).exception, UserError)


def test_the_docs_hold_what_the_code_says() -> None:
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    held = page.split("<!-- metrics: begin -->")[1].split("<!-- metrics: end -->")[0]
    assert held.strip() == metrics_verb.as_markdown().strip(), (
        "run `unlearnkit metrics --markdown` into docs/metrics.md"
    )
