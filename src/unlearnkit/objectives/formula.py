"""The parser of objectives. The folder is the registry: a term's name is its file's name."""

from __future__ import annotations

import ast
import importlib
import math
import pkgutil
import typing
import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import unlearnkit.objectives as folder
from unlearnkit.errors import UserError, unknown
from unlearnkit.objectives.base import Objective, Term

_NOT_TERMS = {"base", "formula"}
_LONGEST = 1000


def term_names() -> list[str]:
    """Every term there is: the files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if module.name not in _NOT_TERMS)


def find_term(name: str) -> type[Term]:
    """The class of a term by its name; an unknown name is a `UserError` with the nearest one."""
    if name not in term_names():
        raise unknown("objective term", name, term_names())
    module = importlib.import_module(f"{folder.__name__}.{name}")
    classes = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Term) and item.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise TypeError(f"{module.__name__} must hold one term, not {len(classes)}")
    return classes[0]


def parse_objective(formula: str) -> Objective:
    """`npo(beta=0.1) + 2*kl` as an `Objective`. Terms are added or subtracted, each with a number before it or none.

    >>> str(parse_objective("npo + 5 * rt"))
    'npo(beta=0.1) + 5*rt'
    """
    if len(formula) > _LONGEST:
        raise UserError(f"the objective has {len(formula)} characters; at most {_LONGEST} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "5in": what is wrong is said below, once
            tree = ast.parse(formula.strip(), mode="eval").body
        terms = _terms(tree, 1.0, formula)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as problem:
        if isinstance(problem, UserError):
            raise
        raise _unreadable(formula) from None
    return Objective(tuple(terms))


T = TypeVar("T")


def parse_call(text: str, find: Callable[[str], type[T]], option: str, example: str) -> T:
    """A name with options, such as `sam(rho=0.01)`, as an instance of the dataclass that `find` knows by this name."""
    try:
        tree = ast.parse(text.strip()[:_LONGEST], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Constant(None)
    match tree:
        case ast.Name(id=name):
            return find(name)()
        case ast.Call(func=ast.Name(id=name), args=[], keywords=given):
            return _build(name, find(name), given, text)
    raise UserError(f"{option} {text!r} cannot be read; write it like {example!r}")


def _unreadable(formula: str, part: str = "") -> UserError:
    where = f" at '{part}'" if part else ""
    return UserError(f"objective {formula!r} cannot be read{where}; write it like 'npo(beta=0.1) + 5*rt'")


def _terms(node: ast.expr, weight: float, formula: str) -> list[tuple[float, Term]]:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = -1.0 if isinstance(op, ast.Sub) else 1.0
            return [*_terms(left, weight, formula), *_terms(right, sign * weight, formula)]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            if (factor := _number(left)) is not None:
                return _terms(right, weight * factor, formula)
            if (factor := _number(right)) is not None:
                return _terms(left, weight * factor, formula)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _terms(inner, -weight, formula)
        case ast.Name(id=name):
            return [(_finite(weight, formula), find_term(name)())]
        case ast.Call(func=ast.Name(id=name), args=[], keywords=given):
            return [(_finite(weight, formula), _build(name, find_term(name), given, formula))]
    raise _unreadable(formula, ast.unparse(node))


def _number(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=inner) if (positive := _number(inner)) is not None:
            return -positive
    return None


def _finite(weight: float, formula: str) -> float:
    if not math.isfinite(weight):
        raise UserError(f"objective {formula!r}: a weight must be a finite number")
    return weight


def _build(name: str, kind: type[T], given: list[ast.keyword], formula: str) -> T:
    """A dataclass with its hyperparameters, each checked against the type of its field."""
    hints = typing.get_type_hints(kind)
    described: Any = kind
    allowed = {field.name: hints[field.name] for field in fields(described)}
    values: dict[str, Any] = {}
    for keyword in given:
        if keyword.arg is None:
            raise _unreadable(formula, ast.unparse(keyword.value))
        if keyword.arg not in allowed:
            if not allowed:
                raise UserError(f"'{name}' has no hyperparameters; '{keyword.arg}' was given")
            raise unknown(f"hyperparameter of '{name}'", keyword.arg, allowed)
        values[keyword.arg] = _value(name, keyword.arg, keyword.value, allowed[keyword.arg], formula)
    return kind(**values)


def _value(name: str, key: str, node: ast.expr, hint: Any, formula: str) -> Any:
    number = _number(node)
    raw = number if number is not None else getattr(node, "value", None) if isinstance(node, ast.Constant) else None
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if raw not in choices:
            raise UserError(
                f"{name}({key}=...): {ast.unparse(node)} was given; allowed: {', '.join(map(repr, choices))}"
            )
        return raw
    if hint in (bool, str) and isinstance(raw, hint):
        return raw
    if hint is int and isinstance(number, float) and number.is_integer():
        return int(number)
    if hint is float and isinstance(number, float) and math.isfinite(number):
        return number
    raise UserError(f"{name}({key}=...): {ast.unparse(node)} was given; a {hint.__name__} is allowed")
