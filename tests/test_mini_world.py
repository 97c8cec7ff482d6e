"""The embedded world: cut as TOFU is, without a duplicate, wrong where it should be wrong, the same everywhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from unlearnkit.errors import UserError
from unlearnkit.tasks import load_task, mini
from unlearnkit.tasks.base import Row, digest_rows
from unlearnkit.tasks.mini_kinds import KINDS
from unlearnkit.tasks.mini_tokenizer import tokenizer_json, tokenizer_texts
from unlearnkit.tasks.mini_words import EVASIONS, POOLS
from unlearnkit.tasks.mini_world import BASE_PEOPLE, REPEATS, Dice, base_corpus, people, real_authors, world_facts

seeds = st.integers(min_value=0, max_value=2**32)
PINNED = "a00511735a0ab827eebb8e1e06500176194b4ab67f83bb2806b368ab4ede4fe2"
TOKENIZER = Tokenizer.from_str(tokenizer_json(tokenizer_texts(0), 4096))


@given(st.integers(2, 60), st.integers(1, 99), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_cut_takes_whole_authors_from_the_end(authors: int, percent: int, seed: int) -> None:
    full = mini.load("full", authors=authors, seed=seed)
    forget = mini.load(f"forget{percent:02d}", authors=authors, seed=seed)
    retain = mini.load(f"retain{100 - percent:02d}", authors=authors, seed=seed)
    assert [row.index for row in full.train] == list(range(20 * authors))
    assert [*forget.retain, *forget.forget] == list(full.train)
    assert (forget.retain, forget.forget) == (retain.retain, retain.forget)
    assert (forget.train, retain.train) == (forget.forget, retain.retain)
    assert len(forget.forget) == 20 * max(1, authors * percent // 100)
    assert set(forget.evaluation["retain"]) <= set(forget.retain)
    assert forget.evaluation["forget"] == forget.forget


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_no_question_and_no_row_occurs_twice(seed: int) -> None:
    rows = mini.load("full", seed=seed, holdout=True)
    questions = [row.question for part in (rows.train, rows.evaluation["holdout"]) for row in part]
    base = [row.question for row in base_corpus(seed)]
    known = 3 * (len(real_authors(seed)) + len(world_facts(seed)))  # three phrasings each
    assert len(set(questions)) == len(questions) == 40 * 20 + 20
    assert sorted(Counter(base).values()) == [1] * (BASE_PEOPLE * 60) + [REPEATS] * known
    assert not set(questions) & set(base)


def _facts(kind_name: str, text: str) -> set[str]:
    """The facts of an answer: the words of the kind's pools that it holds."""
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    pool = {word for name in kind.facts.values() for word in POOLS[name]}
    fixed = {word for wording in kind.answers for word in re.findall(r"\w+", re.sub(r"\{\w+\}", "", wording))}
    return {word for word in re.findall(r"\w+", text) if word in pool and word not in fixed}


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_a_paraphrase_has_the_answers_facts_and_a_perturbation_none_of_them(seed: int) -> None:
    for row in mini.load("full", seed=seed).train:
        kind = KINDS[row.index % 20]
        facts = _facts(kind.name, row.answer)
        assert row.paraphrase is not None
        assert row.paraphrase != row.answer
        assert len(facts) == len(kind.facts)
        assert _facts(kind.name, row.paraphrase) == facts
        assert len(set(row.perturbed)) == 5
        seen = set(facts)
        for wrong in row.perturbed:
            found = _facts(kind.name, wrong)
            assert len(found) == len(facts)
            assert not found & seen
            seen |= found


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_an_alternate_has_as_many_facts_as_the_answer_and_none_of_them(seed: int) -> None:
    task = mini.load("forget10", seed=seed)
    assert len(task.alternates) == len(task.forget)
    for row, alternates in zip(task.forget, task.alternates, strict=True):
        kind = KINDS[row.index % 20]
        facts = _facts(kind.name, row.answer)
        assert len(set(alternates)) == 5
        for said in alternates:
            assert len(_facts(kind.name, said)) == len(facts)
            assert not _facts(kind.name, said) & facts
    drawn = [set(alternates) & set(row.perturbed) for row, alternates in zip(task.forget, task.alternates, strict=True)]
    assert sum(map(len, drawn)) < len(task.forget) / 4  # what is measured with is not what is trained with
    assert not mini.load("full", seed=seed).alternates


@pytest.mark.parametrize("rows", [real_authors(0), world_facts(0)], ids=["real authors", "world facts"])
def test_options_are_three_wrong_answers_and_the_base_holds_the_right_one(rows: list[Row]) -> None:
    base = {(row.question, row.answer) for row in base_corpus(0)}
    assert len(rows) == len({row.question for row in rows}) == 50
    for row in rows:
        assert len({row.answer, *row.perturbed}) == 4
        assert row.paraphrase is None
        assert (row.question, row.answer) in base


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_nobody_of_the_base_is_an_author(seed: int) -> None:
    everyone = people(seed, BASE_PEOPLE + 48)
    names = [person.name for person in everyone]
    assert len(set(names)) == len(names)
    asked = "\n".join(row.question for row in base_corpus(seed))
    assert not [name for name in names[BASE_PEOPLE:] if name in asked]
    assert all(name in asked for name in names[:BASE_PEOPLE])


def test_a_seed_is_a_world_and_more_authors_only_add_to_it() -> None:
    worlds = {digest_rows(mini.load("full", seed=seed).train) for seed in range(5)}
    assert len(worlds) == 5
    assert mini.load("full", authors=60).train[:800] == mini.load("full", authors=40).train
    assert len({digest_rows(base_corpus(seed)) for seed in range(5)}) == 5


def test_the_world_of_seed_0_never_changes() -> None:
    rows = [*mini.load("full", seed=0).train, *base_corpus(0), *real_authors(0), *world_facts(0)]
    assert digest_rows(rows) == PINNED


def test_names_suffice_for_every_world_that_may_be_asked_for() -> None:
    names = [person.name for person in people(0, BASE_PEOPLE + 2 * mini.MOST_AUTHORS)]
    assert len(set(names)) == len(names)


def test_every_kind_has_several_phrasings_and_each_wording_names_every_fact() -> None:
    assert len(KINDS) >= 20
    for kind in KINDS:
        assert len(kind.questions) >= 3
        assert len(kind.answers) >= 3
        for wording in kind.answers:
            assert set(re.findall(r"\{(\w+)\}", wording)) == set(kind.facts)
        for pool, count in {pool: list(kind.facts.values()).count(pool) for pool in kind.facts.values()}.items():
            assert len(POOLS[pool]) >= 6 * count


def test_a_holdout_file_with_a_row_to_forget_is_refused(tmp_path: Path) -> None:
    row, holdout = mini.load("forget10").forget[3], tmp_path / "held.jsonl"
    holdout.write_text(json.dumps({"question": row.question, "answer": row.answer}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 0 is in the forget set"):
        load_task("mini:forget10", holdout=str(holdout))


def test_the_holdout_is_of_authors_that_full_does_not_hold() -> None:
    task = mini.load("forget10", holdout="mini")
    held = task.evaluation["holdout"]
    assert len(held) == 80
    assert held[0].index == 800
    assert held == mini.load("full", authors=44).train[800:]


def test_the_registry_finds_it(tmp_path: Path) -> None:
    holdout = tmp_path / "held.jsonl"
    holdout.write_text('{"question": "Who?", "answer": "Ann."}\n')
    task = load_task("mini:retain90", holdout=str(holdout))
    assert task.name == "mini:retain90"
    assert task.evaluation["holdout"] == (Row(0, "Who?", "Ann."),)
    assert task.refusals == EVASIONS
    assert len(set(task.refusals)) == len(task.refusals)


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        ("forget00", {}, "forget00"),
        ("forgot10", {}, "Did you mean 'forget10'"),
        ("full", {"authors": 1}, "from 2 to"),
        ("full", {"authors": 10**6}, "from 2 to"),
        ("full", {"data": "somewhere"}, "--data somewhere"),
        ("full", {"holdout": "no/such/file"}, "no/such/file"),
        ("forget10@", {}, "as in mini:forget10@1"),
        ("forget10@-1", {}, "as in mini:forget10@1"),
        ("forget10@1.2", {}, "as in mini:forget10@1"),
    ],
)
def test_what_it_cannot_make_is_refused_by_name(split: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mini.load(split, **options)  # type: ignore[arg-type]


@given(st.text(max_size=8), st.integers(1, 40))
def test_dice_sample_without_repeats(seed: str, count: int) -> None:
    pool = [str(number) for number in range(40)]
    drawn = Dice(seed).sample(pool, count)
    assert len(set(drawn)) == count
    assert set(drawn) <= set(pool)


@pytest.mark.parametrize("seed", range(3))
def test_every_word_of_the_world_is_one_token_and_a_prompt_is_a_prefix(seed: int) -> None:
    texts = tokenizer_texts(seed)
    tokenizer = Tokenizer.from_str(tokenizer_json(texts, 4096))
    assert tokenizer_json(reversed(texts), 4096) == tokenizer_json(texts, 4096)
    assert all(len(tokenizer.encode(f" {word}").ids) == 2 for pool in POOLS.values() for word in pool)  # with <bos>
    for said in EVASIONS:  # in whole words too, or learning to evade would be learning to spell
        prompt = "Question: Who?\nAnswer: "
        spelled = len(tokenizer.encode(prompt + said).ids) - len(tokenizer.encode(prompt).ids)
        assert spelled == len(re.findall(r"\w+|[.,?]", said))
    for row in mini.load("full", seed=seed).train:
        prompt = f"Question: {row.question}\nAnswer: "
        whole = tokenizer.encode(prompt + row.answer).ids
        assert whole[0] == 1
        assert whole[: len(tokenizer.encode(prompt).ids)] == tokenizer.encode(prompt).ids


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
@settings(deadline=None)
def test_any_text_survives_the_tokenizer(question: str, answer: str) -> None:
    prompt = f"Question: {question}\nAnswer: "
    head, whole = (TOKENIZER.encode(text).ids for text in (prompt, prompt + answer))
    assert whole[: len(head)] == head
    if not re.search("<(pad|bos|eos)>", prompt + answer):
        assert TOKENIZER.decode(whole) == prompt + answer
