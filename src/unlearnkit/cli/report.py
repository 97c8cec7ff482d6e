"""`unlearnkit report`: one page of what came of a run, or of several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[list[Path], typer.Argument(help="Folders that `unlearn`, `eval` or `demo` wrote; several compare.")]
OutFile = Annotated[Path, typer.Option("--out", help="The HTML file to write.")]
TargetPlace = Annotated[
    Path | None, typer.Option("--target", help="Table or evaluation folder of the model before unlearning.")
]
RetainPlace = Annotated[Path | None, typer.Option("--retain", help="The same of the retain model.")]


def register(app: typer.Typer) -> None:
    """Add the verb `report` to the command line."""

    @app.command("report")
    def report(
        runs: Runs,
        out: OutFile = Path("report.html"),
        target: TargetPlace = None,
        retain: RetainPlace = None,
    ) -> None:
        """Write one HTML file that works offline: verdict, trade-off, metrics, losses, every answer, the record."""
        from unlearnkit.errors import UserError
        from unlearnkit.report.page import write_report
        from unlearnkit.run.evaluate import read_reference

        if out.is_dir():
            raise UserError(f"--out {out} is a folder; give the HTML file to write")
        print(f"report: {write_report(runs, out, read_reference(target), read_reference(retain))}")
