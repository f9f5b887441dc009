"""NTKMatrixCompleter against naive solves and scikit-learn."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from _completion import variances_by_leaving_out
from _estimator_checks import EXTRA_CHECKS, parametrize_with_checks
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import KNNImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils import estimator_checks

from skrfm import LinRFMCompleter, NTKMatrixCompleter
from skrfm.completion._side_features import _kernel_completion
from skrfm.exceptions import NumericalWarning

# -- scikit-learn's checks ------------------------------------------------------------

ESTIMATORS = [
    NTKMatrixCompleter(),
    NTKMatrixCompleter(alpha=0.1, prior_identity=1.5, center=False, depth=2),
    NTKMatrixCompleter(prior_entries=0),
]


# the checks of sparse input store next to nothing
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


# the set_output checks themselves pass arrays to estimators fitted on data frames
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
def test_extra_checks(name):
    getattr(estimator_checks, name)("NTKMatrixCompleter", ESTIMATORS[0])


# -- naive results --------------------------------------------------------------------


def kappa(cosine, depth):
    """The tangent kernel of hidden layers of rectifiers."""
    tangent = cosine
    for _ in range(depth):
        angle = np.arccos(np.clip(cosine, -1, 1))
        slope = (np.pi - angle) / np.pi
        cosine = cosine * slope + np.sin(angle) / np.pi
        tangent = cosine + tangent * slope
    return tangent


def kernel_between(left, right, identity=0.0, same=False, depth=2):
    """The kernel entry by entry; with `same`, equal indices are the same row."""
    K = np.empty((len(left), len(right)))
    for i, x in enumerate(left):
        for j, z in enumerate(right):
            x, z = (v / max(np.linalg.norm(v), 1e-300) for v in (x, z))
            inner = x @ z + identity**2 * (same and i == j)
            length = np.sqrt((x @ x + identity**2) * (z @ z + identity**2))
            if same and i == j:
                cosine = 1.0
            else:
                cosine = inner / length if length > 0 else 0.0
            K[i, j] = kappa(cosine, depth)
    return K


def problem(n=14, d=3, columns=5, seed=0, missing=0.3):
    """Features, a matrix that depends on them, and the matrix with missing entries."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d))
    full = np.tanh(features @ rng.normal(size=(d, columns))) + rng.normal(size=columns)
    X = np.where(rng.random(full.shape) < missing, np.nan, full)
    X[0], X[-2:] = full[0], np.nan
    return features, full, X


def solve_columns(K, X, alpha, center=True):
    """Kernel ridge regression of each column, by a solve of its own."""
    out = np.zeros_like(X)
    for j in range(X.shape[1]):
        o = ~np.isnan(X[:, j])
        mean = X[o, j].mean() if center else 0.0
        A = K[np.ix_(o, o)] + alpha * np.eye(o.sum())
        out[:, j] = mean + K[:, o] @ np.linalg.solve(A, X[o, j] - mean)
    return out


every_identity = pytest.mark.parametrize("identity", [0.0, 1.5])


@every_identity
@pytest.mark.parametrize("center", [True, False])
def test_columns_are_kernel_ridge_regressions(identity, center):
    features, _, X = problem()
    K = kernel_between(features, features, identity, same=True)
    parameters = {"alpha": 0.3, "prior_identity": identity, "center": center}
    completer = NTKMatrixCompleter(**parameters, keep_observed=False)
    got = completer.fit_transform(X, row_features=features)
    assert_allclose(got, solve_columns(K, X, 0.3, center), atol=1e-10)
    j = 2
    seen = ~np.isnan(X[:, j])
    ridge = KernelRidge(kernel="precomputed", alpha=0.3)
    ridge.fit(K[np.ix_(seen, seen)], X[seen, j] - completer.mean_[j])
    assert_allclose(completer.dual_coef_[seen, j], ridge.dual_coef_, atol=1e-10)
    assert_array_equal(completer.dual_coef_[~seen, j], 0)
    kept = completer.set_params(keep_observed=True).transform(X)
    assert_array_equal(kept[~np.isnan(X)], X[~np.isnan(X)])
    assert_array_equal(kept[np.isnan(X)], got[np.isnan(X)])


@every_identity
def test_new_rows_are_predicted_from_their_features(identity):
    features, _, X = problem()
    new = np.random.default_rng(1).normal(size=(4, 3))
    completer = NTKMatrixCompleter(alpha=0.3, prior_identity=identity)
    completer.fit(X, row_features=features)
    K = kernel_between(new, features, identity)
    expected = completer.mean_ + K @ completer.dual_coef_
    assert_allclose(completer.predict(new), expected, atol=1e-12)
    empty = np.full((4, 5), np.nan)
    assert_array_equal(
        completer.transform(empty, row_features=new), completer.predict(new)
    )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_depth_of_the_network(depth):
    features, _, X = problem()
    K = kernel_between(features, features, same=True, depth=depth)
    completer = NTKMatrixCompleter(alpha=0.3, depth=depth, keep_observed=False)
    got = completer.fit_transform(X, row_features=features)
    assert_allclose(got, solve_columns(K, X, 0.3, True), atol=1e-10)
    assert completer.depth_ == depth
    other = NTKMatrixCompleter(alpha=0.3, depth=depth, activation="erf", bias=0.1)
    assert np.abs(other.fit_transform(X, row_features=features) - got).max() > 1e-3


def test_auto_depth_of_features_and_of_entries():
    features, _, X = problem()
    completer = NTKMatrixCompleter(alpha=0.3)
    assert completer.fit(X, row_features=features).depth_ == 2
    assert completer.fit(X[1:-2]).depth_ == 1
    sides = {"row_features": features, "col_features": np.eye(5)}
    assert completer.fit(X, **sides).depth_ == 1


def leave_one_out_error(K, X, alpha, center):
    """Mean squared error of each entry, predicted by a solve without it."""
    errors = []
    for j in range(X.shape[1]):
        for i in np.flatnonzero(~np.isnan(X[:, j])):
            without = X[:, [j]].copy()
            without[i] = np.nan
            errors.append(X[i, j] - solve_columns(K, without, alpha, center)[i, 0])
    return np.mean(np.square(errors))


@pytest.mark.parametrize("center", [True, False])
def test_ridge_has_the_smallest_leave_one_out_error(center):
    features, _, X = problem()
    alphas = [0.01, 0.1, 1.0, 10.0]
    completer = NTKMatrixCompleter(alphas=alphas[::-1], center=center)
    completer.fit(X, row_features=features)
    K = kernel_between(features, features, same=True)
    expected = [leave_one_out_error(K, X, alpha, center) for alpha in alphas]
    assert_allclose(completer.alpha_errors_, expected, rtol=1e-9)
    assert completer.alpha_ == alphas[int(np.argmin(expected))]


@pytest.mark.parametrize(
    ("alphas", "edge", "further"),
    [((10.0, 100.0), "smallest", "smaller"), ((0.01, 0.1), "largest", "larger")],
)
@pytest.mark.parametrize("both_sides", [False, True])
def test_warning_at_the_edge_of_the_ridges(alphas, edge, further, both_sides):
    features, _, X = problem(n=30, missing=0.1)
    sides = {"row_features": features}
    if both_sides:
        sides["col_features"] = np.eye(5)
    noise = 0.5 * np.random.default_rng(1).normal(size=X.shape)
    completer = NTKMatrixCompleter(alphas=alphas, random_state=0)
    message = f"best ridge, .* is the {edge} of alphas, .* a {further} one may"
    with pytest.warns(UserWarning, match=message):
        completer.fit(X + noise, **sides)


def test_no_warning_where_the_best_ridge_is_inside_or_given():
    features, _, X = problem(n=30, missing=0.1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The best ridge")
        for parameters in ({}, {"alpha": 1e-3}, {"alphas": [1e-3]}):
            NTKMatrixCompleter(**parameters).fit(X, row_features=features)


def test_ridge_of_large_groups_is_chosen_on_some_columns(monkeypatch):
    _, _, X = problem(n=12, columns=9, missing=0.3)
    X[-2:] = np.random.default_rng(1).normal(size=(2, 9))
    whole = NTKMatrixCompleter().fit(X)
    monkeypatch.setattr(_kernel_completion, "_MOST_CUBES", 1.0)
    monkeypatch.setattr(_kernel_completion, "_LEAST_GROUPS", 3)
    some = NTKMatrixCompleter().fit(X)
    columns = [0, 4, 8]
    squares = []
    for alpha in some.alphas:
        errors = []
        for j in columns:
            for i in np.flatnonzero(~np.isnan(X[:, j])):
                errors.append(entry_left_out(X, i, j, alpha))
        squares.append(np.mean(np.square(errors)))
    assert_allclose(some.alpha_errors_, squares, rtol=1e-9)
    assert not np.allclose(whole.alpha_errors_, squares)


def entry_left_out(X, i, j, alpha):
    """The error of an entry that is predicted from the others of its column."""
    means = np.nanmean(X, axis=0)
    filled = np.where(np.isnan(X), 0, X - means)
    scale = np.sqrt(np.mean(np.sum(filled**2, axis=1)))
    vectors = np.column_stack([np.ones(len(X)), filled / scale])
    mean_square = np.mean(np.sum(vectors**2, axis=1))
    vectors[:, j + 1] = 0
    norms = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.outer(norms, norms)
    np.fill_diagonal(cosines, 1)
    K = kappa(cosines, 1) * np.outer(norms, norms) / mean_square
    seen = ~np.isnan(X[:, j])
    seen[i] = False
    mean = X[seen, j].mean()
    A = K[np.ix_(seen, seen)] + alpha * np.eye(seen.sum())
    return X[i, j] - mean - K[i, seen] @ np.linalg.solve(A, X[seen, j] - mean)


def kernel_with_norms(left, right):
    """The kernel of vectors whose mean square norm is 2."""
    norms = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    return kernel_between(left, right, depth=1) * norms / 2


def test_rows_without_features_are_predicted_from_their_other_entries():
    _, _, X = problem(n=12, columns=4, missing=0.2)
    X = X[:-2]
    completer = NTKMatrixCompleter(alpha=0.2, keep_observed=False).fit(X)
    new = np.array([[0.3, np.nan, 1.0, -0.5], [np.nan] * 4])
    means = np.nanmean(X, axis=0)
    filled = np.nan_to_num(X - means)
    scale = np.sqrt(np.mean(np.sum(filled**2, axis=1)))

    def vectors(rows, j):
        others = np.nan_to_num(np.delete(rows - means, j, axis=1)) / scale
        return np.column_stack([others, np.ones(len(others))])

    for rows in X, new:
        expected = np.empty_like(rows)
        for j in range(4):
            o = ~np.isnan(X[:, j])
            own, other = vectors(X[o], j), vectors(rows, j)
            A = kernel_with_norms(own, own) + 0.2 * np.eye(o.sum())
            coef = np.linalg.solve(A, X[o, j] - means[j])
            expected[:, j] = means[j] + kernel_with_norms(other, own) @ coef
        assert_allclose(completer.transform(rows), expected, atol=1e-7)
    assert not hasattr(completer, "predict")


def test_entries_beside_features_are_better_than_either():
    rng = np.random.default_rng(0)
    features, hidden = rng.normal(size=(2, 60, 2))
    full = np.tanh(np.hstack([features, hidden]) @ rng.normal(size=(4, 30)))
    X = np.where(rng.random(full.shape) < 0.2, np.nan, full)
    missing = np.isnan(X)

    def error(**parameters):
        completer = NTKMatrixCompleter(**parameters)
        got = completer.fit_transform(X, row_features=features)
        return np.sqrt(np.mean((got - full)[missing] ** 2))

    both, alone = error(prior_entries=1), error()
    entries = NTKMatrixCompleter().fit_transform(X)
    assert both < 0.7 * alone
    assert both < np.sqrt(np.mean((entries - full)[missing] ** 2))


def test_rows_without_entries_are_predicted_from_features():
    features, full, X = problem(n=60, missing=0.1)
    completer = NTKMatrixCompleter(prior_entries=1).fit(X, row_features=features)
    got, std = completer.predict(features[-2:], return_std=True)
    assert_allclose(got, completer.transform(X)[-2:], atol=1e-10)
    shown = completer.transform(full[-2:], row_features=features[-2:])
    assert_array_equal(shown, full[-2:])
    assert np.isfinite(std).all() and (std > 0).all()


@every_identity
def test_identity_alone_predicts_the_means_of_the_columns(identity):
    _, _, X = problem()
    completer = NTKMatrixCompleter(prior_identity=identity)
    got = completer.fit_transform(X, row_features="identity")
    expected = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    assert_allclose(got, expected, atol=1e-12)
    assert not hasattr(completer, "predict")


def test_a_kernel_replaces_features():
    features, _, X = problem()
    K = kernel_between(features, features, same=True)
    completer = NTKMatrixCompleter()
    expected = completer.fit_transform(X, row_features=features)
    for scale in 1, 100:
        got = completer.fit_transform(X, row_kernel=scale * K)
        assert_allclose(got, expected, atol=1e-10)
    assert not hasattr(completer, "predict")


# -- kernels on both sides ------------------------------------------------------------


def solve_kronecker(K_r, K_c, X, alpha):
    """A dense solve for all entries at once, with the Kronecker product."""
    o = ~np.isnan(X).ravel()
    mean = np.nanmean(X, axis=0)
    K = np.kron(K_r, K_c)
    y = (X - mean).ravel()[o]
    coef = np.linalg.solve(K[np.ix_(o, o)] + alpha * np.eye(o.sum()), y)
    return (K[:, o] @ coef).reshape(X.shape) + mean


@every_identity
def test_kernels_on_both_sides_couple_the_columns(identity):
    features, _, X = problem()
    columns = np.random.default_rng(1).normal(size=(5, 2))
    K_r = kernel_between(features, features, identity, same=True)
    K_c = kernel_between(columns, columns, identity, same=True)
    parameters = {"depth": 2, "alpha": 0.3, "prior_identity": identity, "tol": 1e-12}
    completer = NTKMatrixCompleter(**parameters, keep_observed=False)
    expected = solve_kronecker(K_r, K_c, X, 0.3)
    sides = {"row_features": features, "col_features": columns}
    assert_allclose(completer.fit_transform(X, **sides), expected, atol=1e-9)
    assert completer.converged_ and completer.n_iter_ > 1
    given = {"row_kernel": K_r, "col_kernel": K_c}
    assert_allclose(completer.fit_transform(X, **given), expected, atol=1e-9)
    new = features[:3] + 0.1
    completer.fit(X, **sides)
    cross = kernel_between(new, features, identity) @ completer.dual_coef_ @ K_c
    assert_allclose(completer.predict(new), cross + completer.mean_, atol=1e-10)


def test_columns_without_entries_are_predicted_from_their_features():
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(size=(30, 2)), rng.normal(size=(40, 2))
    full = np.tanh(rows @ columns.T) + 3 * np.tanh(columns[:, 0])
    X = full.copy()
    X[:, 35:] = np.nan
    completer = NTKMatrixCompleter(random_state=0)
    got = completer.fit_transform(X, row_features=rows, col_features=columns)
    assert r2_score(full[:, 35:].ravel(), got[:, 35:].ravel()) > 0.8


def test_ridge_of_coupled_entries():
    features, _, X = problem(n=40)
    rng = np.random.default_rng(1)
    columns, X = rng.normal(size=(5, 2)), X + 0.5 * rng.normal(size=X.shape)
    completer = NTKMatrixCompleter(random_state=0)
    completer.fit(X, row_features=features, col_features=columns)
    errors = completer.alpha_errors_
    assert completer.alpha_ == completer.alphas[int(np.nanargmin(errors))]
    assert np.isnan(errors[:3]).all()  # the search had ended before
    again = clone(completer).fit(X, row_features=features, col_features=columns)
    assert_array_equal(again.alpha_errors_, errors)


def test_too_few_iterations_give_a_warning():
    features, _, X = problem()
    columns = np.eye(5)
    completer = NTKMatrixCompleter(alpha=1e-6, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="did not converge in 1 iter"):
        completer.fit(X, row_features=features, col_features=columns)
    assert not completer.converged_ and completer.n_iter_ == 1


# -- standard deviations --------------------------------------------------------------


class Precomputed(RBF):
    """The tangent kernel for scikit-learn's Gaussian process."""

    def __call__(self, X, Y=None, eval_gradient=False):
        return kernel_between(X, X if Y is None else Y, same=Y is None)

    def diag(self, X):
        return np.full(len(X), 3.0)


def test_standard_deviations_agree_with_a_gaussian_process():
    features, _, X = problem()
    completer = NTKMatrixCompleter(alpha=0.3).fit(X, row_features=features)
    new = np.random.default_rng(1).normal(size=(6, 3))
    mean, std = completer.predict(new, return_std=True)
    assert_array_equal(mean, completer.predict(new))
    variances = []
    for j in range(X.shape[1]):
        seen = ~np.isnan(X[:, j])
        process = GaussianProcessRegressor(Precomputed(), alpha=0.3, optimizer=None)
        process.fit(features[seen], X[seen, j] - completer.mean_[j])
        _, expected = process.predict(new, return_std=True)
        variances.append(expected**2 + 0.3)
    rows, cols = np.nonzero(~np.isnan(X))
    K = process.kernel_(features)[np.ix_(rows, rows)] * (cols[:, None] == cols)
    scales, of_mean = variances_by_leaving_out(K + 0.3 * np.eye(len(rows)), X)
    expected = (np.transpose(variances) + of_mean) * scales
    assert_allclose(std**2, expected, rtol=1e-8)


def test_columns_of_single_entries_tell_nothing_of_standard_deviations():
    features, _, X = problem()
    rows = np.arange(X.shape[1])
    single = np.full_like(X, np.nan)
    single[rows, rows] = 1.0 + rows
    completer = NTKMatrixCompleter().fit(single, row_features=features)
    mean, std = completer.predict(features, return_std=True)
    assert_allclose(mean, np.broadcast_to(1.0 + rows, X.shape))
    assert np.isnan(std).all()
    completer.set_params(center=False).fit(single, row_features=features)
    assert (completer.predict(features, return_std=True)[1] > 0).all()


def test_intervals_of_columns_of_few_entries_hold_new_ones():
    rng, inside = np.random.default_rng(0), []
    for _ in range(5):
        features = rng.normal(size=(40, 3))
        full = features @ rng.normal(size=(3, 60)) / 2 + rng.normal(size=60)
        full += 0.5 * rng.normal(size=full.shape)
        seen = rng.random(full.shape).argsort(axis=0) < 1 + rng.poisson(1, size=60)
        completer = NTKMatrixCompleter(random_state=0)
        completer.fit(np.where(seen, full, np.nan), row_features=features)
        hidden = np.nonzero(~seen)
        mean, std = completer.predict_entries(*hidden, return_std=True)
        inside.append(np.mean(np.abs(full[hidden] - mean) < 1.6449 * std))
    assert 0.85 < np.mean(inside) < 0.93


def test_columns_of_equal_entries_have_a_standard_deviation():
    features, _, X = problem()
    X[~np.isnan(X[:, 0]), 0] = 2.0
    completer = NTKMatrixCompleter(alpha=0.3).fit(X, row_features=features)
    mean, std = completer.predict(features, return_std=True)
    assert_allclose(mean[:, 0], 2)
    assert (std[:, 0] > 0).all() and std[:, 0].mean() < std[:, 1:].mean()


# -- data frames ----------------------------------------------------------------------


def frames():
    features, _, X = problem()
    names = [f"row{i}" for i in range(len(X))]
    X = pd.DataFrame(X, index=names, columns=list("abcde"))
    return pd.DataFrame(features, index=names), X


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_data_frames_keep_their_labels(output):
    features, X = frames()
    completer = NTKMatrixCompleter().set_output(transform=output)
    got = completer.fit_transform(X, row_features=features)
    assert isinstance(got, pd.DataFrame)
    assert_array_equal(got.index, X.index)
    assert_array_equal(got.columns, X.columns)
    expected = completer.set_output(transform="default").fit_transform(
        X.to_numpy(), row_features=features.to_numpy()
    )
    assert isinstance(expected, np.ndarray)
    assert_array_equal(got, expected)


def test_features_are_matched_by_the_index():
    features, X = frames()
    completer = NTKMatrixCompleter(alpha=0.3)
    expected = completer.fit_transform(X, row_features=features)
    reversed_rows = completer.fit_transform(X, row_features=features[::-1])
    assert_array_equal(reversed_rows, expected)
    subset = X.iloc[[7, 2]]
    assert_allclose(completer.transform(subset), expected.iloc[[7, 2]], atol=1e-12)
    with pytest.raises(ValueError, match=r"rows that were not in fit \('other'\)"):
        completer.transform(subset.rename({"row2": "other"}))
    with pytest.raises(ValueError, match="X has 2 rows, but 14 were fitted"):
        completer.fit(X.to_numpy(), row_features=features).transform(subset.to_numpy())
    with pytest.raises(ValueError, match="row_features has no row 'row3'"):
        completer.fit(X, row_features=features.drop("row3"))


def test_kernels_are_matched_by_the_index():
    features, X = frames()
    K = kernel_between(features.to_numpy(), features.to_numpy(), same=True)
    K = pd.DataFrame(K, index=X.index, columns=X.index)
    completer = NTKMatrixCompleter(alpha=0.3)
    expected = completer.fit_transform(X, row_kernel=K)
    shuffled = K.sample(frac=1, random_state=0)
    for other in (
        K.iloc[::-1, ::-1],
        shuffled,
        pd.concat([K, K.add_prefix("z", axis=0)]),
    ):
        assert_allclose(completer.fit_transform(X, row_kernel=other), expected)


# -- labels of rows and columns -------------------------------------------------------

NAMES = [f"row{i}" for i in range(14)]
REPEATED = [*NAMES[:-1], "row0"]
DATES = list(pd.date_range("2026-01-01", periods=14))


def labelled(labels_of_X, labels_of_features):
    features, _, X = problem()
    return pd.DataFrame(X, index=labels_of_X), pd.DataFrame(
        features, index=labels_of_features
    )


UNUSABLE = [
    (REPEATED, REPEATED, "repeated labels .'row0'."),
    (NAMES, REPEATED, "rows of row_features have repeated labels .'row0'."),
    (REPEATED, NAMES, "rows of X have repeated labels .'row0'."),
    ([7] * 14, [7] * 14, "repeated labels .7."),
    ([*NAMES[:-1], None], [*NAMES[:-1], None], "missing labels"),
    ([*DATES[:-1], pd.NaT], DATES, "rows of X have missing labels .NaT."),
    (NAMES, [np.nan, *NAMES[1:]], "rows of row_features have missing labels"),
    (
        pd.MultiIndex.from_product([["a", "b"], [*range(6), None]]),
        pd.MultiIndex.from_product([["a", "b"], range(7)]),
        "missing labels",
    ),
    (NAMES, list(range(100, 114)), "no row 'row0', .*of type str, not int"),
    ([str(i) for i in range(5, 19)], list(range(5, 19)), "of type str, not int"),
    (DATES, [str(day) for day in DATES], "of type Timestamp, not str"),
    (NAMES, [*NAMES[:-1], "other"], "no row 'row13'"),
    (NAMES, [f"cell{i}" for i in range(14)], "no row 'row0', .*, …, but"),
    (list(range(14)), list(range(1, 15)), "no row 0,"),
]


@pytest.mark.parametrize("names", UNUSABLE)
@pytest.mark.parametrize("order", [1, -1])
def test_labels_that_cannot_be_matched_are_an_error(names, order):
    labels_of_X, labels_of_features, message = names
    X, features = labelled(labels_of_X, labels_of_features)
    features = features[::order]
    with pytest.raises(ValueError, match=f"row_features.*{message}.*by position"):
        NTKMatrixCompleter(alpha=0.3).fit(X, row_features=features)
    completer = NTKMatrixCompleter(alpha=0.3)
    completer.fit(X.to_numpy(), row_features=features)
    for method in completer.transform, completer.score:
        with pytest.raises(ValueError, match=f"row_features.*{message}"):
            method(X, row_features=features)
    by_position = completer.fit_transform(X, row_features=features.to_numpy())
    assert by_position.index.equals(X.index)


SIDES = {
    "row_kernel": [np.eye(14), NAMES],
    "col_features": [np.eye(5), list("abcde")],
    "col_kernel": [np.eye(5), list("abcde")],
}


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("kind", ["repeated", "missing", "type", "partly"])
def test_labels_of_all_sides_are_checked(name, kind):
    _, _, X = problem()
    X = pd.DataFrame(X, index=NAMES, columns=list("abcde"))
    values, labels = SIDES[name]
    wrong = {
        "repeated": [labels[-1], *labels[1:]],
        "missing": [None, *labels[1:]],
        "type": np.arange(len(labels)) + 3,
        "partly": ["other", *labels[1:]],
    }[kind]
    columns = wrong if name.endswith("kernel") else None
    table = pd.DataFrame(values, index=wrong, columns=columns)
    with pytest.raises(ValueError, match=name) as error:
        NTKMatrixCompleter(alpha=0.3).fit(X, **{name: table})
    assert (labels[-1] if kind == "repeated" else labels[0]) in str(error.value) or (
        kind == "missing" and "missing labels" in str(error.value)
    )
    if name.startswith("col"):
        with pytest.raises(ValueError, match=name):
            NTKMatrixCompleter(**{name: table}).fit(X)


UNLABELLED = [
    (None, NAMES),
    (NAMES, None),
    (None, None),
    (None, REPEATED),
    ([*NAMES[:-1], None], None),
    (range(100, 114), None),
]


@pytest.mark.parametrize("names", UNLABELLED)
def test_the_default_index_is_no_label(names):
    X, features = labelled(*names)
    completer = NTKMatrixCompleter(alpha=0.3)
    got = completer.fit_transform(X, row_features=features)
    features, X = features.to_numpy(), X.to_numpy()
    assert_array_equal(got, completer.fit_transform(X, row_features=features))
    with pytest.raises(ValueError, match="row_features has 14 rows, but X has 9"):
        completer.fit(pd.DataFrame(X[:9]), row_features=pd.DataFrame(features))


def test_integers_are_matched_with_the_default_index():
    X, features = labelled(None, None)
    completer = NTKMatrixCompleter(alpha=0.3)
    expected = completer.fit_transform(X, row_features=features)
    order = np.random.default_rng(0).permutation(14)
    for other in (features[::-1], features.iloc[order]):
        got = completer.fit_transform(X, row_features=other)
        assert_array_equal(got, expected)
    got = completer.fit_transform(X.iloc[order], row_features=features)
    assert_allclose(got.loc[range(14)], expected, atol=1e-10)
    assert_allclose(completer.transform(X[9:]), expected[9:], atol=1e-10)
    with pytest.raises(ValueError, match="X has 5 rows, but 14 were fitted"):
        completer.fit(X, row_features=features).transform(X[:5])


def test_new_rows_are_matched_with_their_features():
    features, X = frames()
    completer = NTKMatrixCompleter(alpha=0.3).fit(X[:10], row_features=features[:10])
    expected = completer.transform(X[10:], row_features=features[10:])
    for other in (features[:9:-1], features.sample(frac=1, random_state=0)):
        assert_array_equal(completer.transform(X[10:], row_features=other), expected)
        expected_score = completer.score(X[10:], row_features=features[10:])
        assert completer.score(X[10:], row_features=other) == expected_score
    with pytest.raises(ValueError, match="row_features has no row 'row10'"):
        completer.transform(X[10:], row_features=features[11:])


def test_rows_of_the_fit_need_labels_of_their_own():
    features, X = frames()
    completer = NTKMatrixCompleter(alpha=0.3).fit(X, row_features=features)
    for repeated in (X.iloc[[2, 2]], X.set_axis(REPEATED)):
        with pytest.raises(ValueError, match="rows of X have repeated labels"):
            completer.transform(repeated)
    with pytest.raises(ValueError, match="rows of X have missing labels"):
        completer.transform(X.set_axis([None, *NAMES[1:]]))
    with pytest.raises(ValueError, match="rows that were not in fit .5, 6"):
        completer.transform(X.set_axis(range(5, 19)))


def test_the_other_half_of_a_split_is_not_in_the_fit():
    X, features = labelled(None, None)
    halves = np.arange(7), np.arange(7, 14)
    for train, test in (halves, halves[::-1]):
        fit_X, new_X = X.iloc[train], X.iloc[test]
        completer = NTKMatrixCompleter(alpha=0.3)
        completer.fit(fit_X, row_features=features.iloc[train])
        for method in completer.transform, completer.score:
            with pytest.raises(ValueError, match="X has rows that were not in fit"):
                method(new_X)
        expected = completer.transform(fit_X)
        assert_array_equal(completer.transform(fit_X.to_numpy()), expected)
        renamed = fit_X.set_axis(NAMES[:7])
        completer.fit(renamed, row_features=features.iloc[train].to_numpy())
        assert_array_equal(
            completer.transform(pd.DataFrame(fit_X.to_numpy())), expected
        )


def test_a_kernel_with_labels_on_one_axis_is_matched_by_them():
    features, X = frames()
    K = kernel_between(features.to_numpy(), features.to_numpy(), same=True)
    completer = NTKMatrixCompleter(alpha=0.3)
    expected = completer.fit_transform(X, row_kernel=K)
    reversed_K, names = K[::-1, ::-1], NAMES[::-1]
    for labels in (
        {"index": names},
        {"columns": names},
        {"index": names, "columns": names},
    ):
        table = pd.DataFrame(reversed_K, **labels)
        assert_allclose(completer.fit_transform(X, row_kernel=table), expected)
    table = pd.DataFrame(K[::-1], index=names, columns=NAMES)
    by_position = completer.fit_transform(X.to_numpy()[::-1], row_kernel=table)
    assert_allclose(by_position[::-1], expected)
    with pytest.raises(ValueError, match="row_kernel has no column 'row0'"):
        completer.fit(X.to_numpy(), row_kernel=table.rename(columns={"row0": "other"}))


def test_features_of_columns_are_matched_by_name():
    features, _, X = problem()
    columns = pd.DataFrame(np.diag(np.arange(1.0, 6)) + 0.5, index=list("abcde"))
    named = pd.DataFrame(X, columns=columns.index)
    completer = NTKMatrixCompleter(alpha=0.3)
    expected = completer.fit_transform(named, col_features=columns)
    for table in (named, pl.DataFrame(X, schema=list("abcde"))):
        got = completer.fit_transform(table, col_features=columns[::-1])
        assert_array_equal(got, expected)
        with pytest.raises(ValueError, match="col_features has no row 'a'"):
            completer.fit(table, col_features=columns.rename({"a": "other"}))
    unnamed = pl.DataFrame(X)
    assert_array_equal(completer.fit_transform(unnamed, col_features=columns), expected)
    K = (columns @ columns.T).set_axis(columns.index, axis=1)
    expected = completer.fit_transform(named, col_kernel=K)
    K = pl.from_pandas(K.iloc[::-1, ::-1])
    assert_allclose(completer.fit_transform(named, col_kernel=K), expected)


# -- names of the columns of features -------------------------------------------------


@pytest.fixture(params=[pd.DataFrame, pl.DataFrame])
def named_features(request):
    """Features as a data frame of pandas or polars, X, and a fitted completer."""
    features, _, X = problem()
    frame = request.param(dict(zip(["dose", "age", "pka"], features.T, strict=True)))
    completer = NTKMatrixCompleter(alpha=0.3)
    return frame, X, completer.fit(X, row_features=frame)


def predictions(completer, X, features):
    """Call all methods that take features of rows to predict."""
    yield lambda: completer.predict(features)
    yield lambda: completer.predict(features, return_std=True)
    yield lambda: completer.transform(X, row_features=features)
    yield lambda: completer.score(X, row_features=features)


OTHER_NAMES = [
    (["pka", "dose", "age"], "must be in the same order as they were in fit"),
    (["dose", "age"], "now missing:\n- pka"),
    (["dose", "age", "weight"], "unseen at fit time:\n- weight"),
]


@pytest.mark.parametrize(("names", "message"), OTHER_NAMES)
def test_names_of_features_are_those_in_fit(named_features, names, message):
    features, X, completer = named_features
    new = features.__class__(
        {name: features["dose" if name == "weight" else name] for name in names}
    )
    expected = f"row_features: The feature names should match.*\n.*{message}"
    for call in predictions(completer, X, new):
        with pytest.raises(ValueError, match=expected):
            call()
    for call in predictions(completer, X, features):
        call()


def test_names_of_features_on_one_side_are_warned_of(named_features):
    features, X, completer = named_features
    message = "row_features does not have valid feature names, but NTKMatrixCompleter"
    for call in predictions(completer, X, features.to_numpy()):
        with pytest.warns(UserWarning, match=message):
            call()
    completer.fit(X, row_features=features.to_numpy())
    message = "row_features has feature names, but NTKMatrixCompleter was fitted with"
    for call in predictions(completer, X, features):
        with pytest.warns(UserWarning, match=message) as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]


def test_columns_whose_labels_are_no_names_cannot_be_reordered():
    features, _, X = problem()
    for labels in ([0, 1, 2], [30, np.nan, 20], [(0, 1), (0, 2), (1, 1)]):
        frame = pd.DataFrame(features, columns=labels)
        completer = NTKMatrixCompleter(alpha=0.3).fit(X, row_features=frame)
        expected = completer.predict(frame)
        for unnamed in (features, pd.DataFrame(features)):
            assert_array_equal(completer.predict(unnamed), expected)
        for call in predictions(completer, X, frame.iloc[:, ::-1]):
            with pytest.raises(ValueError, match="row_features: The feature names sh"):
                call()


@pytest.mark.parametrize("names", [list("aab"), [0, 0, 1], [1.5, 1.5, 0]])
def test_columns_of_the_same_name_are_an_error(names):
    features, _, X = problem()
    completer = NTKMatrixCompleter(alpha=0.3).fit(X, row_features=features)
    frame = pd.DataFrame(features, columns=names)
    message = f"row_features has more than one column {names[0]!r}"
    for call in predictions(completer, X, frame):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=message):
        completer.fit(X, row_features=frame)
    for name, axis in (("col_features", 0), ("col_kernel", 0), ("row_kernel", 1)):
        n = X.shape[1 - axis]
        labels = [*range(20, 20 + n - 1), 20]
        table = pd.DataFrame(np.eye(n), index=labels, columns=labels)
        with pytest.raises(ValueError, match=f"{name} has more than one column 20"):
            completer.fit(X, **{name: table})


def test_names_of_features_are_strings_or_not():
    features, _, X = problem()
    mixed = pd.DataFrame(features, columns=["a", 1, 2])
    with pytest.raises(TypeError, match="row_features: Feature names are only"):
        NTKMatrixCompleter().fit(X, row_features=mixed)


# -- searches -------------------------------------------------------------------------


def square():
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(size=(2, 15, 2))
    return rows, columns, np.tanh(rows @ columns.T)


def test_column_features_that_a_search_has_split_are_an_error():
    rows, columns, X = square()
    search = GridSearchCV(
        NTKMatrixCompleter(), {"alpha": [0.1]}, cv=3, error_score="raise"
    )
    with pytest.raises(
        ValueError, match="col_features has 10 rows.*to the constructor"
    ):
        search.fit(X, row_features=rows, col_features=columns)
    with pytest.raises(ValueError, match="col_kernel has 10 rows.*to the constructor"):
        search.fit(X, row_features=rows, col_kernel=np.eye(15))
    with pytest.raises(ValueError, match="row_kernel must be square.*row_features"):
        search.fit(X, row_kernel=np.eye(15))


def test_a_search_routes_the_features_of_rows():
    rows, columns, X = square()
    with config_context(enable_metadata_routing=True):
        completer = NTKMatrixCompleter(col_features=columns)
        completer.set_fit_request(row_features=True)
        completer.set_score_request(row_features=True)
        grid, folds = {"alpha": [0.1, 100.0]}, KFold(3)
        search = GridSearchCV(completer, grid, cv=folds).fit(X, row_features=rows)
    assert search.best_params_ == {"alpha": 0.1}
    train, test = next(folds.split(X))
    fitted = (
        clone(completer).set_params(alpha=0.1).fit(X[train], row_features=rows[train])
    )
    expected = r2_score(X[test].ravel(), fitted.predict(rows[test]).ravel())
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(expected)


def test_features_of_columns_are_passed_once():
    rows, columns, X = square()
    completer = NTKMatrixCompleter(col_features=columns)
    with pytest.raises(ValueError, match="to the constructor and to fit"):
        completer.fit(X, col_features=columns)
    with pytest.raises(ValueError, match="col_features and col_kernel are both given"):
        completer.fit(X, col_kernel=np.eye(15))


# -- bad input ------------------------------------------------------------------------


BAD = [
    ({"row_features": np.ones((3, 2))}, "row_features has 3 rows, but X has 14 rows"),
    ({"row_features": "one-hot"}, 'must be an array or "identity"'),
    (
        {"row_features": np.full((14, 2), np.nan)},
        "row_features has NaN in columns 0, 1: missing values must be filled in",
    ),
    (
        {"row_features": pd.DataFrame({"dose": [np.nan] * 14, "age": 1.0})},
        "row_features has NaN in column 'dose'",
    ),
    ({"row_features": np.ones(14)}, r"row_features must have two.* is \(14,\)"),
    ({"row_features": pd.Series(np.ones(14))}, "row_features must have two dim"),
    ({"row_features": np.ones((14, 0))}, "row_features must .* at least one column"),
    ({"row_kernel": np.full((14, 14), np.nan)}, "row_kernel has NaN in columns 0, 1"),
    ({"row_kernel": np.ones((14, 3))}, "row_kernel must be square"),
    ({"row_kernel": np.triu(np.ones((14, 14)))}, "row_kernel must be symmetric"),
    (
        {"col_features": np.ones((14, 2))},
        "col_features has 14 rows, but X has 5 columns",
    ),
    (
        {"row_kernel": np.eye(14), "row_features": np.ones((14, 1))},
        "row_features and row_kernel are both given",
    ),
]


@pytest.mark.parametrize(("sides", "message"), BAD)
def test_bad_features_leave_the_completer_unchanged(sides, message):
    features, _, X = problem()
    completer = NTKMatrixCompleter(alpha=0.3).fit(X, row_features=features)
    before = dict(vars(completer))
    with pytest.raises(ValueError, match=message):
        completer.fit(X, **sides)
    assert vars(completer) == before


def test_bad_parameters_are_errors():
    features, _, X = problem()
    for alphas in ([0.0, 1.0], []):
        with pytest.raises(ValueError, match="alphas must be one or more numbers"):
            NTKMatrixCompleter(alphas=alphas).fit(X[:-2])
    with pytest.raises(ValueError, match="prior_entries is for rows with features"):
        NTKMatrixCompleter(prior_entries=1).fit(X, row_kernel=np.eye(14))
    with pytest.raises(ValueError, match="All entries of X are missing"):
        NTKMatrixCompleter().fit(np.full((3, 2), np.nan))
    completer = NTKMatrixCompleter().fit(X, row_features=features)
    with pytest.raises(ValueError, match="row_features has 2 columns, but had 3"):
        completer.predict(features[:, :2])
    with pytest.raises(ValueError, match="row_features must be an array, got 'ident"):
        completer.transform(X, row_features="identity")
    completer.fit(X[:-2])
    with pytest.raises(ValueError, match="none were passed to fit"):
        completer.transform(X, row_features=features)


@pytest.mark.parametrize("center", [True, False])
def test_empty_columns_give_a_warning(center):
    features, _, X = problem()
    X[:, 1] = np.nan
    completer = NTKMatrixCompleter(center=center)
    with pytest.warns(NumericalWarning, match="1 column of X without any"):
        got = completer.fit_transform(X, row_features=features)
    assert_allclose(got[:, 1], np.nanmean(X) if center else 0)
    _, std = completer.predict(features, return_std=True)
    assert np.isnan(std[:, 1]).all() and np.isfinite(np.delete(std, 1, axis=1)).all()


def test_indefinite_kernels_give_a_warning():
    _, _, X = problem()
    K = np.eye(14)
    K[0, 1] = K[1, 0] = 2
    with pytest.warns(NumericalWarning, match="row_kernel is not positive semidef"):
        got = NTKMatrixCompleter().fit_transform(X, row_kernel=K)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("kind", ["empty", "indefinite", "iterations"])
def test_warnings_have_the_file_of_the_caller(kind):
    features, _, X = problem()
    completer, sides = NTKMatrixCompleter(alpha=1e-6, max_iter=1), {}
    if kind == "indefinite":
        sides = {"row_kernel": np.eye(14) + 2 * (np.eye(14, k=1) + np.eye(14, k=-1))}
    elif kind == "iterations":
        sides = {"row_features": features, "col_features": np.eye(5)}
    with pytest.warns(UserWarning) as caught:
        completer.fit(X, **sides)
    assert [warning.filename for warning in caught] == [__file__]


def test_equal_rows_need_no_ridge():
    features, _, X = problem()
    features[1] = features[0]
    got = NTKMatrixCompleter(alpha=0).fit_transform(X, row_features=features)
    assert np.isfinite(got).all()


def test_float32_stays_float32():
    features, _, X = problem()
    got = NTKMatrixCompleter().fit_transform(X.astype("f"), row_features=features)
    assert got.dtype == np.float32
    expected = NTKMatrixCompleter().fit_transform(X, row_features=features)
    assert_allclose(got, expected, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["features", "entries", "both"]),
)
def test_any_shape_and_mask(n, columns, seed, kind):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n, columns)) < 0.5, rng.normal(size=(n, columns)), np.nan)
    X[:, np.isnan(X).all(axis=0)] = 1.0
    sides = {"row_features": rng.normal(size=(n, 2))}
    if kind == "both":
        sides["col_features"] = rng.normal(size=(columns, 3))
    elif kind == "entries":
        X[np.isnan(X).all(axis=1)] = 1.0
        sides = {}
    got = NTKMatrixCompleter(random_state=0).fit_transform(X, **sides)
    assert np.isfinite(got).all()
    assert_array_equal(got[~np.isnan(X)], X[~np.isnan(X)])


# -- after a first completer ----------------------------------------------------------


@pytest.fixture
def screen(rng):
    """A low-rank matrix plus a function of features; half of it is missing."""
    features = rng.normal(size=(120, 10))
    full = 2 * rng.normal(size=(120, 2)) @ rng.normal(size=(2, 30))
    full += features @ rng.normal(size=(10, 30)) / 3
    full += 0.1 * rng.normal(size=full.shape)
    return features, full, np.where(rng.random(full.shape) < 0.5, full, np.nan)


def test_residuals_of_a_first_completer_are_completed(screen):
    features, full, X = screen
    first, hidden = LinRFMCompleter(max_rank=3, random_state=0), np.isnan(X)
    stacked = NTKMatrixCompleter(first_completer=first, random_state=0)
    alone = NTKMatrixCompleter(random_state=0)
    errors = [
        np.sqrt(np.mean((filled - full)[hidden] ** 2))
        for filled in (
            stacked.fit_transform(X, row_features=features),
            first.fit_transform(X),
            alone.fit_transform(X, row_features=features),
        )
    ]
    assert errors[0] < 0.95 * min(errors[1:])
    assert not hasattr(stacked, "predict") and hasattr(alone, "predict")
    seen = ~hidden
    assert_allclose(stacked.transform(X)[seen], X[seen])


def test_residuals_are_those_of_held_out_entries(screen):
    """Against the residuals of each fold."""
    features, _, X = screen
    first = LinRFMCompleter(max_rank=3, random_state=0)
    entries = np.argwhere(~np.isnan(X))
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    residuals = np.full_like(X, np.nan)
    for _, test in KFold(5, shuffle=True, random_state=seed).split(entries):
        hidden = tuple(entries[test].T)
        shown = X.copy()
        shown[hidden] = np.nan
        residuals[hidden] = X[hidden] - first.fit_transform(shown)[hidden]
    second = NTKMatrixCompleter(alpha=0.3, keep_observed=False)
    expected = second.fit_transform(residuals, row_features=features)
    expected = expected + first.set_params(keep_observed=False).fit_transform(X)
    stacked = NTKMatrixCompleter(
        alpha=0.3, first_completer=first, keep_observed=False, random_state=3
    )
    got = stacked.fit_transform(X, row_features=features)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_folds_of_a_first_completer_may_empty_rows_and_columns(screen):
    """Without a warning: the matrix has no gaps."""
    features, _, X = screen
    X[3, 1:] = X[1:, 2] = np.nan
    X[3, 0] = X[0, 2] = 1.0
    first = LinRFMCompleter(max_rank=2, random_state=0)
    for completer in (first, KNNImputer()):
        stacked = NTKMatrixCompleter(first_completer=completer, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", NumericalWarning)
            filled = stacked.fit_transform(X, row_features=features)
        assert np.isfinite(filled).all()


class FirstColumns(TransformerMixin, BaseEstimator):
    """Zeros for half of the columns."""

    def fit(self, X):
        return self

    def transform(self, X):
        return np.zeros((len(X), X.shape[1] // 2))


def test_a_first_completer_keeps_every_column(screen):
    features, _, X = screen
    completer = NTKMatrixCompleter(first_completer=FirstColumns())
    with pytest.raises(ValueError, match=r"first_completer turns .* \(120, 15\); pass"):
        completer.fit(X, row_features=features)


def test_a_first_completer_needs_features(screen):
    features, _, X = screen
    completer = NTKMatrixCompleter(first_completer=LinRFMCompleter())
    with pytest.raises(ValueError, match="first_completer needs features or kernels"):
        completer.fit(X)
    completer.set_params(prior_entries=1.0)
    with pytest.raises(ValueError, match="prior_entries must be 0"):
        completer.fit(X, row_features=features)
