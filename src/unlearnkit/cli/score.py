"""`unlearnkit score`: score a stored table or log, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unlearnkit.score.metric import Score
    from unlearnkit.score.suite import Scores

Log = Annotated[Path, typer.Argument(help="table.parquet, eval_log_aggregated.json (TOFU, NPO) or TOFU_EVAL.json")]
Reference = Annotated[Path | None, typer.Option(help="The retain model's table or log, measured on the same rows.")]
Target = Annotated[Path | None, typer.Option(help="Table or log of the model before unlearning.")]
Second = Annotated[Path | None, typer.Option(help="Another retain model's: the noise floor of forget quality.")]
Attack = Annotated[Path | None, typer.Option(help="Table of the reference attack's model; else the retain model's.")]
Protocol = Annotated[str, typer.Option(help="Whose conventions: unlearnkit, tofu or open-unlearning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON of scores.json.")]

# What is looked at first stands first.
FIRST = ("forget_quality", "model_utility")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(score)


def score(
    table_or_log: Log,
    reference: Reference = None,
    target: Target = None,
    second_retain: Second = None,
    mia_reference: Attack = None,
    protocol: Protocol = "unlearnkit",
    json: AsJson = False,
) -> None:
    """Score a stored table or another tool's log: every metric, with its reason where it is missing."""
    from unlearnkit.score import read_measurements, score_table

    roles = {"second_retain": second_retain, "mia_reference": mia_reference}
    scores = score_table(
        read_measurements(table_or_log),
        None if reference is None else read_measurements(reference),
        protocol,
        None if target is None else read_measurements(target),
        {role: read_measurements(path) for role, path in roles.items() if path is not None},
    )
    if json:
        print(as_json(scores))
    else:
        show(scores)


def as_json(scores: Scores) -> str:
    """The text of `scores.json`."""
    import json

    return json.dumps(scores.to_json(), indent=2, allow_nan=False)


def show(scores: Scores) -> None:
    """On the terminal: what there is with interval, rows and direction; what is missing, by reason; the verdict."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("metric", overflow="fold")
    for title in ("value", "95 % interval", "rows"):
        table.add_column(title, no_wrap=True)
    table.add_column("direction", min_width=16)
    missing: dict[str, list[str]] = {}
    for name, score in sorted(scores.scores.items(), key=lambda each: each[0] not in FIRST):
        if score.value is None:
            missing.setdefault(score.reason or "", []).append(name)
        else:
            table.add_row(name, *_cells(score))
    console = Console()
    console.print(table)
    for reason, names in missing.items():
        console.print(f"\nnot scored: {', '.join(names)}\n  {reason}", style="dim", highlight=False, markup=False)
    label, reason, strength = (scores.verdict[key] for key in ("label", "reason", "strength"))
    console.print(f"\nVerdict: {label or 'none'}. {reason}. ({strength})", highlight=False, markup=False)


def _cells(score: Score) -> tuple[str, str, str, str]:
    from rich.markup import escape

    interval = "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}"
    return f"{score.value:.4g}", interval, str(score.n), escape(score.reason or score.direction)
