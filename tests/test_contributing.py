"""CONTRIBUTING shows a method in one file: it must work as it stands there."""

from __future__ import annotations

import doctest
import re
import sys
import types
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_the_method_that_the_guide_shows_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from unlearnkit.objectives.base import Term

    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType("unlearnkit.objectives.capped")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    term = module.CappedAscent(cap=3)
    assert isinstance(term, Term)
    assert (str(term), term.reads, term.summary != "") == ("capped(cap=3)", ("forget",), True)
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
