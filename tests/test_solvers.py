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
from skrfm.kernels import NTK, Gaussian, L1Laplace, Laplace
from skrfm.solvers import (
    DIRECT,
    ITERATIVE,
    leave_one_out_residuals,
    predictive_variance,
    solve,
)
from skrfm.solvers._direct import cholesky, factorize

BANDWIDTH, ALPHA = 1.5, 0.2

every_solver = pytest.mark.parametrize("solver", DIRECT)


class Problem:
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
def test_coefficients_and_inverse_diagonal(solver, want_diagonal, backend, rng):
    problem = Problem(backend, rng)
    ridge = ALPHA / problem.weight
    solution = problem.solve(ridge, solver=solver, want_diagonal=want_diagonal)
    inverse = np.linalg.inv(problem.K + np.diag(ridge))
    assert_allclose(backend.to_numpy(solution.coef), inverse @ problem.Y, rtol=1e-9)
    if want_diagonal:
        got = backend.to_numpy(solution.inverse_diagonal)
        assert_allclose(got, np.diag(inverse), rtol=1e-10)
    else:
        assert solution.inverse_diagonal is None


@pytest.mark.parametrize("solver", ITERATIVE)
def test_no_inverse_diagonal_of_an_iterative_solver(solver, rng):
    problem = Problem(NumpyBackend(), rng)
    with pytest.raises(ValueError, match=f"solver='{solver}' does not .*: pass solver"):
        problem.solve(np.full(25, ALPHA), solver=solver, want_diagonal=True)


@every_solver
def test_float32_solutions(solver, rng):
    problem = Problem(NumpyBackend(), rng, dtype=np.float32)
    ridge = (ALPHA / problem.weight).astype(np.float32)
    solution = problem.solve(ridge, solver=solver, want_diagonal=True)
    assert solution.coef.dtype == np.float32
    assert solution.inverse_diagonal.dtype == np.float32
    matrix = problem.K + np.diag(ridge)
    assert_allclose(matrix @ solution.coef, problem.Y, atol=1e-5)


def test_eigh_solves_a_singular_matrix_by_least_norm(backend, rng):
    """Equal rows and no ridge: the solution of least norm, and no warning."""
    problem = Problem(backend, rng, n=20)
    problem.T[10:] = problem.T[:10]
    problem.K = dense_values(Laplace(), problem.T, problem.T, BANDWIDTH)
    solution = problem.solve(np.zeros(20), solver="eigh", want_diagonal=True)
    pseudo = np.linalg.pinv(problem.K, hermitian=True)
    got = backend.to_numpy(solution.coef)
    assert_allclose(got, pseudo @ problem.Y, rtol=1e-8, atol=1e-10)
    got = backend.to_numpy(solution.inverse_diagonal)
    assert_allclose(got, np.diag(pseudo), rtol=1e-8)


# -- a matrix that is not positive definite -----------------------------------------


def equal_rows(backend, rng, dtype=np.float64):
    problem = Problem(backend, rng, n=20, dtype=dtype)
    problem.T[1:4] = problem.T[0]
    return problem


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_jitter_is_small_and_returned(dtype, backend, rng):
    problem = equal_rows(backend, rng, dtype)
    jitter = factorize(
        problem.gram(), backend.asarray(np.zeros(20, dtype=dtype)), backend.xp
    )
    assert 0 < jitter <= 1000 * 20 * np.finfo(dtype).eps
    assert problem.solve(np.zeros(20, dtype=dtype)).jitter == jitter


def test_the_jittered_matrix_is_solved(backend, rng):
    """Targets that agree on equal rows are fitted, since the jitter is small."""
    problem = equal_rows(backend, rng)
    problem.Y[1:4] = problem.Y[0]
    K = dense_values(Laplace(), problem.T, problem.T, BANDWIDTH)
    solution = problem.solve(np.zeros(20))
    coef = backend.to_numpy(solution.coef)
    assert_allclose(K @ coef, problem.Y, atol=1e-8)
    jittered = K + solution.jitter * np.eye(20)
    assert_allclose(jittered @ coef, problem.Y, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_warns_of_the_jitter(dtype, rng):
    X = rng.normal(size=(20, 3)).astype(dtype)
    X[1:4] = X[0]
    model = RFMRegressor(kernel="laplace", alpha=0.0, validation=None, max_iter=1)
    remedy = "Raise alpha, or pass X in float64." if dtype == np.float32 else "alpha."
    message = (
        rf"not positive definite in {np.dtype(dtype)}.* \d\.\de-\d+ was added to the "
        rf"diagonal\. .*{re.escape(remedy)}$"
    )
    with pytest.warns(NumericalWarning, match=message) as caught:
        model.fit(X, X[:, 0])
    assert len(caught) == 1


@pytest.mark.parametrize("size", [1e6, 1e9, 1e12])
def test_the_jitter_follows_the_diagonal_of_the_kernel(size, backend, rng):
    """Rows of very different lengths, whose inner products leave no digit to others."""
    T = rng.normal(size=(30, 1))
    T[:3] *= size
    gram = backend.gram(NTK(), backend.asarray(T), 1.0)
    ridge = backend.asarray(np.full(30, 1e-3))
    targets = backend.asarray(np.ones((30, 1)))
    solution = cholesky(gram, targets, ridge, backend)
    assert np.isfinite(backend.to_numpy(solution.coef)).all()
    diagonal = backend.to_numpy(backend.gram(NTK(), backend.asarray(T), 1.0).diagonal)
    assert solution.jitter <= 1e5 * 30 * np.finfo(float).eps * diagonal.max()


def test_a_jitter_where_the_kernel_is_zero(backend):
    gram = backend.gram(NTK(), backend.asarray(np.zeros((3, 2))), 1.0)
    assert factorize(gram, backend.asarray(np.zeros(3)), backend.xp) > 0


def test_error_where_no_jitter_suffices(backend, rng):
    problem = Problem(backend, rng)
    ridge = backend.asarray(np.full(25, -5.0))
    with pytest.raises(NotPositiveDefiniteError):
        factorize(problem.gram(), ridge, backend.xp)


def test_no_jitter_for_a_positive_definite_matrix(backend, rng):
    problem = Problem(backend, rng)
    ridge = backend.asarray(np.full(25, 1e-6))
    assert factorize(problem.gram(), ridge, backend.xp) == 0


# -- leave-one-out ------------------------------------------------------------------


def closed_form(problem, weight, *, mean="anew", alpha=ALPHA, solver="cholesky"):
    """Return leave-one-out residuals as the package computes them."""
    backend = problem.backend
    xp = backend.xp
    center = 0 if mean is None else np.average(problem.Y, axis=0, weights=weight)
    targets = np.column_stack([problem.Y - center, np.ones(len(weight))])
    targets, w = backend.asarray(targets), backend.asarray(weight)
    ridge = alpha / w
    solution = solve(
        problem.gram(), targets, ridge, backend, solver=solver, want_diagonal=True
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
    problem = Problem(backend, rng, kernel=kernel)
    problem.Y += 3
    ones = np.ones(25)
    got = closed_form(problem, ones, mean=mean, solver=solver)
    expected = leave_one_out(problem.K, problem.Y, ALPHA, ones, mean=mean)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mean", ["anew", "fixed", None])
def test_leave_one_out_of_fractional_weights_removes_rows(mean, backend, rng):
    problem = Problem(backend, rng)
    problem.Y += 3
    assert problem.weight.min() < 1 < problem.weight.max()
    got = closed_form(problem, problem.weight, mean=mean)
    expected = leave_one_out(problem.K, problem.Y, ALPHA, problem.weight, mean=mean)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mean", ["anew", "fixed", None])
def test_leave_one_out_of_weights_from_1_removes_one_unit(mean, backend, rng):
    problem = Problem(backend, rng)
    problem.Y += 3
    weight = np.array([1.0, 2.0, 3.0, 1.0, 2.5])[np.arange(25) % 5]
    got = closed_form(problem, weight, mean=mean)
    expected = leave_one_out(problem.K, problem.Y, ALPHA, weight, mean=mean, unit=True)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


def test_one_unit_of_a_weight_is_one_repeated_row(rng):
    problem = Problem(NumpyBackend(), rng, n=12)
    problem.Y += 3
    counts = np.arange(12) % 3 + 1
    repeated = np.repeat(np.arange(12), counts)
    K = problem.K[np.ix_(repeated, repeated)]
    ones = np.ones(len(repeated))
    expected = leave_one_out(K, problem.Y[repeated], ALPHA, ones)
    got = closed_form(problem, counts.astype(float))
    assert_allclose(got[repeated], expected, rtol=1e-9, atol=1e-11)


def test_leave_one_out_of_integer_weights_without_a_ridge(rng):
    """The remaining repeats of a row predict it exactly."""
    problem = Problem(NumpyBackend(), rng, n=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        residuals = closed_form(problem, np.array([1.0, 2.0] * 4), alpha=0.0)
    assert_allclose(residuals[1::2], 0, atol=1e-12)
    assert (np.abs(residuals[::2]) > 1e-3).all()


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leave_one_out_scores_of_an_estimator(fit_intercept, table):
    """Scores equal the scores of n refits with the metric of the round."""
    X, y = table
    shared = {"kernel": "laplace", "alpha": ALPHA, "fit_intercept": fit_intercept}
    loo = RFMRegressor(validation="loo", max_iter=2, **shared).fit(X, y)
    for number, score in zip(loo.history_["iter"], loo.history_["score"], strict=True):
        model = RFMRegressor(validation=None, max_iter=int(number), **shared)
        T = model.fit(X, y).transform(X)
        K = dense_values(Laplace(), T, T, model.bandwidth_)
        mean = "anew" if fit_intercept else None
        residuals = leave_one_out(K, y[:, None], ALPHA, np.ones(len(y)), mean=mean)
        assert score == pytest.approx(r2_score(y, y - residuals[:, 0]), abs=1e-9)


# -- variances ----------------------------------------------------------------------


def test_predictive_variance_equals_the_dense_formula(backend, rng):
    problem = Problem(backend, rng)
    new = rng.normal(size=(7, 3))
    k = dense_values(problem.kernel, new, problem.T, BANDWIDTH)
    C = np.linalg.inv(problem.K + np.diag(ALPHA / problem.weight))
    coef = C @ problem.Y
    inverse = np.diag(C)[:, None]
    signal = np.average(coef**2 / inverse, axis=0, weights=problem.weight)
    reduced = 1 - np.einsum("ij,jk,ik->i", k, C, k)
    expected = (reduced + ALPHA)[:, None] * signal
    ones = backend.asarray(np.ones(7))
    parts = (slice(3), slice(3, None))
    blocks = [(backend.asarray(k[part]), ones[part]) for part in parts]
    got = predictive_variance(
        problem.gram(),
        backend.asarray(coef),
        blocks,
        weight=backend.asarray(problem.weight),
        alpha=ALPHA,
        xp=backend.xp,
    )
    assert_allclose(backend.to_numpy(got), expected, rtol=1e-9)


def test_std_equals_that_of_a_gaussian_process(rng):
    X, new = rng.normal(size=(30, 3)), rng.normal(size=(9, 3))
    y = np.sin(X[:, 0])
    model = RFMRegressor(
        kernel="laplace",
        bandwidth=BANDWIDTH,
        alpha=ALPHA,
        max_iter=0,
        validation=None,
        fit_intercept=False,
        scaling=None,
    ).fit(X, y)
    mean, std = model.predict(new, return_std=True)
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
    # scikit-learn's deviation is without the noise, which ours includes
    assert_allclose(std, np.sqrt(expected_std**2 + signal * ALPHA), rtol=1e-9)


def test_coverage_of_two_standard_deviations(rng):
    """About 95 % of new noisy targets lie within two standard deviations."""
    X, new = rng.normal(size=(150, 2)), rng.normal(size=(400, 2))
    y, later = (np.sin(a[:, 0]) + 0.3 * rng.normal(size=len(a)) for a in (X, new))
    model = RFMRegressor(kernel=Gaussian(), alphas=(0.03, 0.1, 0.3, 1.0), max_iter=0)
    mean, std = model.fit(X, y).predict(new, return_std=True)
    covered = np.mean(np.abs(later - mean) < 2 * std)
    assert 0.9 <= covered <= 0.99


def test_std_has_the_shape_of_the_predictions(table):
    X, y = table
    model = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    for targets, shape in [(y, (5,)), (y[:, None], (5, 1)), (np.c_[y, y], (5, 2))]:
        mean, std = model.fit(X, targets).predict(X[:5], return_std=True)
        assert mean.shape == std.shape == shape
        assert (std > 0).all()


def test_std_in_blocks_of_rows(table, monkeypatch):
    X, y = table
    model = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    _, whole = model.fit(X, y).predict(X, return_std=True)
    monkeypatch.setattr("skrfm.rfm._deviation._VARIANCE_ROWS", 7)
    _, blocks = model.predict(X, return_std=True)
    assert_allclose(blocks, whole, rtol=1e-10)


def test_std_with_weights_equals_repeated_rows(table):
    X, y = table
    X, y = X[:20], y[:20]
    counts = np.arange(20) % 3 + 1
    model = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    repeated = np.repeat(np.arange(20), counts)
    model.fit(X, y, sample_weight=counts)
    weighted, coef = model.predict(X, return_std=True)[1], model.dual_coef_
    model.fit(X[repeated], y[repeated])
    # up to the signal variance, which is estimated by leaving out whole rows
    ratio = model.predict(X, return_std=True)[1] / weighted
    assert len(coef) == 20
    assert_allclose(ratio, ratio[0], rtol=1e-8)


def test_weighted_fit_equals_the_dense_formula(table, rng):
    X, y = table
    weight = rng.uniform(0.2, 4, size=len(y))
    model = RFMRegressor(
        kernel="laplace",
        bandwidth=BANDWIDTH,
        alpha=ALPHA,
        max_iter=0,
        validation=None,
        scaling=None,
    )
    model.fit(X, y, sample_weight=weight)
    K = dense_values(Laplace(), X, X, BANDWIDTH)
    coef, mean = weighted_fit(K, y[:, None], ALPHA, weight)
    assert_allclose(model.dual_coef_, coef[:, 0], rtol=1e-9, atol=1e-12)
    assert model.intercept_ == pytest.approx(mean[0], rel=1e-12)
