"""`unlearnkit verify`: check a run against its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlearnkit.cli import options as opt

if TYPE_CHECKING:
    from unlearnkit.run.verify import Verified

Place = Annotated[Path, typer.Argument(help="A run's folder, or its record.json.")]
Depth = Annotated[
    str, typer.Option("--depth", help="digests, scores, measure or train; each does those before it too.")
]
Model = Annotated[
    str | None, typer.Option("--model", help="The model that was evaluated, or that the run started from.")
]
Tolerance = Annotated[
    float, typer.Option("--tolerance", min=0, help="Of a loss measured or trained again, in nats a token.")
]
Steps = Annotated[int, typer.Option("--steps", min=1, help="How many training steps to run again.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the verb `verify` to the command line."""

    @app.command("verify")
    def verify_run(
        record: Place,
        depth: Depth = "scores",
        model: Model = None,
        data: opt.Data = None,
        holdout: opt.Holdout = None,
        refusals: opt.Refusals = None,
        alternates: opt.Alternates = None,
        template: opt.TemplateText = None,
        system: opt.System = None,
        steps: Steps = 3,
        tolerance: Tolerance = 1e-4,
        as_json: AsJson = False,
    ) -> None:
        """Check a run against its record, cheapest checks first; exit code 1 where something differs."""
        from unlearnkit.run.verify import DEPTHS, verify

        if depth not in DEPTHS[2:]:
            found = verify(record, depth)
        else:
            from unlearnkit.cli.progress import progress_bar, quiet_libraries
            from unlearnkit.run.repeat import Given

            quiet_libraries()
            with progress_bar() as progress:
                given = Given(
                    model=model,
                    data=data,
                    holdout=holdout,
                    refusals=refusals,
                    alternates=alternates,
                    template=template,
                    system=system,
                    tolerance=tolerance,
                    steps=steps,
                    progress=progress,
                )
                found = verify(record, depth, given)
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=2) if as_json else _text(found))
        if not found.ok:
            raise typer.Exit(1)


def _text(found: Verified) -> str:
    from unlearnkit.records.checks import first_failed

    width = max((len(check.name) for check in found.checks), default=0)
    lines = [f"{check.status:<11}  {check.name:<{width}}  {check.detail}" for check in found.checks]
    wrong = first_failed(found.checks)
    if wrong is not None:
        return "\n".join([*lines, f"DIFFERS at depth {found.depth}: {wrong.name}: {wrong.detail}"])
    return "\n".join([*lines, f"{found.number} verified, depth {found.depth}"])
