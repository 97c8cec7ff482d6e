"""`unlearnkit reproduce`: a paper's claim run, drawn, and answered with held or not held."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearnkit.cli import options as opt
from unlearnkit.errors import UserError

if TYPE_CHECKING:
    from unlearnkit.claims.reproduce import Options

Name = Annotated[str | None, typer.Argument(metavar="CLAIM", help="A claim, or all; --list names them.")]
OutOrNone = Annotated[Path | None, typer.Option("--out", help="The folder to write; the same run in it is resumed.")]
Quick = Annotated[bool, typer.Option("--quick", help="A reduced version: fewer seeds, methods and steps.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Other seeds than the claim's own, such as 1,2,3.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes to run in, on this machine; by default the claim's.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray", help="Run on a Ray cluster: auto, ray://HOST:10001, or local to start one.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="A folder of TOFU's files: run on TOFU itself, for claims that can; without it on data that they make.",
    ),
]
Models = Annotated[
    Path | None,
    typer.Option(
        "--models",
        help="With --data: a folder of the models full and retain90 (retain95, retain99). Without it small ones are "
        "trained into DIR/models, which takes hours on a CPU and is resumed.",
    ),
]
Listed = Annotated[bool, typer.Option("--list", help="Name all claims, and stop.")]


def register(app: typer.Typer) -> None:
    """Add the verb `reproduce` to the command line."""

    @app.command("reproduce")
    def run_reproduce(
        name: Name = None,
        out: OutOrNone = None,
        quick: Quick = False,
        data: Data = None,
        models: Models = None,
        seeds: Seeds = None,
        workers: Workers = None,
        ray: RayAddress = None,
        force: opt.Force = False,
        listed: Listed = False,
    ) -> None:
        """Check a paper's claim: run it, draw it, say whether it held. Exit code 0: held; 1: it did not."""
        if listed:
            _list()
            return
        if name is None or out is None:
            raise UserError(f"give {'a CLAIM' if name is None else '--out DIR'}, or --list to see what there is")
        from unlearnkit.claims.reproduce import Options

        chosen = Options(quick, _parse_seeds(seeds), data, models, workers, ray, force)
        if not (_all(out, chosen) if name == "all" else _one(name, out, chosen)):
            raise typer.Exit(1)


def _parse_seeds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 0:
        raise UserError(f"--seeds {text}: give numbers of 0 or more with commas between them, such as 1,2,3")
    return found


def _list() -> None:
    from unlearnkit.claims.base import claims

    for name, claim in claims().items():
        print(f"{name}: {claim.sentence} ({claim.paper})")


def _one(name: str, out: Path, options: Options) -> bool:
    """Whether the claim held. Cells that failed are named, and count as not held."""
    from unlearnkit.claims.base import find_claim
    from unlearnkit.claims.reproduce import reproduce
    from unlearnkit.cli.progress import progress_bar
    from unlearnkit.sweep import CellsFailed

    claim = find_claim(name)
    try:
        with progress_bar() as progress:
            said = reproduce(claim, out, options, progress)
    except CellsFailed as problem:
        print(f"unlearnkit: {name}: {problem}", file=sys.stderr)
        return False
    _show(said, out)
    return bool(said["held"])


def _all(out: Path, options: Options) -> bool:
    """Every claim into a folder of its own; what one lacks or loses does not stop the others."""
    from dataclasses import replace

    from unlearnkit.claims.base import claims

    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    held, without = {}, replace(options, data=None, models=None)
    for claim in claims().values():
        if claim.takes_data:  # what cannot be run with them is refused before hours of others
            claim.inputs(options.data, options.models)
    for name, claim in claims().items():
        held[name] = _one(name, out / name, options if claim.takes_data else without)
    for name, whether in held.items():
        print(f"{name}: {'held' if whether else 'not held'}")
    return all(held.values())


def _show(said: dict[str, Any], out: Path) -> None:
    for check in said["checks"]:
        print(f"{'yes' if check['held'] else 'NO ':<3} {check['what']}: {check['found']}")
    print(f"{said['claim']}: {'held' if said['held'] else 'not held'}. {said['verdict']}")
    print(f"numbers: {out / 'claim.json'}")
    print(f"page:    {out / 'page.md'}")
