"""`unlearnkit metrics`: what there is to score by, and what one score means. Made from the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unlearnkit.score.metric import Metric

Name = Annotated[str | None, typer.Argument(help="A metric, such as forget_quality; left out, all are listed.")]
Markdown = Annotated[bool, typer.Option(help="Print every explanation as Markdown (docs/metrics.md holds it).")]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(metrics)


def metrics(name: Name = None, markdown: Markdown = False) -> None:
    """List the metrics, or explain one: formula, direction, what it cannot see, paper."""
    if markdown:
        print(as_markdown())
    elif name is None:
        _list()
    else:
        _explain(name)


def as_markdown() -> str:
    """A section a family of metrics, in the words of the code."""
    from unlearnkit.score.suite import metrics as every

    families: dict[str, list[Metric]] = {}
    for metric in every().values():
        families.setdefault(metric.description(), []).append(metric)
    return "\n\n".join(_section(metrics) for metrics in families.values())


def _section(metrics: list[Metric]) -> str:
    first = metrics[0]
    names = ", ".join(f"`{metric.name}`" for metric in metrics)
    directions = list(dict.fromkeys(metric.toward() for metric in metrics))
    facts = (("Direction", "; ".join(directions)), ("Cannot see", first.blind), ("Source", first.paper))
    return "\n\n".join([f"### {names}", first.description(), "\n".join(f"- {title}: {text}" for title, text in facts)])


def _list() -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from unlearnkit.score.suite import metrics as every

    table = Table("metric", "formula", "direction", box=None)
    for name, metric in every().items():
        table.add_row(name, escape(metric.formula()), metric.toward())
    Console().print(table)


def _explain(name: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    from unlearnkit.score.suite import metric as named

    metric, console = named(name), Console()
    console.print(f"[bold]{name}[/bold]\n\n{escape(metric.description())}\n", highlight=False)
    for title, text in (("direction", metric.toward()), ("cannot see", metric.blind), ("paper", metric.paper)):
        console.print(f"[bold]{title}[/bold]: {escape(text)}", highlight=False)
