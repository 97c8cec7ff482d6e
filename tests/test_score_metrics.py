"""Metrics on tables made by hand: numbers worked out on paper, protocols, underflow, refusals."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats

from unlearnkit.errors import UserError
from unlearnkit.score import score_table
from unlearnkit.score.metrics.forget_quality import ks_p, log10_p
from unlearnkit.score.metrics.rouge import overlap
from unlearnkit.score.suite import metrics
from unlearnkit.table import Table

WORDS = ["The", "author", "was", "born", "in", "Taipei", "and", "writes", "books", "on", "leadership"]


def rows(
    split: str, first: int, count: int, perturbations: int, rng: np.random.Generator, told: str = ""
) -> Iterator[dict[str, Any]]:
    for index in range(first, first + count):
        base = {"split": split, "index": index, "question": f"{split} question {index}?"}
        text = f"Answer {index}: " + " ".join(WORDS)
        generation = told or text
        yield {**base, "kind": "answer", "text": text, "loss": rng.exponential(), "length": 9, "generation": generation}
        if split in ("forget", "retain") and perturbations:
            yield {**base, "kind": "paraphrase", "text": text[::-1], "loss": rng.exponential() + 1, "length": 9}
        for place in range(perturbations):
            wrong = f"wrong {place} of {index}"
            loss = rng.exponential() + 2
            yield {**base, "kind": f"perturbed_{place}", "text": wrong, "loss": loss, "length": 9}


def table(seed: int = 0, forget: int = 40, first: int = 100, told: str = "", unperturbed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    made = [
        *rows("forget", first, forget, 5, rng, told),
        *rows("forget", first - unperturbed, unperturbed, 0, rng, told),
        *rows("retain", 0, 20, 5, rng, told),
        *rows("real_authors", 0, 10, 3, rng, told),
        *rows("world_facts", 0, 11, 3, rng, told),
    ]
    return Table.from_rows(made, {"source": "measured", "task": "tofu:forget01", "model": f"seed {seed}"})


def changed(source: Table, **change: Any) -> Table:
    made = [{**row, **{key: make(row) for key, make in change.items()}} for row in source.data.to_pylist()]
    return Table.from_rows(made, source.meta)


def test_every_metric_is_described_and_scored() -> None:
    scores = score_table(table())
    assert set(scores.scores) == set(metrics())
    for name, metric in metrics().items():
        assert metric.name == name
        assert metric.formula()
        assert metric.blind
        assert metric.paper
        assert scores[name].direction == metric.toward()
        assert (scores[name].value is None) == (scores[name].reason is not None)


def test_without_a_reference_what_compares_is_missing_with_a_reason() -> None:
    score = score_table(table())["forget_quality"]
    assert score.value is None
    assert "--reference" in (score.reason or "")


def test_a_model_against_itself_has_forget_quality_one() -> None:
    assert score_table(table(), table())["forget_quality"].value == 1
    assert 0 < (score_table(table(), table(1))["forget_quality"].value or 0) < 1


def test_tofu_scores_the_first_300_and_only_forget_rows_with_perturbations() -> None:
    wide = table(forget=320, first=1000, unperturbed=50)
    scores = score_table(wide, protocol="tofu")
    assert scores["forget_probability"].n == scores["forget_truth_ratio"].n == 300
    ours = score_table(wide)
    assert ours["forget_probability"].n == ours["forget_rouge"].n == 370
    assert ours["forget_truth_ratio"].n == 320


def test_tofu_reads_the_cut_generation() -> None:
    short = changed(table(), generation_cut=lambda row: "Answer" if row["kind"] == "answer" else None)
    assert score_table(short, protocol="unlearnkit")["forget_rouge"].value == 1
    assert (score_table(short, protocol="tofu")["forget_rouge"].value or 1) < 0.2


def test_collapse_keeps_its_truth_ratio_in_log_space_and_loses_it_with_epsilon() -> None:
    healthy = table()
    collapsed = changed(healthy, loss=lambda row: row["loss"] + 900)
    ours = score_table(collapsed, healthy)
    assert ours["forget_quality"].value == pytest.approx(1)
    assert ours["real_authors_probability"].value == pytest.approx(
        score_table(healthy)["real_authors_probability"].value, rel=1e-9
    )
    theirs = score_table(collapsed, healthy, "open-unlearning")
    assert (theirs["forget_quality"].value or 1) < 1e-20
    assert theirs["forget_truth_ratio"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("column", ["question", "text"])
def test_a_reference_with_other_texts_is_refused_with_the_row(column: str) -> None:
    other = changed(table(1), **{column: lambda row: row[column] + ("!" if row["index"] == 117 else "")})
    with pytest.raises(UserError, match=r"(question|answers) of row 117 differ"):
        score_table(table(), other)


def test_a_reference_of_other_rows_is_refused_with_the_row() -> None:
    with pytest.raises(UserError, match=r"30 rows \(100 to 129\), this table 40 rows .* row 130 is only in one"):
        score_table(table(), table(1, forget=30))


def test_a_reference_of_another_retain_split_but_the_same_scored_rows_is_legitimate() -> None:
    model = table(unperturbed=30)
    assert score_table(model, table(1))["forget_quality"].n == 40


def test_a_row_measured_twice_is_refused() -> None:
    twice = Table.from_rows(table().data.to_pylist() * 2, table().meta)
    with pytest.raises(UserError, match="twice"):
        score_table(twice)


def test_a_set_that_was_not_measured_is_missing_by_name() -> None:
    kept = [row for row in table().data.to_pylist() if row["split"] != "world_facts"]
    scores = score_table(Table.from_rows(kept, table().meta))
    assert scores["world_facts_rouge"].reason == "the table has no world facts rows"
    assert scores["model_utility"].value is None
    assert scores["retain_rouge"].value == 1


def test_unknown_protocol_and_role_are_refused_with_a_suggestion() -> None:
    with pytest.raises(UserError, match="Did you mean 'tofu'"):
        score_table(table(), protocol="tofuu")
    with pytest.raises(UserError, match="mia_reference"):
        score_table(table(), others={"mia_referenz": table()})


def test_a_stored_table_scores_bit_for_bit(tmp_path: Any) -> None:
    whole = table()
    whole.save(tmp_path / "table.parquet")
    again = Table.load(tmp_path / "table.parquet")
    assert score_table(again, table(1)).to_json() == score_table(whole, table(1)).to_json()


def test_scoring_300_generated_rows_is_quick() -> None:
    """What a trainer pays after an epoch, with generations that were not seen before; the best of three tries."""
    first = table(forget=300, told="first answer")
    score_table(first, first)
    spent = []
    for attempt in range(3):
        second = table(forget=300, told=" ".join([*WORDS[::-1] * 5, str(attempt)]))
        start = time.process_time()
        score_table(second, first)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5, spent


TEXTS = st.text(alphabet=st.sampled_from("abcdeé ÀxyzRunning1.,'\n"), max_size=60)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_overlap_equals_rouge_score(target: str, prediction: str) -> None:
    theirs = RougeScorer(["rouge1", "rougeL"], use_stemmer=True).score(target, prediction)
    ours = overlap(target, prediction)
    assert (ours.rouge1_recall, ours.rougeL_recall) == (theirs["rouge1"].recall, theirs["rougeL"].recall)
    assert (ours.rouge1_f1, ours.rougeL_f1) == pytest.approx((theirs["rouge1"].fmeasure, theirs["rougeL"].fmeasure))


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.lists(st.sampled_from(WORDS), max_size=30))
@settings(max_examples=100, deadline=None)
def test_overlap_of_sentences_equals_rouge_score(target: list[str], prediction: list[str]) -> None:
    theirs = RougeScorer(["rougeL"], use_stemmer=True).score(" ".join(target), " ".join(prediction))
    assert overlap(" ".join(target), " ".join(prediction)).rougeL_recall == theirs["rougeL"].recall


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_log10_p_agrees_with_p_where_p_is_representable(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=n), rng.normal(size=n) + rng.exponential()
    assert log10_p(first, second) == pytest.approx(math.log10(ks_p(first, second)), abs=1e-9)
    assert log10_p(first, second) == pytest.approx(log10_p(-first, -second), abs=1e-9)


def test_log10_p_survives_underflow_and_meets_the_floor() -> None:
    n = 400
    apart = log10_p(np.zeros(n), np.ones(n))
    floor = (math.log(2) - math.log(math.comb(2 * n, n))) / math.log(10)
    assert apart == pytest.approx(floor, abs=1e-9)
    more = log10_p(np.zeros(3600), np.ones(3600))
    assert more == pytest.approx(math.log10(2) - (math.log(math.comb(7200, 3600)) / math.log(10)), rel=1e-9)
    assert stats.ks_2samp(np.zeros(3600), np.ones(3600)).pvalue < 1e-300


def test_models_that_differ_by_rounding_have_forget_quality_one_without_a_warning() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ks_p(values, values + 1e-12) == pytest.approx(1)
