"""`unlearnkit cite`: BibTeX for what a run stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `cite` to the command line."""

    @app.command("cite")
    def cite(record: Annotated[Path, typer.Argument(help="A record.json, or the folder of a run.")]) -> None:
        """Print BibTeX for the method, the benchmark and the library of a run."""
        from unlearnkit.records.papers import bibtex_of
        from unlearnkit.records.record import read_record

        print(bibtex_of(read_record(record)), end="")
