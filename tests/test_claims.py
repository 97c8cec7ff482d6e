"""Claims: found by looking, asked from the command line, answered by a file, a page and an exit code."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from unlearnkit.claims import base
from unlearnkit.claims.base import Answer, Check, Claim, Grid, Picture, Request, claims
from unlearnkit.claims.reproduce import Options, reproduce
from unlearnkit.cli.main import run
from unlearnkit.errors import UserError
from unlearnkit.sweep import Cell


def answer(held: bool) -> Answer:
    return Answer(
        verdict="It is 4.2.",
        checks=[Check("the sky is blue", True, "0.9 > 0.5"), Check("grass is green", held, "0.8")],
        numbers={"green": 0.8},
        tables=[Grid("Colours", ["thing", "colour"], [["sky", "blue"]], "Seen by day.")],
        pictures=[Picture("sky.png", "The sky")],
        notes=["By night it is another matter."],
    )


def claim(name: str = "colours", held: bool = True, work: Callable[[Request], None] = lambda request: None) -> Claim:
    def do(request: Request) -> Answer:
        work(request)
        return answer(held)

    return Claim(name, "Colour, arXiv:0000.00000", "The sky is blue.", do, seeds=(1, 2), quick_seeds=(1,))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put claims in the place of the real ones."""

    def put(*found: Claim) -> None:
        monkeypatch.setattr(base, "claims", lambda: {one.name: one for one in found})

    return put


@pytest.mark.parametrize("found", claims().values(), ids=claims())
def test_every_claim_says_what_it_claims_and_where(found: Claim) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", found.name)
    assert "arXiv:" in found.paper
    assert found.sentence.endswith(".")
    assert found.quick_seeds
    assert len(found.quick_seeds) <= len(found.seeds)


def test_claim_json_has_the_promised_keys(tmp_path: Path) -> None:
    said = reproduce(claim(), tmp_path / "out", Options())
    kept = json.loads((tmp_path / "out" / "claim.json").read_text())
    assert kept == said
    assert (kept["claim"], kept["held"], kept["numbers"]) == ("colours", True, {"green": 0.8})
    assert kept["seeds"] == [1, 2]
    assert kept["machine"]["cores"] >= 1


def test_without_a_check_nothing_held() -> None:
    assert not Answer("", [], {}).held


@pytest.mark.parametrize(("held", "code", "word"), [(True, 0, "**Held.**"), (False, 1, "**Did not hold.**")])
def test_the_exit_code_and_the_page_say_whether_it_held(
    fake: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    held: bool,
    code: int,
    word: str,
) -> None:
    fake(claim(held=held))
    assert run(["reproduce", "colours", "--out", str(tmp_path / "out")]) == code
    page = (tmp_path / "out" / "page.md").read_text()
    parts = (word, "It is 4.2.", "| sky | blue |", "![The sky](sky.png)", "By night", "seeds: 1, 2", "cores")
    assert [part for part in parts if part not in page] == []
    assert "grass is green: 0.8" in capsys.readouterr().out


def test_a_page_names_neither_machine_nor_folder(fake: Callable[..., None], tmp_path: Path) -> None:
    fake(claim())
    assert run(["reproduce", "colours", "--out", str(tmp_path / "out")]) == 0
    for name in ("page.md", "claim.json"):
        text = (tmp_path / "out" / name).read_text()
        assert str(tmp_path) not in text
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
        assert str(Path.home()) + "/" not in text


def test_a_finished_claim_is_read_and_another_one_refused(tmp_path: Path) -> None:
    runs: list[Request] = []
    one = claim(work=runs.append)
    first = reproduce(one, tmp_path, Options(quick=True))
    assert reproduce(one, tmp_path, Options(quick=True, workers=3)) == first
    assert len(runs) == 1
    with pytest.raises(UserError, match="holds another run"):
        reproduce(one, tmp_path, Options(quick=True, seeds=(7,)))
    reproduce(one, tmp_path, Options(quick=True, seeds=(7,), force=True))
    assert [request.seeds for request in runs] == [(1,), (7,)]


def on_data(runs: list[Request]) -> Claim:
    found = claim("on-data", work=runs.append)
    return replace(
        found,
        takes_data=True,
        data_seeds=(7,),
        inputs=lambda data, models: {} if data is None else {"rows": data.name, "weights": str(models and models.name)},
    )


@pytest.mark.parametrize(
    ("options", "seeds", "shown"),
    [
        (Options(), (1, 2), "on-data --out DIR"),
        (Options(data=Path("/my/rows")), (7,), "on-data --data DATA --out DIR"),
        (
            Options(data=Path("/my/rows"), models=Path("/my/models")),
            (7,),
            "on-data --data DATA --models MODELS --out DIR",
        ),
        (Options(quick=True, data=Path("/my/rows")), (1,), "on-data --quick --data DATA --out DIR"),
        (Options(seeds=(3,), data=Path("/my/rows")), (3,), "on-data --seeds 3 --data DATA --out DIR"),
    ],
)
def test_data_and_models_are_handed_on_and_said_as_digests(
    tmp_path: Path, options: Options, seeds: tuple[int, ...], shown: str
) -> None:
    runs: list[Request] = []
    said = reproduce(on_data(runs), tmp_path, options)
    assert [(one.seeds, one.data, one.models) for one in runs] == [(seeds, options.data, options.models)]
    page = (tmp_path / "page.md").read_text()
    assert f"unlearnkit reproduce {shown}\n" in page
    assert "/my" not in page + json.dumps(said)
    assert said["inputs"] == json.loads((tmp_path / "spec.json").read_text())["data"]
    assert ("- digests of what was given: rows rows" in page) is (options.data is not None)


def test_of_all_claims_only_those_that_take_data_get_it(fake: Callable[..., None], tmp_path: Path) -> None:
    runs: list[Request] = []
    fake(claim("first", work=runs.append), on_data(runs))
    arguments = ["--data", str(tmp_path), "--models", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run(["reproduce", "all", *arguments]) == 0
    assert [(one.data, one.models) for one in runs] == [(None, None), (tmp_path, tmp_path)]


def test_an_interrupted_claim_takes_up_its_finished_cells(tmp_path: Path) -> None:
    cells, results = [Cell("a", "unlearnkit.canonical:sha256_of", {"a": 1})], []

    def stop(request: Request) -> None:
        request.sweep(cells)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(claim(work=stop), tmp_path, Options())
    (kept,) = (tmp_path / "cells").glob("*.json")
    written = kept.stat().st_mtime_ns
    said = reproduce(claim(work=lambda request: results.extend(request.sweep(cells))), tmp_path, Options())
    assert len(results) == 1
    assert said["resumed"]
    assert kept.stat().st_mtime_ns == written
    assert "an earlier start" in (tmp_path / "page.md").read_text()


def test_failed_cells_are_named_and_count_as_not_held(
    fake: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Cell("seed 1", "unlearnkit.canonical:short_number", {})
    fake(claim("broken", work=lambda request: request.sweep([bad]) and None), claim("colours"))
    assert run(["reproduce", "all", "--quick", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "broken: 1 of 1 cells failed" in said.err
    assert "seed 1: TypeError" in said.err
    assert "broken: not held" in said.out
    assert "colours: held" in said.out


def test_all_holds_only_if_every_claim_does(fake: Callable[..., None], tmp_path: Path) -> None:
    fake(claim("one"), claim("two"))
    assert run(["reproduce", "all", "--quick", "--out", str(tmp_path / "good")]) == 0
    assert {path.name for path in (tmp_path / "good").iterdir()} == {"one", "two"}
    fake(claim("one"), claim("two", held=False))
    assert run(["reproduce", "all", "--quick", "--out", str(tmp_path / "bad")]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["npo-syntetic", "--out", "out"], "unknown claim 'npo-syntetic'. Did you mean 'npo-synthetic'?"),
        (["npo-synthetic"], "give --out DIR, or --list"),
        ([], "give a CLAIM"),
        (["npo-synthetic", "--out", "out", "--seeds", "1,x"], "--seeds 1,x: give numbers"),
        (["npo-synthetic", "--out", "out", "--seeds", "1,1"], "a seed stands twice"),
        (["npo-synthetic", "--out", "out", "--data", "."], "makes its own data; leave --data out"),
        (["npo-synthetic", "--out", "out", "--data", ".", "--models", "."], "leave --data and --models out"),
        (["npo-synthetic", "--out", "out", "--models", "m"], "--models m: these models belong to data; give --data"),
        (["tofu-baselines", "--out", "out", "--models", "m"], "--models m: these models belong to data; give --data"),
        (["all", "--out", "out", "--models", "m"], "--models m: these models belong to data; give --data"),
        (["npo-synthetic", "--out", "out", "--workers", "0"], "--workers"),
        (["npo-synthetic", "--out", "a-file"], "is a file; give a folder"),
        (["all", "--out", "a-file"], "is a file; give a folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-file").touch()
    assert run(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_the_list_names_every_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(claims())
