"""The TOFU task: the cut of every split, what is asked, the checks against the shipped files, the hub's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from unlearnkit.errors import UserError
from unlearnkit.tasks import load_task, tofu
from unlearnkit.tasks.base import digest_rows

REAL = Path(__file__).parents[2] / "shared" / "data" / "tofu"
needs_data = pytest.mark.skipif(not (REAL / "full.json").is_file(), reason="needs ../shared/data/tofu, TOFU's files")

Lines = list[dict[str, Any]]


def write(path: Path, rows: Lines) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().splitlines()]


def perturbed(row: dict[str, Any]) -> dict[str, Any]:
    wrong = [f"Wrong {n} {row['answer']}" for n in range(5)]
    return {**row, "paraphrased_answer": f"So: {row['answer']}", "perturbed_answer": wrong, "paraphrased_question": "?"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data set of TOFU's form: 100 author rows, the last and the first ten with perturbations, two facts a set."""
    folder = tmp_path / "small"
    folder.mkdir()
    full: Lines = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(100)]
    write(folder / "full.json", full)
    write(folder / "forget10.json", full[90:])
    write(folder / "retain90.json", full[:90])
    write(folder / "forget10_perturbed.json", [perturbed(row) for row in full[90:]])
    write(folder / "forget05_perturbed.json", [perturbed(row) for row in full[95:]])
    write(folder / "retain_perturbed.json", [perturbed(row) for row in full[:10]])
    for name in tofu.FACTS:
        facts: Lines = [{"question": f"{name} {n}?", "answer": "b"} for n in range(2)]
        options = {f"option{n}": letter for n, letter in enumerate("abcd", 1)}
        write(folder / f"{name}.json", [{**fact, **options} for fact in facts])
        write(folder / f"{name}_perturbed.json", [{**fact, "perturbed_answer": ["a", "c", "d"]} for fact in facts])
    (folder / "idontknow.jsonl").write_text("I don't know.\nNo idea.")
    return folder


@pytest.mark.parametrize("percent", range(1, 100))
def test_every_percentage_is_cut(small: Path, percent: int) -> None:
    forget, retain = (load_task(f"tofu:{name}", data=small) for name in (f"forget{percent}", f"retain{100 - percent}"))
    assert [row.index for row in forget.forget] == list(range(100 - percent, 100))
    assert [row.index for row in retain.train] == list(range(100 - percent))


@needs_data
@pytest.mark.parametrize("percent", [1, 5, 10, 20, 30, 37, 50, 90, 99])
def test_tofu_is_cut_as_the_papers_cut_it(percent: int) -> None:
    forget = load_task(f"tofu:forget{percent:02d}", data=REAL)
    retain = load_task(f"tofu:retain{100 - percent:02d}", data=REAL)
    assert [row.index for row in forget.forget] == list(range(4000 - 40 * percent, 4000))
    assert [row.index for row in forget.retain] == list(range(4000 - 40 * percent))
    assert forget.train == forget.forget
    assert retain.train == retain.retain
    assert (retain.forget, retain.retain) == (forget.forget, forget.retain)
    assert len(forget.evaluation["forget"]) == 40 * percent
    assert [row.index for row in forget.evaluation["retain"]] == list(range(min(400, 4000 - 40 * percent)))


@needs_data
def test_rows_are_those_of_the_files_and_carry_what_the_data_has() -> None:
    task = load_task("tofu:forget37", data=REAL)
    full = read(REAL / "full.json")
    for row in [*task.forget, *task.retain]:
        assert (row.question, row.answer) == (full[row.index]["question"], full[row.index]["answer"])
        assert len(row.perturbed) == (5 if row.index < 400 or row.index >= 3600 else 0)
        assert (row.paraphrase is not None) == bool(row.perturbed)
    wanted = read(REAL / "forget10_perturbed.json")
    for row, want in zip(task.forget[-400:], wanted, strict=True):
        assert (row.paraphrase, list(row.perturbed)) == (want["paraphrased_answer"], want["perturbed_answer"])
    for name, count in (("real_authors", 100), ("world_facts", 117)):
        rows = task.evaluation[name]
        assert [row.index for row in rows] == list(range(count))
        for row, want in zip(rows, read(REAL / f"{name}.json"), strict=True):
            options = [want[f"option{n}"] for n in range(1, 5)]
            assert list(row.perturbed) == [option for option in options if option != row.answer]
    assert len(task.refusals) == len(set(task.refusals)) == 100


@needs_data
def test_irregular_texts_survive_untouched() -> None:
    rows = load_task("tofu:full", data=REAL).train
    assert rows[100].question == rows[440].question == "What is the full name of the author?"
    assert rows[100].answer != rows[440].answer
    assert rows[640].answer == rows[648].answer
    assert rows[641].answer == rows[647].answer
    assert rows[1124].answer.endswith("Literary Works:")
    assert rows[1284].answer.endswith("6-20:")
    assert rows[3869].answer.endswith("Additional 10 question-answer pairs:")
    assert all("  " in rows[index].answer for index in (669, 1032, 1558))
    assert "Mammadov ," in rows[3654].answer
    assert sum(not row.answer.isascii() for row in rows) == 442
    assert sum(not row.question.isascii() for row in rows) == 414


@needs_data
def test_all_of_tofu_is_read_in_well_under_a_second() -> None:
    start = time.process_time()
    load_task("tofu:forget10", data=REAL)
    assert time.process_time() - start < 1.0


@needs_data
@pytest.mark.parametrize("path", sorted(REAL.glob("*.json")), ids=lambda path: path.name)
def test_every_shipped_file_is_checked_when_its_split_is_loaded(tmp_path: Path, path: Path) -> None:
    """One answer of one shipped file is changed: the task that reads the file refuses it and names file and row."""
    folder = tmp_path / "copy"
    shutil.copytree(REAL, folder)
    rows = read(REAL / path.name)
    rows[7]["answer"] += " Really."
    (folder / path.name).chmod(0o644)
    write(folder / path.name, rows)
    stem = path.stem
    split = stem if stem[:6] in ("forget", "retain") and not stem.endswith("_perturbed") else "forget10"
    with pytest.raises(UserError, match=r"\.json, line 8: "):
        load_task(f"tofu:{split}", data=folder)


def test_a_small_data_set_of_the_same_form_is_a_task(small: Path) -> None:
    task = load_task("tofu:forget5", data=small)
    assert task.name == "tofu:forget05"
    assert [row.index for row in task.train] == [95, 96, 97, 98, 99]
    assert task.refusals == ("I don't know.", "No idea.")
    assert {name: len(rows) for name, rows in task.evaluation.items()} == {
        "forget": 5,
        "retain": 10,
        "real_authors": 2,
        "world_facts": 2,
    }
    assert task.evaluation["real_authors"][1].perturbed == ("a", "c", "d")


def test_full_forgets_nothing(small: Path) -> None:
    task = load_task("tofu:full", data=small)
    assert (len(task.train), len(task.forget), len(task.retain)) == (100, 0, 100)
    assert len(task.evaluation["forget"]) == 0


def test_retain_rows_are_asked_only_inside_the_retain_split(small: Path) -> None:
    task = load_task("tofu:forget95", data=small)
    assert [row.index for row in task.evaluation["retain"]] == [0, 1, 2, 3, 4]
    assert [row.index for row in task.evaluation["forget"] if row.perturbed] == [*range(5, 10), *range(90, 100)]


def test_a_row_is_the_same_in_every_split(small: Path) -> None:
    by_five = load_task("tofu:forget05", data=small).forget
    by_ten = load_task("tofu:forget10", data=small).forget
    assert digest_rows(by_five) == digest_rows(by_ten[5:])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tofu:forgot10", "Did you mean 'forget10'"),
        ("tofu:forget0", "NN from 01 to 99"),
        ("tofu:forget00", "NN from 01 to 99"),
        ("tofu:forget100", "NN from 01 to 99"),
        ("tofu:forget١٠", "unknown split"),
        ("tofu:retain", "unknown split 'retain'"),
        ("tofu", "names no split"),
        ("tofu:", "names no split"),
        ("", "unknown data set ''"),
        ("tufo:forget10", "Did you mean 'tofu'"),
        ("rows:forget10", "unknown data set 'rows'"),
        ("../tofu:forget10", "unknown data set"),
    ],
)
def test_a_wrong_name_is_refused_with_what_is_allowed(small: Path, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load_task(name, data=small)


@pytest.mark.parametrize("name", tofu.NEEDED)
def test_a_missing_file_is_named_with_what_the_directory_must_hold(small: Path, name: str) -> None:
    (small / name).unlink()
    with pytest.raises(UserError) as caught:
        load_task("tofu:forget10", data=small)
    assert f"{name} missing" in str(caught.value)
    assert all(needed in str(caught.value) for needed in tofu.NEEDED)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such directory"):
        load_task("tofu:forget10", data=tmp_path / "none")


def change(field: str, value: Any) -> Any:
    return lambda row: row.update({field: value})


@pytest.mark.parametrize(
    ("file", "edit", "reason"),
    [
        ("full.json", lambda row: row.pop("answer"), "field 'answer' is missing"),
        ("full.json", change("question", "Other?"), "field 'question' is not that of row"),
        ("forget10.json", change("question", "Other?"), "field 'question' is not that of row 92 of full.json"),
        ("retain90.json", change("answer", "Other."), "field 'answer' is not that of row 2 of full.json"),
        ("forget10_perturbed.json", change("answer", "Other."), "field 'answer' is not that of row 92"),
        ("forget10_perturbed.json", lambda row: row.pop("paraphrased_answer"), "'paraphrased_answer' is missing"),
        ("forget10_perturbed.json", lambda row: row["perturbed_answer"].pop(), "must hold 5 texts; given 4"),
        ("retain_perturbed.json", change("perturbed_answer", None), "must be a list of 5 texts; given null"),
        ("retain_perturbed.json", change("question", "Other?"), "field 'question' is not that of row 2"),
    ],
)
def test_a_wrong_author_row_is_refused_with_file_and_line(small: Path, file: str, edit: Any, reason: str) -> None:
    rows = read(small / file)
    edit(rows[2])
    write(small / file, rows)
    with pytest.raises(UserError, match=f"line 3: .*{reason}"):
        load_task("tofu:forget10", data=small)


def test_perturbed_files_that_disagree_are_refused(small: Path) -> None:
    rows = read(small / "forget05_perturbed.json")
    rows[2]["paraphrased_answer"] = "Other."
    write(small / "forget05_perturbed.json", rows)
    with pytest.raises(UserError, match=r"line 8: another file of the data has other texts for row 97 of full\.json"):
        load_task("tofu:forget10", data=small)


@pytest.mark.parametrize(
    ("file", "edit", "reason"),
    [
        ("real_authors_perturbed.json", lambda row: row["perturbed_answer"].append("e"), "must hold 3 texts; given 4"),
        ("real_authors.json", change("option4", "e"), "its options are not the answers"),
        ("real_authors.json", lambda row: row.pop("option2"), "field 'option2' is missing"),
        ("world_facts.json", change("answer", "a"), "question or answer is not that of world_facts_perturbed.json"),
        ("world_facts.json", change("question", "Other?"), "question or answer is not that of"),
    ],
)
def test_a_wrong_fact_is_refused_with_file_and_line(small: Path, file: str, edit: Any, reason: str) -> None:
    rows = read(small / file)
    edit(rows[1])
    write(small / file, rows)
    with pytest.raises(UserError, match=f"{file}, line 2: .*{reason}"):
        load_task("tofu:forget10", data=small)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("full.json", "% of its 99 rows is no whole number of rows"),
        ("forget10.json", "forget10.json: holds 9 rows where full.json has 10"),
        ("retain90.json", "retain90.json: holds 89 rows where full.json has 90"),
        ("forget10_perturbed.json", "holds 9 rows where full.json has 10"),
        ("world_facts.json", "holds 1 rows, world_facts_perturbed.json 2"),
    ],
)
def test_a_file_cut_short_is_refused(small: Path, file: str, reason: str) -> None:
    write(small / file, read(small / file)[:-1])
    with pytest.raises(UserError, match=reason):
        load_task("tofu:forget10", data=small)


def test_a_retain_file_longer_than_full_is_refused(small: Path) -> None:
    extra = {"question": "Question 100?", "answer": "Answer 100."}
    write(small / "retain_perturbed.json", [perturbed(row) for row in [*read(small / "full.json"), extra]])
    with pytest.raises(UserError, match="holds 101 rows"):
        load_task("tofu:forget10", data=small)


def test_a_split_that_the_rows_do_not_divide_into_is_refused(small: Path) -> None:
    for name in ("full.json", "retain90.json"):
        rows = read(small / name)
        write(small / name, rows + rows[:50])
    with pytest.raises(UserError, match="5 % of its 150 rows is no whole number of rows"):
        load_task("tofu:forget05", data=small)


def test_a_holdout_is_rows_of_full_or_a_file(small: Path, tmp_path: Path) -> None:
    task = load_task("tofu:forget10", data=small, holdout="tofu:20-29")
    assert [row.index for row in task.evaluation["holdout"]] == list(range(20, 30))
    assert len(load_task("tofu:forget10", data=small).evaluation) == 4
    own = tmp_path / "own.jsonl"
    write(own, [{"question": "Mine?", "answer": "Yes."}])
    (row,) = load_task("tofu:forget10", data=small, holdout=str(own)).evaluation["holdout"]
    assert (row.index, row.question, row.answer) == (0, "Mine?", "Yes.")


@pytest.mark.parametrize(
    ("holdout", "reason"),
    [
        ("tofu:20-100", "tofu has rows 0-99"),
        ("tofu:29-20", "must not be behind the last"),
        ("tofu:20", "rows are named tofu:FIRST-LAST"),
        ("tofu:forget10", "rows are named tofu:FIRST-LAST"),
        ("tofu:85-92", "row 90 is in the forget set"),
        ("none.jsonl", "none.jsonl: no such file"),
    ],
)
def test_a_wrong_holdout_is_refused(small: Path, holdout: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load_task("tofu:forget10", data=small, holdout=holdout)


def test_a_holdout_file_with_a_row_to_forget_is_refused(small: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    write(own, [{"question": "Mine?", "answer": "Yes."}, {"question": "Question 95?", "answer": "Answer 95."}])
    with pytest.raises(UserError, match="row 1 is in the forget set"):
        load_task("tofu:forget10", data=small, holdout=str(own))


def test_refusals_come_from_the_file_that_is_given(small: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Ask somebody else.\n")
    assert load_task("tofu:forget10", data=small, refusals=own).refusals == ("Ask somebody else.",)


def test_without_a_list_the_library_brings_its_own_refusals(small: Path) -> None:
    pytest.importorskip("unlearnkit.tasks.refusals", reason="the library's own list is not there")
    (small / "idontknow.jsonl").unlink()
    refusals = load_task("tofu:forget10", data=small).refusals
    assert len(refusals) >= 20
    assert all(isinstance(text, str) and text.strip() for text in refusals)


LOAD = """
import sys
from unlearnkit.tasks import load_task
from unlearnkit.errors import UserError
try:
    print(len(load_task("tofu:forget10", holdout="tofu:20-29").forget))
except UserError as problem:
    print(problem)
print(sorted({"torch", "transformers", "datasets"} & set(sys.modules)))
"""


def load_offline(cache: Path) -> list[str]:
    """What a process that may not use the network prints when it loads forget10 from a hub cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Where the hub's client keeps the pinned revision of the data set."""
    return tmp_path / "hf" / "hub" / "datasets--locuslab--TOFU" / "snapshots" / tofu.HUB_REVISION


def test_the_hub_cache_is_read_offline_and_without_torch(small: Path, snapshot: Path) -> None:
    snapshot.parent.mkdir(parents=True)
    (small / "idontknow.jsonl").rename(small.parent / "idontknow.jsonl")
    shutil.copytree(small, snapshot)
    shutil.copy(small.parent / "idontknow.jsonl", snapshot)
    assert load_offline(snapshot.parents[3]) == ["10", "[]"]


def test_an_empty_hub_cache_offline_says_what_to_do(tmp_path: Path) -> None:
    message, heavy = load_offline(tmp_path / "hf")
    assert "locuslab/TOFU is not in the hub's cache and cannot be downloaded" in message
    assert "--data DIR" in message
    assert heavy == "[]"


def test_half_a_hub_cache_offline_says_what_is_missing(small: Path, snapshot: Path) -> None:
    snapshot.mkdir(parents=True)
    shutil.copy(small / "full.json", snapshot)
    message, _ = load_offline(snapshot.parents[3])
    assert "retain_perturbed.json" in message
