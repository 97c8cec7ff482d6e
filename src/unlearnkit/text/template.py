"""From a question and an answer to token ids, and to which of them are scored: the one door to the tokeniser."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from unlearnkit.errors import UserError

PLAIN = "Question: {question}\nAnswer: {answer}"
# Llama-3's template writes today's date into the prompt. A prompt that changes at midnight cannot be reproduced, so the
# day is pinned to the one that the field's published checkpoints were evaluated with.
PINNED_DAY = datetime.date(2025, 4, 10)
_CLOCK = re.compile(r"strftime_now\(\s*(?P<quote>['\"])(?P<format>.*?)(?P=quote)\s*\)")


class Encoded(NamedTuple):
    """One prompt with its answer. The answer's tokens, the final end-of-sequence token included, are what is scored.

    ids            token ids of prompt and answer
    prompt_length  how many of them are the prompt, at least one
    """

    ids: tuple[int, ...]
    prompt_length: int

    @property
    def prompt(self) -> tuple[int, ...]:
        """Token ids of the prompt: where generation starts."""
        return self.ids[: self.prompt_length]

    @property
    def answer(self) -> tuple[int, ...]:
        """Token ids of the answer: what is scored."""
        return self.ids[self.prompt_length :]


class Template:
    """How a question is put to a model and how its answer follows.

    text is "chat" (the tokeniser's chat template), "plain" (`Question: ...\\nAnswer: ...`) or a text of your own with
    {question} and, at its end, {answer}, such as "[INST] {question} [/INST]{answer}". None takes the chat template where
    the tokeniser has one, else plain. `system` is a system message for chat templates.

    The prompt's tokens are always a prefix of the whole text's tokens, and the same for every answer to a question of the
    same kind of first letter: where a tokeniser merges the prompt's trailing blank into the answer's first word, the blank
    goes to the answer; where that is not enough, prompt and answer are tokenised apart.
    """

    def __init__(self, tokenizer: Any, text: str | None = None, system: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.system = system
        if tokenizer.eos_token_id is None:
            raise UserError(
                "the tokenizer has no end-of-sequence token, so an answer has no end; set `eos_token` in it"
            )
        has_chat = getattr(tokenizer, "chat_template", None) is not None
        self.text = text if text is not None else "chat" if has_chat else "plain"
        if self.text == "chat" and not has_chat:
            raise UserError(
                "--template chat was asked for, but this tokenizer has no chat template; use --template plain"
            )
        if self.text not in ("chat", "plain") and not (
            self.text.endswith("{answer}") and self.text.count("{answer}") == 1 and self.text.count("{question}") == 1
        ):
            raise UserError(
                f"--template {self.text!r}: give chat, plain, or a text with one {{question}} that ends in {{answer}}"
            )
        if system is not None and self.text != "chat":
            raise UserError("a system message needs a chat template; write it into --template instead")
        self._pinned = _without_clock(tokenizer.chat_template) if self.text == "chat" else None
        self._prompt_ids = lru_cache(maxsize=65536)(self._tokenise)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the text that a model reads."""
        source = str(self.tokenizer.chat_template) if self.text == "chat" else self.text
        said = repr((self.text, source, self.system, PINNED_DAY.isoformat()))
        return hashlib.sha256(said.encode()).hexdigest()

    def encode(self, question: str, answer: str) -> Encoded:
        """Token ids of prompt and answer, with one end-of-sequence token at the end."""
        return self.encode_all([(question, answer)])[0]

    def encode_all(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """`encode` of many (question, answer) pairs; tokenised in one call, which is much faster."""
        if not pairs:
            return []
        texts = [self._texts(question, answer) for question, answer in pairs]
        wholes = self.tokenizer(
            [prompt + rest for prompt, rest in texts], add_special_tokens=self.text != "chat", verbose=False
        )["input_ids"]
        return [self._cut(tuple(ids), prompt, rest) for ids, (prompt, rest) in zip(wholes, texts, strict=True)]

    def _texts(self, question: str, answer: str) -> tuple[str, str]:
        """The text up to the answer, and the rest of it."""
        if self.text != "chat":
            before, after = (PLAIN if self.text == "plain" else self.text).split("{question}")
            return before + question + after.removesuffix("{answer}"), answer
        said = [{"role": "system", "content": self.system}] if self.system is not None else []
        said.append({"role": "user", "content": question})
        prompt = self._chat(said, prompt_only=True)
        whole = self._chat([*said, {"role": "assistant", "content": answer}], prompt_only=False)
        if not whole.startswith(prompt):
            # some templates open the turn with more (an empty "thinking" part, say) than they write back in a history
            closing = self._closing(whole, answer)
            return prompt, answer + closing
        return prompt, whole[len(prompt) :]

    @staticmethod
    def _closing(whole: str, answer: str) -> str:
        """What the chat template writes after the answer."""
        at = whole.rfind(answer.strip())
        return whole[at + len(answer.strip()) :] if at >= 0 else ""

    def _chat(self, said: list[dict[str, str]], prompt_only: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            said,
            tokenize=False,
            add_generation_prompt=prompt_only,
            date_string=PINNED_DAY.strftime("%d %b %Y"),
            chat_template=self._pinned,
        )
        return str(text)

    def _tokenise(self, text: str, special: bool = True) -> tuple[int, ...]:
        return tuple(
            self.tokenizer(text, add_special_tokens=special and self.text != "chat", verbose=False)["input_ids"]
        )

    def _cut(self, whole: tuple[int, ...], prompt: str, rest: str) -> Encoded:
        """Split the tokens of the whole text into prompt and answer, and see to the one end-of-sequence token."""
        head = self._prompt_ids(prompt)
        if whole[: len(head)] != head and prompt != prompt.rstrip(" "):
            head = self._prompt_ids(prompt.rstrip(" "))
        if whole[: len(head)] == head and len(whole) > len(head):
            tail = whole[len(head) :]
        else:
            head = self._prompt_ids(prompt)
            tail = self._tokenise(rest, special=False)
        if not head:
            raise UserError("the prompt has no tokens: the template must put something before {answer}")
        eos = self.tokenizer.eos_token_id
        # a chat template may write a line end after the end-of-turn token; nothing after it belongs to the answer
        end = tail.index(eos) if eos in tail else len(tail)
        return Encoded((*head, *tail[:end], eos), len(head))


def _without_clock(chat_template: str) -> str:
    """The chat template with the pinned day written where it asks the clock.

    >>> _without_clock("Today is {{ strftime_now('%d %b %Y') }}.")
    "Today is {{ '10 Apr 2025' }}."
    """
    pinned = _CLOCK.sub(lambda call: repr(PINNED_DAY.strftime(call["format"])), chat_template)
    if "strftime_now(" in pinned:
        raise UserError("the chat template reads the clock in a way that cannot be pinned; give --template")
    return pinned
