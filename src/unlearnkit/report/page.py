"""The report: one HTML file that needs nothing else, neither network nor server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from unlearnkit import __version__
from unlearnkit.canonical import sha256_of
from unlearnkit.files import write_whole
from unlearnkit.records.numbering import without_number
from unlearnkit.records.papers import bibtex_of
from unlearnkit.report.answers import leaking, rows_of
from unlearnkit.report.charts import distributions, losses, tradeoff
from unlearnkit.report.gather import Run, Story, read_story
from unlearnkit.report.palette import PRINT
from unlearnkit.report.scores_table import grid
from unlearnkit.report.words import CAVEAT, asked, told
from unlearnkit.table import Table


def write_report(
    places: Sequence[str | Path], out: str | Path, target: Table | None = None, retain: Table | None = None
) -> Path:
    """Write the report of one run, or of several beside each other, as the file `out`.

    places          folders of runs; a demo's folder stands for its runs
    target, retain  tables of the model before unlearning and of the retain model, where the runs have none
    """
    out = Path(out)
    write_whole(out, [render(read_story(places, target, retain)).encode("utf-8")])
    return out


def render(story: Story) -> str:
    """The page. Whatever came out of a model or a record is escaped, in HTML and in the JSON of the rows."""
    rows = rows_of(story)
    charts = [chart for chart in (tradeoff(story), distributions(story)) if chart is not None]
    return (
        _environment()
        .get_template("page.html")
        .render(
            story=story,
            several=len(story.runs) > 1,
            asked=asked(story),
            told=[told(story, run) for run in story.runs],
            caveat=CAVEAT,
            charts={chart.title: chart for chart in charts},
            losses=losses(story),
            grid=grid(story),
            rows=json_in_html(rows),
            leaking=leaking(rows),
            colours=len(PRINT.series),
            records=[_record(run) for run in story.runs],
            style=Markup(_asset("page.css")),  # noqa: S704 - ours
            script=Markup(_asset("page.js")),  # noqa: S704 - ours
            version=__version__,
        )
    )


def json_in_html(value: Any) -> Markup:
    r"""JSON that may stand in a script element, as nothing in it can end that element or begin another.

    >>> print(json_in_html({"a": "</script>"}))
    {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text.encode("utf-8", "replace").decode())  # noqa: S704 - all that HTML reads is escaped


def _record(run: Run) -> dict[str, Any]:
    """What the page says of one run's record."""
    record = run.record
    facts = {
        **{name.replace("_", " "): value for name, value in record["provenance"].items() if name != "packages"},
        **{f"package {name}": version for name, version in _object(record["provenance"].get("packages")).items()},
        **{f"input rows: {name}": digest for name, digest in record["inputs"]["rows"].items()},
        "input: weights": record["inputs"]["base_model"],
        "input: template": record["inputs"]["template"],
        **{f"input table: {role}": digest for role, digest in record["inputs"]["tables"].items()},
        "output: weights": record["outputs"]["weights"],
        "output: table": record["outputs"]["table"],
        **{name.replace("_", " "): value for name, value in record["cost"].items()},
        "made at": record["metadata"]["submitted_at"],
    }
    return {
        "run": run,
        "number": record.get("number", "none"),
        "sha256": sha256_of(without_number(record)),
        "settings": _object(record["spec"].get("settings")),
        "facts": {name: "unknown" if value is None else value for name, value in facts.items()},
        "checks": run.checks(),
        "bibtex": bibtex_of({"number": "none", **record}),
    }


def _object(value: Any) -> dict[str, Any]:
    """A part of a record that its schema leaves open, where it is what it should be."""
    return value if isinstance(value, dict) else {}


def _environment() -> Environment:
    from jinja2 import PackageLoader

    return Environment(
        loader=PackageLoader("unlearnkit.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (resources.files("unlearnkit.report") / "assets" / name).read_text(encoding="utf-8")
