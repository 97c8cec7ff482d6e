"""Wrappers by name, and as one writes them: `sam(rho=0.01)`."""

from __future__ import annotations

import importlib
import pkgutil

import unlearnkit.training.wrappers as folder
from unlearnkit.errors import unknown
from unlearnkit.objectives.formula import parse_call
from unlearnkit.training.wrappers.base import Wrapper

_NOT_WRAPPERS = {"base", "find"}


def wrapper_names() -> list[str]:
    """Every wrapper there is: the files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if module.name not in _NOT_WRAPPERS)


def find_wrapper(name: str) -> type[Wrapper]:
    """The class of a wrapper by its name; an unknown name is a `UserError` with the nearest one."""
    if name not in wrapper_names():
        raise unknown("wrapper", name, wrapper_names())
    module = importlib.import_module(f"{folder.__name__}.{name}")
    (found,) = (
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Wrapper) and item.__module__ == module.__name__
    )
    return found


def parse_wrapper(text: str) -> Wrapper:
    """`sam(rho=0.01)` as a `Wrapper`.

    >>> str(parse_wrapper("sam( rho = 1e-2 )")), str(parse_wrapper("gru"))
    ('sam(rho=0.01)', 'gru')
    """
    return parse_call(text, find_wrapper, "--wrap", "sam(rho=0.01)")
