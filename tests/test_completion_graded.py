"""LinRFMCompleter on matrices of no low rank, whose spectrum only decays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import LinRFMCompleter
from skrfm.completion._entries import ObservedEntries
from skrfm.completion._low_rank._exact import exact
from skrfm.completion._low_rank._iterates import Smoothing
from skrfm.completion._low_rank._rows import fitted_rows, row_model

low_rank_of_few_entries = pytest.mark.filterwarnings(
    "ignore:A matrix of rank:skrfm.exceptions.NumericalWarning"
)


def decaying(m=150, n=30, share=0.6, noise=0.2, seed=0, dtype=np.float64):
    """(a matrix with spectrum 1 / √j and levels of the columns, and what is seen)"""
    rng = np.random.default_rng(seed)
    roots = np.sqrt(np.arange(1, n + 1))
    full = rng.normal(size=(m, n)) / roots @ rng.normal(size=(n, n)) / np.sqrt(n)
    full = full + 3 * rng.normal(size=n)
    noisy = full + noise * rng.normal(size=full.shape)
    X = np.where(rng.random(full.shape) < share, noisy, np.nan)
    return full.astype(dtype), X.astype(dtype)


def completer_of(**parameters):
    return LinRFMCompleter(**{"random_state": 0} | parameters)


def error(completer, X, full):
    hidden = np.isnan(X)
    return np.sqrt(np.mean((completer.transform(X) - full)[hidden] ** 2))


def gaussian_rows(Y, P, noise, mean):
    """Conditional means of rows with covariance P, given what is seen of each."""
    W = np.zeros_like(Y)
    for i, row in enumerate(Y):
        seen = ~np.isnan(row)
        A = P[np.ix_(seen, seen)] + noise * np.eye(seen.sum())
        W[i] = P[:, seen] @ np.linalg.solve(A, (row - mean)[seen])
    return W + mean


def graded_iterates(X, count, **smoothing):
    rows, cols = np.nonzero(~np.isnan(X))
    entries = ObservedEntries(rows, cols, X[rows, cols], X.shape)
    smoothing = Smoothing(**{"coupling": 0.25, "decay": 0.8, "first": 1} | smoothing)
    solver = exact(entries, smoothing, min(X.shape), "squared", None, graded=True)
    for iterate, _ in zip(solver, range(count), strict=False):
        iterate.entries = entries
        yield iterate


@pytest.mark.parametrize("power", [0.25, 0.375, 0.5])
def test_iterates_are_conditional_means_of_gaussian_rows(power):
    """With the covariance (WᵀW + ε²I)^(2 power) that the iterate before gives."""
    _, X = decaying(20, 12)
    mean = np.nanmean(X, axis=0)
    first, second = graded_iterates(X, 2, power=power)
    # W of an iterate at the entries too, where its diagonal counts
    sizes, vectors = np.linalg.eigh(iterated(first).T @ iterated(first))
    P = (vectors * (sizes + second.eps**2) ** (2 * power)) @ vectors.T
    noise = 0.25 * second.eps ** (4 * power)
    expected = gaussian_rows(X, P, noise, mean)
    assert_allclose(iterated(second) + mean, expected, atol=1e-8)


def iterated(iterate):
    return (iterate.U * iterate.s) @ iterate.V.T


@pytest.mark.parametrize("shape", [(40, 15), (15, 40)])
def test_rows_are_solved_for_as_in_the_iterate(shape):
    _, X = decaying(*shape)
    hidden = np.isnan(X)
    *_, iterate = graded_iterates(X, 5)
    Z = fitted_rows(iterate, 1.0, row_model(iterate, 1.0, "squared"))
    got = Z @ iterate.metric[0].T
    assert_allclose(got[hidden], iterated(iterate)[hidden], atol=1e-8)


@low_rank_of_few_entries
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(150, 30), (60, 80)])
def test_a_decaying_spectrum_is_kept_and_predicts_better(shape, dtype):
    full, X = decaying(*shape, dtype=dtype)
    graded = completer_of().fit(X)
    low = completer_of(solver="two-sided").fit(X)
    assert graded.rank_ == min(shape) and low.rank_ < min(shape)
    assert {"match", "hide", "graded", "fit"} == set(graded.history_["stage"])
    assert error(graded, X, full) < error(low, X, full)
    assert graded.mean_.any() and not low.mean_.any()
    assert graded.transform(X).dtype == dtype
    tolerance = 1e-8 if dtype == np.float64 else 1e-3
    fitted = completer_of(keep_observed=False).fit_transform(X)
    U, s, V = graded.factors_
    assert_allclose((U * s) @ V.T + graded.mean_, fitted, atol=tolerance)


def test_a_noisy_matrix_of_low_rank_keeps_it():
    rng = np.random.default_rng(0)
    full = rng.normal(size=(150, 3)) @ rng.normal(size=(3, 60))
    X = full + 0.1 * rng.normal(size=full.shape)
    X[rng.random(X.shape) < 0.5] = np.nan
    completer = completer_of().fit(X)
    assert completer.rank_ == 3
    assert "graded" in completer.history_["stage"]


@pytest.mark.parametrize("parameters", [{"max_rank": 5}, {"solver": "alternating"}])
def test_a_rank_or_a_solver_that_is_given_leaves_it_out(parameters):
    _, X = decaying()
    completer = completer_of(**parameters).fit(X)
    assert "graded" not in completer.history_["stage"]


@low_rank_of_few_entries
def test_a_matrix_that_is_too_large_leaves_it_out(monkeypatch):
    _, X = decaying()
    monkeypatch.setattr("skrfm.completion._low_rank._lin_rfm._DENSE_WORK", 1e5)
    assert "graded" not in completer_of().fit(X).history_["stage"]


def test_new_rows_are_completed():
    full, X = decaying(300)
    completer = completer_of().fit(X[:150])
    got = completer.transform(X[150:])
    hidden = np.isnan(X[150:])
    spread = (full - full.mean(axis=0))[150:][hidden].std()
    assert np.sqrt(np.mean((got - full[150:])[hidden] ** 2)) < 0.8 * spread
    assert_allclose(completer.transform(X[150:151]), got[:1], rtol=1e-10)


def test_what_is_not_observed_has_no_effect():
    _, X = decaying()
    poisoned = np.nan_to_num(X, nan=1e300)
    expected = completer_of().fit_transform(X)
    got = completer_of(missing_values=1e300).fit_transform(poisoned)
    assert_array_equal(got, expected)


def test_columns_that_are_constant_but_for_a_few_entries():
    X = np.tile(np.arange(5.0), (12, 1))
    X[3, 2], X[0, 0] = 9.0, np.nan
    completed = completer_of().fit_transform(X)
    assert np.isfinite(completed).all()
