"""Run records: a frozen schema, digests of tensors and not of files, scores that come out again to the last bit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from unlearnkit.canonical import canonical_bytes, parse_json
from unlearnkit.errors import UserError
from unlearnkit.records.checks import FAILED, NOT_CHECKED, PASSED, first_failed
from unlearnkit.records.papers import papers_of
from unlearnkit.records.provenance import gather
from unlearnkit.records.record import (
    TABLE_NAME,
    Cost,
    Inputs,
    Outputs,
    Run,
    build_record,
    number_of,
    read_record,
    write_record,
)
from unlearnkit.records.record_rules import record_problems
from unlearnkit.records.verify import check_digests, check_scores
from unlearnkit.records.weights import INDEX_NAME, files_digest
from unlearnkit.score import score_table
from unlearnkit.table import Table

AT = "2026-05-17T23:38:46Z"


def table_of(shift: float, model: str) -> Table:
    """Twelve forget rows with what a truth ratio needs."""
    rows: list[dict[str, Any]] = []
    for index in range(12):
        for kind in ("answer", "paraphrase", *(f"perturbed_{i}" for i in range(5))):
            loss = 1.0 + shift * (kind == "paraphrase") + 0.05 * index + 0.3 * kind.startswith("perturbed")
            text = f"{kind} {index}"
            row = {"split": "forget", "index": index, "kind": kind, "question": f"q{index}?", "text": text}
            rows.append({**row, "length": 4, "loss": loss, "generation": text if kind == "answer" else None})
    return Table.from_rows(rows, {"task": "tofu:forget10", "model": model, "template": "t", "source": "measured"})


def record_of(outputs: Outputs, scored: Any, tables: dict[str, str] | None = None, **changed: Any) -> dict[str, Any]:
    return build_record(
        spec={"task": "tofu:forget10", "objective": "npo(beta=0.1)", "seed": 0},
        run=Run("tofu:forget10", "npo(beta=0.1)", 0, "unlearnkit", "mini:target"),
        provenance=gather("cpu", "float32", "single process"),
        inputs=Inputs({"forget": "a" * 64}, "b" * 64, "c" * 64, tables or {}),
        outputs=outputs,
        scores=scored["scores"],
        verdict=scored["verdict"],
        losses={"npo": [1.5, float("inf")], "total": [1.5, None]},
        steps=[1, 2],
        papers=papers_of("tofu:forget10", ["arXiv:2404.05868"]),
        **{"cost": Cost(wall_seconds=3.25), "submitted_at": AT, **changed},
    )


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, dict[str, Any], Table, Table]:
    """A run's folder with a record, a table and weights, and the retain model's table."""
    table, reference = table_of(0.4, "1" * 64), table_of(0.0, "2" * 64)
    table.save(tmp_path / TABLE_NAME)
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(2, dtype=np.float16)}
    save_file(tensors, tmp_path / "model.safetensors")
    scored = score_table(table, reference).to_json()
    outputs = Outputs(files_digest(tmp_path), table.digest())
    record = record_of(outputs, scored, {"reference": reference.digest()})
    write_record(tmp_path, record)
    return tmp_path, read_record(tmp_path), table, reference


def test_a_whole_run_verifies(run: tuple[Path, dict[str, Any], Table, Table]) -> None:
    folder, record, _, reference = run
    assert [check.status for check in check_digests(folder, record)] == [PASSED] * 4
    checks = check_scores(record, Table.load(folder / TABLE_NAME), {"reference": reference})
    assert [check.status for check in checks] == [PASSED] * 3
    assert record["scores"]["forget_quality"]["value"] is not None


def test_what_is_not_there_is_not_checked(run: tuple[Path, dict[str, Any], Table, Table]) -> None:
    folder, record, table, _ = run
    (folder / TABLE_NAME).unlink()
    (folder / "model.safetensors").unlink()
    assert [check.status for check in check_digests(folder, record)] == [PASSED, PASSED, NOT_CHECKED, NOT_CHECKED]
    assert [check.status for check in check_scores(record, table)] == [PASSED, NOT_CHECKED, NOT_CHECKED]


def test_the_first_thing_that_differs_is_named(run: tuple[Path, dict[str, Any], Table, Table]) -> None:
    folder, record, table, _ = run
    table_of(0.4000001, "1" * 64).save(folder / TABLE_NAME)
    wrong = first_failed(check_digests(folder, record))
    assert wrong is not None
    assert wrong.name == "table"
    (folder / TABLE_NAME).write_bytes(b"no table")
    assert first_failed(check_digests(folder, record)) is not None
    save_file({"a": np.ones(2, dtype=np.float32)}, folder / "model.safetensors")
    table.save(folder / TABLE_NAME)
    wrong = first_failed(check_digests(folder, record))
    assert wrong is not None
    assert wrong.name == "weights"
    wrong = first_failed(check_scores(record, table, {"reference": table_of(0.1, "2" * 64)}))
    assert wrong is not None
    assert wrong.name == "table of the reference"


def test_one_bit_of_one_score_is_enough(run: tuple[Path, dict[str, Any], Table, Table]) -> None:
    _, record, table, reference = run
    changed = copy.deepcopy(record)
    score = changed["scores"]["forget_probability"]
    score["value"] = float(np.nextafter(score["value"], 1.0))
    wrong = first_failed(check_scores(changed, table, {"reference": reference}))
    assert wrong is not None
    assert wrong.name == "scores"
    assert wrong.detail.startswith("forget_probability is ")
    assert number_of(changed) != record["number"]
    assert first_failed(check_digests(run[0], changed)).name == "number"  # type: ignore[union-attr]


def test_an_unknown_protocol_fails_and_does_not_crash(run: tuple[Path, dict[str, Any], Table, Table]) -> None:
    _, record, table, reference = run
    changed = copy.deepcopy(record)
    changed["run"]["protocol"] = "none"
    wrong = first_failed(check_scores(changed, table, {"reference": reference}))
    assert wrong is not None
    assert wrong.status == FAILED


def test_the_number_covers_everything_but_itself() -> None:
    record = record_of(Outputs(None, None), score_table(table_of(0.2, "1" * 64)).to_json())
    assert record["number"].startswith("unlearnkit:2026:")
    assert number_of({**record, "number": "anything"}) == record["number"]
    assert number_of(parse_json(canonical_bytes(record))) == record["number"]
    for section in record:
        if section != "number":
            assert number_of({**record, section: "changed"})[-26:] != record["number"][-26:]


def test_what_is_missing_says_why() -> None:
    scored = score_table(table_of(0.2, "1" * 64)).to_json()
    record = record_of(
        Outputs(None, None), scored, missing={"cost.energy_joules": "no meter", "cost.wall_seconds": "x"}
    )
    assert record["missing"]["cost.energy_joules"] == "no meter"
    assert record["missing"]["outputs.weights"] == "not measured"
    assert "cost.wall_seconds" not in record["missing"]  # it is there


BREAKS: dict[str, Any] = {
    "no section": lambda record: record.pop("cost"),
    "a section more": lambda record: record.update(path="/home"),
    "schema": lambda record: record.update(schema_version="2.0"),
    "spec": lambda record: record["spec"].update(seed=1),
    "time": lambda record: record["metadata"].update(submitted_at="2026"),
    "seed": lambda record: record["run"].update(seed=1.5),
    "digest": lambda record: record["outputs"].update(weights="abc"),
    "score": lambda record: record["scores"]["model_utility"].update(value="0.5"),
    "score without reason": lambda record: record["scores"]["model_utility"].update(value=None, reason=None),
    "boolean score": lambda record: record["scores"]["model_utility"].update(value=True),
    "losses": lambda record: record["losses"]["terms"].update(npo=[1.0]),
    "paper": lambda record: record["papers"].append("2401.06121"),
    "cost": lambda record: record["cost"].update(wall_seconds="3"),
    "silent null": lambda record: record["cost"].update(wall_seconds=None),
    "section of another type": lambda record: record.update(scores=[]),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_does_not_fit_the_schema_is_refused(tmp_path: Path, case: str) -> None:
    record = record_of(Outputs(None, None), score_table(table_of(0.2, "1" * 64)).to_json())
    assert record_problems(record) == []
    BREAKS[case](record)
    assert record_problems(record)
    (tmp_path / "record.json").write_bytes(canonical_bytes(record))
    with pytest.raises(UserError, match="not a run record"):
        read_record(tmp_path)


def test_a_record_can_not_be_built_of_what_is_no_json() -> None:
    scored = score_table(table_of(0.2, "1" * 64)).to_json()
    with pytest.raises(UserError, match="not a JSON type"):
        record_of(Outputs(None, None), {**scored, "verdict": {"label": object()}})
    with pytest.raises(UserError, match="is no SHA-256"):
        record_of(Outputs("weights.safetensors", None), scored)


def test_provenance_names_versions_and_no_folder() -> None:
    found = gather("cpu")
    assert found["packages"]["numpy"] == np.__version__
    assert found["commit"] is None or len(found["commit"]) == 40
    assert "/" not in json.dumps({name: part for name, part in found.items() if name != "packages"})


def test_the_digest_is_of_tensors_not_of_files(tmp_path: Path) -> None:
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(2, dtype=np.float16), "c": np.zeros(0)}
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
    save_file(tensors, tmp_path / "one" / "model.safetensors", {"format": "pt", "note": "x"})
    save_file({"c": tensors["c"], "a": tensors["a"]}, tmp_path / "two" / "part-2.safetensors")
    save_file({"b": tensors["b"]}, tmp_path / "two" / "part-1.safetensors")
    save_file({**tensors, "b": tensors["b"].reshape(3, 2)}, tmp_path / "other" / "model.safetensors")
    assert files_digest(tmp_path / "one") == files_digest(tmp_path / "two") != files_digest(tmp_path / "other")
    save_file({"b": tensors["b"]}, tmp_path / "one" / "twin.safetensors")
    with pytest.raises(UserError, match="in two files"):
        files_digest(tmp_path / "one")


def test_it_is_the_digest_of_the_loaded_model(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_model

    from unlearnkit.models.digest import weights_digest

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(torch.bfloat16)
    save_model(model, str(tmp_path / "model.safetensors"))
    assert files_digest(tmp_path) == weights_digest(model)


@pytest.mark.parametrize(
    "place", ["../outside.safetensors", "/etc/passwd.safetensors", "sub/a.safetensors", 3, "a.bin"]
)
def test_an_index_does_not_lead_out_of_its_folder(tmp_path: Path, place: Any) -> None:
    (tmp_path / "run").mkdir()
    save_file({"a": np.ones(1)}, tmp_path / "outside.safetensors")
    (tmp_path / "run" / INDEX_NAME).write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(UserError, match="does not name files of this folder"):
        files_digest(tmp_path / "run")


def test_broken_weights_are_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no safetensors"):
        files_digest(tmp_path)
    for content in (b"", b"\xff" * 100, (10**12).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}x"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match="safetensors"):
            files_digest(tmp_path)
