"""Alternate answers: made by the model, kept, read back, and each question paired with its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unlearnkit.errors import UserError
from unlearnkit.models.load import load_model
from unlearnkit.objectives import parse_objective
from unlearnkit.run.alternates import Invention, alternate_answers, read_alternates
from unlearnkit.run.models import Start
from unlearnkit.tasks.base import Row
from unlearnkit.text.template import Template
from unlearnkit.training.data import Examples

ROWS = [Row(0, "What did Ann Lee write?", "Ann Lee wrote Ice."), Row(1, "When was Bo Chen born?", "In 1907.")]
HOW = Invention(count=3, max_new_tokens=8)


@pytest.fixture
def start(tiny_folder: Path) -> Start:
    return Start(load_model(str(tiny_folder), device=torch.device("cpu")), "weights")


def test_the_model_s_answers_follow_from_the_seed_and_leave_other_randomness_alone(start: Start) -> None:
    template = Template(start.loaded.tokenizer)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = alternate_answers(start, template, ROWS, HOW)
    assert torch.equal(torch.rand(4), expected)
    assert alternate_answers(start, template, ROWS, HOW) == first
    assert alternate_answers(start, template, ROWS, Invention(count=3, max_new_tokens=8, seed=1)) != first
    assert all(1 <= len(answers) <= 3 for answers in first)
    assert all(row.answer not in answers for row, answers in zip(ROWS, first, strict=True))


def test_greedy_decoding_gives_one_answer(start: Start) -> None:
    found = alternate_answers(
        start, Template(start.loaded.tokenizer), ROWS, Invention(temperature=0.0, max_new_tokens=8)
    )
    assert [len(answers) for answers in found] == [1, 1]


def test_answers_are_kept_and_not_made_again(start: Start, tmp_path: Path) -> None:
    template = Template(start.loaded.tokenizer)
    first = alternate_answers(start, template, ROWS, HOW, tmp_path)
    (file,) = tmp_path.iterdir()
    assert [json.loads(line)["question"] for line in file.read_text().splitlines()] == [row.question for row in ROWS]
    with torch.no_grad():
        for weight in start.loaded.model.parameters():
            weight.zero_()  # another answer, if it were asked
    assert alternate_answers(start, template, ROWS, HOW, tmp_path) == first
    alternate_answers(start, template, ROWS[:1], HOW, tmp_path)
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"question": "What did Ann Lee write?", "alternates": ["Salt."]}', "1 of 2 questions have no line"),
        ('{"question": "What did Ann Lee write?", "alternates": []}', 'line 1: "alternates" must be texts'),
        ('{"question": "What did Ann Lee write?"}', "line 1: an object"),
        ("[]", "line 1: an object"),
        ("nonsense", "line 1"),
    ],
)
def test_a_bad_file_of_answers_is_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(text + "\n")
    with pytest.raises(UserError, match=said):
        read_alternates(file, ROWS)


def test_a_request_without_the_question_is_refused() -> None:
    with pytest.raises(UserError, match="the request needs"):
        Invention(ask="Say something else.")


def test_each_question_goes_with_answers_of_its_own(start: Start) -> None:
    template = Template(start.loaded.tokenizer)
    alternates = [("Salt.", "Two Rivers."), ("In 1950.",)]
    examples = Examples(
        parse_objective("altpo + rt"), template, forget=ROWS, retain=ROWS, refusals=("No.",), alternates=alternates
    )
    seen: dict[int, set[tuple[int, ...]]] = {0: set(), 1: set()}
    for epoch in range(20):
        for place in (0, 1):
            seen[place].add(examples[epoch, place]["alternate"].row.ids)
    for place, row in enumerate(ROWS):
        assert seen[place] == {template.encode(row.question, answer).ids for answer in alternates[place]}


def test_a_question_without_an_answer_of_the_model_is_refused(start: Start) -> None:
    with pytest.raises(UserError, match="1 of 2 have none"):
        Examples(parse_objective("altpo"), Template(start.loaded.tokenizer), forget=ROWS, alternates=[("Salt.",), ()])


def test_no_answer_is_longer_than_the_model_can_read(start: Start) -> None:
    template = Template(start.loaded.tokenizer)
    context = max(template.encode(row.question, "").prompt_length for row in ROWS) + 6
    start.loaded.model.config.max_position_embeddings = context
    found = alternate_answers(start, template, ROWS, Invention(count=20))
    pairs = [(row.question, answer) for row, answers in zip(ROWS, found, strict=True) for answer in answers]
    assert max(len(row.ids) for row in template.encode_all(pairs)) <= context
