"""`unlearnkit objectives`: the terms and wrappers, one explained, the presets, or a formula's value on a stored batch."""

from __future__ import annotations

import json
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from unlearnkit.objectives import Term
    from unlearnkit.training.wrappers.base import Wrapper

Name = Annotated[str | None, typer.Argument(help="A term or wrapper to explain.")]
Loss = Annotated[str | None, typer.Option("--loss", help="A formula to compute on --batch, such as 'npo + rt'.")]
Batch = Annotated[Path | None, typer.Option("--batch", help="JSON with input_ids, labels, attention_mask a view.")]
Model = Annotated[str | None, typer.Option("--model", help="The model in training.")]
Reference = Annotated[str | None, typer.Option("--reference", help="The reference model.")]
Presets = Annotated[bool, typer.Option("--presets", help="List tuned starting points, with their sources.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the verb `objectives` to the command line."""

    @app.command("objectives")
    def objectives(
        name: Name = None,
        loss: Loss = None,
        batch: Batch = None,
        model: Model = None,
        reference: Reference = None,
        presets: Presets = False,
        as_json: AsJson = False,
    ) -> None:
        """List terms of objectives and ways to take a step; explain one; list presets; or compute a stored batch's loss."""
        if presets:
            _show_presets(as_json)
            return
        if loss is not None:
            found = _computed(loss, batch, model, reference)
            print(json.dumps(found, indent=2) if as_json else _lines(found))
            return
        described = _every() if name is None else _one(name)
        if as_json:
            print(json.dumps(described, indent=2, ensure_ascii=False))
        elif isinstance(described, dict):
            print(f"{name}\n\n{described.pop('documentation')}\n\n{_lines(described)}")
        else:
            _show(described)


def _computed(loss: str, batch: Path | None, model: str | None, reference: str | None) -> dict[str, Any]:
    from unlearnkit.cli.progress import quiet_libraries
    from unlearnkit.errors import UserError
    from unlearnkit.objectives import parse_objective

    formula = parse_objective(loss)
    if batch is None or model is None:
        raise UserError(
            "--loss needs --batch BATCH.json and --model POLICY (and --reference REF where a term reads one)"
        )
    from unlearnkit.run.batch_loss import batch_loss

    quiet_libraries()
    return batch_loss(formula, batch, model, reference)


def _every() -> list[dict[str, Any]]:
    """All terms, then the ways to take a step."""
    from unlearnkit.objectives import find_term, term_names
    from unlearnkit.training.wrappers.find import find_wrapper, wrapper_names

    terms = [_described(find_term(one)) for one in term_names()]
    return terms + [_described_wrapper(find_wrapper(one)) for one in wrapper_names()]


def _one(name: str) -> dict[str, Any]:
    import inspect

    from unlearnkit.objectives import find_term
    from unlearnkit.training.wrappers.find import find_wrapper, wrapper_names

    if name in wrapper_names():
        wrapper = find_wrapper(name)
        return _described_wrapper(wrapper) | {"documentation": inspect.getdoc(wrapper)}
    term = find_term(name)
    return _described(term) | {"documentation": inspect.getdoc(term)}


def _described_wrapper(wrapper: type[Wrapper]) -> dict[str, Any]:
    """What the code says of a wrapper; it reads what the terms do that it is applied to."""
    return {
        "name": wrapper().name,
        "formula": wrapper.summary,
        "wraps": "any forget terms, with retain terms beside them" if wrapper.needs_retain else "any forget terms",
        "hyperparameters": {field.name: field.default for field in fields(wrapper)},
        "paper": wrapper.paper,
    }


def _described(term: type[Term]) -> dict[str, Any]:
    """What the code says of a term, as it is with its default hyperparameters."""
    from unlearnkit.objectives import Objective

    one = term()
    alone = Objective(((1.0, one),))
    hints = typing.get_type_hints(term)
    choices = {field.name: list(typing.get_args(hints[field.name])) for field in fields(term)}
    return {
        "name": one.name,
        "formula": term.summary,
        "reads": list(alone.views),
        "reference": {view: need for view, need in alone.reference_need().items() if need != "none"},
        "mean over": one.reduction,
        "hyperparameters": {field.name: field.default for field in fields(term)},
        "choices": {name: allowed for name, allowed in choices.items() if allowed},
        "paper": term.paper,
    }


def _lines(found: dict[str, Any]) -> str:
    said = []
    for key, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name}={inner!r}" for name, inner in value.items()) or "none"
        said.append(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    return "\n".join(said)


def _show(described: list[dict[str, Any]]) -> None:
    terms, wrappers = [], []
    for one in described:
        given = ", ".join(f"{name}={value!r}" for name, value in one["hyperparameters"].items())
        if "wraps" in one:
            wrappers.append((one["name"], one["formula"], one["wraps"], given, one["paper"]))
            continue
        needs = ", ".join(f"{need} of {view}" for view, need in one["reference"].items()) or "none"
        terms.append((one["name"], one["formula"], ", ".join(one["reads"]), needs, given, one["paper"]))
    _table(("term", "formula", "reads", "reference", "hyperparameters", "paper"), terms)
    _table(("--wrap", "gradient", "of", "hyperparameters", "paper"), wrappers)
    print("\n`unlearnkit objectives npo` explains one; `--presets` lists tuned formulas.")


def _show_presets(as_json: bool) -> None:
    from unlearnkit.run.presets import presets

    found = presets()
    if as_json:
        print(json.dumps({name: one._asdict() for name, one in found.items()}, indent=2, ensure_ascii=False))
        return
    rows = [(name, one.objective, f"{one.lr:g}", f"{one.epochs:g}", one.source) for name, one in found.items()]
    _table(("preset", "objective", "lr", "epochs", "source"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*titles, box=None)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))  # a formula's brackets are no markup
    Console().print(table)
