"""MatrixCompleter: its methods, comparison and choice, against naive results."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from _completion import entries_of as observed
from _completion import low_rank, triplets_of
from _estimator_checks import EXTRA_CHECKS, parametrize_with_checks
from _progress import Recorder
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse import coo_array
from sklearn.metrics import r2_score
from sklearn.utils import estimator_checks

from skrfm import EntryRegressor, LinRFMCompleter, MatrixCompleter, NTKMatrixCompleter
from skrfm.completion._choice._comparison import Comparison, folds_of, simplex_weights
from skrfm.completion._choice._deviations import Deviations
from skrfm.completion._choice._means import ShrunkMeans
from skrfm.exceptions import NumericalWarning

# -- scikit-learn's checks ------------------------------------------------------------

FAST = {"max_iter": 5, "alpha": 0.1, "tol": 1e-2, "solver": "alternating"}


def fast(**parameters):
    """A completer whose fits take little time."""
    low = LinRFMCompleter(**FAST)
    kernel = NTKMatrixCompleter(alphas=[0.1, 1.0, 10.0])
    defaults = {"low_rank": low, "kernel": kernel, "cv": 2, "random_state": 0}
    return MatrixCompleter(**defaults | parameters)


ESTIMATORS = [fast()]


# the checks of sparse input store next to nothing
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


# the set_output checks themselves pass arrays to estimators fitted on data frames
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
def test_extra_checks(name):
    getattr(estimator_checks, name)("MatrixCompleter", ESTIMATORS[0])


# -- shrunk means ---------------------------------------------------------------------


def effects(m=30, n=20, share=0.5, row=1.0, column=2.0, noise=0.7, seed=0):
    """Observed entries of an additive model, and its effects."""
    rng = np.random.default_rng(seed)
    a, b = row * rng.normal(size=m), column * rng.normal(size=n)
    X = 5 + a[:, None] + b + noise * rng.normal(size=(m, n))
    return np.where(rng.random((m, n)) < share, X, np.nan), a, b


def test_means_are_the_best_linear_predictions_of_their_variances():
    """Against the posterior mean of the effects, from one dense system."""
    X, _, _ = effects()
    entries = observed(X)
    means = ShrunkMeans.of(entries)
    m, n = X.shape
    Z = np.zeros((len(entries), m + n))
    Z[np.arange(len(Z)), entries.rows] = 1
    Z[np.arange(len(Z)), m + entries.cols] = 1
    penalty = np.repeat([means.row_penalty, means.column_penalty], [m, n])
    Z, penalty = np.column_stack([np.ones(len(Z)), Z]), np.append(0, penalty)
    expected = np.linalg.solve(Z.T @ Z + np.diag(penalty), Z.T @ entries.values)
    assert_allclose([means.mean, *means.rows, *means.columns], expected, atol=1e-3)


def test_means_find_the_variances():
    X, _, _ = effects(m=300, n=200, row=1.0, column=2.0, noise=0.7)
    means = ShrunkMeans.of(observed(X))
    assert means.row_penalty == pytest.approx(0.49, rel=0.2)
    assert means.column_penalty == pytest.approx(0.49 / 4, rel=0.2)
    assert np.var(means.columns) == pytest.approx(4, rel=0.2)


def test_means_of_effects_that_are_noise_are_shrunk_to_nothing():
    X, _, _ = effects(row=0.0, column=0.0, noise=1.0)
    means = ShrunkMeans.of(observed(X))
    plain = np.nanmean(X, axis=0) - np.nanmean(X)
    assert np.abs(means.columns).max() < 0.5 * np.abs(plain).max()


def test_rows_have_the_effects_of_their_entries_whether_new_or_not():
    X, _, _ = effects()
    means = ShrunkMeans.of(observed(X))
    assert_allclose(means.of_rows(observed(X)), means.rows)
    some = means.of_rows(observed(X[[3, 1]]))
    assert_allclose(some, means.rows[[3, 1]])


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_means_of_any_scale(scale):
    X, _, _ = effects()
    means = ShrunkMeans.of(observed(X))
    scaled = ShrunkMeans.of(observed(X * scale))
    assert_allclose(scaled.columns, means.columns * scale, rtol=1e-6)


def test_means_of_a_constant_matrix():
    means = ShrunkMeans.of(observed(np.full((3, 2), 7.0)))
    assert_array_equal(means.dense(means.rows), np.full((3, 2), 7.0))


# -- weights --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_weights_have_the_least_error_of_the_simplex(seed):
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(200, 4)) * [1.0, 1.1, 2.0, 0.9] + rng.normal(
        size=(200, 1)
    )
    weight = rng.uniform(0.2, 2, size=200)
    got = simplex_weights(errors, weight)
    assert (got >= 0).all() and got.sum() == pytest.approx(1)

    def loss(w):
        return np.average((errors @ w) ** 2, weights=weight)

    sums = {"type": "eq", "fun": lambda w: w.sum() - 1}
    start, bounds = np.full(4, 0.25), [(0, 1)] * 4
    best = minimize(loss, start, bounds=bounds, constraints=sums, tol=1e-12)
    assert loss(got) == pytest.approx(best.fun, rel=1e-6)


def test_weights_of_predictions_without_error():
    assert_array_equal(simplex_weights(np.zeros((5, 2)), np.ones(5)), [0.5, 0.5])
    errors = np.column_stack([np.ones(5), np.zeros(5)])
    assert_allclose(simplex_weights(errors, np.ones(5)), [0, 1], atol=1e-12)


# -- comparison -----------------------------------------------------------------------


def screen(m=40, n=15, seed=0, noise=0.3):
    """A matrix of row features, a low rank, and noise, with gaps and an empty row."""
    rng = np.random.default_rng(seed)
    F, G = rng.normal(size=(m, 3)), rng.normal(size=(n, 4))
    full = np.tanh(F @ rng.normal(size=(3, n))) + 0.5 * F[:, :1]
    full += np.outer(rng.normal(size=m), rng.normal(size=n)) + G[:, 0]
    X = full + noise * rng.normal(size=full.shape)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[-1] = np.nan
    return full, X, F, G


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
def test_scores_are_those_of_fits_without_the_fold():
    _, X, F, _ = screen()
    X, F = X[:-1], F[:-1]
    low_rank = LinRFMCompleter(**FAST)
    completer = MatrixCompleter(low_rank=low_rank, random_state=0, cv=3, combine="best")
    completer.fit(X, row_features=F)
    results = completer.cv_results_
    names = results["param_method"].tolist()
    assert names == [
        "means",
        "low rank",
        "row entries",
        "row features",
        "column entries",
        "low rank, row features",
        "average",
    ]
    entries = observed(X)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    fold_of = folds_of(entries, 3, seed)
    variance = entries.values.var()
    for fold in range(3):
        hidden = fold_of == fold
        shown = X.copy()
        shown[entries.rows[hidden], entries.cols[hidden]] = np.nan
        low = LinRFMCompleter(**FAST, random_state=seed, keep_observed=False)
        at = entries.rows[hidden], entries.cols[hidden]
        residual = entries.values[hidden] - low.fit_transform(shown)[at]
        score = results[f"split{fold}_test_score"][names.index("low rank")]
        assert score == pytest.approx(1 - np.mean(residual**2) / variance, abs=1e-6)
    table = np.array([results[f"split{k}_test_score"] for k in range(3)])
    assert_allclose(results["mean_test_score"], table.mean(axis=0))
    assert_allclose(results["std_test_score"], table.std(axis=0))
    best = int(np.argmax(results["mean_test_score"][:-1]))
    assert completer.method_ == names[best]
    assert completer.weights_ == {names[best]: 1.0}
    assert results["rank_test_score"].min() == 1
    assert (results["mean_fit_time"] > 0).all()


def test_the_model_of_left_overs_sees_neither_the_fold_nor_fits_with_it():
    """Its residuals are changed by no hidden entry."""
    _, X, F, _ = screen()
    entries = observed(X)
    fold_of = folds_of(entries, 3, 0)
    seen = []

    class Mean:
        name = "mean"

        def fit(self, entries, means):
            mean = entries.values.mean()
            return type("Fitted", (), {"at": lambda _, i, j: np.full(len(i), mean)})()

    class Keep:
        name = "kept"

        def left_over(self, residuals):
            seen.append(residuals)
            return type("Fitted", (), {"of_fit": np.zeros(residuals.shape)})()

    for shift in (0.0, 100.0):
        values = entries.values + shift * (fold_of == 1)
        comparison = Comparison(entries.with_values(values), fold_of)
        tasks = _Tasks()
        comparison.add(Mean(), tasks)
        comparison.add_after(Mean(), [Keep()], tasks)
    before, after = seen[1], seen[4]
    assert len(before) == np.sum(fold_of != 1)
    assert_array_equal(before.values, after.values)
    assert not np.array_equal(seen[0].values, seen[3].values)
    # each residual is that of the mean of the entries in the third fold
    at = fold_of[fold_of != 1]
    for fold, other in ((0, 2), (2, 0)):
        mean = entries.values[fold_of == other].mean()
        expected = entries.values[fold_of == fold] - mean
        assert_allclose(before.values[at == fold], expected)


class _Tasks:
    def open(self, name):
        return nullcontext()


def test_exact_low_rank_is_taken_as_it_is():
    full, X = low_rank()
    completer = MatrixCompleter(random_state=0).fit(X)
    assert completer.method_ == "low rank" and completer.weights_ == {"low rank": 1.0}
    assert_allclose(completer.transform(X), full, atol=1e-5)
    assert isinstance(completer.completers_["low rank"], LinRFMCompleter)
    assert completer.best_score_ == pytest.approx(1)


def test_an_average_is_the_weighted_sum_of_its_methods():
    full, X, F, G = screen()
    completer = fast(cv=3, combine="average", keep_observed=False)
    completed = completer.fit(X, row_features=F, col_features=G).transform(X)
    assert completer.method_ == "average" and len(completer.weights_) > 1
    assert sum(completer.weights_.values()) == pytest.approx(1)
    gaps = np.isnan(X)
    gaps[-1] = False  # the empty row is predicted from its features
    assert r2_score(full[gaps], completed[gaps]) > 0.7
    rows, cols = np.nonzero(gaps)
    assert_allclose(completer.predict_entries(rows, cols), completed[gaps], atol=1e-6)
    scores = completer.cv_results_["mean_test_score"]
    assert completer.best_score_ == scores[-1]


def test_auto_takes_an_average_only_if_it_is_clearly_better():
    entries = observed(effects()[0])
    rng = np.random.default_rng(0)
    fold_of = folds_of(entries, 4, 0)
    comparison = Comparison(entries, fold_of)
    noise = rng.normal(size=(2, len(entries)))
    comparison.predictions = {"a": entries.values + noise[0]}
    comparison.predictions["b"] = entries.values + noise[1]
    comparison.seconds = {"a": [1.0] * 4, "b": [2.0] * 4}
    choice = comparison.choose("auto")
    assert choice.method == "average" and set(choice.weights) == {"a", "b"}
    assert comparison.choose("best").method in {"a", "b"}
    comparison.predictions["b"] = comparison.predictions["a"] + 1e-9 * noise[1]
    assert comparison.choose("auto").method in {"a", "b"}
    assert comparison.choose("average").method == "average"
    assert choice.results["mean_fit_time"].tolist() == [1.0, 2.0, 3.0]


# -- rows and columns without entries -------------------------------------------------


def circle(rng, size):
    """Random unit vectors."""
    X = rng.normal(size=(size, 2))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_rows_and_columns_without_entries_are_predicted_from_features():
    rng = np.random.default_rng(0)
    # the kernel sees directions only
    F, G, unseen = (circle(rng, size) for size in (60, 50, 6))
    full = F[:, :1] + 2 * G[:, 0] + 0.5 * F @ G.T
    X = full.copy()
    X[-5:], X[:, -4:] = np.nan, np.nan
    completer = MatrixCompleter(random_state=0, cv=2)
    completed = completer.fit_transform(X, row_features=F, col_features=G)
    known, new = slice(None, -5), slice(-5, None)
    assert r2_score(full[new, :-4].ravel(), completed[new, :-4].ravel()) > 0.9
    assert r2_score(full[known, -4:].ravel(), completed[known, -4:].ravel()) > 0.9
    # where both are new, their effects are known, and not how they interact
    additive = F[:, :1] + 2 * G[:, 0]
    corner = completed[new, -4:].ravel()
    assert r2_score(additive[new, -4:].ravel(), corner) > 0.8
    rows, cols = np.mgrid[50:60, 40:50].reshape(2, -1)
    assert_allclose(completer.predict_entries(rows, cols), completed[rows, cols])
    got = completer.transform(np.full((6, 50), np.nan), row_features=unseen)
    expected = unseen[:, :1] + 2 * G[:, 0] + 0.5 * unseen @ G.T
    assert r2_score(expected[:, :-4].ravel(), got[:, :-4].ravel()) > 0.8


def test_without_features_they_have_the_means():
    X, _, _ = effects(m=20, n=8)
    X[3], X[:, 2] = np.nan, np.nan
    with pytest.warns(NumericalWarning, match=r"1 row .*\(3\).* 1 column .*\(2\)"):
        completer = fast().fit(X)
    means = ShrunkMeans.of(observed(X))
    completed = completer.transform(X)
    assert_allclose(completed[3], means.mean + means.columns)
    assert_allclose(
        completed[:, 2][np.arange(20) != 3], means.mean + np.delete(means.rows, 3)
    )
    assert_allclose(completer.predict_entries([3], [2]), means.mean)


# -- input ----------------------------------------------------------------------------


def test_sparse_matrices_entries_and_frames_are_the_same():
    _, X, F, _ = screen(noise=0.3)
    X = X[:-1]
    expected = fast().fit_transform(X)
    rows, cols, values = triplets_of(X)
    sparse = coo_array((values, (rows, cols)), shape=X.shape)
    assert_allclose(fast().fit(sparse).transform(X), expected)
    completer = fast().fit_entries(rows, cols, values, X.shape)
    assert_allclose(completer.transform(X), expected)
    frame = pd.DataFrame(X, index=[f"cell {i}" for i in range(len(X))])
    frame.columns = [f"drug {j}" for j in range(X.shape[1])]
    got = fast().fit_transform(frame)
    assert_allclose(got.to_numpy(), expected)
    assert got.index.equals(frame.index)
    features = pd.DataFrame(F[:-1], index=frame.index)
    features.columns = ["f", "g", "h"]
    shuffled = features.sample(frac=1, random_state=0)
    got = fast().fit_transform(frame, row_features=shuffled)
    assert_allclose(got.to_numpy(), fast().fit_transform(X, row_features=F[:-1]))


def test_weights_leave_the_kernels_out():
    X = screen()[1][:-1]
    rows, cols, values = triplets_of(X)
    weight = np.random.default_rng(0).choice([1.0, 2.0], size=len(rows))
    completer = fast().fit_entries(rows, cols, values, X.shape, sample_weight=weight)
    assert set(completer.cv_results_["param_method"]) == {
        "means",
        "low rank",
        "average",
    }
    ones = np.ones(len(rows))
    same = fast().fit_entries(rows, cols, values, X.shape, sample_weight=ones)
    assert "row entries" in same.cv_results_["param_method"]


def test_it_is_a_completer_of_an_entry_regressor():
    _, X, _, _ = screen()
    rows, cols, values = triplets_of(X[:-1])
    pairs = np.column_stack([rows, cols])
    regressor = EntryRegressor(fast(), shape=(39, 15)).fit(pairs, values)
    expected = fast().fit(X[:-1]).predict_entries(rows, cols)
    assert_allclose(regressor.predict(pairs), expected)


@pytest.mark.slow
def test_averages_of_draws_are_taken_where_entries_are_few_and_noisy():
    full, X = low_rank(m=120, n=60, share=0.15, noise=0.7)
    completer = MatrixCompleter(random_state=0, combine="best", keep_observed=False)
    completer.fit(X[:100])
    assert completer.method_ == "low rank, gibbs"
    own = completer.completers_[completer.method_]
    rows, cols = np.indices((100, 60)).reshape(2, -1)
    average = own.predict_entries(rows, cols).reshape(100, 60)
    # rows of the fit have the average, new rows what it makes of their entries
    assert_allclose(completer.transform(X[:100]), average)
    assert_allclose(completer.transform(X[100:]), own.transform(X[100:]))
    errors = np.mean((completer.transform(X) - full) ** 2, axis=1)
    assert errors[:100].mean() < 0.5 * full.var() and errors[100:].mean() < full.var()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@pytest.mark.parametrize(
    "given", [{"solver": "exact"}, {"alpha": 0.1}, {"loss": "huber"}, {"power": 0.25}]
)
def test_draws_are_not_compared_with_parameters_of_another_solver(given):
    _, X = low_rank(m=30, n=12)
    low_rank_completer = LinRFMCompleter(max_iter=3, tol=1e-2, **given)
    completer = MatrixCompleter(low_rank=low_rank_completer, cv=2, random_state=0)
    assert "low rank, gibbs" not in completer.fit(X).cv_results_["param_method"]


def test_new_rows_are_completed_from_their_entries():
    full, X = low_rank(m=80, n=20, share=0.7, noise=0.1)
    completer = MatrixCompleter(random_state=0, combine="average", cv=2).fit(X[:60])
    new = X[60:]
    gaps = np.isnan(new)
    completed = completer.transform(new)
    assert r2_score(full[60:][gaps], completed[gaps]) > 0.9
    assert_array_equal(completed[~gaps], new[~gaps])
    part = completer.transform(new[3:5])
    assert_allclose(part, completed[3:5])


def test_one_entry_has_nothing_to_compare():
    X = np.full((2, 3), np.nan)
    X[0, 1] = 4.0
    with pytest.warns(NumericalWarning):
        completer = fast().fit(X)
    assert completer.method_ == "means" and np.isnan(completer.best_score_)
    assert completer.cv_results_ == {}
    assert_array_equal(completer.transform(X), np.full((2, 3), 4.0))


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"row_features": np.ones((3, 2))}, "row_features has 3 rows, but X has 40"),
        ({"row_features": "identity"}, "row_features must be an array"),
        ({"col_kernel": np.ones((15, 3))}, "col_kernel must be square"),
        (
            {"row_features": np.ones((40, 2)), "row_kernel": np.eye(40)},
            "row_features and row_kernel are both given",
        ),
    ],
)
def test_bad_features_leave_the_completer_unchanged(sides, message):
    _, X, _, _ = screen()
    completer = fast()
    with pytest.raises(ValueError, match=message):
        completer.fit(X, **sides)
    assert not hasattr(completer, "method_")


def test_bad_features_of_new_rows():
    _, X, F, _ = screen()
    completer = fast().fit(X, row_features=F)
    with pytest.raises(ValueError, match="row_features has 2 columns, but had 3"):
        completer.transform(X, row_features=F[:, :2])
    with pytest.raises(ValueError, match="X has 5 rows, but 40 were fitted"):
        completer.transform(X[:5])
    plain = fast().fit(X[:-1])
    with pytest.raises(ValueError, match="none were passed to fit"):
        plain.transform(X, row_features=F)


# -- callbacks ------------------------------------------------------------------------


class TaskRecorder(Recorder):
    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.ended.append(context)
        if fitted_estimator is not None:
            self.offered.append(fitted_estimator.transform(X))


def test_each_fit_is_a_task():
    _, X, F, _ = screen()
    recorder = TaskRecorder()
    completer = fast(cv=3).set_callbacks(recorder).fit(X, row_features=F)
    names = [context.task_name for context in recorder.ended]
    for fold in range(3):
        assert f"low rank, fold {fold}" in names
    pairs = [name for name in names if "without folds" in name]
    assert len(pairs) == 3
    used = {
        name.removesuffix(", all entries") for name in names if "all entries" in name
    }
    assert used >= set(completer.weights_)
    assert {id(c) for c in recorder.begun} == {id(c) for c in recorder.ended}
    assert_array_equal(recorder.offered[-1], completer.transform(X))


# -- standard deviations --------------------------------------------------------------


def noisy_columns(rng, shape=(90, 40)):
    """Return a matrix with gaps, and fresh measurements; columns differ in noise."""
    full = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    noise = np.where(np.arange(shape[1]) % 2, 0.2, 1.0)
    first, second = (full + noise * rng.normal(size=shape) for _ in range(2))
    return np.where(rng.random(shape) < 0.6, first, np.nan), second


@pytest.mark.parametrize("combine", ["best", "average"])
def test_intervals_cover_new_measurements(combine, rng):
    X, measured = noisy_columns(rng)
    model = MatrixCompleter(random_state=0, combine=combine).fit(X)
    at = np.nonzero(np.isnan(X))
    mean, std = model.predict_entries(*at, return_std=True)
    assert_allclose(mean, model.predict_entries(*at))
    inside = np.abs(measured[at] - mean) <= 1.645 * std
    assert 0.86 < inside.mean() < 0.94
    noisy = at[1] % 2 == 0
    assert std[noisy].mean() > 2 * std[~noisy].mean()
    for some in (noisy, ~noisy):
        assert 0.8 < inside[some].mean() < 0.97


def test_rows_and_columns_without_entries_are_less_certain(rng):
    X, _ = noisy_columns(rng)
    X[5], X[:, 7] = np.nan, np.nan
    with pytest.warns(UserWarning, match="without|no "):
        model = MatrixCompleter(random_state=0).fit(X)
    _, std = model.predict_entries([5, 6, 6, 5], [9, 9, 7, 7], return_std=True)
    assert std[0] > std[1] > 0 and std[2] > std[1]
    # a column of which nothing is known is average, or worse
    _, of_row = model.predict_entries(
        [5] * 39, np.delete(np.arange(40), 7), return_std=True
    )
    assert std[3] ** 2 > 0.999 * np.mean(of_row**2) and std[3] > std[2]


@pytest.mark.parametrize(
    "features", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_intervals_of_new_rows_and_columns_cover_their_measurements(features, rng):
    """What low rank knows of other rows does not make them narrow."""
    P, Q = rng.normal(size=(90, 3)), rng.normal(size=(40, 3))
    full = P @ Q.T + rng.normal(size=90)[:, None] + rng.normal(size=40)
    measured = full + 0.3 * rng.normal(size=full.shape)
    X = np.where(rng.random(full.shape) < 0.7, measured, np.nan)
    X[::6], X[:, ::8] = np.nan, np.nan
    sides = {"row_features": P, "col_features": Q} if features else {}
    with nullcontext() if features else pytest.warns(UserWarning):
        model = MatrixCompleter(random_state=0, cv=3).fit(X, **sides)
    empty_rows = np.arange(90) % 6 == 0
    empty_columns = np.arange(40) % 8 == 0
    for at in (
        np.outer(empty_rows, ~empty_columns),
        np.outer(~empty_rows, empty_columns),
    ):
        mean, std = model.predict_entries(*np.nonzero(at), return_std=True)
        inside = np.abs(measured[at] - mean) <= 1.645 * std
        assert 0.8 < inside.mean() < 0.99


def test_deviations_are_factors_of_rows_and_columns(rng):
    of_rows, of_columns = rng.uniform(0.5, 2, 400), rng.uniform(0.5, 2, 300)
    truth = of_rows[:, None] * of_columns
    errors = truth * rng.normal(size=truth.shape)
    rows, cols = np.nonzero(rng.random(truth.shape) < 0.5)
    shown = np.full(truth.shape, np.nan)
    shown[rows, cols] = errors[rows, cols]
    entries = observed(shown)
    effects_of = [np.zeros(400), np.zeros(300)]
    found = Deviations.of(entries, effects_of, [entries, entries])
    known = np.ones(400, dtype=bool), np.ones(300, dtype=bool)
    std = found.at(rows, cols, known=known)
    assert np.abs(np.log(std / truth[rows, cols])).mean() < 0.1
    larger = entries.with_values(2 * entries.values)
    doubled = Deviations.of(larger, effects_of, [larger, larger])
    assert_allclose(doubled.at(rows, cols, known=known), 2 * std)
