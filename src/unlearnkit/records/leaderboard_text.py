"""A leaderboard as Markdown, HTML or CSV. Every text in it comes from strangers, and is escaped for where it goes."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator, Sequence

from unlearnkit.errors import unknown
from unlearnkit.records.checks import printable
from unlearnkit.records.leaderboard import Board, Entry, Row

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .7rem; border-bottom: 1px solid #8886; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
code { overflow-wrap: anywhere; }
section { margin-top: 1.5rem; }
"""


def render(board: Board, form: str) -> str:
    """The board as "md", "html" (one page, no scripts, nothing loaded) or "csv" (full precision)."""
    check_form(form)
    return _FORMS[form](board)


def check_form(form: str) -> None:
    """Refuse an unknown format, before the work is done."""
    if form not in _FORMS:
        raise unknown("format", form, _FORMS)


def _titles(board: Board) -> list[str]:
    return [
        "Method",
        "Model",
        "Protocol",
        "Runs",
        "Seeds",
        f"{board.metric} best",
        "95 % interval",
        f"{board.metric} median",
        f"{board.also} at best",
        f"{board.also} median",
        "Replicated by",
        "Best record",
    ]


def _markdown(board: Board) -> str:
    lines = [f"### {_md(board.task)}: methods by {_md(board.metric)}", ""]
    lines += ["| " + " | ".join(_md(title) for title in _titles(board)) + " |", "|" + " --- |" * len(_titles(board))]
    for row in board.rows:
        cells = [
            _md(row.method),
            _md(row.model),
            _md(row.protocol),
            *_numbers(board, row),
            _md(_who(row)),
            _md_link(row.best),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"From the ledger state `{board.state_sha256}`."]) + "\n"


def _html(board: Board) -> str:
    e = html.escape
    head = "".join(f'<th scope="col">{e(title)}</th>' for title in _titles(board))
    body = "".join(_html_row(board, row) for row in board.rows)
    records = "".join(_html_record(entry) for row in board.rows for entry in row.entries)
    title = f"{e(board.task)}: methods by {e(board.metric)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><main><h1>{title}</h1>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'
        f"<p>From the ledger state <code>{e(board.state_sha256)}</code>.</p>\n<h2>Records</h2>\n{records}"
        "</main></body></html>\n"
    )


def _html_row(board: Board, row: Row) -> str:
    e = html.escape
    texts = "".join(f"<td>{e(printable(text))}</td>" for text in (row.method, row.model, row.protocol))
    numbers = "".join(f'<td class="n">{e(text)}</td>' for text in _numbers(board, row))
    link = "" if row.best is None else f'<a href="#{e(_anchor(row.best))}">{e(row.best.number)}</a>'
    return f"<tr>{texts}{numbers}<td>{e(printable(_who(row)))}</td><td>{link}</td></tr>\n"


def _html_record(entry: Entry) -> str:
    e = html.escape
    seed = "" if entry.seed is None else f", seed {entry.seed}"
    where = (
        "" if entry.location is None else f'<p><a href="{e(entry.location)}" rel="nofollow noopener">the run</a></p>'
    )
    contested = f"<p>Contested by {e(printable(', '.join(entry.contested_by)))}</p>" if entry.contested_by else ""
    return (
        f'<section id="{e(_anchor(entry))}"><h3>{e(entry.number)}</h3>'
        f"<p>{e(printable(entry.method))} on {e(printable(entry.model))}{seed}; announced {e(entry.created_at)} by "
        f"{e(printable(entry.signer))}</p><p>SHA-256 <code>{e(entry.sha256)}</code></p>{where}{contested}</section>\n"
    )


def _csv(board: Board) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow([*map(_cell, _titles(board)), "best_sha256", "location"])
    for row in board.rows:
        best = row.best
        texts = [_cell(row.method), _cell(row.model), _cell(row.protocol), len(row.entries), _cell(_seeds(row))]
        interval = "" if best is None else _interval(best, board.metric, repr)
        values = [row.best_value(board.metric), row.median, row.best_value(board.also), row.also_median]
        numbers = ["" if value is None else repr(value) for value in values]
        texts += [numbers[0], _cell(interval), *numbers[1:], _cell(_who(row))]
        table.writerow(
            [*texts, *(("", "", "") if best is None else (best.number, best.sha256, _cell(best.location or "")))]
        )
    return out.getvalue()


def _numbers(board: Board, row: Row) -> list[str]:
    best = row.best
    return [
        str(len(row.entries)),
        _seeds(row),
        _short(row.best_value(board.metric)),
        "" if best is None else _interval(best, board.metric, _short),
        _short(row.median),
        _short(row.best_value(board.also)),
        _short(row.also_median),
    ]


def _seeds(row: Row) -> str:
    return ", ".join(map(str, row.seeds))


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(entry: Entry, metric: str, show: Callable[[float], str]) -> str:
    bounds: Sequence[float] | None = entry.scores.get(metric, {}).get("interval")
    return "" if bounds is None else " to ".join(show(bound) for bound in bounds)


def _who(row: Row) -> str:
    names = sorted({name for found in row.replicated.values() for name in found})
    return "" if not names else f"{len(row.replicated)} of {len(row.entries)} records: {', '.join(names)}"


def _anchor(entry: Entry) -> str:
    return f"r{entry.sha256}"


def _cell(text: str) -> str:
    """Text that a spreadsheet will show and not run: a formula begins with one of = + - @, also after white space."""
    plain = printable(text)
    return "'" + plain if re.match(r"\s*[=+\-@|%＝＋－＠]", plain) else plain


def _md(text: str) -> str:
    """Text in a cell of a Markdown table: whatever Markdown or HTML reads as a mark stands for itself."""
    return "".join(_md_letters(printable(text)))


def _md_letters(text: str) -> Iterator[str]:
    for letter in text:
        if letter in "<>&|\"'":
            yield f"&#{ord(letter)};"
        elif letter in "\\`*_{}[]()#+!~":
            yield "\\" + letter
        else:
            yield letter


def _md_link(entry: Entry | None) -> str:
    if entry is None:
        return ""
    place = (
        None if entry.location is None else re.sub(r"[()|*_]", lambda mark: f"%{ord(mark.group()):02X}", entry.location)
    )
    return f"[{entry.number}](<{place}>)" if place else f"`{entry.number}`"


_FORMS: dict[str, Callable[[Board], str]] = {"md": _markdown, "html": _html, "csv": _csv}
