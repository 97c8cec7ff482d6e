"""`unlearnkit metrics`: what there is to score by, and what one score means. Made from the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Name = Annotated[str | None, typer.Argument(help="A metric, such as forget_quality; left out, all are listed.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(metrics)


def metrics(name: Name = None) -> None:
    """List the metrics, or explain one: formula, direction, what it cannot see, paper."""
    from rich.console import Console

    console = Console()
    if name is None:
        _list(console)
    else:
        _explain(console, name)


def _list(console: Console) -> None:
    from rich.table import Table

    from unlearnkit.score.suite import metrics as every

    table = Table("metric", "formula", "direction", box=None)
    for name, metric in every().items():
        table.add_row(name, metric.formula(), metric.toward())
    console.print(table)


def _explain(console: Console, name: str) -> None:
    from rich.markup import escape

    from unlearnkit.score.suite import metric as named

    metric = named(name)
    console.print(f"[bold]{name}[/bold]\n\n{escape(metric.description())}\n")
    for title, text in (("direction", metric.toward()), ("cannot see", metric.blind), ("paper", metric.paper)):
        console.print(f"[bold]{title}[/bold]: {escape(text)}")
