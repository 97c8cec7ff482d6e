"""The evaluation logs of the original TOFU code and of NPO's: `eval_log_aggregated.json`.

Two schemas carry the same columns: TOFU's logs are objects keyed by the row's number, NPO's (and TOFU's before
February 2024) are lists in the order of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.score.log_values import by_index, number, numbers, question_in, text
from unlearnkit.score.measured import ANSWER, PARAPHRASE, PERTURBED
from unlearnkit.table import Table

FILES = {
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "real_authors",
    "eval_real_world_wo_options.json": "world_facts",
    "eval_log_forget.json": "forget",
}
# kind of answer: the columns of mean loss, summed loss and number of tokens.
LOSSES = {
    ANSWER: ("avg_gt_loss", "gt_loss", "num_token_gt"),
    PARAPHRASE: ("avg_paraphrased_loss", "paraphrased_loss", "num_token_paraphrased"),
    PERTURBED: ("average_perturb_loss", "perturb_loss", "num_token_perturb"),
}
ROUGE = ("rouge1_recall", "rougeL_recall")

Column = Mapping[int, Any]


def is_tofu_log(log: Mapping[str, Any]) -> bool:
    """Does it hold at least one of the four evaluation files by name?"""
    return any(name in log for name in FILES)


def read_tofu_log(log: Mapping[str, Any], where: str, digest: str) -> Table:
    """The log as a table: losses and lengths, no tokens; texts where the log has them.

    In a log without generations the stored ROUGE values are kept under "stored" in the table's metadata. For real
    authors and world facts the original code scores the answer twice, once as "paraphrased"; both are kept, because
    in bfloat16 they differ by up to 0.14 nats a token.
    """
    rows: list[dict[str, Any]] = []
    stored: dict[str, dict[str, dict[str, float]]] = {}
    for name, split in FILES.items():
        if name not in log:
            continue
        if not isinstance(log[name], Mapping):
            raise UserError(f"{where}: {name} holds a {type(log[name]).__name__}, not the columns of a log")
        section = _Section(log[name], f"{where}: {name}")
        rows.extend({"split": split, **row} for row in section.rows())
        for column in ROUGE:
            if kept := section.stored(column):
                stored.setdefault(column, {})[split] = kept
    meta = {"source": "tofu-log", "log": digest, "stored": stored}
    return Table.from_rows(rows, meta)


class _Section:
    """One of the four evaluation files, its columns checked to hold the same rows."""

    def __init__(self, section: Mapping[str, Any], where: str) -> None:
        self.where = where
        self.columns = {name: by_index(column, f"{where}: {name}") for name, column in section.items()}
        wanted = {name for names in LOSSES.values() for name in names} | {"generated_text", *ROUGE}
        held = {name: tuple(rows) for name, rows in self.columns.items() if name in wanted}
        if not held:
            raise UserError(f"{where}: has none of the columns of a TOFU log ({LOSSES[ANSWER][0]}, ...)")
        first = next(iter(held))
        self.index = held[first]
        for name, index in held.items():
            if index != self.index:
                raise UserError(
                    f"{where}: {first} has {len(self.index)} rows and {name} {len(index)} or other ones. Two processes' "
                    "parts put together without order? Give the eval_log_aggregated.json of the run"
                )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of the table, but for the split: the answer, its paraphrase, its perturbed answers."""
        for index in self.index:
            question, generation, truth = self._texts(index)
            base = {"index": index, "question": question}
            loss, length = self._loss(ANSWER, index)
            yield {**base, "kind": ANSWER, "text": truth, "loss": loss, "length": length, "generation": generation}
            if self._has(PARAPHRASE):
                loss, length = self._loss(PARAPHRASE, index)
                yield {**base, "kind": PARAPHRASE, "loss": loss, "length": length}
            for place, (loss, length) in enumerate(self._perturbed(index)):
                yield {**base, "kind": f"{PERTURBED}{place}", "loss": loss, "length": length}

    def stored(self, name: str) -> dict[str, float]:
        """A column of row scores, by index as text, for rows whose texts the log lacks."""
        lacking = [index for index in self.index if None in self._texts(index)[1:]]
        if name not in self.columns or not lacking:
            return {}
        values = {str(i): number(self.columns[name][i], f"{self.where}: {name}[{i}]") for i in lacking}
        return {index: value for index, value in values.items() if value is not None}

    def _has(self, kind: str) -> bool:
        mean, total, count = LOSSES[kind]
        return mean in self.columns or (total in self.columns and count in self.columns)

    def _cell(self, name: str, index: int) -> Any:
        return self.columns[name][index] if name in self.columns else None

    def _loss(self, kind: str, index: int) -> tuple[float | None, int | None]:
        """Mean loss a token and number of tokens of one row."""
        return self._mean(*(number(self._cell(name, index), self._at(name, index)) for name in LOSSES[kind]))

    def _perturbed(self, index: int) -> list[tuple[float | None, int | None]]:
        if not self._has(PERTURBED):
            return []
        cells = [numbers(self._cell(name, index), self._at(name, index)) for name in LOSSES[PERTURBED]]
        most = max(len(cell) for cell in cells)
        padded = [cell if len(cell) == most else [None] * most for cell in cells]
        return [self._mean(*parts) for parts in zip(*padded, strict=True)]

    @staticmethod
    def _mean(mean: float | None, total: float | None, count: float | None) -> tuple[float | None, int | None]:
        length = int(count) if count is not None and 1 <= count < 2**53 and count == int(count) else None
        if mean is None and total is not None and length is not None:
            mean = total / length
        return mean, length

    def _texts(self, index: int) -> tuple[str | None, str | None, str | None]:
        """Question, generation and true answer, where the log has them."""
        cell = self._cell("generated_text", index)
        if not isinstance(cell, list) or len(cell) != 3:
            return None, None, None
        prompt, generation, truth = (text(part, self._at("generated_text", index)) for part in cell)
        return None if prompt is None else question_in(prompt), generation, truth

    def _at(self, name: str, index: int) -> str:
        return f"{self.where}: {name}[{index}]"
