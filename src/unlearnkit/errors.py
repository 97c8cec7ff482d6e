"""What can go wrong in a way that a user can mend, and how the command line answers it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input. The message is one line: what was given, what is allowed, what to do. Exit code 2."""


class Diverged(RuntimeError):
    """A run that stopped because a loss or a gradient was no longer a finite number. Exit code 1."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the nearest one that does.

    >>> str(unknown("term", "npoo", ["ga", "npo"]))
    "unknown term 'npoo'. Did you mean 'npo'? Known: ga, npo"
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {kind} '{given}'.{hint} Known: {', '.join(names)}")
