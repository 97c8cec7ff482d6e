"""Other tools' logs: both schemas, what may be missing, and what is refused with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnkit.errors import UserError
from unlearnkit.score import read_measurements, score_table
from unlearnkit.score.log_values import question_in

FILES = {
    "eval_log.json": 5,
    "eval_real_author_wo_options.json": 3,
    "eval_real_world_wo_options.json": 3,
    "eval_log_forget.json": 5,
}


def section(rows: int, perturbations: int, shift: float = 0.0) -> dict[str, list[Any]]:
    losses = [0.1 * (row + 1) + shift for row in range(rows)]
    return {
        "avg_gt_loss": losses,
        "gt_loss": [3 * loss for loss in losses],
        "num_token_gt": [3] * rows,
        "avg_paraphrased_loss": [loss + 0.5 for loss in losses],
        "average_perturb_loss": [[1.0 + 0.2 * j for j in range(perturbations)] for _ in losses],
        "generated_text": [
            [f"Question: What is {row}?\n", f"Answer: It is {row}.", f"It is {row}."] for row in range(rows)
        ],
        "rougeL_recall": [0.25] * rows,
        "rouge1_recall": [0.25] * rows,
    }


def tofu_log(rows: int = 4, shift: float = 0.0) -> dict[str, dict[str, Any]]:
    return {name: section(rows, options, shift) for name, options in FILES.items()}


def keyed(log: dict[str, dict[str, list[Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The other schema: rows by number, in the order of text (0, 1, 10, 2) as JSON tools sort them."""
    return {
        file: {name: dict(sorted((str(i), value) for i, value in enumerate(rows))) for name, rows in columns.items()}
        for file, columns in log.items()
    }


def write(tmp_path: Path, log: Any, name: str = "log.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(log))
    return path


def test_both_schemas_hold_the_same_measurements(tmp_path: Path) -> None:
    lists = read_measurements(write(tmp_path, tofu_log(12), "lists.json"))
    objects = read_measurements(write(tmp_path, keyed(tofu_log(12)), "objects.json"))
    assert lists.data.equals(objects.data)
    first, second = (score_table(table, lists, "tofu").to_json() for table in (lists, objects))
    assert first == second
    assert first["scores"]["forget_quality"]["value"] == 1.0
    assert first["scores"]["retain_rouge"]["value"] == 1.0


def test_numbers_of_a_small_log(tmp_path: Path) -> None:
    scores = score_table(read_measurements(write(tmp_path, tofu_log(1))), protocol="tofu")
    p, others = math.exp(-0.1), [math.exp(-1), math.exp(-1.2), math.exp(-1.4)]
    assert scores["forget_probability"].value == pytest.approx(p)
    assert scores["world_facts_probability"].value == pytest.approx(p / (p + sum(others)))
    assert scores["forget_truth_ratio"].value == pytest.approx(math.exp(-abs(0.6 - 1.4)))
    assert scores["retain_truth_ratio"].value == pytest.approx(1 - math.exp(0.6 - 1.4))
    assert scores["real_authors_truth_ratio"].value == pytest.approx(1 - math.exp(0.6 - 1.2))


def test_sums_and_counts_replace_missing_means(tmp_path: Path) -> None:
    log = tofu_log()
    expected = score_table(read_measurements(write(tmp_path, log, "a.json")), protocol="tofu")
    for columns in log.values():
        del columns["avg_gt_loss"]
        columns["perturb_loss"] = [[2 * loss for loss in losses] for losses in columns.pop("average_perturb_loss")]
        columns["num_token_perturb"] = [[2] * len(losses) for losses in columns["perturb_loss"]]
    scores = score_table(read_measurements(write(tmp_path, log, "b.json")), protocol="tofu")
    for name, score in expected.scores.items():
        assert scores[name].value == (None if score.value is None else pytest.approx(score.value, rel=1e-12))


def test_stored_rouge_counts_only_where_there_are_no_texts(tmp_path: Path) -> None:
    log = tofu_log()
    for columns in log.values():
        del columns["generated_text"]
    scores = score_table(read_measurements(write(tmp_path, log)), protocol="tofu")
    assert scores["forget_rouge"].value == 0.25
    for columns in log.values():
        del columns["rougeL_recall"]
    missing = score_table(read_measurements(write(tmp_path, log)), protocol="tofu")["forget_rouge"]
    assert missing.value is None
    assert "no generation" in (missing.reason or "")


def test_nan_spoils_its_own_scores_and_says_so(tmp_path: Path) -> None:
    log = tofu_log()
    log["eval_log_forget.json"]["avg_gt_loss"][2] = math.nan
    log["eval_log_forget.json"]["average_perturb_loss"][1][0] = None
    table = read_measurements(write(tmp_path, log))
    scores = score_table(table, table, "tofu")
    assert scores["forget_probability"].value is None
    assert "1 of 4 forget rows" in (scores["forget_probability"].reason or "")
    assert scores["forget_quality"].value is None
    assert scores["model_utility"].value is not None
    json.dumps(scores.to_json(), allow_nan=False)


def test_infinite_loss_is_probability_zero(tmp_path: Path) -> None:
    log = tofu_log()
    for columns in log.values():
        columns["avg_gt_loss"] = [math.inf] * 4
    scores = score_table(read_measurements(write(tmp_path, log)), protocol="tofu")
    assert scores["forget_probability"].value == 0
    assert scores["real_authors_probability"].value == 0
    assert scores["model_utility"].value == 0


def cut(log: dict[str, Any]) -> None:
    log["eval_log.json"]["average_perturb_loss"].append([1.0] * 5)


def no_number(log: dict[str, Any]) -> None:
    log["eval_log_forget.json"]["avg_gt_loss"][1] = "low"


def not_rows(log: dict[str, Any]) -> None:
    log["eval_log.json"]["avg_gt_loss"] = 0.5


def not_a_section(log: dict[str, Any]) -> None:
    log["eval_log.json"] = [1, 2]


def bad_key(log: dict[str, Any]) -> None:
    log["eval_log.json"]["avg_gt_loss"] = {"one": 1.0}


def no_text(log: dict[str, Any]) -> None:
    log["eval_log.json"]["generated_text"][0] = ["a", 2, "b"]


def no_column(log: dict[str, Any]) -> None:
    log["eval_log.json"] = {"something": [1]}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, "4 rows and average_perturb_loss 5"),
        (no_number, r"eval_log_forget.json: avg_gt_loss\[1\]: 'low' is not a number"),
        (not_rows, "avg_gt_loss: a float where rows are expected"),
        (not_a_section, "eval_log.json holds a list"),
        (bad_key, "'one' is not a row's number"),
        (no_text, r"generated_text\[0\]: 2 is not a text"),
        (no_column, "none of the columns"),
    ],
)
def test_damaged_logs_are_refused_with_their_place(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], told: str
) -> None:
    log: dict[str, Any] = tofu_log()
    damage(log)
    with pytest.raises(UserError, match=told):
        read_measurements(write(tmp_path, log))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "neither Parquet nor JSON"),
        (b"\xff\xfe\x00", "neither Parquet nor JSON"),
        (b"[" * 100_000, "neither Parquet nor JSON"),
        (b"[1]", "holds a list"),
        (b'{"scores": {}}', "these are scores"),
        (b'{"other": 1}', "not a log that this version knows"),
        (b"PAR1 but no more", "not a readable Parquet table"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_measurements(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_measurements(tmp_path / "nothing.json")
    with pytest.raises(UserError, match="a folder"):
        read_measurements(tmp_path)


def test_a_reference_with_other_questions_or_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    model = read_measurements(write(tmp_path, tofu_log(), "model.json"))
    other = tofu_log(shift=0.3)
    other["eval_log_forget.json"]["generated_text"][3][0] = "Question: Who else?\n"
    with pytest.raises(UserError, match="1 of the 4 questions are not in it"):
        score_table(model, read_measurements(write(tmp_path, other, "other.json")), "tofu")
    with pytest.raises(UserError, match="it has 5 scored rows, this table 4"):
        score_table(model, read_measurements(write(tmp_path, tofu_log(5), "more.json")), "tofu")


def test_questions_of_other_templates_are_the_same_questions(tmp_path: Path) -> None:
    llama = tofu_log(shift=0.4)
    for columns in llama.values():
        columns["generated_text"] = [
            [f"[INST] What is {row} ? [/INST]", f"It is {row}.", f"It is {row}."] for row in range(4)
        ]
    model, other = (read_measurements(write(tmp_path, log, "log.json")) for log in (tofu_log(), llama))
    assert score_table(model, other, "tofu")["forget_quality"].value is not None


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("[INST] Who wrote it? [/INST]", "Who wrote it?"),
        ("<s> [INST] Who\nwrote it? [/INST] ", "Who\nwrote it?"),
        ("Question: Who wrote it?\n", "Who wrote it?"),
        ("Question: Who wrote it?\nAnswer: ", "Who wrote it?"),
        ("system\n\nYou are a helpful assistant.user\n\nWho wrote it?assistant\n\n", "Who wrote it?"),
        ("system\nYou are helpful.\nuser\nWho wrote it?\nassistant\n", "Who wrote it?"),
        ("Tell me: who wrote it?", None),
    ],
)
def test_question_in_prompt(prompt: str, question: str | None) -> None:
    assert question_in(prompt) == question


def peer_log(rows: int = 3) -> dict[str, Any]:
    def values(make: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        return {"agg_value": 0.5, "value_by_index": {str(row): make(row) for row in range(rows)}}

    log: dict[str, Any] = {}
    for short, options in (("forget", 5), ("retain", 5), ("ra", 3), ("wf", 3)):
        log[f"{short}_Q_A_Prob"] = values(lambda row: {"prob": 0.9, "avg_loss": 0.1 + row})
        log[f"{short}_Q_A_PARA_Prob"] = values(lambda row: {"prob": 0.9, "avg_loss": 0.2 + row})
        log[f"{short}_Q_A_PERT_Prob"] = values(lambda row, n=options: {"prob": [0.1] * n, "avg_loss": [2.0] * n})
        log[f"{short}_Q_A_ROUGE"] = values(
            lambda row: {"input": f"Question: {row}?\nAnswer: ", "ground_truth": "So it is.", "generation": "So it."}
        )
    return log


def test_peer_log_is_read_and_damage_is_named(tmp_path: Path) -> None:
    log = peer_log()
    scores = score_table(read_measurements(write(tmp_path, log)), protocol="open-unlearning")
    assert scores["forget_probability"].value == pytest.approx(sum(math.exp(-0.1 - row) for row in range(3)) / 3)
    assert scores["retain_rouge"].value == pytest.approx(2 / 3)
    log["forget_Q_A_Prob"]["value_by_index"]["1"] = 0.5
    with pytest.raises(UserError, match=r"forget_Q_A_Prob\[1\]: a float where an object"):
        read_measurements(write(tmp_path, log))


def test_a_row_that_the_peer_could_not_score_takes_its_score_with_it_and_no_other(tmp_path: Path) -> None:
    log = peer_log()
    log["retain_Q_A_ROUGE"]["value_by_index"]["0"] = None
    scores = score_table(read_measurements(write(tmp_path, log)), protocol="open-unlearning")
    assert scores["retain_rouge"].reason == "1 of 3 retain rows have no generation; measure them with generation"
    assert scores["forget_rouge"].value == pytest.approx(2 / 3)


def test_peer_log_with_only_stored_truth_ratios_serves_its_own_protocol(tmp_path: Path) -> None:
    log, old = peer_log(), peer_log()
    del old["forget_Q_A_PARA_Prob"], old["forget_Q_A_PERT_Prob"]
    ratios = [math.exp(-2.0) / (math.exp(-0.2 - row) + 1e-10) for row in range(3)]
    old["forget_truth_ratio"] = {"value_by_index": {str(row): {"score": ratio} for row, ratio in enumerate(ratios)}}
    model, reference = (read_measurements(write(tmp_path, each)) for each in (log, old))
    assert score_table(model, reference, "open-unlearning")["forget_quality"].value == 1.0
    refused = score_table(model, reference, "unlearnkit")["forget_quality"]
    assert refused.value is None
    assert "retain model's table" in (refused.reason or "")
