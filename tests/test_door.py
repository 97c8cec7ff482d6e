"""The package's front door: every name it promises is there, twice."""

from __future__ import annotations

import importlib

import pytest

import unlearnkit


@pytest.mark.parametrize("name", unlearnkit.__all__)
def test_every_promised_name_is_there_and_stays_the_same(name: str) -> None:
    first = getattr(unlearnkit, name)
    assert getattr(unlearnkit, name) is first
    assert getattr(importlib.import_module(first.__module__), first.__name__) is first


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = unlearnkit.nothing
