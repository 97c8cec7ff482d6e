"""The command line: one verb a file of this folder, found by looking; errors of the user in one line and exit code 2."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

import unlearnkit.cli as folder
from unlearnkit import __version__
from unlearnkit.errors import Diverged, UserError


def build_app() -> typer.Typer:
    """All verbs: every module of this folder that has a `register`."""
    app = typer.Typer(
        name="unlearnkit",
        help="Unlearning in large language models: make a model forget, and measure how far that succeeded.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
        if show:
            print(f"unlearnkit {__version__}")
            raise typer.Exit

    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda one: one.name):
        found = importlib.import_module(f"{folder.__name__}.{module.name}")
        if hasattr(found, "register"):
            found.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a check failed or a run diverged, 2 wrong input."""
    # Threads that wait by spinning take the cores from those that work wherever a machine is shared: 25 training steps on
    # two busy cores took 113 s and 38 s of processor time with spinning, 8 s and 3 s without. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. User mistakes become one line on standard error."""
    try:
        code = typer.main.get_command(build_app()).main(
            args=None if arguments is None else list(arguments), prog_name="unlearnkit", standalone_mode=False
        )
        return int(code or 0)
    except typer.Exit as leaving:
        return leaving.exit_code
    except TyperException as problem:
        return _usage(problem)
    except UserError as problem:
        return _complain(str(problem), 2)
    except Diverged as problem:
        return _complain(str(problem), 1)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("stopped; what was finished is kept", 130)
    except BrokenPipeError:
        return 0  # the reader, such as `head`, has seen enough
    except OSError as problem:
        return _complain(f"{problem.filename or 'a file'}: {problem.strerror or problem}", 2)


def _usage(problem: TyperException) -> int:
    """A mistake in how a verb was called. A group called without a verb prints its help itself and has no message."""
    said = problem.format_message() if hasattr(problem, "format_message") else str(problem)
    return _complain(said, 2) if said.strip() else 0


def _complain(message: str, code: int) -> int:
    rank = os.environ.get("RANK", "0")  # of several processes each complains, and most often of the same
    who = "unlearnkit" if rank == "0" else f"unlearnkit, process {rank}"
    print(f"{who}: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":  # for launchers: torchrun -m unlearnkit.cli.main
    main()
