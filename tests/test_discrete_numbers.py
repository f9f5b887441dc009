"""Numbers whose values are levels: how they are found, and what fits make of them."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

from skrfm import RFMClassifier, RFMRegressor, RFMRegressorCV
from skrfm._backend import NumpyBackend
from skrfm._tables import Coding, Data, TrainingSet, _discrete, _validation
from skrfm._tables._discrete import (
    DiscreteNumbers,
    squared_jumps,
)
from skrfm._tables._level_statistics import kinds_of_statistics, level_means

QUICK = {"kernel": "laplace", "alpha": 0.1, "max_iter": 1, "random_state": 0}


def table_of(rng, n=600, n_values=40, noise=0.3):
    """A continuous number, and two of few values: with a smooth effect and one each."""
    x = np.column_stack(
        [
            rng.normal(size=n),
            rng.integers(0, n_values, n),
            rng.integers(0, n_values, n),
        ]
    )
    effect = np.random.default_rng(3).normal(size=n_values)
    y = np.sin(x[:, 0]) + x[:, 1] / n_values + effect[x[:, 2].astype(int)]
    return x, y + noise * rng.normal(size=n)


def find(X, y, weight=None):
    """The discrete numbers that a TrainingSet finds in encoded rows."""
    weight = np.ones(len(X)) if weight is None else weight
    data = Data(X, y.reshape(len(y), -1), weight)
    training = TrainingSet(
        data=data,
        coding=Coding.of_scaled_rows(X, None, weight),
        targets=None,
        keep=weight > 0,
        placement=SimpleNamespace(backend=NumpyBackend()),
        weight_unit=1.0,
    )
    return training.discrete_numbers()


# -- which numbers are discrete -------------------------------------------------------


def naive_squares(Y, weight, codes, size):
    """The squared jumps by loops."""
    rows = [np.flatnonzero(codes == k) for k in range(size)]
    totals = [weight[r].sum() for r in rows]
    means = [np.average(Y[r], axis=0, weights=weight[r]) for r in rows]
    within = sum(weight[i] * (Y[i] - means[codes[i]]) ** 2 for i in range(len(codes)))
    variance = within / (weight.sum() - size)
    squares = []
    for k in range(1, size - 1):
        beside = np.concatenate([rows[k - 1], rows[k + 1]])
        other = np.average(Y[beside], axis=0, weights=weight[beside])
        share = 1 / totals[k] + 1 / weight[beside].sum()
        squares.append((means[k] - other) ** 2 / (variance * share))
    return np.array(squares)


def test_squared_jumps_are_those_of_loops(rng):
    codes = np.concatenate([np.arange(7), rng.integers(0, 7, 60)])
    Y, weight = rng.normal(size=(67, 2)), rng.integers(1, 4, 67).astype(float)
    found = squared_jumps(Y, weight, codes, 7)
    assert_allclose(found, naive_squares(Y, weight, codes, 7))
    repeats = weight.astype(int)
    repeated = squared_jumps(
        np.repeat(Y, repeats, axis=0),
        np.ones(repeats.sum()),
        np.repeat(codes, repeats),
        7,
    )
    assert_allclose(found, repeated)


def test_squared_jumps_of_a_line_and_noise_are_1_on_average(rng):
    means = []
    for _ in range(300):
        codes = rng.integers(0, 20, 1000)
        y = 0.3 * codes + rng.normal(size=1000)
        means.append(squared_jumps(y[:, None], np.ones(1000), codes, 20).mean())
    assert np.mean(means) == pytest.approx(1, abs=0.05)
    # the standard error that the search takes
    assert np.std(means) == pytest.approx(2 / np.sqrt(18), rel=0.15)


def test_only_numbers_with_jumps_are_discrete(rng):
    X, y = table_of(rng)
    assert find(X, y) == (2,)
    assert find(X[:, ::-1], y) == (0,)
    # two values are a line, and values of few rows have means of noise
    two = np.column_stack([X[:, 2] > 20, X[:, 2] + 1e-3 * rng.integers(0, 20, 600)])
    assert find(two.astype(float), y) == ()


def test_the_largest_jumps_are_first(rng):
    codes = rng.integers(0, 30, (900, 2))
    effects = rng.normal(size=(30, 2)) * [1.0, 2.0]
    y = effects[codes[:, 0], 0] + effects[codes[:, 1], 1] + 0.5 * rng.normal(size=900)
    assert find(codes.astype(float), y) == (1, 0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    factor=st.floats(0.01, 100),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_order_of_rows_units_and_weights_change_nothing(seed, factor, dtype):
    rng = np.random.default_rng(seed)
    X, y = table_of(rng, n=400, n_values=25)
    expected = find(X, y)
    order = rng.permutation(400)
    assert find(X[order].astype(dtype), factor * y[order]) == expected
    weight = rng.integers(1, 3, 400)
    rows = np.repeat(np.arange(400), weight)
    assert find(X, y, weight.astype(float)) == find(X[rows], y[rows])


def test_targets_without_noise(rng):
    X, _ = table_of(rng)
    assert find(X, np.ones(600)) == ()
    assert find(X, rng.normal(size=40)[X[:, 2].astype(int)]) == (2,)


def test_of_many_rows_some_tell(rng, monkeypatch):
    X, y = table_of(rng)
    monkeypatch.setattr(_validation, "_MOST_SORTED", 450)
    X[::2, 2] = 0.5  # the rows that are looked at: one value
    assert find(X, y) == ()
    assert find(X[1:], y[1:]) == (2,)


# -- values ---------------------------------------------------------------------------


def test_codes_of_values_and_of_unseen_ones():
    X = np.array([[0.1, 5], [0.3, 5], [0.1, 7], [0.7, 6]])
    discrete = DiscreteNumbers.of_rows(X, (0,))
    assert discrete.sizes == (3,)
    (codes,) = discrete.codes(X)
    assert_array_equal(codes, [0, 1, 0, 2])
    new = np.array([[0.7, 0], [0.69, 0], [-1, 0], [9, 0], [0.1, 0]], dtype=np.float32)
    (codes,) = discrete.codes(new)  # in another precision
    assert_array_equal(codes, [2, 3, 3, 3, 0])


@pytest.mark.parametrize(
    ("sizes", "n_numbers", "n_outputs", "n_discrete", "expected"),
    [
        ((), 3, 1, 2, ("targets",)),
        ((2,), 100, 1, 100, ("targets",)),
        ((), 100, 1, 101, ()),
        ((), 9, 26, 4, ()),
        ((33,), 10, 1, 5, ("targets", "targets+numbers")),
        ((33,), 98, 1, 5, ("targets",)),
    ],
)
def test_kinds_with_discrete_numbers(sizes, n_numbers, n_outputs, n_discrete, expected):
    assert kinds_of_statistics(sizes, n_numbers, n_outputs, n_discrete) == expected


# -- fits -----------------------------------------------------------------------------


def test_columns_have_the_means_of_other_rows(rng):
    """Another target of a row changes the columns of other rows, never its own."""
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation=None, level_statistics="targets")
    before = model.fit(X, y).X_fit_
    assert before.shape == (600, 4)
    assert model.metric_names_.tolist() == ["x0", "x1", "x2", "x2 (mean target)"]
    changed = y.copy()
    changed[7] += 3.0
    moved = (clone(model).fit(X, changed).X_fit_ - before)[:, 3]
    same = X[:, 2] == X[7, 2]
    # its own column moves as little as those of other values, which are scaled anew
    elsewhere = np.abs(moved[~same]).max()
    assert abs(moved[7]) <= elsewhere < 0.1
    same[7] = False
    assert moved[same].max() > 2 * elsewhere


def test_rows_to_predict_have_the_means_of_all_training_rows(rng):
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation=None, level_statistics="targets").fit(X, y)
    statistics = model._fitted.predictor.first.statistics
    codes = X[:, 2].astype(int)
    expected = level_means((y - y.mean())[:, None], np.ones(600), codes, 41)
    found = statistics.means[0] * model._fitted.targets.scale
    assert_allclose(found, expected, atol=1e-9)
    unseen = X[:4].copy()
    unseen[:, 2] = [-7, 3.5, 99, 12]
    assert np.isfinite(model.predict(unseen)).all()
    alone = [model.predict(X[i : i + 1])[0] for i in range(10)]
    assert_allclose(alone, model.predict(X)[:10], rtol=1e-10)


def test_importances_belong_to_the_number(rng):
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation="cv", level_statistics="targets").fit(X, y)
    assert len(model.feature_importances_) == 3
    assert sum(model.feature_importances_) == pytest.approx(1)
    assert model.feature_importances_.argmax() == 2


@pytest.mark.parametrize("estimator", [RFMRegressor, RFMClassifier])
def test_auto_takes_them_where_they_help(estimator, rng):
    """Amounts that are mostly 0, and else of any order: a kernel sees few of them."""
    n = 2200
    amounts = np.concatenate([[0.0], np.round(np.exp(rng.uniform(0, 9, 60)))])
    effect = np.concatenate([[0.0], 2 * rng.normal(size=60)])
    kind = rng.integers(0, 61, n) * (rng.random(n) < 0.4)
    X = np.column_stack([rng.normal(size=(n, 4)), amounts[kind]])
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + effect[kind] + rng.normal(size=n) / 2
    if estimator is RFMClassifier:
        y = (y > np.median(y)).astype(int)
    train, test = slice(0, 1700), slice(1700, None)
    found = estimator(random_state=0).fit(X[train], y[train])
    without = estimator(random_state=0, level_statistics=None).fit(X[train], y[train])
    assert found.level_statistics_ == "targets"
    assert without.level_statistics_ is None
    if estimator is RFMClassifier:
        losses = [log_loss(y[test], m.predict_proba(X[test])) for m in (found, without)]
        assert losses[0] < losses[1] - 0.005
    else:
        assert found.score(X[test], y[test]) > without.score(X[test], y[test]) + 0.05
    again = pickle.loads(pickle.dumps(found))
    assert_array_equal(again.predict(X[test]), found.predict(X[test]))


def test_no_candidate_where_no_number_is_discrete(rng):
    X = np.column_stack([rng.normal(size=1300), rng.integers(0, 50, 1300)])
    y = X[:, 0] + X[:, 1] / 10 + rng.normal(size=1300)
    model = RFMRegressor(random_state=0).fit(X, y)
    assert set(model.history_["level_statistics"]) == {None}


@pytest.mark.parametrize("n_values", [8, 40, 120])
def test_random_values_and_a_random_target_leak_nothing(n_values, rng, monkeypatch):
    """A model that had seen its own targets in a column would score near 1."""
    monkeypatch.setattr(_discrete, "_LEAST_RATIO", 0.0)
    monkeypatch.setattr(_discrete, "_LEAST_ERRORS", -np.inf)
    X = np.column_stack([rng.normal(size=600), rng.integers(0, n_values, 600)])
    y = rng.normal(size=600)
    model = RFMRegressor(random_state=0, level_statistics="targets", max_iter=1)
    model.fit(X, y)
    assert model.level_statistics_ == "targets"
    assert max(model.history_["score"]) < 0.1
    new = np.column_stack([rng.normal(size=500), rng.integers(0, n_values, 500)])
    assert model.score(new, rng.normal(size=500)) > -0.25


def test_missing_values_are_a_value(rng):
    X, y = table_of(rng)
    X[rng.random(600) < 0.2, 2] = np.nan
    y = y + 3 * np.isnan(X[:, 2])
    model = RFMRegressor(**QUICK, validation=None, level_statistics="targets").fit(X, y)
    assert model.X_fit_.shape == (600, 3 + 1 + 1)
    assert model.score(X, y) > 0.5


def test_precision_of_rows_to_predict(rng):
    X, y = table_of(rng)
    X[:, 2] *= 0.1  # which float32 does not have
    model = RFMRegressor(**QUICK, validation=None, level_statistics="targets").fit(X, y)
    assert model.X_fit_.shape == (600, 4)
    other = model.predict(X.astype(np.float32))
    assert_allclose(other, model.predict(X), rtol=1e-4, atol=1e-4)


def test_the_random_search_draws_them(rng):
    X, y = table_of(rng, n=400, n_values=25)
    model = RFMRegressorCV(
        n_candidates=14, n_machines=1, max_iter=1, cv=3, random_state=0
    ).fit(X, y)
    assert set(model.cv_results_["param_level_statistics"]) == {None, "targets"}
    best = RFMRegressor(**model.best_params_, validation=None, random_state=0)
    (machine,) = model.machines_
    assert_allclose(best.fit(X, y).predict(X), machine.predict(X), rtol=1e-6)
    assert clone(machine).level_statistics == model.best_params_["level_statistics"]
