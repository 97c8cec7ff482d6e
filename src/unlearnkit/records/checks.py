"""What a verification found: every check by name, passed, failed, or not made and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"


@dataclass(frozen=True)
class Check:
    """One check: its name, what came of it, and one line that says why."""

    name: str
    status: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "status": self.status, "detail": self.detail}


def judge(name: str, problems: Sequence[str], good: str) -> Check:
    """Failed with the first problems, or passed with what was found right.

    >>> judge("counts", [], "2 events").status, judge("counts", ["3 is not 2"], "").detail
    ('passed', '3 is not 2')
    """
    if not problems:
        return Check(name, PASSED, printable(good))
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    return Check(name, FAILED, printable("; ".join(problems[:3]) + more))


def skipped(name: str, why: str) -> Check:
    """A check that could not be made, which does not fail."""
    return Check(name, NOT_CHECKED, printable(why))


def first_failed(checks: Sequence[Check]) -> Check | None:
    """The first thing that is wrong, if any."""
    return next((check for check in checks if check.status == FAILED), None)


def printable(text: str) -> str:
    r"""Text from a file that is not trusted, without what could steer a terminal.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
