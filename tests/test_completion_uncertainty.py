"""Standard deviations of completed entries."""

import numpy as np
import pytest
from _completion import (
    NoisyMatrix,
    completer_of,
    every_dtype,
    low_rank,
    variances_by_leaving_out,
)
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import EntryRegressor, LinRFMCompleter, NTKMatrixCompleter
from skrfm.completion._low_rank._uncertainty import (
    Posterior,
    hidden_scale,
)
from skrfm.completion._side_features import _coupled_deviations
from skrfm.exceptions import NumericalWarning
from skrfm.inspection import CoverageDisplay

Z90 = 1.6449


def deviations(completer, shape):
    """The standard deviations of the whole matrix."""
    rows, cols = np.indices(shape).reshape(2, -1)
    return completer.predict_entries(rows, cols, return_std=True)[1].reshape(shape)


def coverage(completer, truth, where):
    """The share of entries inside their 90 % intervals."""
    rows, cols = np.nonzero(where)
    mean, std = completer.predict_entries(rows, cols, return_std=True)
    return np.mean(np.abs(truth[where] - mean) < Z90 * std)


# -- low rank -------------------------------------------------------------------------


@every_dtype
def test_quadratic_forms_are_those_of_each_row(dtype):
    matrix = NoisyMatrix(dtype=dtype)
    entries, rng = matrix.entries, np.random.default_rng(1)
    V, penalty = rng.normal(size=(7, 3)).astype(dtype), np.array([0.1, 1, 2])
    rows, cols = rng.integers(9, size=50), rng.integers(7, size=50)
    got = entries.quadratic_forms(V, penalty, entries.weight, rows=rows, cols=cols)
    assert got.dtype == dtype
    weight = matrix.sparse(entries.weight)
    for value, i, j in zip(got, rows, cols, strict=True):
        A = (V.T * weight[i]) @ V + np.diag(penalty)
        assert_allclose(value, V[j] @ np.linalg.inv(A) @ V[j], rtol=1e-4)


def test_leverages_give_leave_one_out_residuals():
    """r / (1 − h) is the error of a row that is solved without the entry."""
    matrix, rng = NoisyMatrix(), np.random.default_rng(1)
    entries, V, penalty = matrix.entries, rng.normal(size=(7, 2)), np.array([0.1, 1])
    Z = entries.row_solves(V, penalty, entries.weight)
    residuals = entries.values - entries.products(Z, V)
    spread = entries.quadratic_forms(
        V, penalty, entries.weight, rows=entries.rows, cols=entries.cols
    )
    got = residuals / (1 - entries.weight * spread)
    for e in range(len(entries)):
        others = entries.select(np.arange(len(entries)) != e)
        z = others.row_solves(V, penalty, others.weight)[entries.rows[e]]
        assert_allclose(got[e], entries.values[e] - z @ V[entries.cols[e]], atol=1e-10)


def test_ninety_per_cent_of_the_hidden_entries_are_inside():
    _, X = low_rank(80, 50, noise=0.5)
    uncertainty = completer_of(max_rank=4).fit(X)._fitted.uncertainty
    entries, hold_out = uncertainty._entries, uncertainty.hold_out
    scale = hidden_scale(entries, hold_out, "squared")
    shown, hidden = entries.select(~hold_out.hidden), entries.select(hold_out.hidden)
    assert len(hidden) == round(0.1 * len(entries))
    posterior = Posterior(entries=shown, model=hold_out.model, loss="squared")
    std = scale * posterior.deviations(hidden.rows, hidden.cols)
    inside = np.abs(hidden.values - hold_out.model.products(hidden)) <= Z90 * std
    assert abs(inside.mean() - 0.9) < 1.5 / len(hidden)


@pytest.mark.parametrize("noise", ["equal", "by column"])
@pytest.mark.parametrize("max_rank", [None, 3])
def test_intervals_cover_new_measurements(noise, max_rank):
    """With a full spectrum and a low rank; "by column" also within the columns."""
    rng = np.random.default_rng(0)
    full, _ = low_rank(300, 60, rank=3)
    size = 0.5 if noise == "equal" else np.where(np.arange(60) < 30, 0.2, 1.0)
    Y = full + size * rng.normal(size=full.shape)
    shown = rng.random(full.shape) < 0.7
    X = np.where(shown, Y, np.nan)
    completer = completer_of(max_rank=max_rank).fit(X)
    assert 0.87 < coverage(completer, Y, ~shown) < 0.93
    half = np.arange(60) < 30
    if noise == "by column":
        std = deviations(completer, X.shape)
        assert std[:, ~half].mean() > 3 * std[:, half].mean()
        for part in half, ~half:
            assert 0.84 < coverage(completer, Y, ~shown & part) < 0.96


def test_a_given_ridge_has_deviations_without_hidden_entries():
    rng = np.random.default_rng(0)
    full, _ = low_rank(300, 60, rank=3)
    Y = full + 0.5 * rng.normal(size=full.shape)
    shown = rng.random(full.shape) < 0.7
    completer = completer_of(alpha=1e-2, max_rank=3)
    completer.fit(np.where(shown, Y, np.nan))
    assert 0.85 < coverage(completer, Y, ~shown) < 0.95


def test_rows_of_few_entries_have_larger_errors_and_deviations():
    rng = np.random.default_rng(1)
    full, X = low_rank(120, 60, rank=3, share=0.8, noise=0.3)
    X[:15, 6:] = np.nan
    completer = completer_of(max_rank=3).fit(X)
    std = deviations(completer, X.shape)
    assert std[:15].mean() > 1.2 * std[15:].mean()
    rows, cols = np.indices((15, 60)).reshape(2, -1)
    new = full[:15] + 0.3 * rng.normal(size=(15, 60))
    errors = new[rows, cols] - completer.predict_entries(rows, cols)
    assert 0.75 < np.sqrt(np.mean((errors / std[rows, cols]) ** 2)) < 1.3


@every_dtype
def test_deviations_have_the_unit_and_the_precision_of_the_matrix(dtype):
    _, X = low_rank(50, 40, noise=0.3)
    X = X.astype(dtype)
    completer = completer_of(max_rank=3, center=True)
    std = deviations(completer.fit(X), X.shape)
    assert std.dtype == dtype and (std > 0).all()
    moved = deviations(completer.fit(1024 * X), X.shape)
    assert_allclose(moved, 1024 * std, rtol=1e-2 if dtype == np.float32 else 1e-6)
    again = deviations(completer, X.shape)
    assert_array_equal(again, moved)


def test_gross_errors_do_not_inflate_the_deviations_of_huber():
    rng = np.random.default_rng(0)
    full, _ = low_rank(120, 80)
    Y = full + 0.2 * rng.normal(size=full.shape)
    shown = rng.random(full.shape) < 0.6
    X = np.where(shown, Y, np.nan)
    wrong = shown & (rng.random(full.shape) < 0.03)
    X[wrong] += 20 * rng.normal(size=wrong.sum())
    by_loss = {
        loss: np.median(deviations(completer_of(max_rank=3, loss=loss).fit(X), X.shape))
        for loss in ("squared", "huber")
    }
    assert by_loss["huber"] < 0.6 < by_loss["squared"]


def deviations_of_columns(X):
    """Those of the entries of each column, shrunk as if there were ten more."""
    counts = np.sum(~np.isnan(X), axis=0)
    squares = counts * np.nanvar(X, axis=0)
    return np.sqrt((squares + 10 * squares.sum() / counts.sum()) / (counts + 10))


def test_matched_entries_leave_no_deviation_but_in_undetermined_rows():
    full, X = low_rank(60, 40, rank=3)
    X[0, 2:] = np.nan  # two entries or fewer do not determine a row of rank 3
    completer = completer_of().fit(X)
    assert completer.rank_ == 3
    std = deviations(completer, X.shape)
    assert std[1:].max() < 1e-6
    assert_allclose(std[0], deviations_of_columns(X), rtol=1e-6)


def test_gaps_have_the_deviations_of_what_fills_them():
    _, X = low_rank(50, 40, noise=0.3)
    X[3], X[:, 5] = np.nan, np.nan
    with pytest.warns(NumericalWarning, match="without any observed"):
        completer = completer_of(max_rank=3).fit(X)
    std = deviations(completer, X.shape)
    seen = np.delete(np.arange(40), 5)
    assert_allclose(std[3, seen], deviations_of_columns(X[:, seen]), rtol=1e-6)
    assert_allclose(std[:, 5], np.nanstd(X), rtol=1e-6)


def test_weights_of_zero_and_zeros_as_entries():
    _, X = low_rank(50, 40, noise=0.3)
    rows, cols = np.nonzero(~np.isnan(X))
    values, weight = X[rows, cols], np.ones(len(rows))
    weight[::7], values[::7] = 0, 1e6
    completer = completer_of(max_rank=2)
    completer.fit_entries(rows, cols, values, X.shape, sample_weight=weight)
    got = deviations(completer, X.shape)
    kept = weight > 0
    completer.fit_entries(rows[kept], cols[kept], values[kept], X.shape)
    assert_allclose(got, deviations(completer, X.shape), rtol=1e-10)
    completer.fit_entries(rows, cols, 0 * values, X.shape)
    assert_array_equal(deviations(completer, X.shape), 0)


def test_entry_regressors_and_displays_have_the_deviations():
    full, X = low_rank(80, 50, noise=0.4)
    pairs = np.argwhere(~np.isnan(X))
    y = X[tuple(pairs.T)]
    regressor = EntryRegressor(completer_of(max_rank=3), shape=X.shape).fit(pairs, y)
    mean, std = regressor.predict(pairs, return_std=True)
    expected = regressor.completer_.predict_entries(*pairs.T, return_std=True)
    assert_array_equal(mean, expected[0])
    assert_array_equal(std, expected[1])
    pytest.importorskip("matplotlib")
    display = CoverageDisplay.from_estimator(regressor, pairs, y)
    got = display.coverage
    with_gap = CoverageDisplay.from_predictions(
        np.append(y, np.nan), np.append(mean, 0), np.append(std, 1)
    )
    assert_array_equal(with_gap.coverage, got)
    with pytest.raises(ValueError, match="y is NaN everywhere"):
        CoverageDisplay.from_predictions([np.nan], [0.0], [1.0])


# -- kernels --------------------------------------------------------------------------


def coupled(share=0.5, seed=0):
    """Features of both sides, a smooth matrix with noise, and the same with gaps."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(size=(30, 3)), rng.normal(size=(20, 2))
    Y = np.tanh(rows @ rng.normal(size=(3, 2)) @ columns.T)
    Y += 0.2 * rng.normal(size=Y.shape)
    return rows, columns, Y, np.where(rng.random(Y.shape) < share, Y, np.nan)


def expected_deviations(completer, X, cross, diagonal):
    """Standard deviations by the inverse of the covariance matrix of the entries."""
    model = completer._fitted.model
    K, K_c, alpha = model.side.gram(), model.column_kernel, completer.alpha_
    rows, cols = np.nonzero(~np.isnan(X))
    C = K[np.ix_(rows, rows)] * K_c[np.ix_(cols, cols)] + alpha * np.eye(len(rows))
    inverse = np.linalg.inv(C)
    scale, of_mean = variances_by_leaving_out(C, X)
    variance = np.empty((len(cross), X.shape[1]))
    for i, j in np.ndindex(*variance.shape):
        k = cross[i, rows] * K_c[j, cols]
        variance[i, j] = diagonal[i] * K_c[j, j] - k @ inverse @ k + alpha
    return np.sqrt((variance + of_mean) * scale)


@pytest.mark.parametrize("empty", [False, True])
def test_deviations_of_coupled_entries_are_those_of_a_gaussian_process(empty):
    rows, columns, _, X = coupled()
    if empty:
        X[4], X[:, 6] = np.nan, np.nan
    completer = NTKMatrixCompleter(alpha=0.3, tol=1e-12, prior_identity=0.5)
    completer.fit(X, row_features=rows, col_features=columns)
    K = completer._fitted.model.side.gram()
    if not empty:
        expected = expected_deviations(completer, X, K, np.diag(K))
        assert_allclose(deviations(completer, X.shape), expected, rtol=1e-6)
    new = np.random.default_rng(1).normal(size=(4, 3))
    side = completer._fitted.model.side
    cross = side.cross(completer._fitted.new_rows(new))
    mean, std = completer.predict(new, return_std=True)
    assert_array_equal(mean, completer.predict(new))
    if not empty:
        args = cross.block(0, np.arange(30)), cross.diagonal(0)
        assert_allclose(std, expected_deviations(completer, X, *args), rtol=1e-6)
    assert np.isfinite(std).all() and (std > 0).all()


@pytest.mark.parametrize("new", [False, True])
def test_draws_agree_with_the_factorisation(monkeypatch, new):
    rows, columns, _, X = coupled()
    completer = NTKMatrixCompleter(random_state=0)
    completer.fit(X, row_features=rows, col_features=columns)
    if new:
        rows = np.random.default_rng(1).normal(size=(8, 3))
    _, expected = completer.predict(rows, return_std=True)
    monkeypatch.setattr(_coupled_deviations, "_MOST_FACTORISED", 0)
    _, got = completer.predict(rows, return_std=True)
    assert_array_equal(completer.predict(rows, return_std=True)[1], got)
    ratio = got / expected
    assert abs(ratio.mean() - 1) < 0.05  # the scale has the error of draws in common
    assert ratio.std() < 1 / np.sqrt(2 * 32)


def test_intervals_of_coupled_entries_cover_new_measurements():
    rows, columns, Y, X = coupled()
    completer = NTKMatrixCompleter(random_state=0)
    completer.fit(X, row_features=rows, col_features=columns)
    assert 0.83 < coverage(completer, Y, np.isnan(X)) < 0.97


SIDES = {
    "entries": ({}, ()),
    "features": ({}, ("row_features",)),
    "features and entries": ({"prior_entries": 1.0}, ("row_features",)),
    "first": (
        {"first_completer": LinRFMCompleter(random_state=0, max_rank=2)},
        ("row_features",),
    ),
    "both": ({}, ("row_features", "col_features")),
    "kernels": ({}, ("row_kernel", "col_kernel")),
}


@pytest.mark.parametrize("case", SIDES)
def test_entries_of_kernel_completers_are_those_of_transform(case):
    rows, columns, Y, X = coupled(share=0.7)
    parameters, names = SIDES[case]
    sides = {
        "row_features": rows,
        "col_features": columns,
        "row_kernel": rows @ rows.T,
        "col_kernel": columns @ columns.T,
    }
    completer = NTKMatrixCompleter(random_state=0, keep_observed=False, **parameters)
    completer.fit(X, **{name: sides[name] for name in names})
    i, j = np.indices(X.shape).reshape(2, -1)[:, ::3]
    mean, std = completer.predict_entries(i, j, return_std=True)
    assert_allclose(mean, completer.transform(X)[i, j], atol=1e-10)
    assert_array_equal(completer.predict_entries(i, j), mean)
    assert (std > 0).all()
    assert 0.8 < np.mean(np.abs(Y[i, j] - mean) < Z90 * std) <= 1
    nothing = completer.predict_entries([], [], return_std=True)
    assert nothing[0].shape == nothing[1].shape == (0,)
    with pytest.raises(ValueError, match="rows must lie in 0"):
        completer.predict_entries([30], [0])
