"""LinRFMRegressor: against the Lasso, ridge regression and closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrfm import LinRFMRegressor
from skrfm.lin_rfm._sparse import Path, solve_sparse


@parametrize_with_checks(
    [
        LinRFMRegressor(),
        LinRFMRegressor(alpha=0.01),
        LinRFMRegressor(power=0.25, alpha=0.1),
        LinRFMRegressor(power=0, alpha=0.1),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture
def problem(rng):
    X = rng.normal(size=(80, 30))
    y = 2 * X[:, 0] - X[:, 3] + 0.5 * rng.normal(size=80) + 3
    return X, y


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_power_a_quarter_is_the_lasso(problem, alpha, weighted, fit_intercept, rng):
    X, y = problem
    weight = rng.uniform(0.5, 2, size=len(y)) if weighted else None
    options = {"alpha": alpha, "fit_intercept": fit_intercept}
    lasso = Lasso(tol=1e-12, max_iter=10**5, **options).fit(X, y, weight)
    ours = LinRFMRegressor(power=0.25, tol=1e-12, max_iter=10**5, **options)
    ours.fit(X, y, weight)
    assert_allclose(ours.coef_, lasso.coef_, atol=1e-6)
    assert_array_equal(ours.coef_ != 0, lasso.coef_ != 0)
    assert ours.intercept_ == pytest.approx(lasso.intercept_, abs=1e-6)


@pytest.mark.parametrize("shape", [(80, 30), (20, 30)])
def test_power_0_is_ridge_regression(shape, rng):
    X, Y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    ridge = Ridge(alpha=0.3 * shape[0]).fit(X, Y)
    ours = LinRFMRegressor(power=0, alpha=0.3).fit(X, Y)
    assert_allclose(ours.coef_, ridge.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(ours.intercept_, ridge.intercept_, rtol=1e-9)


def test_with_orthonormal_columns_the_logarithm_has_a_closed_form(rng):
    """w − z + λ/w = 0 has the root (z + √(z² − 4λ)) / 2, or none and w = 0."""
    Q = np.linalg.qr(rng.normal(size=(40, 6)))[0]
    z, penalty = np.array([3.0, -2.0, 1.0, 0.5, 0.1, 0.0]), 0.1
    model = LinRFMRegressor(alpha=penalty / 40, fit_intercept=False).fit(Q, Q @ z)
    root = np.sqrt(np.maximum(z**2 - 4 * penalty, 0))
    expected = np.where(z**2 > 4 * penalty, (z + np.sign(z) * root) / 2, 0)
    assert_allclose(model.coef_, expected, atol=1e-6)


@pytest.mark.parametrize("power", [0.1, 0.25, 0.375, 0.5])
def test_the_solution_is_stationary(problem, power):
    X, y = problem
    model = LinRFMRegressor(power=power, alpha=0.05, tol=1e-10).fit(X, y)
    w, order = model.coef_, 2 - 4 * power
    on = w != 0
    slope = -X.T @ (y - model.predict(X)) / len(y)
    expected = -0.05 * np.sign(w[on]) * np.abs(w[on]) ** (order - 1)
    assert on.any()
    assert_allclose(slope[on], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("trial", range(4))
def test_the_support_of_a_sparse_vector_is_found_from_few_rows(trial):
    rng = np.random.default_rng(trial)
    X, w = rng.normal(size=(100, 1000)), np.zeros(1000)
    w[rng.choice(1000, 10, replace=False)] = rng.normal(size=10)
    model = LinRFMRegressor(alpha=0, fit_intercept=False).fit(X, X @ w)
    assert_array_equal(model.coef_ != 0, w != 0)
    assert_allclose(model.coef_, w, atol=1e-8)


def test_rows_and_columns_give_the_same_solution(rng):
    """The dual and the primal system, with a column of zeros in between."""
    X, y = rng.normal(size=(30, 29)), rng.normal(size=30)
    wide = np.hstack([X, np.zeros((30, 2))])
    for power in (0.25, 0.5):
        one, other = (
            solve_sparse(Path(A, y[:, None], np.arange(A.shape[1]), power), 1.0, 500, 0)
            for A in (X, wide)
        )
        assert_allclose(other.coef[:29], one.coef, atol=1e-8)
        assert not other.coef[29:].any()


def test_groups_come_in_together(rng):
    X, groups = rng.normal(size=(60, 12)), np.repeat(list("abcd"), 3)
    y = X[:, 3:6] @ [2.0, 0.1, -1.0] + 0.1 * rng.normal(size=60)
    model = LinRFMRegressor(alpha=0.02, groups=groups).fit(X, y)
    assert_array_equal(model.coef_ != 0, groups == "b")


def test_several_targets_share_their_support(rng):
    X = rng.normal(size=(60, 12))
    W = np.zeros((2, 12))
    W[0, 3], W[1, 7] = 3, 3
    Y = X @ W.T + 0.1 * rng.normal(size=(60, 2))
    model = LinRFMRegressor(alpha=0.02).fit(X, Y)
    assert_array_equal(np.flatnonzero((model.coef_ != 0).all(axis=0)), [3, 7])
    assert model.coef_.shape == (2, 12) and model.intercept_.shape == (2,)


def test_auto_takes_one_of_the_alphas_and_equals_a_fit_with_it(problem):
    X, y = problem
    model = LinRFMRegressor(alphas=[1e-3, 1e-2, 1e-1]).fit(X, y)
    assert model.alpha_ in (1e-3, 1e-2, 1e-1)
    again = LinRFMRegressor(alpha=model.alpha_).fit(X, y)
    assert_array_equal(again.coef_, model.coef_)
    assert LinRFMRegressor().fit(X, y).score(X, y) > 0.8


def test_leave_one_out_is_exact_for_ridge_regression(problem):
    X, y = (a[:20] - a[:20].mean(0) for a in problem)
    path = Path(X[:, :5], y[:, None], np.arange(5), 0.0)
    found = solve_sparse(path, 2.0, 10, 0.0)
    errors = []
    for i in range(20):
        kept = np.arange(20) != i
        ridge = Ridge(alpha=2.0, fit_intercept=True).fit(X[kept, :5], y[kept])
        errors.append(y[i] - ridge.predict(X[i : i + 1, :5])[0])
    mean, _ = found.leave_one_out(np.ones(20))
    assert mean == pytest.approx(np.mean(np.square(errors)), rel=1e-9)


def test_a_warm_start_takes_fewer_iterations(problem):
    X, y = problem
    model = LinRFMRegressor(power=0.25, alpha=0.2, warm_start=True).fit(X, y)
    cold = LinRFMRegressor(power=0.25, alpha=0.19).fit(X, y)
    warm = model.set_params(alpha=0.19).fit(X, y)
    assert_allclose(warm.coef_, cold.coef_, atol=1e-5)
    assert warm.n_iter_ < cold.n_iter_


def test_scaling_the_target_scales_the_solution(problem):
    X, y = problem
    one = LinRFMRegressor(alpha=0.05).fit(X, y)
    other = LinRFMRegressor(alpha=0.05 * 1e8).fit(X, 1e4 * y)
    assert_allclose(other.coef_, 1e4 * one.coef_, rtol=1e-6, atol=1e-2)


def test_float32_stays_float32(problem):
    X, y = (a.astype(np.float32) for a in problem)
    model = LinRFMRegressor(alpha=0.05).fit(X, y)
    assert model.coef_.dtype == model.predict(X).dtype == np.float32
    assert_array_equal(np.flatnonzero(model.coef_), [0, 3])


def test_messages(problem):
    X, y = problem
    with pytest.raises(ValueError, match="one label for each of the 30 columns"):
        LinRFMRegressor(groups=[1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="alphas must be a number of values"):
        LinRFMRegressor(alphas=[-1.0]).fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        LinRFMRegressor().fit(X, y, np.zeros(len(y)))
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        LinRFMRegressor(alpha=0.01, max_iter=2).fit(X, y)
