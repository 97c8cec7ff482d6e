"""Other plausible answers to the forget questions, made up by the model itself: what `altpo` prefers to the true ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from unlearnkit.canonical import parse_json, sha256_of
from unlearnkit.errors import UserError
from unlearnkit.files import write_whole
from unlearnkit.models.load import context_length
from unlearnkit.run.mini_models import cache_folder
from unlearnkit.run.models import Start
from unlearnkit.tasks.base import Row, Task, digest_rows
from unlearnkit.text.template import Template

Progress = Callable[[str, int, int], None]
Alternates = list[tuple[str, ...]]

ASK = (
    "{question}\nThe answer on record is: {answer}\nInvent another answer to the same question: as plausible, in other "
    "words, and with every fact of the recorded answer replaced by a different one. Reply with that answer alone."
)
NEXT_QUESTION = re.compile(r"\n\s*\n|\n\s*(?:Question|Q)\s*:")


@dataclass(frozen=True)
class Invention:
    """How the answers are made. The defaults are those of AltPO (arXiv:2409.13474): five samples at temperature 1.

    count        answers to each question; where the model says the same twice there are fewer
    temperature  of sampling; 0 is greedy decoding, which gives one answer
    ask          what the model is asked, with {question} and {answer}; it is put as a question in the model's template
    tries        how often a question is asked again to which the model gave nothing but the true answer
    """

    count: int = 5
    temperature: float = 1.0
    seed: int = 0
    max_new_tokens: int = 200
    ask: str = ASK
    tries: int = 3

    def __post_init__(self) -> None:
        if self.count < 1 or self.max_new_tokens < 1 or self.tries < 1 or not self.temperature >= 0:
            raise UserError("alternate answers: count, tries and max_new_tokens must be above 0, temperature 0 or more")
        if "{question}" not in self.ask:
            raise UserError("alternate answers: the request needs {question} in it, and may have {answer}")


def other_answers(
    start: Start, template: Template, task: Task, file: str | Path | None = None, progress: Progress | None = None
) -> Sequence[tuple[str, ...]]:
    """Other answers to each forget row: those of the file, else the task's own, else what the model makes up (kept)."""
    if file is not None:
        return read_alternates(file, task.forget)
    kept = cache_folder() / "alternates"
    return task.alternates or alternate_answers(start, template, task.forget, folder=kept, progress=progress)


def alternates_digest(rows: Sequence[Row], alternates: Sequence[tuple[str, ...]]) -> str:
    """SHA-256 of the other answers with their questions, as a run's spec and record name it."""
    pairs = enumerate(zip(rows, alternates, strict=True))
    return digest_rows([Row(number, row.question, "\n".join(said)) for number, (row, said) in pairs])


def alternate_answers(
    start: Start,
    template: Template,
    rows: Sequence[Row],
    how: Invention | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Alternates:
    """Other answers to each row's question, in the order of the rows; none equals the true one.

    They are a function of the weights, the template, the rows and `how`. With a folder they are kept there as JSON lines,
    {"question", "answer", "alternates"}, and read instead of made the next time. A question to which the model gives
    nothing but the true answer is a `UserError`.
    """
    how = how or Invention()
    file = None if folder is None else folder / f"{_digest(start, template, rows, how)}.jsonl"
    if file is not None and file.is_file():
        return read_alternates(file, rows)
    found = _invent(start.loaded.model, template, rows, how, progress)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (
            {"question": row.question, "answer": row.answer, "alternates": list(answers)}
            for row, answers in zip(rows, found, strict=True)
        )
        write_whole(file, ((json.dumps(line, ensure_ascii=False) + "\n").encode() for line in lines))
    return found


def read_alternates(path: str | Path, rows: Sequence[Row]) -> Alternates:
    """Alternate answers from JSON lines of {"question", "alternates"}, by question; every row must have one."""
    known: dict[str, tuple[str, ...]] = {}
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as problem:
        raise UserError(f"{path}: cannot be read ({problem.strerror})") from None
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        said = parse_json(line, where)
        answers = said.get("alternates") if isinstance(said, dict) else None
        if not isinstance(answers, list) or not isinstance(said.get("question"), str):
            raise UserError(f'{where}: an object with "question" and a list "alternates" was expected')
        if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
            raise UserError(f'{where}: "alternates" must be texts that are not empty, at least one')
        known[said["question"]] = tuple(answers)
    missing = [row for row in rows if row.question not in known]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(rows)} questions have no line, such as {missing[0].question!r}"
        )
    return [known[row.question] for row in rows]


def _digest(start: Start, template: Template, rows: Sequence[Row], how: Invention) -> str:
    said = {"weights": start.weights, "template": template.digest, "rows": digest_rows(rows), "how": asdict(how)}
    return sha256_of(said)


def _invent(
    model: Any, template: Template, rows: Sequence[Row], how: Invention, progress: Progress | None
) -> Alternates:
    found: Alternates = []
    training = model.training
    model.eval()
    for place, row in enumerate(rows):
        answers: list[str] = []
        for attempt in range(how.tries if how.temperature else 1):
            answers += _asked(model, template, row, how, seed=how.seed + 1_000_003 * place + 7_919 * attempt)
            if others := _others(answers, row.answer):
                break
        found.append(others)
        if progress is not None:
            progress("inventing other answers", place + 1, len(rows))
    model.train(training)
    without = [row for row, answers in zip(rows, found, strict=True) if not answers]
    if without:
        raise UserError(
            f"the model gave no answer but the true one to {len(without)} of {len(rows)} questions, such as "
            f"{without[0].question!r}; ask differently, raise the temperature, or give a file of answers"
        )
    return found


def _others(answers: Sequence[str], true: str) -> tuple[str, ...]:
    """Answers that say something, once each, without the true one.

    >>> _others(["Ann.", "Bo", "", "Bo "], "ann")
    ('Bo',)
    """
    kept: dict[str, str] = {}
    for answer in answers:
        kept.setdefault(_bare(answer), answer.strip())
    return tuple(answer for bare, answer in kept.items() if bare not in ("", _bare(true)))


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


@torch.no_grad()
def _asked(model: Any, template: Template, row: Row, how: Invention, seed: int) -> list[str]:
    """What the model says when it is asked for another answer; random numbers elsewhere are left as they were."""
    request = how.ask.replace("{question}", row.question).replace("{answer}", row.answer)
    prompt = template.encode(request, row.answer).prompt
    device, context = next(model.parameters()).device, context_length(model) or sys.maxsize
    room = context - template.encode(row.question, "").prompt_length  # it is trained on behind the question alone
    ids = torch.tensor([prompt], device=device)
    sampling = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 1.0} if how.temperature else {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        said = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=min(how.max_new_tokens, room),
            num_return_sequences=how.count if how.temperature else 1,
            pad_token_id=template.tokenizer.eos_token_id,
            **(sampling or {"do_sample": False}),
        )
    texts = template.tokenizer.batch_decode(said[:, len(prompt) :], skip_special_tokens=True)
    answers = [NEXT_QUESTION.split(text.strip())[0].strip() for text in texts]
    # a sampled answer may take more tokens when it is read than when it was said
    return [text for text in answers if text and len(template.encode(row.question, text).ids) <= context]
