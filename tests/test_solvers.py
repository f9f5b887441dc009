"""Solvers against NumPy, leave-one-out against n refits, variances against a GP."""

import re
import warnings

import numpy as np
import pytest
from _oracles import dense_values, leave_one_out, weighted_fit
from numpy.testing import assert_allclose
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from sklearn.metrics import r2_score

from skrfm import RFMRegressor
from skrfm._backend import NumpyBackend
from skrfm.exceptions import NotPositiveDefiniteError, NumericalWarning
from skrfm.kernels import Gaussian, L1Laplace, Laplace
from skrfm.solvers import DIRECT, leave_one_out_residuals, predictive_variance, solve
from skrfm.solvers._direct import factorize

BANDWIDTH, ALPHA = 1.5, 0.2

every_solver = pytest.mark.parametrize("solver", DIRECT)


class Table:
    """Rows, two targets and weights, with the dense kernel matrix."""

    def __init__(self, backend, rng, n=25, kernel=None, dtype=np.float64):
        self.backend, self.kernel = backend, kernel or Laplace()
        self.T = rng.normal(size=(n, 3)).astype(dtype)
        self.Y = rng.normal(size=(n, 2)).astype(dtype)
        self.weight = rng.uniform(0.3, 3, size=n).astype(dtype)
        self.K = dense_values(self.kernel, self.T, self.T, BANDWIDTH)

    def gram(self):
        T = self.backend.asarray(self.T)
        return self.backend.gram(self.kernel, T, BANDWIDTH)

    def solve(self, ridge, **options):
        Y, ridge = self.backend.asarray(self.Y), self.backend.asarray(ridge)
        return solve(self.gram(), Y, ridge, self.backend, **options)


# -- coefficients -------------------------------------------------------------------


@every_solver
@pytest.mark.parametrize("want_diagonal", [False, True])
def test_solutions(solver, want_diagonal, backend, rng):
    table = Table(backend, rng)
    ridge = ALPHA / table.weight
    solution = table.solve(ridge, solver=solver, want_diagonal=want_diagonal)
    inverse = np.linalg.inv(table.K + np.diag(ridge))
    assert_allclose(backend.to_numpy(solution.coef), inverse @ table.Y, rtol=1e-9)
    if want_diagonal:
        got = backend.to_numpy(solution.inverse_diagonal)
        assert_allclose(got, np.diag(inverse), rtol=1e-10)
    else:
        assert solution.inverse_diagonal is None


@pytest.mark.parametrize("solver", DIRECT)
def test_float32_solutions(solver, rng):
    table = Table(NumpyBackend(), rng, dtype=np.float32)
    ridge = (ALPHA / table.weight).astype(np.float32)
    solution = table.solve(ridge, solver=solver, want_diagonal=True)
    assert solution.coef.dtype == np.float32
    assert solution.inverse_diagonal.dtype == np.float32
    matrix = table.K + np.diag(ridge)
    assert_allclose(matrix @ solution.coef, table.Y, atol=1e-5)


def test_eigh_solves_a_singular_matrix_by_least_squares(backend, rng):
    """Equal rows and no ridge: the answer of least norm, and no warning."""
    table = Table(backend, rng, n=20)
    table.T[10:] = table.T[:10]
    table.K = dense_values(Laplace(), table.T, table.T, BANDWIDTH)
    solution = table.solve(np.zeros(20), solver="eigh", want_diagonal=True)
    pseudo = np.linalg.pinv(table.K, hermitian=True)
    got = backend.to_numpy(solution.coef)
    assert_allclose(got, pseudo @ table.Y, rtol=1e-8, atol=1e-10)
    got = backend.to_numpy(solution.inverse_diagonal)
    assert_allclose(got, np.diag(pseudo), rtol=1e-8)


# -- a matrix that is not positive definite -----------------------------------------


def equal_rows(backend, rng, dtype=np.float64):
    table = Table(backend, rng, n=20, dtype=dtype)
    table.T[1:4] = table.T[0]
    return table


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_jitter_is_small_and_told(dtype, backend, rng):
    table = equal_rows(backend, rng, dtype)
    jitter = factorize(
        table.gram(), backend.asarray(np.zeros(20, dtype=dtype)), backend.xp
    )
    assert 0 < jitter <= 1000 * 20 * np.finfo(dtype).eps
    assert table.solve(np.zeros(20, dtype=dtype)).jitter == jitter


def test_the_jittered_matrix_is_solved(backend, rng):
    """Targets that agree on equal rows are met: the jitter is as small as it says."""
    table = equal_rows(backend, rng)
    table.Y[1:4] = table.Y[0]
    K = dense_values(Laplace(), table.T, table.T, BANDWIDTH)
    solution = table.solve(np.zeros(20))
    coef = backend.to_numpy(solution.coef)
    assert_allclose(K @ coef, table.Y, atol=1e-8)
    jittered = K + solution.jitter * np.eye(20)
    assert_allclose(jittered @ coef, table.Y, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_machine_warns_of_the_jitter_and_names_the_remedy(dtype, rng):
    X = rng.normal(size=(20, 3)).astype(dtype)
    X[1:4] = X[0]
    machine = RFMRegressor(kernel="laplace", alpha=0.0, validation=None, max_iter=1)
    remedy = "Raise alpha, or pass X in float64." if dtype == np.float32 else "alpha."
    message = (
        rf"not positive definite in {np.dtype(dtype)}.* \d\.\de-\d+ was added to the "
        rf"diagonal\. .*{re.escape(remedy)}$"
    )
    with pytest.warns(NumericalWarning, match=message) as caught:
        machine.fit(X, X[:, 0])
    assert len(caught) == 1


def test_a_matrix_that_no_jitter_helps_is_an_error(backend, rng):
    table = Table(backend, rng)
    ridge = backend.asarray(np.full(25, -5.0))
    with pytest.raises(NotPositiveDefiniteError):
        factorize(table.gram(), ridge, backend.xp)


def test_no_jitter_without_need(backend, rng):
    table = Table(backend, rng)
    ridge = backend.asarray(np.full(25, 1e-6))
    assert factorize(table.gram(), ridge, backend.xp) == 0


# -- leave-one-out ------------------------------------------------------------------


def closed_form(table, weight, *, mean="anew", alpha=ALPHA, solver="cholesky"):
    """Leave-one-out residuals as the package gives them."""
    backend = table.backend
    xp = backend.xp
    center = 0 if mean is None else np.average(table.Y, axis=0, weights=weight)
    targets = np.column_stack([table.Y - center, np.ones(len(weight))])
    targets, w = backend.asarray(targets), backend.asarray(weight)
    ridge = alpha / w
    solution = solve(
        table.gram(), targets, ridge, backend, solver=solver, want_diagonal=True
    )
    ones = solution.coef[:, -1:] if mean == "anew" else None
    solution.coef = solution.coef[:, :-1]
    residuals = leave_one_out_residuals(
        solution, ones, targets[:, :-1], weight=w, ridge=ridge, xp=xp
    )
    return backend.to_numpy(residuals)


@every_solver
@pytest.mark.parametrize("kernel", [Laplace(), L1Laplace()], ids=repr)
@pytest.mark.parametrize("mean", ["anew", "fixed", None])
def test_leave_one_out_without_weights(solver, kernel, mean, backend, rng):
    table = Table(backend, rng, kernel=kernel)
    table.Y += 3
    ones = np.ones(25)
    got = closed_form(table, ones, mean=mean, solver=solver)
    expected = leave_one_out(table.K, table.Y, ALPHA, ones, mean=mean)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mean", ["anew", "fixed", None])
def test_fractional_weights_leave_out_whole_rows(mean, backend, rng):
    table = Table(backend, rng)
    table.Y += 3
    assert table.weight.min() < 1 < table.weight.max()
    got = closed_form(table, table.weight, mean=mean)
    expected = leave_one_out(table.K, table.Y, ALPHA, table.weight, mean=mean)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mean", ["anew", "fixed", None])
def test_weights_from_1_up_leave_out_one_unit(mean, backend, rng):
    table = Table(backend, rng)
    table.Y += 3
    weight = np.array([1.0, 2.0, 3.0, 1.0, 2.5])[np.arange(25) % 5]
    got = closed_form(table, weight, mean=mean)
    expected = leave_one_out(table.K, table.Y, ALPHA, weight, mean=mean, unit=True)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


def test_one_unit_of_a_weight_is_one_of_the_repeated_rows(rng):
    table = Table(NumpyBackend(), rng, n=12)
    table.Y += 3
    counts = np.arange(12) % 3 + 1
    repeated = np.repeat(np.arange(12), counts)
    K = table.K[np.ix_(repeated, repeated)]
    ones = np.ones(len(repeated))
    expected = leave_one_out(K, table.Y[repeated], ALPHA, ones)
    got = closed_form(table, counts.astype(float))
    assert_allclose(got[repeated], expected, rtol=1e-9, atol=1e-11)


def test_leave_one_out_of_integer_weights_without_a_ridge(rng):
    """The repeats of a row that is left out predict it exactly."""
    table = Table(NumpyBackend(), rng, n=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        residuals = closed_form(table, np.array([1.0, 2.0] * 4), alpha=0.0)
    assert_allclose(residuals[1::2], 0, atol=1e-12)
    assert (np.abs(residuals[::2]) > 1e-3).all()


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leave_one_out_in_the_machine_holds_the_metric_fixed(fit_intercept, table):
    """Its scores are those of n refits with the metric of the round."""
    X, y = table
    shared = {"kernel": "laplace", "alpha": ALPHA, "fit_intercept": fit_intercept}
    judged = RFMRegressor(validation="loo", max_iter=2, **shared).fit(X, y)
    for number, score in zip(
        judged.history_["iter"], judged.history_["score"], strict=True
    ):
        machine = RFMRegressor(validation=None, max_iter=int(number), **shared)
        T = machine.fit(X, y).transform(X)
        K = dense_values(Laplace(), T, T, machine.bandwidth_)
        mean = "anew" if fit_intercept else None
        residuals = leave_one_out(K, y[:, None], ALPHA, np.ones(len(y)), mean=mean)
        assert score == pytest.approx(r2_score(y, y - residuals[:, 0]), abs=1e-9)


# -- variances ----------------------------------------------------------------------


def test_predictive_variance_equals_the_dense_formula(backend, rng):
    table = Table(backend, rng)
    new = rng.normal(size=(7, 3))
    k = dense_values(table.kernel, new, table.T, BANDWIDTH)
    C = np.linalg.inv(table.K + np.diag(ALPHA / table.weight))
    coef = C @ table.Y
    inverse = np.diag(C)[:, None]
    signal = np.average(coef**2 / inverse, axis=0, weights=table.weight)
    reduced = 1 - np.einsum("ij,jk,ik->i", k, C, k)
    expected = (reduced + ALPHA)[:, None] * signal
    ones = backend.asarray(np.ones(7))
    parts = (slice(3), slice(3, None))
    blocks = [(backend.asarray(k[part]), ones[part]) for part in parts]
    got = predictive_variance(
        table.gram(),
        backend.asarray(coef),
        backend.asarray(table.weight),
        ALPHA,
        blocks,
        backend.xp,
    )
    assert_allclose(backend.to_numpy(got), expected, rtol=1e-9)


def test_std_equals_that_of_a_gaussian_process(rng):
    X, new = rng.normal(size=(30, 3)), rng.normal(size=(9, 3))
    y = np.sin(X[:, 0])
    machine = RFMRegressor(
        kernel="laplace",
        bandwidth=BANDWIDTH,
        alpha=ALPHA,
        max_iter=0,
        validation=None,
        fit_intercept=False,
        scaling=None,
    ).fit(X, y)
    mean, std = machine.predict(new, return_std=True)
    # the signal variance is what makes the scaled leave-one-out residuals 1
    C = np.linalg.inv(dense_values(Laplace(), X, X, BANDWIDTH) + ALPHA * np.eye(30))
    signal = np.mean((C @ y) ** 2 / np.diag(C))
    process = GaussianProcessRegressor(
        ConstantKernel(signal) * Matern(BANDWIDTH, nu=0.5),
        alpha=signal * ALPHA,
        optimizer=None,
    ).fit(X, y)
    expected_mean, expected_std = process.predict(new, return_std=True)
    assert_allclose(mean, expected_mean, rtol=1e-9)
    # scikit-learn's is that of the function; ours adds the noise
    assert_allclose(std, np.sqrt(expected_std**2 + signal * ALPHA), rtol=1e-9)


def test_std_covers_what_it_says(rng):
    """About 95 % of new noisy targets lie within two standard deviations."""
    X, new = rng.normal(size=(150, 2)), rng.normal(size=(400, 2))
    y, later = (np.sin(a[:, 0]) + 0.3 * rng.normal(size=len(a)) for a in (X, new))
    machine = RFMRegressor(kernel=Gaussian(), alphas=(0.03, 0.1, 0.3, 1.0), max_iter=0)
    mean, std = machine.fit(X, y).predict(new, return_std=True)
    covered = np.mean(np.abs(later - mean) < 2 * std)
    assert 0.9 <= covered <= 0.99


def test_std_has_the_shape_of_the_predictions(table):
    X, y = table
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    for targets, shape in [(y, (5,)), (y[:, None], (5, 1)), (np.c_[y, y], (5, 2))]:
        mean, std = machine.fit(X, targets).predict(X[:5], return_std=True)
        assert mean.shape == std.shape == shape
        assert (std > 0).all()


def test_std_of_many_rows_is_that_of_each(table, monkeypatch):
    X, y = table
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    _, whole = machine.fit(X, y).predict(X, return_std=True)
    monkeypatch.setattr("skrfm.rfm._estimators._VARIANCE_ROWS", 7)
    _, blocks = machine.predict(X, return_std=True)
    assert_allclose(blocks, whole, rtol=1e-10)


def test_std_with_weights_equals_repeated_rows(table):
    X, y = table
    X, y = X[:20], y[:20]
    counts = np.arange(20) % 3 + 1
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    repeated = np.repeat(np.arange(20), counts)
    machine.fit(X, y, sample_weight=counts)
    weighted, coef = machine.predict(X, return_std=True)[1], machine.dual_coef_
    machine.fit(X[repeated], y[repeated])
    # only v(x), for the signal variance counts a leave-one-out of whole rows
    ratio = machine.predict(X, return_std=True)[1] / weighted
    assert len(coef) == 20
    assert_allclose(ratio, ratio[0], rtol=1e-8)


def test_weights_in_the_fit_equal_the_dense_formula(table, rng):
    X, y = table
    weight = rng.uniform(0.2, 4, size=len(y))
    machine = RFMRegressor(
        kernel="laplace",
        bandwidth=BANDWIDTH,
        alpha=ALPHA,
        max_iter=0,
        validation=None,
        scaling=None,
    )
    machine.fit(X, y, sample_weight=weight)
    K = dense_values(Laplace(), X, X, BANDWIDTH)
    coef, mean = weighted_fit(K, y[:, None], ALPHA, weight)
    assert_allclose(machine.dual_coef_, coef[:, 0], rtol=1e-9, atol=1e-12)
    assert machine.intercept_ == pytest.approx(mean[0], rel=1e-12)
