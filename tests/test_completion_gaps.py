"""Rows and columns without any entry: no effect on a fit, and filled with means."""

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from _completion import SOLVERS, completer_of, every_dtype, low_rank, triplets_of
from _gpu import runtimes, use_runtime
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import EntryRegressor
from skrfm.completion._observed import ObservedIndices, Triplets
from skrfm.exceptions import NumericalWarning

gaps_are_expected = pytest.mark.filterwarnings(
    "ignore:.*without any observed entry:skrfm.exceptions.NumericalWarning"
)
quiet = pytest.mark.filterwarnings("ignore::UserWarning")
every_gap = pytest.mark.parametrize("gap", [1, 10, 100])

INPUTS = ["dense", "csr", "coo", "triplets", "pairs"]


def spread(X, gap, before=0, after=0):
    """The matrix with `gap - 1` empty rows and columns between those of X."""
    m, n = X.shape
    shape = before + gap * (m - 1) + 1 + after, before + gap * (n - 1) + 1 + after
    out = np.full(shape, np.nan, dtype=X.dtype)
    out[before : before + gap * m : gap, before : before + gap * n : gap] = X
    return out


def spread_triplets(X, gap):
    rows, cols, values = triplets_of(X)
    return gap * rows, gap * cols, values


def fitted(form, X, gap, weight=None, **parameters):
    """A completer that was fitted to X with gaps between its rows and columns."""
    completer = completer_of(**parameters)
    rows, cols, values = spread_triplets(X, gap)
    shape = tuple(gap * (size - 1) + 1 for size in X.shape)
    if form == "dense":
        return completer.fit(spread(X, gap))
    if form in ("csr", "coo"):
        kind = {"csr": sp.csr_array, "coo": sp.coo_matrix}[form]
        return completer.fit(kind(sp.coo_array((values, (rows, cols)), shape=shape)))
    if form == "triplets":
        return completer.fit_entries(rows, cols, values, shape, sample_weight=weight)
    pairs = np.column_stack([rows, cols])
    return EntryRegressor(completer).fit(pairs, values, weight).completer_


def values_of(completer, shape, gap):
    """The fitted values of a matrix that was fitted with gaps."""
    rows, cols = (gap * index.ravel() for index in np.indices(shape))
    return completer.predict_entries(rows, cols).reshape(shape)


def assert_same_fit(got, expected, gap, shape):
    """The same to the bit."""
    assert (got.rank_, got.n_iter_) == (expected.rank_, expected.n_iter_)
    assert_array_equal(got.validation_score_, expected.validation_score_)
    for name, column in expected.history_.items():
        assert_array_equal(got.history_[name], column)
    assert_array_equal(values_of(got, shape, gap), values_of(expected, shape, 1))
    U, s, V = got.factors_
    for a, b in zip((U[::gap], s, V[::gap]), expected.factors_, strict=True):
        assert_array_equal(a, b)
    assert_array_equal(got.mean_[::gap], expected.mean_)


# -- no effect on the fit -----------------------------------------------------------


@gaps_are_expected
@every_gap
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("form", INPUTS)
def test_gaps_do_not_change_a_fit(form, noise, gap):
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=noise)
    expected = completer_of().fit(X)
    assert_same_fit(fitted(form, X, gap), expected, gap, X.shape)


PARAMETERS = [
    *({"solver": solver} for solver in [*SOLVERS, "exact"]),
    {"center": True},
    {"loss": "huber", "max_rank": 4},
    {"alpha": 0.05, "max_rank": 12},
    {"random_state": 7},
]


@quiet
@gaps_are_expected
@every_dtype
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_gaps_do_not_change_a_fit_with_other_parameters(parameters, dtype):
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=0.3)
    X, parameters = X.astype(dtype), {"max_iter": 40} | parameters
    expected = completer_of(**parameters).fit(X)
    got = fitted("triplets", X, 10, **parameters)
    assert_same_fit(got, expected, 10, X.shape)
    assert got.predict_entries([1], [1]).dtype == got.mean_.dtype == dtype


@gaps_are_expected
@pytest.mark.parametrize(("before", "after"), [(3, 0), (0, 4), (2, 5)])
def test_empty_rows_and_columns_at_the_ends_do_not_change_a_fit(before, after):
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=0.3)
    expected = completer_of().fit(X)
    wide = spread(X, 1, before, after)
    got = completer_of().fit(wide)
    inner = slice(before, before + 25), slice(before, before + 12)
    assert got.rank_ == expected.rank_
    assert_array_equal(got.history_["score"], expected.history_["score"])
    assert_array_equal(got.transform(wide)[inner], expected.transform(X))
    assert got.score(wide) == expected.score(X)
    assert got.factors_[0].shape[0] == before + 25 + after
    assert got.get_feature_names_out().shape == got.mean_.shape == wide.shape[1:]


@gaps_are_expected
@pytest.mark.parametrize("form", ["triplets", "pairs"])
def test_rows_and_columns_of_weight_0_are_empty(form):
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=0.3)
    rows, cols, values = triplets_of(X)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(rows))
    weight[(rows == 3) | (rows == 24) | (cols == 0)] = 0
    got = fitted(form, X, 1, weight=weight)
    kept = weight > 0
    compact_rows, compact_cols = (
        np.unique(index[kept], return_inverse=True)[1] for index in (rows, cols)
    )
    expected = completer_of().fit_entries(
        compact_rows, compact_cols, values[kept], (23, 11), weight[kept]
    )
    assert_array_equal(
        got.predict_entries(rows[kept], cols[kept]),
        expected.predict_entries(compact_rows, compact_cols),
    )
    means = np.array(
        [
            np.average(values[kept & (cols == j)], weights=weight[kept & (cols == j)])
            for j in range(1, 12)
        ]
    )
    overall = np.average(values, weights=weight)
    for row in (3, 24):
        filled = got.predict_entries(np.full(12, row), np.arange(12))
        assert_allclose(filled, [overall, *means], rtol=1e-12)


@gaps_are_expected
def test_indices_in_the_billions_take_no_memory():
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=0.3)
    rows, cols, values = spread_triplets(X, 10**9)
    pairs = np.column_stack([rows, cols])
    expected = completer_of().fit(X)
    tracemalloc.start()
    try:
        regressor = EntryRegressor(completer_of()).fit(pairs, values)
        got = regressor.predict(pairs)
        filled = regressor.predict(pairs + 1 - 2 * (pairs > 0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6
    assert_array_equal(got, expected.predict_entries(*triplets_of(X)[:2]))
    assert_allclose(filled, np.mean(values), rtol=1e-12)


@gaps_are_expected
def test_a_rank_is_compared_with_the_whole_matrix():
    _, X = low_rank(25, 5, rank=1, share=0.9)
    wide = spread(X, 2)
    assert completer_of(max_rank=9).fit(wide).rank_ == 1
    with pytest.raises(ValueError, match="max_rank=10 is more than 9"):
        completer_of(max_rank=10).fit(wide)


@gaps_are_expected
@pytest.mark.parametrize("gap", [2, 7])
def test_rows_are_completed_and_scored_as_without_gaps(gap):
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=0.3)
    expected, got = completer_of().fit(X), completer_of().fit(spread(X, gap))
    assert_array_equal(
        got.transform(spread(X, gap))[::gap, ::gap], expected.transform(X)
    )
    assert got.score(spread(X, gap)) == expected.score(X)
    new = low_rank(9, 12, rank=2, share=0.7, noise=0.3, seed=1)[1]
    sparse = sp.csc_matrix(
        sp.coo_array((spread_triplets(new, gap)[2], spread_triplets(new, gap)[:2]))
    )
    sparse.resize(spread(new, gap).shape)
    assert_array_equal(got.transform(sparse)[::gap, ::gap], expected.transform(new))


@gaps_are_expected
@pytest.mark.parametrize("runtime", runtimes(simulated="guarded"))
def test_gaps_do_not_change_a_fit_on_the_gpu(runtime, monkeypatch):
    gpu = use_runtime(runtime, monkeypatch)
    _, X = low_rank(25, 12, rank=2, share=0.7, noise=0.3)
    wide = gpu.to_device(spread(X, 3))
    expected = completer_of(device="cuda", max_rank=4).fit(X)
    got = completer_of(max_rank=4).fit(wide)
    assert_same_fit(got, expected, 3, X.shape)
    completed = gpu.to_host(got.transform(wide))
    assert_array_equal(completed[::3, ::3], expected.transform(X))
    empty = gpu.to_device(np.full((2, wide.shape[1]), np.nan))
    filled = gpu.to_host(got.transform(empty))
    assert_allclose(filled[:, ::3], [np.nanmean(X, axis=0)] * 2)


# -- what they are filled with ------------------------------------------------------


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@every_dtype
def test_empty_rows_have_the_means_of_columns_and_empty_columns_that_of_all(
    dtype, noise, center
):
    _, X = low_rank(30, 9, rank=2, share=0.7, noise=noise)
    X = (X + 50 + np.arange(9)).astype(dtype)
    X[[0, 17]] = X[:, 8] = np.nan
    completer = completer_of(center=center)
    with pytest.warns(NumericalWarning, match="2 rows of X .*1 column of X") as caught:
        completed = completer.fit_transform(X)
    assert len(caught) == 1 and caught[0].filename == __file__
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    means, overall = np.nanmean(X[:, :8], axis=0), np.nanmean(X)
    assert_allclose(completed[[0, 17]], [[*means, overall]] * 2, rtol=rtol)
    assert_allclose(completed[:, 8], overall, rtol=rtol)
    for row in (0, 5):
        predicted = completer.predict_entries(np.full(9, row), np.arange(9))
        completer.set_params(keep_observed=False)
        # the rows are solved again, from the same entries
        expected = completer.transform(X)[row]
        assert_allclose(predicted, expected, rtol=1e6 * np.finfo(dtype).eps)
    assert completed.dtype == predicted.dtype == dtype


@every_dtype
@pytest.mark.parametrize("center", [False, True])
def test_new_rows_without_entries_have_the_means_of_columns(center, dtype):
    full = 50 + low_rank(40, 8, rank=2)[0]
    X = np.where(np.random.default_rng(0).random(full.shape) < 0.7, full, np.nan)
    X = X.astype(dtype)
    completer = completer_of(center=center).fit(X)
    new = np.vstack([X[:2], np.full((1, 8), np.nan, dtype), X[2:3]])
    with pytest.warns(NumericalWarning, match=r"1 row of X .* \(2\): filled") as caught:
        completed = completer.transform(new)
    assert len(caught) == 1 and caught[0].filename == __file__
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(completed[2], np.nanmean(X, axis=0), rtol=rtol)
    assert_array_equal(completed[[0, 1, 3]], completer.transform(X[:3]))
    with pytest.warns(NumericalWarning, match="1 row of X"):
        alone = completer.transform(sp.csr_array((1, 8), dtype=dtype))
    assert_array_equal(alone, completed[2:3])


def test_new_entries_in_columns_that_were_empty_are_kept_and_have_no_effect():
    _, X = low_rank(30, 9, rank=2, share=0.7, noise=0.3)
    X[:, 4] = np.nan
    with pytest.warns(NumericalWarning, match="1 column of X"):
        completer = completer_of(max_rank=3).fit(X)
    new = X.copy()
    new[:, 4] = 1e6
    new[7, :4] = new[7, 5:] = np.nan
    with pytest.warns(NumericalWarning, match=r"1 row of X .* \(7\)"):
        completed = completer.transform(new)
    others = np.delete(np.arange(9), 4)
    rest = np.delete(np.arange(30), 7)
    expected = completer.transform(X[rest])
    assert_array_equal(completed[np.ix_(rest, others)], expected[:, others])
    assert_array_equal(completed[:, 4], 1e6)
    assert_allclose(completed[7, others], np.nanmean(X[:, others], axis=0))
    repeated = sp.coo_matrix(([1.0, 2.0, 3.0], ([0, 1, 1], [0, 4, 4])), shape=(2, 9))
    with pytest.raises(ValueError, match="1 of the entries are given more than once"):
        completer.transform(repeated)


def test_rows_that_fit_has_warned_of_are_not_warned_of_again():
    _, X = low_rank(30, 9, rank=2, share=0.7)
    X[3] = np.nan
    with pytest.warns(NumericalWarning, match="1 row of X"):
        completer = completer_of().fit(X)
    completed = completer.transform(X[[3, 3]])
    assert_allclose(completed, [np.nanmean(X, axis=0)] * 2)
    rows, cols = np.full(9, 3), np.arange(9)
    assert_array_equal(completer.predict_entries(rows, cols), completed[0])


@every_dtype
def test_means_of_values_near_the_largest_number_are_finite(dtype):
    """Their sum overflows, and their singular values do not."""
    _, X = low_rank(20, 9, rank=1, share=0.7)
    X = ((0.02 + 1e-3 * X) * np.finfo(dtype).max).astype(dtype)
    with np.errstate(over="ignore"):
        assert np.isinf(np.nansum(X))
    X[4] = X[:, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        completed = completer_of().fit_transform(X)
    assert np.isfinite(completed).all()
    wide = X.astype(np.longdouble)
    cols = np.delete(np.arange(9), 2)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    expected = np.nanmean(wide[:, cols], axis=0).astype(dtype)
    assert_allclose(completed[4, cols], expected, rtol=rtol)
    assert_allclose(completed[4, 2], np.nanmean(wide).astype(dtype), rtol=rtol)


def test_fitted_attributes_are_missing_before_the_fit():
    for name in ("factors_", "mean_"):
        with pytest.raises(AttributeError, match=f"'{name}' is available after"):
            getattr(completer_of(), name)


# -- observed indices ---------------------------------------------------------------

INDEX_CASES = [
    (np.array([0, 2, 2, 1]), 3, None),
    (np.array([4, 1, 4], dtype=np.int32), 6, [1, 4]),
    (np.array([1, 1, 0, 3, 0], dtype=np.uint8), 4, [0, 1, 3]),
    (np.array([10**12, 5]), 10**13, [5, 10**12]),
    (np.array([], dtype=int), 4, []),
]


@pytest.mark.parametrize(("index", "size", "expected"), INDEX_CASES)
def test_observed_indices_and_positions(index, size, expected):
    observed, positions = ObservedIndices.of(index, size)
    if expected is None:
        assert observed.indices is None and len(observed) == size
    else:
        assert_array_equal(observed.indices, expected)
        assert len(observed) == len(expected)
    assert_array_equal(observed.original(positions), index)
    empty = [i for i in range(min(size, 20)) if i not in index]
    assert_array_equal(observed.first_empty(3), empty[:3])
    for i in empty:
        assert not observed.positions(np.array([i]))[1]
    if size < 100:
        compact = np.arange(1.0, len(observed) + 1)
        expanded = observed.expand(compact, -1.0)
        assert_array_equal(expanded[index], compact[positions])
        assert_array_equal(np.delete(expanded, index), np.full(len(empty), -1.0))


def test_triplets_of_a_matrix_without_gaps_are_mapped_back():
    rows, cols = np.array([9, 0, 9, 4]), np.array([2, 7, 5, 2])
    triplets = Triplets(rows, cols, np.arange(4.0), shape=(12, 8))
    matrix = triplets.without_gaps()
    assert matrix.entries.shape == (3, 3) and matrix.shape == (12, 8)
    back = matrix.triplets(np.ones(4, dtype=bool))
    assert_array_equal(back.entries().dense(), triplets.entries().dense())
