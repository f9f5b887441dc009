"""Directions of the nodes of a tree: what their sides leave open, by hand."""

import numpy as np
import pytest
from sklearn.base import clone

import skrfm.xrfm._leaves as leaves
from skrfm import RFMClassifier, RFMRegressor
from skrfm._backend import NumpyBackend
from skrfm._recursion import Candidate
from skrfm._tables import Data
from skrfm.kernels import Laplace
from skrfm.xrfm._leaves import Constant, find_directions, fit_leaf
from skrfm.xrfm._tree import Direction, split_rows

SPLITTER = RFMRegressor(
    kernel="laplace",
    alpha=0.1,
    max_iter=1,
    validation=None,
    scaling=None,
    categorical_features=None,
)


def in_parts(rng, n):
    """Rows of two functions, one on each side of zero; both vary along other axes."""
    X = rng.normal(size=(n, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), np.cos(2 * X[:, 2]))


def left_out(X, Y, weight, bandwidth):
    """The sum of squared errors of machines that are fitted without one row each."""
    machine = RFMRegressor(
        kernel=Laplace(),
        bandwidth=bandwidth,
        alpha=0.1,
        max_iter=0,
        validation=None,
        scaling=None,
    )
    total = 0.0
    for i in range(len(X)):
        rest = np.arange(len(X)) != i
        predicted = machine.fit(X[rest], Y[rest], weight[rest]).predict(X[[i]])
        total += weight[i] * np.sum((Y[i] - predicted[0]) ** 2)
    return total


@pytest.mark.parametrize("outputs", [1, 2])
def test_errors_of_sides_are_those_of_rows_left_out(outputs, rng):
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, outputs))
    weight = rng.uniform(0.5, 2, size=30)
    split = split_rows(X, weight, Direction(np.array([1.0, 0, 0])))
    candidate = Candidate(Laplace(), 0.1, 1.7, max_iter=0)
    got, _ = leaves._rank(split, Data(X, Y, weight), candidate, NumpyBackend())
    left = split[1]
    parts = [(X[side], Y[side], weight[side], 1.7) for side in (left, ~left)]
    assert got == pytest.approx(sum(left_out(*part) for part in parts), rel=1e-8)


def test_sides_of_few_rows_say_nothing(rng):
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    weight, data = np.ones(12), Data(X, y[:, None], np.ones(12))
    split = split_rows(X, weight, Direction(np.ones(3)))
    where = data, Candidate(Laplace(), 0.1, 1.0), NumpyBackend()
    assert leaves._rank(split, *where) == (np.inf, -6)
    assert leaves._rank(None, *where) == (np.inf, 0)
    model = clone(SPLITTER).fit(X, y)
    found = find_directions(SPLITTER, X, y, weight, None)
    largest = np.linalg.eigh(model.metric_)[1][:, -1]
    assert abs(found[0].vector @ largest) == pytest.approx(1)


def test_the_first_direction_is_across_the_parts_of_a_table(rng, monkeypatch):
    X, y = in_parts(rng, 1000)
    first = find_directions(SPLITTER, X, y, np.ones(1000), 0)[0]
    assert abs(first.vector[0]) > 0.9
    monkeypatch.setattr(leaves, "DIRECTIONS", 1)
    first = find_directions(SPLITTER, X, y, np.ones(1000), 0)[0]
    assert abs(first.vector[0]) < 0.5  # the one of most variance


def test_a_few_rows_are_not_parted_from_the_others(rng):
    X, y = in_parts(rng, 1000)
    rare = rng.random(1000) < 0.04
    X = np.column_stack([X, 5 * rare])
    y = np.where(rare, 5 + 3 * np.sin(3 * X[:, 3]), y)
    weight = np.ones(1000)
    for direction in find_directions(SPLITTER, X, y, weight, 0)[:2]:
        left = split_rows(X, weight, direction)[1]
        assert 0.25 < left.mean() < 0.75


def test_where_all_splits_are_lopsided_the_evenest_comes_first(rng):
    X = (rng.random((400, 2)) < [0.06, 0.2]).astype(float)
    y = 5 * X[:, 0] + X[:, 1] + 0.01 * rng.normal(size=400)
    splitter = clone(SPLITTER).set_params(metric_type="diag")
    first = find_directions(splitter, X, y, np.ones(400), 0)[0]
    assert abs(first.vector[1]) > 0.9


def test_classes_have_such_directions(rng):
    X, y = in_parts(rng, 1500)
    classes = np.digitize(y, [-0.4, 0.4])
    splitter = RFMClassifier(**SPLITTER.get_params())
    first = find_directions(splitter, X, classes, np.ones(1500), 0)[0]
    assert abs(first.vector[0]) > 0.8


def test_equal_targets_leave_the_spread_of_the_rows(rng):
    X = rng.normal(size=(100, 3)) * [1, 5, 1]
    assert isinstance(fit_leaf(SPLITTER, X, np.ones(100), np.ones(100), 0), Constant)
    first = find_directions(SPLITTER, X, np.ones(100), np.ones(100), 0)[0]
    assert abs(first.vector[1]) > 0.9
