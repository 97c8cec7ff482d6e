"""Wrong input to any verb: one line on standard error, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import shutil
import subprocess
import sys
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unlearnkit.cli import main as command_line
from unlearnkit.table import Table

# ---------------------------------------------------------------------------------------------------- a place to go wrong


def json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def small_tofu(folder: Path) -> None:
    """A data set of TOFU's form with 100 rows."""
    folder.mkdir()
    full: list[dict[str, Any]] = [{"question": f"Who wrote book {n}?", "answer": f"Author {n}."} for n in range(100)]
    json_lines(folder / "full.json", full)
    more = [{**row, "paraphrased_answer": "It was so.", "perturbed_answer": list("abcde")} for row in full]
    json_lines(folder / "forget10_perturbed.json", more[90:])
    json_lines(folder / "retain_perturbed.json", more[:10])
    for name in ("real_authors", "world_facts"):
        facts = [{"question": f"{name} {n}?", "answer": "b", "perturbed_answer": ["a", "c", "d"]} for n in range(2)]
        json_lines(folder / f"{name}_perturbed.json", facts)


def small_table(path: Path) -> None:
    kinds = ("answer", "paraphrase", *(f"perturbed_{n}" for n in range(5)))
    row = {
        "split": "forget",
        "question": "Who?",
        "text": "Ann.",
        "length": 1,
        "loss": 1.0,
        "tokens": [5],
        "logp": [-1.0],
    }
    more = {"greedy": [True], "ends": False, "prompt_length": 3, "generation": "Ann."}
    rows = [{**row, **more, "index": index, "kind": kind} for index in range(4) for kind in kinds]
    Table.from_rows(rows, {"task": "tofu:forget10", "source": "measured"}).save(path)


ROW: dict[str, list[Any]] = {"input_ids": [1, 5, 6, 2], "labels": [-100, -100, 6, 2], "attention_mask": [1, 1, 1, 1]}
# One stored row for `objectives --loss`, wrong in one way each.
BAD_BATCHES: dict[str, Any] = {
    "labels_cut": {"forget": {**{key: [ROW[key]] for key in ROW}, "labels": [[-100, 2]]}},
    "rows_cut": {"forget": {**{key: [ROW[key]] for key in ROW}, "labels": []}},
    "flat": {"forget": ROW},
    "texts": {"forget": {**{key: [ROW[key]] for key in ROW}, "input_ids": [["1", "5", "6", "2"]]}},
    "no_such_id": {"forget": {key: [[10**6 if one == 5 else one for one in ROW[key]]] for key in ROW}},
    "negative_id": {"forget": {key: [[-7 if one == 5 else one for one in ROW[key]]] for key in ROW}},
    "nothing_scored": {"forget": {**{key: [ROW[key]] for key in ROW}, "labels": [[-100] * 4]}},
    "no_rows": {"forget": {key: [] for key in ROW}},
    "other_view": {"retain": {key: [ROW[key]] for key in ROW}},
}


def small_model(folder: Path) -> None:
    """A randomly initialised Llama of a few thousand parameters with a byte-level tokeniser."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    from unlearnkit.models.load import new_model, wrap_tokenizer

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    pieces.train_from_iterator(["Question: Who wrote book 1?", "Answer: Author 1."], trainer)
    tokenizer = wrap_tokenizer(pieces.to_str(), 128)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = new_model({"model_type": "llama", "max_position_embeddings": 128, **shape}, tokenizer, 0).model
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good things and broken ones; no wrong command may change it."""
    here = tmp_path_factory.mktemp("place")
    small_tofu(here / "data")
    small_tofu(here / "bad_data")
    with (here / "bad_data" / "full.json").open("a") as stream:
        stream.write('{"question": "Who?"}\n')
    small_table(here / "table.parquet")
    (here / "broken.parquet").write_bytes((here / "table.parquet").read_bytes()[:-40])
    (here / "broken.json").write_text('{"a": ')
    (here / "list.json").write_text("[1, 2]")
    (here / "other.json").write_text('{"a": 1}')
    for name, batch in BAD_BATCHES.items():
        (here / f"{name}.json").write_text(json.dumps(batch))
    (here / "latin.txt").write_bytes(b"caf\xe9\n")
    (here / "empty").touch()
    small_model(here / "model")
    shutil.copytree(here / "model", here / "pickled")
    (here / "pickled" / "model.safetensors").rename(here / "pickled" / "pytorch_model.bin")
    shutil.copytree(here / "model", here / "broken_model")
    (here / "broken_model" / "model.safetensors").write_bytes(b"no weights")
    shutil.copytree(here / "model", here / "other_tokenizer")
    shape = json.loads((here / "model" / "config.json").read_text())
    remote = {**shape, "model_type": "own_thing", "auto_map": {"AutoModelForCausalLM": "own.Model"}}
    (here / "remote").mkdir()
    (here / "remote" / "config.json").write_text(json.dumps(remote))
    (here / "remote" / "own.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    (here / "not_a_run").mkdir()
    (here / "not_a_run" / "thesis.txt").write_text("keep me")
    return here


class Outcome(NamedTuple):
    """What a shell would see; a warning is one more line on standard error."""

    code: int
    out: str
    err: str


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder with its size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[os.fspath(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run the command line within `place`, without a network; anything but an exit code lets the test fail."""
    monkeypatch.chdir(place)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def run(*arguments: str) -> Outcome:
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", hidden)  # as in a process of its own
            code = command_line.run(arguments)
        out, err = capfd.readouterr()
        return Outcome(code, out, err + "".join(f"{one.category.__name__}: {one.message}\n" for one in caught))

    return run


def assert_refused(outcome: Outcome) -> None:
    assert outcome.code == 2, outcome
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("unlearnkit: ")
    assert len(lines[0]) > len("unlearnkit: ") + 10, "says too little"
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


# ------------------------------------------------------------------------------------------------- what every verb must do


def verbs() -> dict[str, Any]:
    """Every verb of the command line by its words, such as "keys new", with its click command."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield " ".join(words), command
            return
        for name, inner in command.commands.items():
            yield from walk(inner, (*words, name))

    return dict(walk(typer.main.get_command(command_line.build_app()), ()))


VERBS = verbs()
CONTRACT = ("demo", "eval", "finetune", "metrics", "objectives", "score", "tasks", "unlearn")


@pytest.mark.parametrize("verb", CONTRACT)
def test_the_verb_is_there(verb: str) -> None:
    assert verb in VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_itself(call: Any, verb: str) -> None:
    outcome = call(*verb.split(), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage" in outcome.out


def required(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.required]


@pytest.mark.parametrize("verb", [name for name, command in VERBS.items() if required(command)])
def test_a_verb_without_what_it_needs_is_refused(call: Any, verb: str) -> None:
    assert_refused(call(*verb.split()))


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_is_refused(call: Any, verb: str) -> None:
    assert_refused(call(*verb.split(), "--no-such-option", "1"))


@pytest.mark.parametrize("verb", VERBS)
def test_too_many_arguments_are_refused(call: Any, verb: str) -> None:
    assert_refused(call(*verb.split(), *["surplus"] * 9))


def numbers(command: Any) -> Iterator[str]:
    """The options of a verb that take a number."""
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    for parameter in command.params:
        kinds = {hints.get(parameter.name), *typing.get_args(hints.get(parameter.name))}
        if kinds & {int, float} and parameter.opts[0].startswith("-"):
            yield parameter.opts[0]


NUMBERS = [(name, option) for name, command in VERBS.items() for option in numbers(command)]


@pytest.mark.parametrize(("verb", "option"), NUMBERS)
def test_a_word_where_a_number_is_wanted_is_refused(call: Any, verb: str, option: str) -> None:
    given = [word for parameter in required(VERBS[verb]) for word in _filled(parameter)]
    outcome = call(*verb.split(), *given, option, "many")
    assert_refused(outcome)
    assert option in outcome.err


def _filled(parameter: Any) -> list[str]:
    return [parameter.opts[0], "x"] if parameter.opts[0].startswith("-") else ["x"]


@pytest.mark.parametrize("words", ["tsks", "--taks", "demo2", "''", "-x"])
def test_an_unknown_verb_is_refused(call: Any, words: str) -> None:
    assert_refused(call(*shlex.split(words)))


# --------------------------------------------------------------------------------------------------- what a verb is given

TASK = "--task tofu:forget10 --data data"
BAD_TASKS = (
    "--task tofo:forget10 --data data",
    "--task tofu:forgot10 --data data",
    "--task tofu --data data",
    "--task '' --data data",
    "--task tofu:forget10 --data none",
    "--task tofu:forget10 --data model",
    "--task tofu:forget10 --data table.parquet",
    "--task tofu:forget10 --data bad_data",
    "--task tofu:forget10",  # neither in the hub's cache nor to be had without a network
    "--task mini:forget10 --data data",
    "--task mini:forget100",
)
BAD_MODELS = (
    "--model none/at/all",
    "--model ./none",
    "--model ''",
    "--model data",
    "--model table.parquet",
    "--model pickled",
    "--model broken_model",
    "--model remote",
    "--model nobody/no-such-model",
    "--model mini:nonsense",
    "--model mini:",
    "--model init:none.json",
    "--model init:broken.json",
    "--model init:list.json",
    "--model init:other.json",
    "--model init:",
)
BAD_TEMPLATES = ("--template 'no place for a question'", "--template chat", "--template '{question}'", "--template ''")
BAD_OBJECTIVES = (
    "''", "npoo", "npo(bta=0.1)", "npo(beta=0)", "npo(beta=x)", "npo(", "5", "npo + ", "npo(beta=1e999)", "npo npo",
    "__import__('os').system('touch ran')", "npo(beta=0.1).x", "ga; rt", "nan*ga", "1e999*rt", "0x*ga", "5in", "npo(0.1)",
)  # fmt: skip
BAD_NUMBERS = (
    "--lr 0", "--lr -1", "--lr nan", "--lr inf", "--epochs 0", "--epochs -1", "--epochs nan", "--batch-size 0",
    "--batch-size 1.5", "--accumulate 0", "--seed -1", "--warmup -1", "--schedule linnear", "--pairing none",
    "--token-budget 0", "--weight-decay nan", "--max-grad-norm -1",
)  # fmt: skip
BAD_OUTS = ("--out table.parquet", "--out table.parquet/below", "--out not_a_run", "--out not_a_run --force")
BAD_LOGS = (
    "none.parquet",
    "broken.parquet",
    "broken.json",
    "list.json",
    "other.json",
    "empty",
    "latin.txt",
    "data",
    "model",
)

EVAL = f"eval --model model {TASK} --out new"
FINETUNE = "finetune --model model --task tofu:full --data data --out new"
UNLEARN = f"unlearn --model model {TASK} --objective ga --out new"

WRONG = [
    *(f"tasks {bad.removeprefix('--task ')}" for bad in BAD_TASKS if ":" in bad.split()[1]),
    "tasks tofo",
    "tasks rows",
    "tasks tofu:forget10 --data data --holdout tofu:95-99",
    "tasks tofu:forget10 --data data --holdout tofu:95-100",
    "tasks tofu:forget10 --data data --holdout none.jsonl",
    "tasks tofu:forget10 --data data --refusals data/full.json",
    "tasks tofu:forget10 --data data --refusals latin.txt",
    "tasks tofu:forget10 --data data --refusals empty",
    "metrics forget_qualty",
    "metrics ''",
    "objectives npoo",
    *(
        f"objectives --loss {shlex.quote(bad)} --batch other.json --model model --reference model"
        for bad in BAD_OBJECTIVES
    ),
    "objectives --loss ga",
    "objectives --loss ga --batch none.json --model model",
    "objectives --loss ga --batch broken.json --model model",
    "objectives --loss ga --batch list.json --model model",
    *(f"objectives --loss ga --batch {bad}.json --model model" for bad in ("other", *BAD_BATCHES)),
    *(f"score {bad}" for bad in BAD_LOGS),
    *(f"score table.parquet --reference {bad}" for bad in BAD_LOGS),
    "score table.parquet --protocol tofoo",
    "score table.parquet --protocol ''",
    *(f"eval --model model {bad} --out new" for bad in BAD_TASKS),
    *(f"eval {bad} {TASK} --out new" for bad in BAD_MODELS),
    *(f"{EVAL} {bad}" for bad in BAD_TEMPLATES),
    *(f"{EVAL} --reference {bad}" for bad in BAD_LOGS if bad not in ("data", "model")),
    *(f"eval --model model {TASK} {bad}" for bad in BAD_OUTS),
    f"{EVAL} --protocol tofoo",
    f"{EVAL} --max-new-tokens -1",
    f"{EVAL} --token-budget 0",
    f"{EVAL} --holdout tofu:95-99",
    *(f"finetune --model model {bad} --out new" for bad in BAD_TASKS),
    *(f"finetune {bad} --task tofu:full --data data --out new" for bad in BAD_MODELS),
    *(f"{FINETUNE} {bad}" for bad in (*BAD_NUMBERS, *BAD_TEMPLATES)),
    *(f"finetune --model model --task tofu:full --data data {bad}" for bad in BAD_OUTS),
    *(f"unlearn --model model {bad} --objective ga --out new" for bad in BAD_TASKS),
    *(f"unlearn {bad} {TASK} --objective ga --out new" for bad in BAD_MODELS),
    *(f"unlearn --model model {TASK} --objective {shlex.quote(bad)} --out new" for bad in BAD_OBJECTIVES),
    *(f"{UNLEARN} {bad}" for bad in (*BAD_NUMBERS, *BAD_TEMPLATES)),
    *(f"unlearn --model model {TASK} --objective ga {bad}" for bad in BAD_OUTS),
    "unlearn --model model --task tofu:full --data data --objective ga --out new",  # nothing to forget
    "unlearn --model model --task tofu:forget10 --data data --objective idk --refusals empty --out new",
]
DEMO = ("demo --out table.parquet", "demo --out not_a_run", "demo --out not_a_run --force", "demo --out new --seed -1")


@pytest.mark.parametrize("line", [line for line in WRONG if line.split()[0] in VERBS])
def test_wrong_input_is_refused_and_nothing_is_written(call: Any, place: Path, line: str) -> None:
    before = contents(place)
    assert_refused(call(*shlex.split(line)))
    assert contents(place) == before


@pytest.mark.parametrize("line", DEMO)
def test_the_demo_refuses_its_folder_before_it_trains(
    call: Any, place: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearnkit.models import load

    def trained(*_: Any, **__: Any) -> None:
        pytest.fail("a model is made before the folder is looked at")

    monkeypatch.setattr(load, "new_model", trained)
    monkeypatch.setattr("unlearnkit.run.demo.mini_model", trained)
    before = contents(place)
    assert_refused(call(*line.split()))
    assert contents(place) == before


def test_of_several_processes_a_message_says_which_one_speaks(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert call("metrics", "forget_qualty").err.startswith("unlearnkit, process 1: ")


def test_the_message_names_what_was_given_and_what_is_near(call: Any) -> None:
    assert "'tofo'" in (err := call("tasks", "tofo").err) and "Did you mean 'tofu'" in err  # noqa: PT018
    assert "Did you mean 'forget_quality'" in call("metrics", "forget_qualty").err
    assert "tasks" in call("task").err


# ------------------------------------------------------------------------------------------------------------------ fuzzing

WORDS = st.one_of(
    st.sampled_from(
        ["", "-", "--", "-1", "0", "1e999", "nan", "tofu:forget10", "mini:forget10", "--data", "data", "bad_data", "--json",
         "table.parquet", "broken.parquet", "other.json", "list.json", "--reference", "--protocol", "tofu", "--out",
         "--model", "model", "--task", "--holdout", "tofu:0-9", "--refusals", "--objective", "ga", "--loss", "..", "/", "~"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)  # fmt: skip
# Verbs that only read: whatever they are given, they end at once.
READING = [name for name in ("tasks", "metrics", "objectives", "score", "pith verify") if name in VERBS]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(verb=st.sampled_from(READING), words=st.lists(WORDS, max_size=5))
def test_no_words_make_a_reading_verb_fall_over(call: Any, place: Path, verb: str, words: list[str]) -> None:
    before = contents(place)
    outcome = call(*verb.split(), *words)
    assert outcome.code in (0, 1, 2)
    if outcome.code == 2:
        assert_refused(outcome)
    assert contents(place) == before


def test_the_installed_command_answers_the_same_way(place: Path) -> None:
    """A real process: the exit code and the two streams as a shell sees them."""
    code = "from unlearnkit.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "tasks", "tofo"], capture_output=True, text=True, cwd=place)
    assert_refused(Outcome(done.returncode, done.stdout, done.stderr))
