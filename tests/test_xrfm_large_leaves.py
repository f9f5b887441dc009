"""Large leaves: their number, and rounds that are fitted to some of the rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.kernel_ridge import KernelRidge

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm._recursion import _centers
from skrfm._recursion._prepared import sample_rows
from skrfm.xrfm import _base, _fitting, _leaves, _rows
from skrfm.xrfm._tree import halved_to

QUICK = {"kernel": "laplace", "alpha": 0.1, "max_iter": 2, "validation": None}


@pytest.fixture
def table(rng):
    X = rng.normal(size=(400, 4))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2


@pytest.mark.parametrize(
    ("most", "n", "expected"), [(10, 10, 10), (10, 11, 6), (10, 41, 6), (1, 8, 1)]
)
def test_rows_are_halved_until_they_are_few_enough(most, n, expected):
    assert halved_to(most, n) == expected


def test_auto_makes_a_power_of_two_of_leaves(table, monkeypatch):
    monkeypatch.setattr(_base, "_AUTO_LEAF_ROWS", 110)
    model = XRFMRegressor(RFMRegressor(**QUICK), search="leaves", random_state=0)
    tree = model.fit(*table)._fitted.trees[0]
    assert tree.n_rows == [100] * 4


def test_a_memory_budget_bounds_auto(table):
    leaf = RFMRegressor(**QUICK)
    budget = 8 * 60**2 / 0.6 / 1e9
    model = XRFMRegressor(leaf, memory_budget=budget, search="leaves", random_state=0)
    assert max(model.fit(*table)._fitted.trees[0].n_rows) <= 60


@pytest.mark.parametrize(
    ("seconds", "n_rows"), [(None, 400), (1e6, 400), (31.0, 200), (1.0, 50)]
)
def test_leaves_are_halved_for_want_of_time(seconds, n_rows, table, monkeypatch):
    """By a clock on which a search that began at 0 has taken ten seconds."""
    monkeypatch.setattr(_fitting, "time", lambda: 10.0)
    monkeypatch.setattr(_fitting, "_COST_OF_ROW", 1 / 400)
    monkeypatch.setattr(_fitting, "SEARCH_ROWS", 50)
    forester = _fitting.Forester(
        RFMRegressor(),
        _rows.HeldRows(_rows.LeafData(*table, np.ones(400))),
        max_rows=400,
        max_split_samples=100,
        n_trees=1,
        n_jobs=None,
        deadline=_fitting.Deadline(seconds),
        tasks=_fitting.FitTasks.of_fit(XRFMRegressor()),
    )
    forester.shrink_leaves(began=0.0)
    assert forester._max_rows == n_rows


def early(cls, n_rows, **settings):
    model = cls(**(QUICK | {"scaling": None, "random_state": 0} | settings))
    model._early_rows = n_rows
    return model


def test_the_last_round_is_fitted_to_all_rows_in_the_metric_of_some(table):
    X, y = table
    settings = {"bandwidth": 2.0, "max_iter": 1, "fit_intercept": False}
    model = early(RFMRegressor, 150, **settings).fit(X, y)
    seed = model._fitted.predictor.first.candidate.seed
    rows = sample_rows(len(X), 150, (seed, 1))
    some = early(RFMRegressor, None, **settings).fit(X[rows], y[rows])
    assert_allclose(model.metric_, some.metric_, rtol=1e-9)

    def kernel(a, b):
        return np.exp(-np.linalg.norm(a - b) / 2.0)

    T = X @ model.components_.T
    expected = KernelRidge(alpha=0.1, kernel=kernel).fit(T, y).predict(T)
    assert_allclose(model.predict(X), expected, atol=1e-6)


def test_all_rounds_before_the_last_have_the_same_rows(table):
    X, y = table
    settings = {"max_iter": 2, "bandwidth": 2.0, "fit_intercept": False}
    model = early(RFMRegressor, 200, **settings).fit(X, y)
    (seed,) = {model._fitted.predictor.first.candidate.seed}
    rows = sample_rows(len(X), 200, (seed, 1))
    first = early(RFMRegressor, None, **settings | {"max_iter": 1})
    first.fit(X[rows], y[rows])
    # the next metric is of the machine that is fitted in the metric of the first round
    T = X[rows] @ first.components_.T
    second = early(RFMRegressor, None, **settings | {"max_iter": 1}).fit(T, y[rows])
    expected = first.components_.T @ second.metric_ @ first.components_
    assert_allclose(model.metric_, expected / expected.diagonal().max(), rtol=1e-6)


def test_all_rows_where_they_are_not_more(table):
    X, y = table
    expected = early(RFMRegressor, None).fit(X, y).predict(X)
    assert_array_equal(early(RFMRegressor, 800).fit(X, y).predict(X), expected)


def test_a_budget_that_ends_an_early_round_keeps_its_rows(table):
    X, y = table
    model = early(RFMRegressor, 200, time_budget=1e-9).fit(X, y)
    assert model.best_iter_ == 0
    assert model.X_fit_.shape == (200, 4) and model.dual_coef_.shape == (200,)
    assert model.score(X, y) > 0.3


@pytest.mark.parametrize("solver", ["cholesky", "pcg"])
def test_classifiers_calibrate_the_last_round(solver, table):
    X, y = table
    model = early(RFMClassifier, 200, solver=solver).fit(X, y > 0.5)
    assert model.X_fit_.shape == X.shape
    assert 0.8 < model.score(X, y > 0.5)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("cls", [XRFMRegressor, XRFMClassifier])
def test_leaves_learn_metrics_from_some_of_their_rows(cls, table, monkeypatch):
    X, y = table
    y, leaf = (y, RFMRegressor) if cls is XRFMRegressor else (y > 0.5, RFMClassifier)
    model = cls(leaf(**QUICK), max_leaf_size=200, random_state=0)
    of_all = model.fit(X, y).predict(X)
    monkeypatch.setattr(_leaves, "EARLY_ROWS", 100)
    metrics = [leaf.metric_ for leaf in model.estimators_[0]]
    model.fit(X, y)
    assert model.estimators_[0][0].X_fit_.shape[0] == 200
    assert np.abs(model.estimators_[0][0].metric_ - metrics[0]).max() > 1e-6
    assert (model.predict(X) == of_all).mean() < 1 or cls is XRFMClassifier


def test_rounds_of_centres_on_a_sample_of_the_rows(table, monkeypatch):
    """More rows than those of early rounds raised an error."""
    X, y = table
    monkeypatch.setattr(_centers, "_EARLY_ROWS", 150)
    model = RFMRegressor(**QUICK, n_centers=100, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.8
