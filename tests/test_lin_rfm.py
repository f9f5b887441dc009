"""LinRFMRegressor against the Lasso, ridge regression and closed forms."""

import warnings

import numpy as np
import pandas as pd
import pytest
from _estimator_checks import parametrize_with_checks
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, Ridge, RidgeCV

from skrfm import LinRFMRegressor
from skrfm.lin_rfm._sparse import SparseProblem, solve_sparse


@parametrize_with_checks(
    [
        LinRFMRegressor(alphas=4),  # fewer than by default, for the time it takes
        LinRFMRegressor(alpha=0.01),
        LinRFMRegressor(power=0.25, alpha=0.1),
        LinRFMRegressor(power=0, alpha=0.1),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture
def sparse_table(rng):
    X = rng.normal(size=(80, 30))
    y = 2 * X[:, 0] - X[:, 3] + 0.5 * rng.normal(size=80) + 3
    return X, y


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_power_of_1_4_is_the_lasso(sparse_table, alpha, weighted, fit_intercept, rng):
    X, y = sparse_table
    weight = rng.uniform(0.5, 2, size=len(y)) if weighted else None
    options = {"alpha": alpha, "fit_intercept": fit_intercept}
    lasso = Lasso(tol=1e-12, max_iter=10**5, **options).fit(X, y, weight)
    ours = LinRFMRegressor(power=0.25, tol=1e-12, max_iter=10**5, **options)
    ours.fit(X, y, weight)
    assert_allclose(ours.coef_, lasso.coef_, atol=1e-6)
    assert_array_equal(ours.coef_ != 0, lasso.coef_ != 0)
    assert ours.intercept_ == pytest.approx(lasso.intercept_, abs=1e-6)


@pytest.mark.parametrize("shape", [(80, 30), (20, 30)])
def test_power_of_0_is_ridge_regression(shape, rng):
    X, Y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    ridge = Ridge(alpha=0.3 * shape[0]).fit(X, Y)
    ours = LinRFMRegressor(power=0, alpha=0.3).fit(X, Y)
    assert_allclose(ours.coef_, ridge.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(ours.intercept_, ridge.intercept_, rtol=1e-9)


def test_logarithmic_penalty_with_orthonormal_columns(rng):
    """w − z + λ/w = 0 has the root (z + √(z² − 4λ)) / 2, or none and w = 0."""
    Q = np.linalg.qr(rng.normal(size=(40, 6)))[0]
    z, penalty = np.array([3.0, -2.0, 1.0, 0.5, 0.1, 0.0]), 0.1
    model = LinRFMRegressor(alpha=penalty / 40, fit_intercept=False).fit(Q, Q @ z)
    root = np.sqrt(np.maximum(z**2 - 4 * penalty, 0))
    expected = np.where(z**2 > 4 * penalty, (z + np.sign(z) * root) / 2, 0)
    assert_allclose(model.coef_, expected, atol=1e-6)


@pytest.mark.parametrize("power", [0.1, 0.25, 0.375, 0.5])
def test_solution_is_stationary(sparse_table, power):
    X, y = sparse_table
    model = LinRFMRegressor(power=power, alpha=0.05, tol=1e-10).fit(X, y)
    w, order = model.coef_, 2 - 4 * power
    support = w != 0
    slope = -X.T @ (y - model.predict(X)) / len(y)
    expected = -0.05 * np.sign(w[support]) * np.abs(w[support]) ** (order - 1)
    assert support.any()
    assert_allclose(slope[support], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("trial", range(4))
def test_support_of_a_sparse_vector_is_found_from_few_rows(trial):
    rng = np.random.default_rng(trial)
    X, w = rng.normal(size=(100, 1000)), np.zeros(1000)
    w[rng.choice(1000, 10, replace=False)] = rng.normal(size=10)
    model = LinRFMRegressor(alpha=0, fit_intercept=False).fit(X, X @ w)
    assert_array_equal(model.coef_ != 0, w != 0)
    assert_allclose(model.coef_, w, atol=1e-8)


def make_problem(X, y, power):
    return SparseProblem(X=X, Y=y[:, None], groups=np.arange(X.shape[1]), power=power)


def test_primal_and_dual_systems_have_the_same_solution(rng):
    """Two columns of zeros make more columns than rows: the dual system is solved."""
    X, y = rng.normal(size=(30, 29)), rng.normal(size=30)
    wide = np.hstack([X, np.zeros((30, 2))])
    for power in (0.25, 0.5):
        primal, dual = (
            solve_sparse(make_problem(A, y, power), 1.0, max_iter=500, tol=0)
            for A in (X, wide)
        )
        assert_allclose(dual.coef[:29], primal.coef, atol=1e-8)
        assert not dual.coef[29:].any()


def test_coefficients_of_a_group_are_zero_together(rng):
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


def test_auto_equals_a_fit_with_one_of_the_alphas(sparse_table):
    X, y = sparse_table
    model = LinRFMRegressor(alphas=[1e-3, 1e-2, 1e-1]).fit(X, y)
    assert model.alpha_ in (1e-3, 1e-2, 1e-1)
    again = LinRFMRegressor(alpha=model.alpha_).fit(X, y)
    assert_array_equal(again.coef_, model.coef_)
    assert LinRFMRegressor().fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("shape", [(300, 50), (60, 200)])
def test_ridge_regression_finds_its_ridge(shape, rng):
    X = rng.normal(size=(2000 + shape[0], shape[1]))
    y = X @ rng.normal(size=shape[1]) + rng.normal(size=len(X))
    train, test = slice(2000, None), slice(2000)
    ridge = RidgeCV(np.logspace(-3, 5, 100)).fit(X[train], y[train])
    ours = LinRFMRegressor(power=0, random_state=0).fit(X[train], y[train])
    assert ours.score(X[test], y[test]) > ridge.score(X[test], y[test]) - 0.02


def test_leave_one_out_is_exact_for_ridge_regression(sparse_table):
    X, y = (a[:20] - a[:20].mean(0) for a in sparse_table)
    problem = make_problem(X[:, :5], y, power=0.0)
    solution = solve_sparse(problem, 2.0, max_iter=10, tol=0.0)
    errors = []
    for i in range(20):
        kept = np.arange(20) != i
        ridge = Ridge(alpha=2.0, fit_intercept=True).fit(X[kept, :5], y[kept])
        errors.append(y[i] - ridge.predict(X[i : i + 1, :5])[0])
    mean, _ = solution.leave_one_out(np.ones(20))
    assert mean == pytest.approx(np.mean(np.square(errors)), rel=1e-9)


def test_warm_start_takes_fewer_iterations(sparse_table):
    X, y = sparse_table
    model = LinRFMRegressor(power=0.25, alpha=0.2, warm_start=True).fit(X, y)
    cold = LinRFMRegressor(power=0.25, alpha=0.19).fit(X, y)
    warm = model.set_params(alpha=0.19).fit(X, y)
    assert_allclose(warm.coef_, cold.coef_, atol=1e-5)
    assert warm.n_iter_ < cold.n_iter_


def test_scaling_the_target_scales_the_solution(sparse_table):
    X, y = sparse_table
    model = LinRFMRegressor(alpha=0.05).fit(X, y)
    scaled = LinRFMRegressor(alpha=0.05 * 1e8).fit(X, 1e4 * y)
    assert_allclose(scaled.coef_, 1e4 * model.coef_, rtol=1e-6, atol=1e-2)


def test_float32_stays_float32(sparse_table):
    X, y = (a.astype(np.float32) for a in sparse_table)
    model = LinRFMRegressor(alpha=0.05).fit(X, y)
    assert model.coef_.dtype == model.predict(X).dtype == np.float32
    assert_array_equal(np.flatnonzero(model.coef_), [0, 3])


def test_error_messages_and_warnings(sparse_table):
    X, y = sparse_table
    with pytest.raises(ValueError, match="one label for each of the 30 columns"):
        LinRFMRegressor(groups=[1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="alphas must be a number of values"):
        LinRFMRegressor(alphas=[-1.0]).fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        LinRFMRegressor().fit(X, y, np.zeros(len(y)))
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        LinRFMRegressor(alpha=0.01, max_iter=2).fit(X, y)


@pytest.mark.parametrize("validation", ["cv", "loo"])
@pytest.mark.parametrize(
    ("alphas", "edge", "further"),
    [((0.3, 1.0, 3.0), "smallest", "smaller"), ((1e-5, 0.1), "largest", "larger")],
)
def test_warning_at_the_edge_of_given_alphas(
    sparse_table, alphas, edge, further, validation
):
    regressor = LinRFMRegressor(alphas=alphas, validation=validation, random_state=0)
    message = f"best ridge, .* is the {edge} of alphas, .* a {further} one may"
    with pytest.warns(UserWarning, match=message):
        regressor.fit(*sparse_table)


@pytest.mark.parametrize("alphas", [20, (1e-3, 0.1, 3.0), (0.1,)])
def test_no_warning_where_the_best_alpha_is_inside(sparse_table, alphas):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LinRFMRegressor(alphas=alphas, random_state=0).fit(*sparse_table)


# -- units --------------------------------------------------------------------------

CHOICES = [
    {"alphas": 5},
    {"alphas": 5, "power": 0.25},
    {"power": 0},
    {"power": 0.4, "validation": "loo"},
    {"power": 0, "validation": "loo"},
    {"alpha": 0},
    {"power": 0, "alpha": 0, "fit_intercept": False},
]


def fit(X, y, **parameters):
    return LinRFMRegressor(random_state=0, **parameters).fit(X, y)


@pytest.mark.parametrize("parameters", CHOICES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "exponents"), [(np.float64, (-150, 150)), (np.float32, (-30, 30))]
)
def test_units_of_the_table_do_not_matter(sparse_table, parameters, dtype, exponents):
    X, y = sparse_table[0].astype(dtype), sparse_table[1]
    model, tolerance = fit(X, y, **parameters), 1e3 * np.finfo(dtype).eps
    for exponent in exponents:
        unit = 10.0**exponent
        found = fit(X, unit * y, **parameters)
        assert_allclose(found.predict(X) / unit, model.predict(X), atol=tolerance)
        assert_allclose(found.coef_ / unit, model.coef_, atol=tolerance)
        scaled = (X * unit).astype(dtype)
        found = fit(scaled, y, **parameters)
        assert_allclose(found.predict(scaled), model.predict(X), atol=tolerance)
        assert_allclose(found.coef_ * unit, model.coef_, atol=tolerance)


@pytest.mark.parametrize(
    ("dtype", "exponents"), [(np.float64, (-12, -6, 6, 12)), (np.float32, (-5, 5))]
)
def test_units_of_a_column_do_not_matter_without_a_penalty(
    sparse_table, dtype, exponents
):
    X, y = sparse_table[0].astype(dtype), sparse_table[1]
    model = fit(X, y, power=0, alpha=0)
    for exponent in exponents:
        scaled, unit = X.copy(), np.ones(30)
        unit[[3]] = 10.0**exponent
        scaled = (X * unit).astype(dtype)
        found = fit(scaled, y, power=0, alpha=0)
        tolerance = 1e4 * np.finfo(dtype).eps
        assert_allclose(found.coef_ * unit, model.coef_, atol=tolerance)


@pytest.mark.parametrize("exponent", [-150, -20, 20, 150])
@pytest.mark.parametrize("parameters", CHOICES[:4], ids=str)
def test_columns_that_the_precision_does_not_resolve_are_named(
    sparse_table, exponent, parameters
):
    X, y = sparse_table
    X = X.copy()
    X[:, 4] *= 10.0**exponent
    message = (
        "column 4 of X is" if exponent < 0 else "column . of X is .* column 4 of X"
    )
    with pytest.raises(ValueError, match=message):
        fit(X, y, **parameters)
    with pytest.raises(ValueError, match="column '4' of X"):
        fit(pd.DataFrame(X).rename(columns=str), y, **parameters)
    with pytest.raises(ValueError, match=r"range of column . of y"):
        fit(sparse_table[0], np.stack([y, y * 10.0**exponent], axis=1), **parameters)


@pytest.mark.parametrize("value", [0, 0.1, 1e8, 1e30])
@pytest.mark.parametrize("parameters", CHOICES[:-1], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_columns_have_no_coefficient(sparse_table, value, parameters, dtype):
    X, y = sparse_table
    X = X.copy()
    X[:, 4] = value
    model = fit(X.astype(dtype), y, **parameters)
    assert model.coef_[4] == 0
    without = fit(np.delete(X, 4, axis=1).astype(dtype), y, **parameters)
    tolerance = 1e4 * np.finfo(dtype).eps
    assert_allclose(np.delete(model.coef_, 4), without.coef_, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("power", [0.25, 0.5])
def test_a_penalty_beyond_the_range_of_a_precision_leaves_nothing(power, dtype, rng):
    X, y = rng.normal(size=(20, 3)).astype(dtype), 1e-190 * rng.normal(size=20)
    model = fit(X, y, power=power, alpha=1e-6)
    assert not model.coef_.any()
    assert_allclose(model.predict(X), y.mean(), rtol=1e-12)


def test_only_constant_columns(rng):
    y = rng.normal(size=20)
    for power in (0, 0.25, 0.5):
        model = fit(np.ones((20, 2)), y, power=power)
        assert not model.coef_.any()
        assert_allclose(model.predict([[1.0, 1.0]]), y.mean())


@pytest.mark.parametrize("offset", [1.7e9, -3e12, 100.0])
def test_float32_keeps_the_digits_of_y(sparse_table, offset):
    X, y = sparse_table[0].astype(np.float32), sparse_table[1]
    model = fit(X, y, alphas=5)
    moved = fit(X, y + offset, alphas=5)
    assert moved.predict(X).dtype == (np.float64 if abs(offset) > 1e6 else np.float32)
    tolerance = 1e-3 if abs(offset) < 1e12 else 1e-2
    assert_allclose(moved.coef_, model.coef_, atol=tolerance)
    assert_allclose(moved.predict(X) - offset, model.predict(X), atol=2e-2)


@pytest.mark.parametrize("offset", [1e4, -3e4, 1e5])
def test_float32_columns_are_centred_exactly(sparse_table, offset):
    X, y = (sparse_table[0] + offset).astype(np.float32), sparse_table[1]
    model, exact = (fit(A, y, alpha=0.01) for A in (X, X.astype(np.float64)))
    assert_allclose(model.coef_, exact.coef_, atol=1e-5)
    assert_allclose(model.predict(X), exact.predict(X), atol=0.02)
