"""LinRFMCompleter with a full spectrum: matrices whose singular values only decay."""

from itertools import islice

import numpy as np
import pytest
from _completion import completer_of, entries_of
from numpy.testing import assert_allclose, assert_array_equal

from skrfm.completion._low_rank._exact import full_spectrum
from skrfm.completion._low_rank._iterates import Smoothing
from skrfm.completion._low_rank._rows import fitted_rows, row_model

few_entries_for_the_rank = pytest.mark.filterwarnings(
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


def error(completer, X, full):
    hidden = np.isnan(X)
    return np.sqrt(np.mean((completer.transform(X) - full)[hidden] ** 2))


def conditional_means(Y, P, noise, mean):
    """Conditional means of rows with covariance P, given what is seen of each."""
    W = np.zeros_like(Y)
    for i, row in enumerate(Y):
        seen = ~np.isnan(row)
        A = P[np.ix_(seen, seen)] + noise * np.eye(seen.sum())
        W[i] = P[:, seen] @ np.linalg.solve(A, (row - mean)[seen])
    return W + mean


def iterates_of(X, count, power=0.5):
    smoothing = Smoothing(power=power, coupling=0.25, decay=0.8, start_index=1)
    solver = full_spectrum(
        entries_of(X), smoothing, max_rank=min(X.shape), loss="squared"
    )
    return list(islice(solver, count))


@pytest.mark.parametrize("power", [0.25, 0.375, 0.5])
def test_iterates_are_conditional_means_of_conditional_means(power):
    """With the covariance (WᵀW + ε²I)^(2 power) that the iterate before gives."""
    _, X = decaying(20, 12)
    mean = np.nanmean(X, axis=0)
    first, second = iterates_of(X, 2, power=power)
    # W of an iterate at the entries too, where its diagonal counts
    sizes, vectors = np.linalg.eigh(iterated(first).T @ iterated(first))
    P = (vectors * (sizes + second.eps**2) ** (2 * power)) @ vectors.T
    noise = 0.25 * second.eps ** (4 * power)
    expected = conditional_means(X, P, noise, mean)
    assert_allclose(iterated(second) + mean, expected, atol=1e-8)


def iterated(iterate):
    return (iterate.U * iterate.s) @ iterate.V.T


@pytest.mark.parametrize("shape", [(40, 15), (15, 40)])
def test_rows_are_solved_for_as_in_the_iterate(shape):
    _, X = decaying(*shape)
    hidden = np.isnan(X)
    *_, iterate = iterates_of(X, 5)
    Z = fitted_rows(iterate, row_model(iterate, "squared"))
    got = Z @ iterate.metric.V.T
    assert_allclose(got[hidden], iterated(iterate)[hidden], atol=1e-8)


@few_entries_for_the_rank
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(150, 30), (60, 80)])
def test_a_decaying_spectrum_is_kept_and_predicts_better(shape, dtype):
    full, X = decaying(*shape, dtype=dtype)
    full_rank = completer_of().fit(X)
    low = completer_of(solver="two-sided").fit(X)
    assert full_rank.rank_ == min(shape) and low.rank_ < min(shape)
    assert {"match", "hide", "graded", "fit"} <= set(full_rank.history_["stage"])
    assert error(full_rank, X, full) < error(low, X, full)
    assert full_rank.mean_.any() and not low.mean_.any()
    assert full_rank.transform(X).dtype == dtype
    tolerance = 1e-8 if dtype == np.float64 else 1e-3
    fitted = completer_of(keep_observed=False).fit_transform(X)
    U, s, V = full_rank.factors_
    assert_allclose((U * s) @ V.T + full_rank.mean_, fitted, atol=tolerance)


def test_a_noisy_matrix_of_low_rank_keeps_it():
    rng = np.random.default_rng(0)
    full = rng.normal(size=(150, 3)) @ rng.normal(size=(3, 60))
    X = full + 0.1 * rng.normal(size=full.shape)
    X[rng.random(X.shape) < 0.5] = np.nan
    completer = completer_of().fit(X)
    assert completer.rank_ == 3
    assert "graded" in completer.history_["stage"]


@pytest.mark.parametrize("parameters", [{"max_rank": 5}, {"solver": "alternating"}])
def test_no_full_spectrum_with_a_given_rank_or_solver(parameters):
    _, X = decaying()
    completer = completer_of(**parameters).fit(X)
    assert "graded" not in completer.history_["stage"]


@few_entries_for_the_rank
def test_no_full_spectrum_of_a_matrix_that_is_too_large(monkeypatch):
    _, X = decaying()
    monkeypatch.setattr("skrfm.completion._low_rank._problem._DENSE_WORK", 1e5)
    assert "graded" not in completer_of().fit(X).history_["stage"]


def test_new_rows_are_completed():
    full, X = decaying(300)
    completer = completer_of().fit(X[:150])
    got = completer.transform(X[150:])
    hidden = np.isnan(X[150:])
    spread = (full - full.mean(axis=0))[150:][hidden].std()
    assert np.sqrt(np.mean((got - full[150:])[hidden] ** 2)) < 0.8 * spread
    assert_allclose(completer.transform(X[150:151]), got[:1], rtol=1e-10)


def test_values_of_missing_entries_have_no_effect():
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
