"""The size of each row's gradient: the fast way, the plain way and the peer's values agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearnkit.cli.main import run
from unlearnkit.measure.gradient_norm import gradient_norms, plain_norm, without_end
from unlearnkit.measure.gradient_squares import batch_norms, owners_of
from unlearnkit.models.load import Loaded, load_model, new_model
from unlearnkit.score import score_table
from unlearnkit.table import Table
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Encoded, Template

CPU = torch.device("cpu")
BASE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
# what differs: biases, LayerNorm with bias, (1 + w) norms and soft caps, parallel blocks, norms of queries, tied or not
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "llama, not tied": {"model_type": "llama", "tie_word_embeddings": False},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "phi": {"num_key_value_heads": 4},
    "gemma2": {"head_dim": 8, "sliding_window": 16, "tie_word_embeddings": True},
    "gpt_neox": {},
}


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Loaded:
    return load_model(str(tiny_folder), device=CPU)


@pytest.fixture(scope="module")
def rows(tiny: Loaded, sentences: list[tuple[str, str]]) -> list[Encoded]:
    return Template(tiny.tokenizer).encode_all(sentences[:11])


def by_hand(model: Any, row: Encoded) -> float:
    """The definition, in float64: full logits, one backward pass."""
    row = without_end(row, 2)
    double = model.double()
    double.zero_grad()
    logits = double(torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1]
    torch.nn.functional.cross_entropy(logits, torch.tensor(row.answer)).backward()
    norms = [parameter.grad.norm().item() for parameter in double.parameters() if parameter.grad is not None]
    double.zero_grad()
    model.float()
    return float(np.mean(norms))


@pytest.mark.parametrize("kind", SHAPES)
def test_the_fast_way_is_the_definition(tiny: Loaded, rows: list[Encoded], kind: str) -> None:
    model = new_model({"model_type": kind, **BASE, **SHAPES[kind]}, tiny.tokenizer, seed=1, device=CPU).model
    expected = [by_hand(model, row) for row in rows]
    owners = owners_of(model)
    assert owners is not None
    assert batch_norms(model, owners, [without_end(row, 2) for row in rows]).numpy() == pytest.approx(
        expected, rel=1e-4
    )
    assert [plain_norm(model, without_end(row, 2)) for row in rows] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("budget", [1, 100, 1000])
def test_batches_change_nothing_and_leave_nothing_behind(tiny: Loaded, rows: list[Encoded], budget: int) -> None:
    frozen = next(tiny.model.parameters())
    frozen.requires_grad_(False)
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    handle = tiny.model.register_forward_pre_hook(count)
    found = gradient_norms(tiny.model, rows, eos=2, token_budget=budget)
    handle.remove()
    assert found == pytest.approx([plain_norm_of(tiny.model, row) for row in rows], rel=1e-4)
    assert all(parameter.grad is None for parameter in tiny.model.parameters())
    assert not frozen.requires_grad
    frozen.requires_grad_(True)
    if budget == 1000:
        assert passes < len(rows), "the fast way was taken"


def plain_norm_of(model: Any, row: Encoded) -> float:
    before = [parameter.requires_grad for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    found = plain_norm(model, without_end(row, 2))
    for parameter, flag in zip(model.parameters(), before, strict=True):
        parameter.requires_grad_(flag)
    return found


def test_a_model_of_another_build_is_run_plainly(tiny: Loaded, rows: list[Encoded]) -> None:
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    model = new_model(config, tiny.tokenizer, seed=1, device=CPU).model
    assert owners_of(model) is None  # two embeddings
    assert gradient_norms(model, rows, eos=2, token_budget=500) == pytest.approx(
        [by_hand(model, row) for row in rows], rel=1e-4
    )


class Doubled(torch.nn.Linear):
    """Uses its weight in a way that no formula for linear layers knows."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) + super().forward(given.flip(-1))


def test_a_wrong_fast_way_is_noticed(tiny_folder: Path, rows: list[Encoded], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(str(tiny_folder), device=CPU).model
    place = model.model.layers[0].mlp
    odd = Doubled(*place.up_proj.weight.shape[::-1], bias=False)
    odd.weight = place.up_proj.weight
    place.up_proj = odd
    expected = [by_hand(model, row) for row in rows]
    assert gradient_norms(model, rows, eos=2, token_budget=500) == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(odd, "__class__", torch.nn.Linear)  # now it is taken for one, which it no longer is
    assert gradient_norms(model, rows, eos=2, token_budget=500) != pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr("unlearnkit.measure.gradient_squares.linear_squares", lambda seen, _: seen.new_ones(len(seen)))
    plain = [plain_norm_of(model, row) for row in rows]
    assert gradient_norms(model, rows, eos=2, token_budget=500) == pytest.approx(plain, rel=1e-4)


def test_an_answer_without_a_token_has_no_gradient(tiny: Loaded, rows: list[Encoded]) -> None:
    empty = Encoded((1, 5, 2), 2)
    assert gradient_norms(tiny.model, [empty], eos=2, token_budget=500) == [None]
    assert gradient_norms(tiny.model, [empty, rows[0]], eos=2, token_budget=500)[0] is None


def test_bfloat16_weights_have_nearly_the_same_norms(tiny_folder: Path, rows: list[Encoded]) -> None:
    found = [
        gradient_norms(load_model(str(tiny_folder), dtype=kind, device=CPU).model, rows, eos=2, token_budget=500)
        for kind in ("float32", "bfloat16")
    ]
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_the_column_is_measured_where_it_is_asked_for(tiny: Loaded, sentences: list[tuple[str, str]]) -> None:
    from unlearnkit.measure import measure

    data = [Row(n, asked, said, f"Well: {said}") for n, (asked, said) in enumerate(sentences)]
    task = Task("small", data, data[:6], data[6:], {"forget": data[:6], "retain": data[6:9], "holdout": data[9:15]})
    table = measure(tiny.model, Template(tiny.tokenizer), task, max_new_tokens=0, gradient_norm=True)
    for row in table.data.to_pylist():
        assert (row["gradient_norm"] is not None) == (row["split"] != "retain" and row["kind"] == "answer")
    assert score_table(table)["mia_gradnorm"].value is not None
    without = measure(tiny.model, Template(tiny.tokenizer), task, max_new_tokens=0)
    assert set(without.data["gradient_norm"].to_pylist()) == {None}


def test_the_command_line_asks_for_it(tiny_folder: Path, tofu_like: Path, tmp_path: Path) -> None:
    said = ["eval", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    said += ["--max-new-tokens", "0", "--holdout", "tofu:0-3", "--gradient-norm", "--out", str(tmp_path / "out")]
    assert run(said) == 0
    assert Table.load(tmp_path / "out/table.parquet").data["gradient_norm"].null_count > 0
    assert json.loads((tmp_path / "out/scores.json").read_text())["scores"]["mia_gradnorm"]["value"] is not None


# ------------------------------------------------------------------------------------------------------ the peer's values


def golden_rows(shared: Path, name: str, split: str, count: int | None) -> tuple[np.ndarray[Any, Any], list[float]]:
    from unlearnkit.tasks import load_task

    task = load_task("tofu:forget10", data=shared / "data/tofu", holdout="tofu:800-1199")
    values = json.loads((shared / f"golden/ou_eval/{name}_TOFU_EVAL.json").read_text())["mia_gradnorm"][split]
    model, tokenizer = load_model(str(shared / "golden/tiny" / name), device=CPU)
    rows = Template(tokenizer).encode_all([(row.question, row.answer) for row in task.evaluation[split][:count]])
    found = gradient_norms(model, rows, eos=tokenizer.eos_token_id, token_budget=2048)
    expected = [values["value_by_index"][str(number)]["score"] for number in range(len(rows))]
    return np.array(found, dtype=float), expected


def test_a_few_rows_are_the_peer_s(shared: Path) -> None:
    found, expected = golden_rows(shared, "full", "forget", 6)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "retain90"])
def test_rows_and_area_are_the_peer_s(shared: Path, name: str) -> None:
    from unlearnkit.score.resampling import auc

    (members, theirs), (strangers, others) = (golden_rows(shared, name, split, None) for split in ("forget", "holdout"))
    assert members == pytest.approx(theirs, rel=1e-4)
    assert strangers == pytest.approx(others, rel=1e-4)
    summary = json.loads((shared / f"golden/ou_eval/{name}_TOFU_SUMMARY.json").read_text())
    assert auc(members, strangers) == pytest.approx(summary["mia_gradnorm"], abs=1e-3)
