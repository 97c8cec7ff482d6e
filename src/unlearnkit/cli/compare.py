"""`unlearnkit compare`: several runs beside each other, as a table and the trade-off picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unlearnkit.cli import options as opt

Runs = Annotated[list[Path], typer.Argument(help="Folders that `unlearn --measure epoch` wrote.")]
TargetPlace = Annotated[Path, typer.Option("--target", help="The target model's evaluation folder, table or log.")]
RetainPlace = Annotated[Path, typer.Option("--retain", help="The retain model's.")]
UtilityMetric = Annotated[str, typer.Option("--utility", help="What the picture's horizontal axis shows.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Where results.json, table.md and tradeoff.png go.")]


def register(app: typer.Typer) -> None:
    """Add the verb `compare` to the command line."""

    @app.command("compare")
    def compare_runs(
        runs: Runs,
        target: TargetPlace,
        retain: RetainPlace,
        out: OutFolder,
        protocol: opt.Protocol = "unlearnkit",
        utility: UtilityMetric = "model_utility",
    ) -> None:
        """Score every measured epoch of several runs against one retain model and draw the trade-off."""
        from unlearnkit.cli.trajectory import show_trajectory
        from unlearnkit.run.compare import compare

        show_trajectory(compare(runs, target, retain, out, protocol, utility=utility))
        print(f"results: {out / 'results.json'}, {out / 'table.md'}, {out / 'tradeoff.png'}")
