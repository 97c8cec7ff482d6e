"""Intervals: agreement with slow definitions, and how often they hold the truth."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unlearnkit.score.resampling import (
    DRAWS,
    auc,
    auc_interval,
    bca_mean,
    bootstrap_auc,
    bootstrap_distance,
    bootstrap_means,
    resamples,
)

NUMBERS = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=25).map(np.array)


@given(NUMBERS, NUMBERS)
def test_auc_is_the_share_of_pairs(low: np.ndarray, high: np.ndarray) -> None:
    pairs = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    assert auc(low, high) == pytest.approx(pairs.mean())
    assert auc(low, high) == pytest.approx(1 - auc(high, low))


@settings(max_examples=20, deadline=None)
@given(NUMBERS, NUMBERS)
def test_bootstrapped_areas_are_those_of_the_resamples(low: np.ndarray, high: np.ndarray) -> None:
    draws = bootstrap_auc(low, high, ("a", "b"))
    lows, highs = resamples(len(low), "a", slice(0, DRAWS)), resamples(len(high), "b", slice(0, DRAWS))
    for at in (0, 17, DRAWS - 1):
        assert draws[at] == pytest.approx(auc(low[lows[at]], high[highs[at]]))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 25), st.integers(0, 9999))
def test_bootstrapped_distances_are_those_of_the_resamples(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 9, rows).astype(float), rng.integers(0, 9, rows).astype(float)
    draws, drawn = bootstrap_distance(first, second, "a"), resamples(rows, "a", slice(0, DRAWS))
    for at in (0, 17, DRAWS - 1):
        slow = stats.ks_2samp(first[drawn[at]], second[drawn[at]], method="asymp").statistic
        assert draws[at] == pytest.approx(slow)


def test_the_means_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        values = rng.exponential(size=60)
        low, high = bca_mean(values, bootstrap_means(values, "x")) or (0, 0)
        held += low <= 1 <= high
    assert 0.88 <= held / 300 <= 0.99


@pytest.mark.parametrize(("shift", "rows"), [(0.0, 40), (1.0, 50), (2.5, 40)])
def test_the_area_s_interval_holds_the_truth_about_as_often_as_it_says(shift: float, rows: int) -> None:
    rng = np.random.default_rng(1)
    truth, held = stats.norm.cdf(shift / np.sqrt(2)), 0
    for _ in range(400):
        area = auc(rng.normal(size=rows), rng.normal(size=rows) + shift)
        low, high = auc_interval(area, rows, rows)
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 1.0


def test_equal_rows_have_an_interval_without_width() -> None:
    values = np.full(20, 0.5)
    assert bca_mean(values, bootstrap_means(values, "x")) == (0.5, 0.5)


def test_memory_is_flat_in_the_number_of_rows() -> None:
    values = np.random.default_rng(0).normal(size=40_000)
    tracemalloc.start()
    draws = bootstrap_means(values, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20  # all resamples at once would take 320 MB
    assert draws.std() == pytest.approx(values.std() / np.sqrt(len(values)), rel=0.1)
