"""The tree: thresholds of nodes, rows of leaves, and weights of rows in leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit

import skrfm.xrfm._tree as tree
from skrfm.xrfm._tree import (
    Direction,
    Leaf,
    grow,
    principal_directions,
    route,
    split_rows,
    weighted_quantiles,
)


def axes(nodes):
    """Return the axes as the directions of each node."""
    return [[Direction(axis) for axis in np.eye(3)] for _ in nodes]


def grow_along_axes(X, max_rows):
    return grow(X, np.ones(len(X)), max_rows=max_rows, find_directions=axes)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 99))
def test_quantiles_count_weights_as_rows(weight, seed):
    values = np.random.default_rng(seed).integers(5, size=len(weight)).astype(float)
    got = weighted_quantiles(values, np.array(weight, float), (0.25, 0.5, 0.75))
    repeated = np.sort(np.repeat(values, weight))
    indices = np.ceil(np.array([0.25, 0.5, 0.75]) * len(repeated)).astype(int) - 1
    assert_array_equal(got, repeated[indices])


def test_split_halves_the_weight(rng):
    X = rng.normal(size=(101, 3))
    weight = rng.integers(1, 5, size=101).astype(float)
    node, left = split_rows(X, weight, Direction(np.array([1.0, 0, 0])))
    assert_array_equal(left, X[:, 0] <= node.threshold)
    assert abs(weight[left].sum() - weight.sum() / 2) <= weight.max()
    quarters = weighted_quantiles(X[:, 0], weight, (0.25, 0.75))
    assert node.width == quarters[1] - quarters[0]


@pytest.mark.parametrize("values", [[0, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 1]])
def test_ties_leave_rows_on_both_sides(values):
    X = np.array(values, dtype=float)[:, None]
    node, left = split_rows(X, np.ones(len(X)), Direction(np.ones(1)))
    assert 0 < left.sum() < len(X)
    assert_array_equal(left, X[:, 0] <= node.threshold)
    assert node.width > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threshold_is_between_the_rows(dtype):
    """With a threshold on tied rows, soft routing would share them half and half."""
    X = np.repeat([0, 1], [10, 90]).astype(dtype)[:, None]
    node, left = split_rows(X, np.ones(100), Direction(np.ones(1)))
    assert node.threshold == 0.5 and left.sum() == 10
    near = np.array([1, np.nextafter(dtype(1), dtype(2))], dtype=dtype)[:, None]
    node, left = split_rows(near, np.ones(2), Direction(np.ones(1)))
    assert_array_equal(left, [True, False])
    assert_array_equal(node.offset(near) > 0, [False, True])


def test_equal_rows_have_no_split():
    X = np.ones((6, 3))
    assert split_rows(X, np.ones(6), Direction(np.ones(3))) is None
    root, leaves = grow_along_axes(X, 2)
    assert isinstance(root, Leaf) and len(leaves) == 1


def test_directions_are_eigenvectors_of_fixed_sign(rng):
    A = rng.normal(size=(4, 4))
    directions = principal_directions(A.T)
    values = np.linalg.eigvalsh(A @ A.T)[::-1]
    for direction, value in zip(directions, values, strict=True):
        assert_allclose(A @ A.T @ direction, value * direction, atol=1e-10)
        assert direction[np.abs(direction).argmax()] > 0


@pytest.mark.parametrize(
    ("shape", "n_weights"),
    [((k, 40), n_weights) for k in (1, 3, 7, 40) for n_weights in (0, 12)]
    + [((40,), 0)],
)
def test_directions_of_many_columns_are_the_first_of_all(
    shape, n_weights, monkeypatch, rng
):
    root = rng.normal(size=shape)
    weights = 4 * rng.uniform(size=n_weights) if n_weights else None
    if len(shape) == 1:
        root = np.abs(root)
    expected = principal_directions(root, weights)
    assert expected.shape == (40 + n_weights, 40 + n_weights)
    monkeypatch.setattr(tree, "_ALL_DIRECTIONS", 10)
    found = principal_directions(root, weights)
    assert 0 < len(found) <= (5 if shape != (40, 40) or n_weights else 40)
    assert_allclose(found, expected[: len(found)], atol=1e-9)


@settings(deadline=None)
@given(st.integers(2, 90), st.integers(2, 20), st.integers(0, 99))
def test_leaves_partition_the_rows(n, max_rows, seed):
    X = np.random.default_rng(seed).integers(4, size=(n, 3)).astype(float)
    root, leaves = grow_along_axes(X, max_rows)
    assert_array_equal(np.sort(np.concatenate(leaves)), np.arange(n))
    for rows in leaves:
        assert len(rows) <= max_rows or (X[rows] == X[rows[0]]).all()
    for leaf in route(root, X, 0.0):
        assert_array_equal(np.sort(leaves[leaf.number]), leaf.rows)
        assert_array_equal(leaf.weight, 1)


def naive_weights(node, x, temperature):
    """Return {leaf number: weight} of one row, small weights included."""
    if isinstance(node, Leaf):
        return {node.number: 1.0}
    right = expit(
        (x @ node.direction.vector - node.threshold) / node.width / temperature
    )
    return {
        number: share * weight
        for child, share in ((node.left, 1 - right), (node.right, right))
        for number, weight in naive_weights(child, x, temperature).items()
    }


@pytest.mark.parametrize("temperature", [0.01, 0.2, 2.0])
def test_weights_are_products_from_root_to_leaf(temperature, rng):
    X = rng.normal(size=(80, 3))
    root, leaves = grow_along_axes(X, 10)
    got = np.zeros((80, len(leaves)))
    for leaf in route(root, X, temperature):
        got[leaf.rows, leaf.number] = leaf.weight
    expected = np.zeros_like(got)
    for i, x in enumerate(X):
        for number, weight in naive_weights(root, x, temperature).items():
            expected[i, number] = weight
    assert_allclose(got.sum(axis=1), 1)
    assert np.abs(got - expected).max() < 0.01


@pytest.mark.parametrize("n", [12, 13, 30, 40, 41, 99, 100, 1000])
def test_leaves_are_as_few_as_possible_and_of_equal_size(n):
    X = np.random.default_rng(n).normal(size=(n, 3))
    _, leaves = grow_along_axes(X, 10)
    sizes = [len(rows) for rows in leaves]
    assert len(sizes) == -(-n // 10)
    assert max(sizes) - min(sizes) <= 1


def test_rounding_errors_of_a_constant_position_are_no_split(rng):
    kind = rng.integers(2, size=50)
    X = np.column_stack([rng.normal(size=50), kind, 1 - kind])
    vector = np.array([3e-16, 0.5**0.5, 0.5**0.5])
    assert np.ptp(Direction(vector).positions(X)) > 0
    assert split_rows(X, np.ones(50), Direction(vector)) is None
    assert split_rows(X, np.ones(50), Direction(np.array([3e-16, 0, 0]))) is not None
