"""The report: one file, made from records and tables only, that shows whatever models said and lets none of it act."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from unlearnkit.cli.main import run as cli
from unlearnkit.errors import UserError
from unlearnkit.records.folder import keep_compared
from unlearnkit.records.papers import papers_of
from unlearnkit.records.provenance import gather
from unlearnkit.records.record import TABLE_NAME, Cost, Inputs, Outputs, Run, build_record, write_record
from unlearnkit.report.answers import leaking, rows_of
from unlearnkit.report.charts import distributions, losses, tradeoff
from unlearnkit.report.gather import read_story
from unlearnkit.report.leaks import leaked_words
from unlearnkit.report.page import json_in_html, write_report
from unlearnkit.report.palette import VARIABLES
from unlearnkit.report.tradeoff import draw_tradeoff
from unlearnkit.score import score_table
from unlearnkit.table import Table

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>{{7*7}}${7*7}\u2028$\\frac$"
SETS = ("forget", "retain", "real_authors", "world_facts")


def table_of(known: dict[str, float], said: Callable[[str, int], str], model: str) -> Table:
    """Twelve rows a set; `known` is how likely the gold answers of each set are, `said` what the model answers."""
    rows: list[dict[str, Any]] = []
    for split in SETS:
        for index in range(12):
            gold = f"In Kuwait{index}, by Basil."
            for kind in ("answer", "paraphrase", *(f"perturbed_{i}" for i in range(5))):
                loss = 0.1 + 2 * (1 - known[split]) + 0.01 * index
                loss += 0.0 if kind == "answer" else 0.4 if kind == "paraphrase" else 1.5 * known[split] + 0.03 * index
                text = gold if kind == "answer" else f"{kind} {index}"
                row = {
                    "split": split,
                    "index": index,
                    "kind": kind,
                    "question": f"Where was {index} born?",
                    "text": text,
                }
                words = {"tokens": [1, 2], "logp": [-loss, -loss], "greedy": [loss < 0.5, True], "ends": True}
                answer = said(split, index) if kind == "answer" else None
                rows.append({**row, **words, "length": 2, "loss": loss, "generation": answer, "prompt_length": 3})
    return Table.from_rows(rows, {"task": "tofu:forget10", "model": model, "template": "t", "source": "measured"})


def gold(split: str, index: int) -> str:
    return f"In Kuwait{index}, by Basil."


def ignorant(split: str, index: int) -> str:
    return "In Lima, by Ann." if split == "forget" else gold(split, index)


def hostile(split: str, index: int) -> str:
    return f"{HOSTILE} Kuwait{index}" if split == "forget" and index < 3 else ignorant(split, index)


KNOWS = dict.fromkeys(SETS, 1.0)
BEFORE = table_of(KNOWS, gold, "1" * 64)
RETAIN = table_of({**KNOWS, "forget": 0.1}, ignorant, "2" * 64)


def write_run(folder: Path, method: str, left: float, said: Callable[[str, int], str], **changed: Any) -> Path:
    """The folder of an unlearning run as `unlearn` leaves it, without a model."""
    folder.mkdir(parents=True)
    table = table_of({**KNOWS, "forget": left, "retain": 0.8}, said, "3" * 64)
    table.save(folder / TABLE_NAME)
    tables = {"reference": RETAIN, "target": BEFORE}
    keep_compared(folder, tables)
    scored = score_table(table, RETAIN, target=BEFORE).to_json()
    middle = {"forget_quality": 1e-4, "model_utility": 0.4}
    last = {name: scored["scores"][name]["value"] for name in middle}
    start = {"epoch": 0, "forget_quality": 1e-5, "model_utility": 0.5}
    (folder / "trajectory.json").write_text(json.dumps([start, {"epoch": 1, **middle}, {"epoch": 2, **last}]))
    parts: dict[str, Any] = {
        "spec": {"task": "tofu:forget10", "settings": {"objective": method, "lr": 1e-5}},
        "run": Run("tofu:forget10", method, 0, "unlearnkit", "mini:target"),
        "provenance": gather("cpu", "float32", "single process"),
        "inputs": Inputs(
            {"forget": "a" * 64}, "b" * 64, "c" * 64, {role: one.digest() for role, one in tables.items()}
        ),
        "outputs": Outputs("d" * 64, table.digest()),
        "scores": scored["scores"],
        "verdict": scored["verdict"],
        "losses": {"total": [3.0, float("inf"), None], "npo": [2.0, 1.5, 1.0], "rt": [1.0, 0.9, 0.8]},
        "steps": [1, 2, 3],
        "cost": Cost(wall_seconds=3.25),
        "papers": papers_of("tofu:forget10", ["arXiv:2404.05868"]),
    }
    write_record(folder, build_record(**{**parts, **changed}))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs: one that forgot, and one whose answers are an attack on whoever looks at them."""
    place = tmp_path_factory.mktemp("runs")
    good = write_run(place / "npo-rt", "npo(beta=0.1) + rt", 0.1, ignorant)
    bad = write_run(
        place / "hostile",
        f"ga {HOSTILE}",
        0.6,
        hostile,
        run=Run("tofu:forget10", f"ga {HOSTILE}", 0, "unlearnkit", f"model {HOSTILE}"),
    )
    return [good, bad]


@pytest.fixture(scope="module")
def pages(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    return {
        "one": write_report(runs[:1], place / "one.html"),
        "two": write_report(runs, place / "two.html"),
    }


class Elements(HTMLParser):
    """The elements of a page, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)


@pytest.mark.parametrize("name", ["one", "two"])
def test_nothing_is_fetched_and_nothing_hostile_becomes_an_element(pages: dict[str, Path], name: str) -> None:
    page = Elements(pages[name].read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert "iframe" not in tags
    for tag, attributes in page.found:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "href", "action", "xlink:href"):
                assert value is not None
                assert value.startswith(("#", "data:,")), (tag, value)
    assert "@import" not in pages[name].read_text()
    assert not re.search(r"url\((?!#)", pages[name].read_text())


def test_the_rows_come_back_as_they_were(pages: dict[str, Path]) -> None:
    page = Elements(pages["two"].read_text(encoding="utf-8"))
    data = json.loads(page.scripts[0])
    assert len(data["rows"]) == 48
    first = data["rows"][0]
    assert first["g"] == "In Kuwait0, by Basil."
    assert first["r"][1]["a"] == [f"{HOSTILE} ", "Kuwait0", ""]
    assert first["b"]["a"] == ["In ", "Kuwait0", ", by ", "Basil", "."]
    assert first["n"]["a"] == ["In Lima, by Ann."]
    assert first["b"]["p"] == 0.9048


def test_the_first_screen_says_what_was_asked_and_what_came_of_it(pages: dict[str, Path]) -> None:
    text = re.sub(r"<[^>]+>", " ", pages["one"].read_text(encoding="utf-8").partition("<main>")[2])
    assert "by npo(beta=0.1) + rt" in re.sub(r"\s+", " ", text)
    head = pages["one"].read_text(encoding="utf-8")
    assert "was to forget 12 questions and answers" in head
    assert "<title>Forgetting tofu:forget10: " in head
    assert "0 of 12 answers still hold a telling word" in head
    assert "Probability of the forgotten answers: 0." in head


def test_numbers_of_the_record_stand_on_the_page(pages: dict[str, Path], runs: list[Path]) -> None:
    from unlearnkit.records.record import read_record

    text = pages["two"].read_text(encoding="utf-8")
    for run in runs:
        assert str(read_record(run)["number"]) in text
    assert text.count("is right") == 6


def test_a_damaged_record_is_shown_as_such(runs: list[Path], tmp_path: Path) -> None:
    from unlearnkit.records.record import read_record

    place = Path(shutil.copytree(runs[0], tmp_path / "run"))
    record = read_record(place)
    record["scores"]["forget_quality"]["value"] = 0.99
    write_record(place, record)
    RETAIN.save(place / TABLE_NAME)
    text = write_report([place], tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="check-failed"') == 2
    assert "its content gives" in text


def test_words_leak_where_ignorance_would_not_say_them() -> None:
    def leaked(said: str, truth: str, question: str = "", unseen: str | None = None) -> list[str]:
        return leaked_words(said, truth, question, unseen)[1::2]

    assert leaked("born in 1956", "It was 1956.") == ["1956"]
    assert leaked("in the city of Lima", "He is in the city of Lima", unseen="the city") == ["Lima"]
    assert leaked("Basil wrote it", "Basil wrote it", question="What did BASIL write?") == ["wrote"]
    assert leaked("a b c", "a b c") == []
    assert leaked("", "Lima") == []
    assert "".join(leaked_words("Lima, Lima!", "Lima", "")) == "Lima, Lima!"


def test_what_still_leaks_is_counted(runs: list[Path]) -> None:
    assert leaking(rows_of(read_story(runs))) == [(0, 12), (3, 12)]


def test_the_curve_of_forget_quality_is_drawn_with_its_distance(runs: list[Path]) -> None:
    chart = distributions(read_story(runs))
    assert chart is not None
    assert [row[0] for row in chart.rows][:3] == ["before", "retain model", "npo(beta=0.1) + rt"]
    assert chart.rows[1][-1] == "0.000"
    assert float(chart.rows[0][-1]) == 1.0
    assert all(colour not in chart.pictures[0].svg for colour in VARIABLES)


def test_every_epoch_is_a_point_that_says_what_it_is(runs: list[Path]) -> None:
    chart = tradeoff(read_story(runs))
    assert chart is not None
    for drawn in chart.pictures:
        found = Elements(drawn.svg).found
        labels = [str(one["aria-label"]) for _, one in found if "point" in (one.get("class") or "").split()]
        assert len(labels) == 6
        assert any(label.startswith("npo(beta=0.1) + rt, epoch 1: forget quality 1.0e-04") for label in labels)
        assert any(label.startswith("retain model: forget quality 1.000") for label in labels)


@pytest.mark.parametrize("utilities", [[], [None], [0.0], [0.5, 0.49]])
def test_a_picture_of_few_points_or_none_is_drawn_too(utilities: list[float | None], tmp_path: Path) -> None:
    entries = [
        {"objective": "ga", "epoch": epoch, "forget_quality": 0.0, "model_utility": value}
        for epoch, value in enumerate(utilities)
    ]
    draw_tradeoff(entries, tmp_path / "picture.png", "few")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_loss_that_is_no_number_leaves_a_gap(runs: list[Path]) -> None:
    assert [chart.title for chart in losses(read_story(runs))] == ["npo", "rt", "total"]


def test_ids_are_there_once(pages: dict[str, Path]) -> None:
    for page in pages.values():
        ids = [attributes["id"] for _, attributes in Elements(page.read_text()).found if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_json_stays_inside_its_element() -> None:
    value = {"a": HOSTILE, "b": "<!--", "c": "\ud800"}
    text = str(json_in_html(value))
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text)["a"] == HOSTILE


def test_other_tables_can_be_given(runs: list[Path], tmp_path: Path) -> None:
    place = Path(shutil.copytree(runs[0], tmp_path / "run"))
    shutil.rmtree(place / "compared")
    (place / "trajectory.json").unlink()
    assert read_story([place]).before is None
    assert read_story([place]).retain is None
    given = read_story([place], BEFORE, RETAIN)
    assert given.runs[0].filled
    assert given.runs[0].scores["forget_quality"]["value"] == read_story(runs).runs[0].scores["forget_quality"]["value"]
    assert "were made for it" in write_report([place], tmp_path / "page.html", BEFORE, RETAIN).read_text()


def test_a_run_that_was_compared_with_nothing_is_reported_all_the_same(tmp_path: Path) -> None:
    scored = score_table(BEFORE).to_json()
    place = write_run(tmp_path / "run", "ga", 1.0, gold, scores=scored["scores"], verdict=scored["verdict"])
    shutil.rmtree(place / "compared")
    (place / "trajectory.json").unlink()
    text = write_report([place], tmp_path / "page.html").read_text()
    assert "There is no trade-off picture" in text
    assert "no retain model to compare with" in text
    assert "No retain model was given." in text


def test_runs_that_can_not_be_shown_together_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "other", "ga", 0.5, ignorant, run=Run("tofu:forget05", "ga", 0, "unlearnkit", "mini:target")
    )
    with pytest.raises(UserError, match="these are of tofu:forget10, tofu:forget05"):
        read_story([runs[0], other])
    elsewhere = write_run(
        tmp_path / "elsewhere", "ga", 0.5, ignorant, inputs=Inputs({}, None, None, {"reference": "e" * 64})
    )
    with pytest.raises(UserError, match="different retain models"):
        read_story([runs[0], elsewhere])
    assert len(read_story([runs[0], elsewhere], BEFORE, RETAIN).runs) == 2
    twice = read_story([runs[0], shutil.copytree(runs[0], tmp_path / "again")])
    assert [run.name for run in twice.runs] == ["npo(beta=0.1) + rt (npo-rt)", "npo(beta=0.1) + rt (again)"]


def test_the_command_line_writes_the_page(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["report", *map(str, runs), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size > 20_000
    assert cli(["report", str(tmp_path), "--out", str(tmp_path / "no.html")]) == 2
    assert cli(["report", str(runs[0] / "record.json"), "--out", str(tmp_path / "no.html")]) == 2
    assert cli(["report", str(runs[0]), "--out", str(tmp_path)]) == 2
    assert not (tmp_path / "no.html").exists()
    assert "Traceback" not in capsys.readouterr().err


# -- in a browser ----------------------------------------------------------------------------------------------------

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


def look(browser: Any, page: Path, dark: bool = False, width: int = 1280) -> Any:
    """Load a page; what it asked of the network and said on the console before is forgotten."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    return browser


def shown(browser: Any) -> list[str]:
    return [row.text for row in browser.find_elements("css selector", "#body tr")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "two"])
def test_it_loads_without_network_and_without_complaint(browser: Any, pages: dict[str, Path], name: str) -> None:
    look(browser, pages[name])
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert pages[name].as_uri() in asked
    assert all(url.startswith(("file:", "data:")) for url in asked), asked
    assert browser.execute_script("return window.hacked") is None


@pytest.mark.slow
def test_what_a_model_says_is_only_ever_text(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.support.ui import Select

    look(browser, pages["two"])
    Select(browser.find_element("id", "run")).select_by_index(1)
    cells = browser.find_elements("css selector", '#body td[data-title="After"]')
    assert cells[0].get_attribute("textContent") == f"{HOSTILE} Kuwait0"
    assert browser.find_elements("css selector", "#body img, #body script") == []
    assert [mark.text for mark in cells[0].find_elements("tag name", "mark")] == ["Kuwait0"]
    assert browser.execute_script("return window.hacked") is None
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_rows_are_searched_chosen_and_sorted(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    look(browser, pages["two"])
    assert len(shown(browser)) == 12
    search = browser.find_element("id", "search")
    search.send_keys("WHERE WAS 7")
    assert len(shown(browser)) == 1
    assert browser.find_element("id", "count").text == "1 of 1 rows shown"
    search.send_keys(" no such thing")
    assert shown(browser) == []
    assert browser.find_element("id", "count").text == "No row matches."
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.DELETE)
    Select(browser.find_element("id", "set")).select_by_visible_text("all")
    assert len(shown(browser)) == 25
    browser.find_element("id", "more").send_keys(Keys.ENTER)
    assert len(shown(browser)) == 48
    assert not browser.find_element("id", "more").is_displayed()
    Select(browser.find_element("id", "set")).select_by_visible_text("forget set")
    Select(browser.find_element("id", "order")).select_by_visible_text("most left first")
    assert [shown(browser)[end].splitlines()[0][:12].strip(" b") for end in (0, -1)] == ["Where was 0", "Where was 11"]
    button = browser.find_element("css selector", '[data-order="forgotten"]')
    button.click()
    forgotten = [browser.execute_script("return arguments[0].closest('th').ariaSort", button), shown(browser)[0]]
    assert forgotten[0] == "ascending"
    button.click()
    assert browser.execute_script("return arguments[0].closest('th').ariaSort", button) == "descending"
    Select(browser.find_element("id", "run")).select_by_index(1)
    browser.find_element("css selector", '[data-order="leaked"]').click()
    leaked = [
        len(row.find_elements("css selector", 'td[data-title="After"] mark'))
        for row in browser.find_elements("css selector", "#body tr")
    ]
    assert leaked == sorted(leaked, reverse=True)
    assert leaked[:4] == [1, 1, 1, 0]


@pytest.mark.slow
def test_pictures_answer_to_pointer_and_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    look(browser, pages["two"])
    told = browser.find_element("css selector", ".readout")

    def said() -> str:
        return str(told.get_attribute("textContent"))

    points = browser.find_elements("css selector", ".wide-only .point")
    ActionChains(browser).move_to_element(points[1]).perform()
    assert said() == points[1].get_attribute("aria-label")
    assert [point.get_attribute("tabindex") for point in points].count("0") == 1
    browser.execute_script("arguments[0].focus()", points[0])
    for key, place in (
        (Keys.ARROW_RIGHT, 1),
        (Keys.ARROW_RIGHT, 2),
        (Keys.ARROW_LEFT, 1),
        (Keys.END, -1),
        (Keys.HOME, 0),
    ):
        browser.switch_to.active_element.send_keys(key)
        assert said() == points[place].get_attribute("aria-label")
    switch = browser.find_element("css selector", '.switch[data-series="0"]')
    lines = browser.find_elements("css selector", ".chart .series-0")
    assert any(line.is_displayed() for line in lines)
    switch.send_keys(Keys.SPACE)
    assert switch.get_attribute("aria-pressed") == "false"
    assert not any(line.is_displayed() for line in lines)
    assert any(line.is_displayed() for line in browser.find_elements("css selector", ".chart .series-1"))
    switch.click()
    assert any(line.is_displayed() for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_page_fits_its_window(browser: Any, pages: dict[str, Path], width: int) -> None:
    look(browser, pages["two"], width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    narrow = browser.find_element("css selector", ".tradeoff .narrow-only").is_displayed()
    assert narrow == (width < 600)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, which looks for faults of accessibility."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm to get axe-core")
    place = tmp_path_factory.mktemp("axe")
    got = subprocess.run(
        [npm, "pack", "--silent", "axe-core@4"], cwd=place, capture_output=True, text=True, timeout=120
    )
    if got.returncode:
        pytest.skip("axe-core can not be had from npm here")
    with tarfile.open(next(place.glob("axe-core-*.tgz"))) as archive:
        held = archive.extractfile("package/axe.min.js")
        assert held is not None
        return held.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 390), (True, 390)])
@pytest.mark.parametrize("name", ["one", "two"])
def test_no_serious_fault_of_accessibility(
    browser: Any, axe: str, pages: dict[str, Path], name: str, dark: bool, width: int
) -> None:
    look(browser, pages[name], dark, width)
    for closed in browser.find_elements("css selector", "details"):
        browser.execute_script("arguments[0].open = true", closed)
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0])")
    serious = [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found["passes"]) > 15
