"""`unlearnkit ledger`: add events, merge ledgers, verify them, and rank what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from unlearnkit.records.ledger import Summary

Ledgers = Annotated[list[Path], typer.Argument(help="Ledger files.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the verb `ledger` to the command line."""
    ledger = typer.Typer(no_args_is_help=True, help="Ledgers of signed events about runs: add, merge, verify, rank.")
    app.add_typer(ledger, name="ledger")
    ledger.command("add")(_add)
    ledger.command("merge")(_merge)
    ledger.command("verify")(_verify)
    ledger.command("table")(_table)


def _add(
    ledger: Annotated[Path, typer.Argument(help="The ledger; made where it is not there yet.")],
    record: Annotated[
        Path | None,
        typer.Argument(
            help="A run's record.json or folder: the run to announce, or the one that replicates or replaces."
        ),
    ] = None,
    key: Annotated[Path, typer.Option(help="The private key to sign with (unlearnkit keys new).")] = ...,  # type: ignore[assignment]
    signer: Annotated[str, typer.Option(help="The name to sign under.")] = "anonymous",
    kind: Annotated[
        str, typer.Option(help="record_created, replication, correction or attestation.")
    ] = "record_created",
    of: Annotated[
        str | None, typer.Option(help="The record that the event is about: its number or sha256:HASH.")
    ] = None,
    way: Annotated[str, typer.Option(help="How it was replicated: re-measured or re-run.")] = "re-run",
    agrees: Annotated[bool | None, typer.Option(help="Do you find the replication to agree?")] = None,
    text: Annotated[str | None, typer.Option(help="The reason of a correction, or what is attested.")] = None,
    location: Annotated[str | None, typer.Option(help="Where the run can be found: an http(s) address.")] = None,
) -> None:
    """Sign an event and append it to a ledger."""
    from unlearnkit.records.compose import compose
    from unlearnkit.records.keys import read_private_key
    from unlearnkit.records.ledger import add_event
    from unlearnkit.records.record import read_record

    content = None if record is None else read_record(record)
    payload_parts = {"way": way, "agrees": agrees, "text": text, "location": location}
    event = compose(kind, read_private_key(key), signer, content, of, ledger, payload_parts)
    add_event(ledger, event)
    print(f"{event['kind']}  {event['event_id']}  of {event['target']}  -> {ledger}")


def _merge(
    ledgers: Ledgers,
    out: Annotated[
        Path | None, typer.Option(help="The merged ledger; its state goes beside it, as OUT.state.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge ledgers: the same state whatever their order, grouping or repetition."""
    from unlearnkit.records.ledger import merge

    state = None if out is None else out.with_name(out.name + ".state.json")
    summary = merge(ledgers, out, state)
    print(_json(summary) if as_json else _text(summary))


def _verify(ledgers: Ledgers, as_json: AsJson = False) -> None:
    """Check every event of ledgers; exit code 1 where one is invalid, or a signer contradicts themselves."""
    from unlearnkit.records.checks import printable
    from unlearnkit.records.event_rules import REASONS
    from unlearnkit.records.ledger import merge

    def notice(path: Path, line: int, reason: str) -> None:
        typer.echo(f"{printable(str(path))}:{line}: {REASONS[reason]}", err=True)

    summary = merge(ledgers, notice=notice)
    print(_json(summary) if as_json else _text(summary))
    if summary.invalid_count or summary.equivocation_count:
        raise typer.Exit(1)


def _table(
    ledgers: Ledgers,
    task: Annotated[str, typer.Option(help="Such as tofu:forget10.")],
    form: Annotated[str, typer.Option("--format", help="md, html or csv.")] = "md",
    metric: Annotated[str, typer.Option(help="The score to rank by.")] = "forget_quality",
    also: Annotated[str, typer.Option(help="The score to show beside it.")] = "model_utility",
    out: Annotated[Path | None, typer.Option(help="The file to write; standard output without it.")] = None,
) -> None:
    """The leaderboard of a task: best and median of each method, seeds, intervals, who replicated, which record."""
    from unlearnkit.errors import unknown
    from unlearnkit.files import write_whole
    from unlearnkit.records.checks import printable
    from unlearnkit.records.leaderboard import leaderboard
    from unlearnkit.records.leaderboard_text import check_form, render

    check_form(form)
    board = leaderboard(ledgers, task, metric, also)
    if not board.rows:
        raise unknown("task of these ledgers", task, map(printable, sorted(board.tasks)[:50]))
    if out is None:
        print(render(board, form), end="")
    else:
        write_whole(out, [render(board, form).encode()])


def _json(summary: Summary) -> str:
    return json.dumps(summary.to_json(), ensure_ascii=False, indent=2)


def _text(summary: Summary) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary.counts.items())
    lines = [f"{summary.valid_count} valid events ({kinds})", f"{summary.invalid_count} invalid"]
    found: Any = summary.to_json()
    lines += [f"  line {entry['line_sha256'][:16]}: {entry['meaning']}" for entry in found["invalid_events"]]
    lines += _more(summary.invalid_count, len(summary.invalid))
    lines.append(f"{summary.equivocation_count} equivocations")
    lines += [
        f"  {one.signer[:16]} has {one.many} records of {one.target[:21]}: {', '.join(one.records[:3])}"
        for one in summary.equivocations
    ]
    lines += _more(summary.equivocation_count, len(summary.equivocations))
    return "\n".join([*lines, f"state sha256  {summary.state_sha256}"])


def _more(count: int, listed: int) -> list[str]:
    return [f"  and {count - listed} more"] if count > listed else []
