"""Words of the forgotten answer that a model still says, though neither the question nor ignorance gives them away."""

from __future__ import annotations

import re

SHORT = 4  # a word of fewer letters tells nothing by itself, unless it is a number or a name

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def leaked_words(said: str, gold: str, question: str, unseen: str | None = None) -> list[str]:
    """What a model said, cut so that every second part is a leaked word: [plain, leaked, plain, ...].

    A word leaks when the gold answer has it and the question has not, when the retain model, which never saw the row, does
    not say it either, and when it is a number, a name (capital in the gold answer) or has at least four letters. Only
    equal words count, whatever their case: a paraphrase is not found.

    >>> leaked_words("She was born in Kuwait.", "Born in Kuwait City.", "Where was she born?", "In Lima.")
    ['She was born in ', 'Kuwait', '.']
    """
    known = _words(question) | _words(unseen or "")
    telling = {word.casefold() for word in _WORD.findall(gold) if _tells(word)} - known
    parts, end = [], 0
    for found in _WORD.finditer(said):
        if found[0].casefold() in telling:
            parts += [said[end : found.start()], found[0]]
            end = found.end()
    return [*parts, said[end:]]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _tells(word: str) -> bool:
    return len(word) >= SHORT or not word.islower()
