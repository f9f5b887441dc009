"""Splits that the machines of their sides refine, and rules of fitted trees."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm.xrfm import _base, _fitting, _large_leaves, _refine
from skrfm.xrfm._leaves import find_directions
from skrfm.xrfm._refine import (
    OutputPair,
    _Sides,
    find_corrected_directions,
    find_refined_directions,
    refined,
)
from skrfm.xrfm._reroute import best_threshold, reroute
from skrfm.xrfm._rows import LeafData
from skrfm.xrfm._tree import Direction, Leaf, Node, route

QUICK = {"kernel": "laplace", "alpha": 0.01, "max_iter": 1, "validation": None}
NORMAL = np.array([1, 0.5, 0, 0, 0, 0]) / 1.25**0.5


def two_parts(n, seed=0):
    """Return a table like that of benchmarks/scale.py, with fewer columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    above = np.sin(2 * (X[:, 2] + X[:, 3]))
    below = np.cos(1.5 * (X[:, 4] - X[:, 5]))
    y = np.where(X @ NORMAL > 0, above, below) + 0.5 * X[:, 1]
    return X, y + 0.1 * rng.normal(size=n)


@pytest.fixture(autouse=True)
def few_centers(monkeypatch):
    """Let machines have fewer centres, for the time that tests take."""
    monkeypatch.setattr(_refine, "_FIRST_CENTERS", 150)
    monkeypatch.setattr(_refine, "_COMPARED_CENTERS", 100)
    monkeypatch.setattr(_refine, "_REFINED_CENTERS", 120)
    monkeypatch.setattr(_refine, "_CORRECTED_CENTERS", 250)


def cosine(direction):
    return abs(direction.vector @ NORMAL) / np.linalg.norm(direction.vector)


def first_direction(X, y, weight=None, *, splitter=None, seed=0):
    data = LeafData(X, y, np.ones(len(X)) if weight is None else weight)
    splitter = RFMRegressor(**QUICK, scaling=None) if splitter is None else splitter
    return find_refined_directions(splitter, data, seed=seed, temperature=0.1)[0]


def error_pair(gain, weight=None):
    """Return outputs of two machines whose squared errors differ by gains."""
    left = np.sqrt(np.maximum(gain, 0))[:, None]
    right = np.sqrt(np.maximum(-gain, 0))[:, None]
    weight = np.ones(len(gain)) if weight is None else weight
    return OutputPair(left, right, np.zeros_like(left), weight)


# -- the directions -------------------------------------------------------------------


def test_two_steps_find_the_normal():
    X, y = two_parts(6000)
    data = LeafData(X, y[:, None], np.ones(len(X)))
    halves = data.subset(slice(3000)), data.subset(slice(3000, None))
    sides = _Sides(RFMRegressor(**QUICK, scaling=None), *halves, seed=0)
    direction = Direction(NORMAL + 0.6 * np.eye(6)[2] + 0.4 * np.eye(6)[5])
    assert cosine(direction) < 0.85
    for _ in range(2):
        tried = sides.try_split(direction, 300, 3000)
        direction = refined(direction, halves[1].X, tried.pair)
    assert cosine(direction) > 0.99
    found = sides.refine(sides.try_split(direction, 250, 3000)).rule(0.1)
    assert cosine(found) > 0.99 and found.sharp


def test_the_best_of_several_directions_is_refined():
    X, y = two_parts(6000, seed=1)
    direction = first_direction(X, y, seed=1)
    assert cosine(direction) > 0.99
    assert direction.sharp  # the functions of the parts differ at the boundary


def corrected(X, y):
    """Return the directions of a node at the defaults, and those by its sides."""
    data = LeafData(X, y, np.ones(len(X)))
    splitter = RFMRegressor(**QUICK, scaling=None)
    found = find_corrected_directions(
        splitter, data, seed=0, temperature=0.1, max_split_samples=1000
    )
    order = np.random.default_rng(0).permutation(len(X))[:1000]
    return found, find_directions(splitter, data.subset(np.sort(order)), seed=0)


def test_a_direction_is_corrected_where_that_clearly_helps():
    found, by_sides = corrected(*two_parts(6000, seed=1))
    assert cosine(found[0]) > 0.99 > 0.95 > cosine(by_sides[0])
    assert_array_equal(found[1].vector, by_sides[0].vector)


def test_a_direction_stays_where_no_other_is_clearly_better():
    X, _ = two_parts(4000)
    found, by_sides = corrected(X, np.sin(X[:, 0]) + X[:, 1])
    for each, other in zip(found, by_sides, strict=True):
        assert_array_equal(each.vector, other.vector)


def test_defaults_correct_the_split_at_the_root(monkeypatch):
    # the rows from which on a node is corrected, for the time that the test takes
    monkeypatch.setattr(_fitting, "CORRECTED_ROWS", (2000, 4000))
    X, y = two_parts(3000)
    model = RFMRegressor(kernel="laplace", alpha=0.01, max_iter=1, validation=None)
    scores = [
        XRFMRegressor(model, max_leaf_size=1300, split=split, random_state=0)
        .fit(X[:2500], y[:2500])
        .score(X[2500:], y[2500:])
        for split in ("sides", "auto")
    ]
    assert scores[1] > scores[0] + 0.02


def test_defaults_divide_one_leaf_where_that_clearly_helps(monkeypatch):
    monkeypatch.setattr(_fitting, "CORRECTED_ROWS", (1300, 2600))
    X, y = two_parts(2200)
    model = RFMRegressor(kernel="laplace", alpha=0.01, max_iter=2, validation=None)

    def fit(targets, **parameters):
        found = XRFMRegressor(model, random_state=0, **parameters)
        return found.fit(X[:1700], targets[:1700])

    divided = fit(y)
    assert divided.n_leaves_ == 2
    assert cosine(divided._fitted.trees[0].root.direction) > 0.99
    scores = [
        each.score(X[1700:], y[1700:]) for each in (divided, fit(y, split="sides"))
    ]
    assert scores[0] > scores[1] + 0.02
    assert fit(np.sin(X[:, 0]) + X[:, 1]).n_leaves_ == 1
    assert fit(y, time_budget=1000).n_leaves_ == 1


def test_shares_of_both_sides_where_their_average_is_better(rng):
    offset = rng.normal(size=4000)
    outputs = rng.normal(size=(2, 4000, 1))
    noisy = OutputPair(*outputs, np.zeros((4000, 1)), np.ones(4000))
    assert not noisy.is_sharp(offset, 0.3) and noisy.is_sharp(offset, 0)
    right = offset[:, None] > 0
    parts = OutputPair(0.0 * right, 0.0 * right + 1, 1.0 * right, np.ones(4000))
    assert parts.is_sharp(offset, 0.3)


def test_permuted_columns_permute_the_direction():
    X, y = two_parts(1500)
    order = np.random.default_rng(0).permutation(6)
    direction = first_direction(X, y).vector
    permuted = first_direction(X[:, order], y).vector
    assert abs(direction[order] @ permuted) > 0.999


def test_several_outputs_and_their_units():
    X, y = two_parts(1500)
    both = np.stack([y, np.tanh(y)], axis=1)
    direction = first_direction(X, both).vector
    scaled = first_direction(X, both * [1000, 1]).vector
    assert_allclose(direction, scaled, atol=1e-3)


def test_classes(rng):
    X, y = two_parts(6000, seed=1)
    labels = np.digitize(y, [-0.5, 0.5])
    splitter = RFMClassifier(**QUICK, scaling=None)
    direction = first_direction(X, labels, splitter=splitter, seed=1)
    assert cosine(direction) > 0.95


@pytest.mark.parametrize("weighted", [False, True])
def test_a_logistic_regression_of_which_machine_errs_less(weighted, rng):
    X, normal = rng.normal(size=(4000, 3)), np.array([0.6, 0.0, -0.8])
    gain = X @ normal
    weight = rng.integers(1, 4, size=4000).astype(float) if weighted else None
    found = refined(Direction(np.eye(3)[1]), X, error_pair(gain, weight))
    assert found.vector @ normal > 0.999
    if weighted:  # a weight of k is as good as k rows
        assert weight is not None
        rows = np.repeat(np.arange(4000), weight.astype(int))
        repeated = refined(Direction(np.eye(3)[1]), X[rows], error_pair(gain[rows]))
        assert_allclose(found.vector, repeated.vector, atol=1e-4)


def test_no_direction_where_one_machine_is_always_better(rng):
    start = Direction(np.eye(2)[0])
    X = rng.normal(size=(50, 2))
    assert refined(start, X, error_pair(np.ones(50))) is start


# -- the rules of fitted trees --------------------------------------------------------


def test_the_threshold_with_the_largest_gain_beyond_it(rng):
    for _ in range(20):
        position = rng.integers(6, size=12).astype(float)
        position[:2] = 0, 5
        gain = rng.normal(size=12)
        found = best_threshold(position, gain)
        edges = np.unique(position)
        middles = (edges[1:] + edges[:-1]) / 2
        sums = [gain[position > middle].sum() for middle in middles]
        assert found == middles[np.argmax(sums)]


class Function:
    """The model of a leaf that computes a function."""

    def __init__(self, function):
        self.predict = function


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_rerouting_finds_the_sides_of_the_leaves(temperature, rng):
    X = rng.normal(size=(6000, 2))
    y = np.where(X[:, 0] + X[:, 1] > 0.4, np.sin(X[:, 0]), 2.0)
    models = [
        Function(lambda X: np.full(len(X), 2.0)),
        Function(lambda X: np.sin(X.T[0])),
    ]
    node = Node(Direction(np.array([1.0, 0.0])), 0.0, 1.0, Leaf(0), Leaf(1))
    reroute(
        node,
        models,
        LeafData(X, y, np.ones(len(X))),
        None,
        temperature=temperature,
        seed=0,
    )
    assert node.direction.vector @ np.ones(2) / 2**0.5 > 0.999
    assert node.threshold * 2**0.5 == pytest.approx(0.4, abs=0.05)
    assert node.direction.sharp
    assert {leaf.weight.min() for leaf in route(node, X, temperature)} == {1.0}


def test_rerouting_keeps_what_is_better(rng):
    X = rng.normal(size=(3000, 2))
    y = (X[:, 0] > 0).astype(float)
    models = [Function(lambda X: np.zeros(len(X))), Function(lambda X: np.ones(len(X)))]
    direction = Direction(np.array([1.0, 0.0]), sharp=True)
    node = Node(direction, 0.0, 1.0, Leaf(0), Leaf(1))
    reroute(node, models, LeafData(X, y, np.ones(3000)), None, temperature=0, seed=0)
    assert node.direction is direction and node.threshold == 0


# -- the estimators -------------------------------------------------------------------


def test_refined_splits_are_more_accurate():
    X, y = two_parts(5000, seed=1)
    leaf = RFMRegressor(**QUICK, n_centers=300)
    settings = {"max_leaf_size": 2000, "search": "leaves", "random_state": 0}
    scores = [
        XRFMRegressor(leaf, split=split, **settings)
        .fit(X[:4000], y[:4000])
        .score(X[4000:], y[4000:])
        for split in ("sides", "refined")
    ]
    assert scores[1] > max(scores[0] + 0.02, 0.85)


def test_the_same_for_one_random_state():
    X, y = two_parts(1500)
    leaf = RFMRegressor(**QUICK, n_centers=100)
    model = XRFMRegressor(leaf, max_leaf_size=800, split="refined", random_state=3)
    first = model.fit(X, y).predict(X)
    assert_array_equal(first, model.fit(X, y).predict(X))


@pytest.mark.parametrize("n_centers", [None, 100])
def test_classifiers_with_categories(n_centers):
    X, y = two_parts(1500)
    frame = pd.DataFrame(X).rename(columns=str)
    frame["kind"] = pd.Categorical(np.where(X[:, 2] > 0, "a", "b"))
    labels = np.array(["low", "high"])[(y > 0).astype(int)]
    leaf = RFMClassifier(**QUICK, n_centers=n_centers)
    model = XRFMClassifier(leaf, max_leaf_size=800, split="refined", random_state=0)
    proba = model.fit(frame, labels).predict_proba(frame)
    assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert model.score(frame, labels) > 0.8


@pytest.mark.parametrize(("large_loss", "leaves"), [(0.0, 2), (1.0, 8)])
def test_auto_chooses_by_the_losses_of_unseen_rows(large_loss, leaves, monkeypatch):
    X, y = two_parts(1600)
    monkeypatch.setattr(_base, "_MANY_ROWS", 1000)
    monkeypatch.setattr(_base, "_AUTO_LEAF_ROWS", 200)
    monkeypatch.setattr(_base, "_LEAST_CENTERS", 100)
    monkeypatch.setattr(_fitting, "SEARCH_ROWS", 150)

    def losses(model, data):
        large = model.n_centers is not None
        return np.full(len(data), large_loss if large else 0.5)

    monkeypatch.setattr(_large_leaves, "losses_of_rows", losses)
    machine = RFMRegressor(cv=2, max_iter=1, alphas=(0.01, 0.1))
    model = XRFMRegressor(machine, random_state=0).fit(X, y)
    assert model.n_leaves_ == leaves
    assert (model.estimators_[0][0].n_centers is None) == (leaves == 8)
    assert model.score(X, y) > 0.4
