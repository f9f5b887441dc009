"""Directions of the nodes of a tree, and the errors of their sides by refitting."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

import skrfm.xrfm._leaves as leaves
from skrfm import RFMClassifier, RFMRegressor
from skrfm._backend import NumpyBackend
from skrfm._recursion import Candidate
from skrfm._tables import Data
from skrfm.kernels import Laplace
from skrfm.xrfm._leaves import ConstantModel, find_directions, fit_leaf
from skrfm.xrfm._rows import LeafData
from skrfm.xrfm._tree import Direction, split_rows

SPLITTER = RFMRegressor(
    kernel="laplace",
    alpha=0.1,
    max_iter=1,
    validation=None,
    scaling=None,
    categorical_features=None,
)


def two_functions(rng, n):
    """A table of two functions, on both sides of zero, that vary along other axes."""
    X = rng.normal(size=(n, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), np.cos(2 * X[:, 2]))


def error_by_refitting(X, Y, weight, bandwidth):
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
        others = np.arange(len(X)) != i
        predicted = machine.fit(X[others], Y[others], weight[others]).predict(X[[i]])
        total += weight[i] * np.sum((Y[i] - predicted[0]) ** 2)
    return total


def unit_weights(X, y):
    return LeafData(X, y, np.ones(len(X)))


@pytest.mark.parametrize("outputs", [1, 2])
def test_split_cost_is_the_leave_one_out_error_of_both_sides(outputs, rng):
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, outputs))
    weight = rng.uniform(0.5, 2, size=30)
    split = split_rows(X, weight, Direction(np.array([1.0, 0, 0])))
    candidate = Candidate(Laplace(), 0.1, 1.7, max_iter=0)
    cost, _ = leaves._split_cost(split, Data(X, Y, weight), candidate, NumpyBackend())
    _, left = split
    expected = sum(
        error_by_refitting(X[side], Y[side], weight[side], 1.7)
        for side in (left, ~left)
    )
    assert cost == pytest.approx(expected, rel=1e-8)


def test_splits_with_few_rows_on_a_side_cost_infinity(rng):
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    weight = np.ones(12)
    data, candidate = Data(X, y[:, None], weight), Candidate(Laplace(), 0.1, 1.0)
    split = split_rows(X, weight, Direction(np.ones(3)))
    backend = NumpyBackend()
    assert leaves._split_cost(split, data, candidate, backend) == (np.inf, -6)
    assert leaves._split_cost(None, data, candidate, backend) == (np.inf, 0)
    model = clone(SPLITTER).fit(X, y)
    first = find_directions(SPLITTER, unit_weights(X, y), seed=None)[0]
    leading = np.linalg.eigh(model.metric_)[1][:, -1]
    assert abs(first.vector @ leading) == pytest.approx(1)


def test_first_direction_separates_two_functions(rng, monkeypatch):
    data = unit_weights(*two_functions(rng, 1000))
    first = find_directions(SPLITTER, data, seed=0)[0]
    assert abs(first.vector[0]) > 0.9
    monkeypatch.setattr(leaves, "DIRECTIONS", 1)
    first = find_directions(SPLITTER, data, seed=0)[0]
    assert abs(first.vector[0]) < 0.5  # the leading eigenvector


def test_rare_rows_are_not_split_off(rng):
    X, y = two_functions(rng, 1000)
    rare = rng.random(1000) < 0.04
    X = np.column_stack([X, 5 * rare])
    y = np.where(rare, 5 + 3 * np.sin(3 * X[:, 3]), y)
    data = unit_weights(X, y)
    for direction in find_directions(SPLITTER, data, seed=0)[:2]:
        _, left = split_rows(X, data.weight, direction)
        assert 0.25 < left.mean() < 0.75


def test_most_even_split_comes_first_where_all_are_uneven(rng):
    X = (rng.random((400, 2)) < [0.06, 0.2]).astype(float)
    y = 5 * X[:, 0] + X[:, 1] + 0.01 * rng.normal(size=400)
    splitter = clone(SPLITTER).set_params(metric_type="diag")
    first = find_directions(splitter, unit_weights(X, y), seed=0)[0]
    assert abs(first.vector[1]) > 0.9


def test_directions_of_a_classifier(rng):
    X, y = two_functions(rng, 1500)
    classes = np.digitize(y, [-0.4, 0.4])
    splitter = RFMClassifier(**SPLITTER.get_params())
    first = find_directions(splitter, unit_weights(X, classes), seed=0)[0]
    assert abs(first.vector[0]) > 0.8


def test_equal_targets_give_principal_components_of_the_rows(rng):
    data = unit_weights(rng.normal(size=(100, 3)) * [1, 5, 1], np.ones(100))
    assert isinstance(fit_leaf(SPLITTER, data, seed=0), ConstantModel)
    first = find_directions(SPLITTER, data, seed=0)[0]
    assert abs(first.vector[1]) > 0.9


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_directions_of_more_columns_than_rows(kernel, rng):
    X = rng.normal(size=(60, 1500))
    data = unit_weights(X, 3 * X[:, 7])
    splitter = clone(SPLITTER).set_params(kernel=kernel)
    directions = find_directions(splitter, data, seed=0)
    assert 1 <= len(directions) <= 5
    for direction in directions:
        assert direction.vector.shape == (1500,)
        assert np.linalg.norm(direction.vector) == pytest.approx(1)
    metric = fit_leaf(splitter, data, seed=0).metric_
    for direction in directions:  # they are eigenvectors of the metric
        v = direction.vector
        image = metric * v if metric.ndim == 1 else metric @ v
        assert_allclose(image, (v @ image) * v, atol=1e-9)


def test_directions_of_equal_targets_and_more_columns_than_rows(rng):
    X = rng.normal(size=(20, 900)) + 5 * rng.normal(size=(20, 1)) * (
        np.arange(900) == 3
    )
    directions = find_directions(SPLITTER, unit_weights(X, np.ones(20)), seed=0)
    assert len(directions) == 5
    assert abs(directions[0].vector[3]) > 0.3
