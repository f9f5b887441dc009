"""Observed entries: their order, and the compiled sums over them.

Everything is compared with dense NumPy algebra. Patterns are drawn by a seed and a
shape, with empty rows and columns, and sometimes without any entry at all.
"""

import numpy as np
import pytest
from _completion import every_dtype, every_solver
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from skrfm import LinRFMCompleter
from skrfm._backend import own_threads
from skrfm.completion._compressed import _PARTS, CompressedRows
from skrfm.completion._entries import ObservedEntries

# as many rows as own_threads wants before it starts threads
MANY_ROWS = 10_000

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)


class Pattern:
    """Entries in any order, and the same as dense arrays."""

    def __init__(self, m, n, share, seed, dtype=np.float64):
        rng = np.random.default_rng(seed)
        self.mask = rng.random((m, n)) < share
        self.mask[rng.integers(m)] = self.mask[:, rng.integers(n)] = False
        self.rows, self.cols = rng.permutation(np.argwhere(self.mask)).T
        self.dense = rng.normal(size=(m, n)).astype(dtype)
        self.dense_weight = rng.uniform(0.1, 3, size=(m, n)).astype(dtype)
        self.shape, self.dtype, self.rng = (m, n), dtype, rng
        self.rtol = 1e-12 if dtype == np.float64 else 1e-5

    def entries(self):
        rows, cols = self.rows, self.cols
        values, weight = self.dense[rows, cols], self.dense_weight[rows, cols]
        return ObservedEntries(rows, cols, values, shape=self.shape, weight=weight)

    def normal(self, *shape):
        return self.rng.normal(size=shape).astype(self.dtype)

    def assert_close(self, got, expected):
        assert got.dtype == self.dtype
        scale = np.abs(expected).max(initial=1.0)
        assert_allclose(got, expected, rtol=self.rtol, atol=self.rtol * scale)


sizes = st.integers(1, 20)
patterns = st.builds(
    Pattern,
    m=sizes,
    n=sizes,
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float64, np.float32]),
)
ranks = st.integers(1, 9)


# -- order ------------------------------------------------------------------------


@few
@given(patterns)
def test_entries_are_sorted_by_row_and_column(pattern):
    entries = pattern.entries()
    rows, cols = np.nonzero(pattern.mask)
    assert entries.shape == pattern.shape and len(entries) == len(rows)
    assert_array_equal(entries.rows, rows)
    assert_array_equal(entries.cols, cols)
    assert_array_equal(entries.values, pattern.dense[rows, cols])
    assert_array_equal(entries.weight, pattern.dense_weight[rows, cols])
    assert entries.values.dtype == entries.weight.dtype == pattern.dtype


@few
@given(patterns)
def test_counts_and_the_slices_of_rows(pattern):
    entries = pattern.entries()
    assert_array_equal(entries.row_counts(), pattern.mask.sum(axis=1))
    assert_array_equal(entries.column_counts(), pattern.mask.sum(axis=0))
    slices = list(entries.by_row())
    assert len(slices) == pattern.shape[0]
    for row, chosen in enumerate(slices):
        assert_array_equal(entries.cols[chosen], np.flatnonzero(pattern.mask[row]))


@few
@given(patterns)
def test_the_transposed_entries_and_the_order_of_the_columns(pattern):
    entries = pattern.entries()
    turned = entries.transposed()
    cols, rows = np.nonzero(pattern.mask.T)
    assert turned.shape == pattern.shape[::-1]
    assert_array_equal(turned.rows, cols)
    assert_array_equal(turned.cols, rows)
    assert_array_equal(turned.values, pattern.dense[rows, cols])
    order = entries.column_order
    assert_array_equal(turned.values, entries.values[order])
    assert_array_equal(turned.weight, entries.weight[order])
    back = turned.transposed()
    assert back.shape == entries.shape
    for name in ("rows", "cols", "values", "weight", "column_order"):
        assert_array_equal(getattr(back, name), getattr(entries, name))


@few
@given(patterns)
def test_transposed_entries_sum_as_others_do(pattern):
    (m, n), turned = pattern.shape, pattern.entries().transposed()
    L, R = pattern.normal(n, 2), pattern.normal(m, 2)
    S = np.where(pattern.mask, pattern.dense, 0).T
    pattern.assert_close(turned.row_sums(turned.values, R), S @ R)
    pattern.assert_close(turned.column_sums(turned.values, L), S.T @ L)
    some = turned.select(turned.values > 0)
    pattern.assert_close(some.row_sums(some.values, R), np.maximum(S, 0) @ R)


@few
@given(patterns)
def test_selected_entries_keep_their_positions_and_weights(pattern):
    entries = pattern.entries()
    chosen = pattern.rng.random(len(entries)) < 0.5
    some = entries.select(chosen)
    assert some.shape == pattern.shape
    for name in ("rows", "cols", "values", "weight"):
        assert_array_equal(getattr(some, name), getattr(entries, name)[chosen])


def test_with_values_leaves_the_entries_alone():
    pattern = Pattern(6, 5, 0.5, seed=0)
    entries = pattern.entries()
    before = entries.values.copy()
    other = entries.with_values(2 * entries.values)
    assert_array_equal(entries.values, before)
    assert_array_equal(other.values, 2 * before)
    assert_array_equal(other.cols, entries.cols)
    assert_array_equal(other.transposed().values, 2 * entries.transposed().values)


@pytest.mark.parametrize("share", [1e-9, 0.1, 0.37, 0.999])
def test_a_share_of_the_entries_is_hidden_and_at_least_one(share):
    entries = Pattern(20, 15, 0.5, seed=1).entries()
    hidden = entries.draw_hidden(share, np.random.RandomState(0))
    assert hidden.dtype == bool and hidden.shape == (len(entries),)
    assert hidden.sum() == max(1, round(share * len(entries)))
    assert_array_equal(hidden, entries.draw_hidden(share, np.random.RandomState(0)))


def test_every_entry_is_as_likely_to_be_hidden():
    entries = Pattern(5, 5, 0.9, seed=2).entries()
    random_state = np.random.RandomState(0)
    draws = [entries.draw_hidden(0.3, random_state) for _ in range(2000)]
    assert_allclose(np.mean(draws, axis=0), draws[0].mean(), atol=0.05)


def test_entries_that_are_given_twice_are_an_error():
    rows, cols = [0, 2, 0, 1, 0, 2], [1, 1, 1, 0, 1, 1]
    with pytest.raises(ValueError, match="3 of the entries are given more than once"):
        ObservedEntries(rows, cols, np.ones(6), shape=(3, 2))


def test_the_weight_is_1_where_none_is_given():
    entries = ObservedEntries([1, 0], [0, 1], np.float32([3, 4]), shape=(2, 2))
    assert_array_equal(entries.weight, [1, 1])
    assert entries.weight.dtype == np.float32


def test_zeros_are_entries():
    entries = ObservedEntries([1, 0], [0, 1], np.zeros(2), shape=(2, 2))
    assert len(entries) == len(entries.transposed()) == 2
    assert_array_equal(entries.column_counts(), [1, 1])


@few
@given(patterns)
def test_the_parts_are_all_the_rows_in_their_order(pattern):
    pointer = np.concatenate([[0], np.cumsum(pattern.mask.sum(axis=1))])
    parts = CompressedRows(pointer, np.nonzero(pattern.mask)[1]).parts
    assert len(parts) <= _PARTS
    rows = [row for start, stop in parts for row in range(start, stop)]
    assert rows == list(range(pattern.shape[0]))


def test_the_parts_have_about_the_same_number_of_entries():
    counts = np.random.default_rng(0).integers(0, 9, size=4000)
    pointer = np.concatenate([[0], np.cumsum(counts)])
    parts = CompressedRows(pointer, np.zeros(pointer[-1], dtype=int)).parts
    sums = [pointer[stop] - pointer[start] for start, stop in parts]
    assert len(sums) == _PARTS
    assert_allclose(sums, np.mean(sums), rtol=0.05)


# -- sums -------------------------------------------------------------------------


@few
@given(patterns, ranks)
def test_products_of_factors(pattern, k):
    (m, n), entries = pattern.shape, pattern.entries()
    L, R = pattern.normal(m, k), pattern.normal(n, k)
    pattern.assert_close(entries.products(L, R), (L @ R.T)[pattern.mask])


@few
@given(patterns, ranks, ranks)
def test_sums_of_weighted_products(pattern, k, extra):
    (m, n), entries = pattern.shape, pattern.entries()
    L, R = pattern.normal(m, k + extra), pattern.normal(n, k + extra)
    S = np.where(pattern.mask, pattern.dense_weight * (L @ R.T), 0)
    by_column = entries.by_column(entries.weight)
    np.testing.assert_array_equal(by_column, entries.weight[entries.column_order])
    for chosen in slice(k), slice(extra, None):
        sums = entries.normal_row_sums(entries.weight, L, R, chosen)
        pattern.assert_close(sums, S @ R[:, chosen])
        column_sums = entries.normal_column_sums(by_column, L, R, chosen)
        pattern.assert_close(column_sums, S.T @ L[:, chosen])


@few
@given(patterns, ranks)
def test_sums_over_rows_and_over_columns(pattern, k):
    (m, n), entries = pattern.shape, pattern.entries()
    L, R = pattern.normal(m, k), pattern.normal(n, k)
    values = pattern.normal(len(entries))
    S = np.zeros(pattern.shape)
    S[pattern.mask] = values
    pattern.assert_close(entries.row_sums(values, R), S @ R)
    pattern.assert_close(entries.column_sums(values, L), S.T @ L)


@few
@given(patterns, ranks)
def test_the_solves_of_rows_with_weights_and_penalties(pattern, k):
    (m, n), entries = pattern.shape, pattern.entries()
    V, penalty = pattern.normal(n, k), pattern.rng.uniform(0.5, 2, size=k)
    Z = entries.row_solves(V, penalty, entries.weight)
    expected = np.zeros((m, k))
    for i, seen in enumerate(pattern.mask):
        # the penalty as k more equations, solved by SciPy's least squares
        root = np.sqrt(pattern.dense_weight[i, seen].astype(float))
        A = np.vstack([root[:, None] * V[seen], np.diag(np.sqrt(penalty))])
        b = np.concatenate([root * pattern.dense[i, seen], np.zeros(k)])
        expected[i] = np.linalg.lstsq(A, b)[0]
    pattern.rtol *= 100
    pattern.assert_close(Z, expected)


@few
@given(patterns)
def test_the_solves_of_rows_with_a_metric(pattern):
    n, entries = pattern.shape[1], pattern.entries()
    root = pattern.normal(n, n)
    P, noise = root @ root.T, pattern.rng.uniform(0.5, 2, size=len(entries))
    noise = noise.astype(P.dtype)
    got, dense_noise = entries.dual_solves(P, noise), np.zeros(pattern.shape)
    dense_noise[pattern.mask] = noise
    expected = [
        np.linalg.solve(
            P[np.ix_(seen, seen)] + np.diag(dense_noise[i, seen]),
            pattern.dense[i, seen],
        )
        for i, seen in enumerate(pattern.mask)
    ]
    pattern.rtol *= 1000
    pattern.assert_close(got, np.concatenate(expected))


@few
@given(patterns)
def test_means_of_columns(pattern):
    entries = pattern.entries()
    assume(len(entries))
    overall = np.average(entries.values, weights=entries.weight)
    expected = [
        np.average(column[seen], weights=weight[seen]) if seen.any() else overall
        for column, weight, seen in zip(
            pattern.dense.T, pattern.dense_weight.T, pattern.mask.T, strict=True
        )
    ]
    means = entries.column_means()
    pattern.assert_close(means, np.array(expected))
    pattern.assert_close(
        entries.subtract(means).values + means[entries.cols], entries.values
    )


@few
@given(patterns)
def test_factors_need_not_be_contiguous(pattern):
    (m, n), entries = pattern.shape, pattern.entries()
    L, R = pattern.normal(3, m).T, pattern.normal(n, 6)[:, ::2]
    pattern.assert_close(entries.products(L, R), (L @ R.T)[pattern.mask])
    Z = entries.row_solves(R, np.ones(3), entries.weight)
    copied = entries.row_solves(R.copy(), np.ones(3), entries.weight)
    assert_array_equal(Z, copied)
    sums = entries.column_sums(entries.values, L)
    assert_array_equal(sums, entries.column_sums(entries.values, L.copy()))


# -- threads ----------------------------------------------------------------------


def all_sums(entries, k=4):
    rng = np.random.default_rng(0)
    (m, n), dtype = entries.shape, entries.values.dtype
    L, R = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
    return [
        entries.products(L, R),
        entries.normal_row_sums(entries.weight, L, R, slice(2)),
        entries.normal_column_sums(entries.weight, L, R, slice(2)),
        entries.row_sums(entries.values, R),
        entries.column_sums(entries.values, L),
        entries.row_solves(R, np.ones(k), entries.weight),
    ]


@every_dtype
@pytest.mark.parametrize("limit", [2, 3])
def test_sums_are_the_same_with_any_number_of_threads(limit, dtype):
    entries = Pattern(400, 300, 0.3, seed=3, dtype=dtype).entries()
    expected = all_sums(entries)
    with threadpool_limits(limit, user_api="blas"), own_threads(MANY_ROWS):
        for got, alone in zip(all_sums(entries), expected, strict=True):
            assert_array_equal(got, alone)


@every_solver
def test_a_fit_is_the_same_with_any_number_of_threads(solver):
    rng = np.random.default_rng(4)
    full = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 250))
    X = np.where(rng.random(full.shape) < 0.6, full, np.nan)
    assert np.isfinite(X).sum() > 50 * 800  # fewer are not shared out
    fits = []
    for limit in (1, 2, 3):
        with threadpool_limits(limit, user_api="blas"):
            completer = LinRFMCompleter(max_rank=3, solver=solver, random_state=0)
            fits.append([completer.fit_transform(X), *completer.factors_])
    for fit in fits[1:]:
        for got, alone in zip(fit, fits[0], strict=True):
            assert_array_equal(got, alone)
