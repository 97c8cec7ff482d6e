"""`unlearnkit demo`: see unlearning run on the embedded world, in about three minutes and without any download."""

from __future__ import annotations

from typing import Annotated

import typer

from unlearnkit.cli import options as opt

Seed = Annotated[int, typer.Option("--seed", min=0, help="Which world of fictitious authors.")]


def register(app: typer.Typer) -> None:
    """Add the verb `demo` to the command line."""

    @app.command("demo")
    def run_demo(out: opt.Out, seed: Seed = 0, force: opt.Force = False) -> None:
        """Train the embedded world's models, unlearn with four methods, measure every epoch, draw the trade-off."""
        import time

        began = time.perf_counter()
        from unlearnkit.cli.progress import progress_bar, quiet_libraries
        from unlearnkit.cli.trajectory import show_trajectory
        from unlearnkit.run.demo import demo

        quiet_libraries()
        with progress_bar() as progress:
            entries = demo(out, seed, force, progress)
        show_trajectory(entries)
        print(f"results: {out / 'results.json'}")
        print(f"picture: {out / 'tradeoff.png'}")
        print(f"report:  {out / 'report.html'}")
        print(f"demo: {time.perf_counter() - began:.0f} seconds")
