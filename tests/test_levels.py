"""Lookups of categories give the results of their columns of zeros and weights."""

import numpy as np
import pytest
from _oracles import as_array
from numpy.testing import assert_allclose

from skrfm._backend import NumpyBackend
from skrfm.agop import (
    Agop,
    AgopOptions,
    FeatureMetric,
    average_gradient_outer_product,
)
from skrfm.kernels import Gaussian, GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace

KERNELS = [
    Laplace(),
    GeneralizedLaplace(exponent=0.7),
    Gaussian(),
    L1Laplace(),
    LpqLaplace(p=1.3, q=0.9),
    LpqLaplace(p=2.0, q=1.0),
]
SIZES = (5, 2, 40)
N_LEVELS = sum(SIZES)
BANDWIDTH = 2.3

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


def make_rows(rng, n, d=3, dtype=np.float64):
    """Return rows of numbers and of weighted levels, some of them without a level."""
    blocks = [rng.normal(size=(n, d))]
    for size in SIZES:
        code = rng.integers(-1, size, size=n)
        blocks.append((code[:, None] == np.arange(size)).astype(float))
    weights = np.r_[np.ones(d), np.random.default_rng(5).uniform(0.2, 2, N_LEVELS)]
    weights[d + 1] = 0  # a level that the metric ignores
    return (np.hstack(blocks) * weights).astype(dtype)


@every_kernel
@pytest.mark.parametrize("d", [0, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_values_equal_those_of_columns(kernel, d, dtype, rng):
    backend = NumpyBackend()
    T, Z = make_rows(rng, 40, d, dtype), make_rows(rng, 600, d, dtype)
    dense = backend.cross(kernel, T, Z, BANDWIDTH)
    looked_up = backend.cross(kernel, T, Z, BANDWIDTH, category_sizes=SIZES)
    assert looked_up.dtype == dtype
    assert_allclose(looked_up, dense, atol=2e-6 if dtype == np.float32 else 1e-13)
    A = rng.normal(size=(600, 2)).astype(dtype)
    product = backend.cross_dot(kernel, T, Z, BANDWIDTH, A, category_sizes=SIZES)
    assert_allclose(product, looked_up @ A, rtol=1e-4, atol=1e-4)
    powers = backend.distance_powers(kernel, Z, category_sizes=SIZES)
    expected = backend.distance_powers(kernel, Z)
    assert_allclose(np.tril(powers), np.tril(expected), rtol=1e-5, atol=1e-5)


@every_kernel
@pytest.mark.parametrize("d", [0, 3])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("centered", [False, True])
def test_agop_equals_that_of_columns(kernel, d, some, centered, rng):
    backend, n = NumpyBackend(), 300
    T = make_rows(rng, n, d)
    coef, weight = rng.normal(size=(n, 3)), rng.uniform(0.5, 2, size=n)
    rows = np.sort(rng.choice(n, 50, replace=False)) if some else None
    diagonal = kernel.coordinatewise
    found = []
    for category_sizes in ((), SIZES):
        gram = backend.gram(kernel, T, BANDWIDTH, category_sizes=category_sizes)
        options = AgopOptions(
            diagonal=diagonal,
            centered=centered,
            rows=rows,
            n_unmixed=0 if diagonal else N_LEVELS,
        )
        G = average_gradient_outer_product(
            gram, coef, weight, backend=backend, options=options
        )
        found.append(as_array(G))
    assert_allclose(found[1], found[0], atol=1e-12 * np.abs(found[0]).max())
    if not diagonal:
        off = found[1] - np.diag(np.diagonal(found[1]))
        assert not off[d:].any()
        assert not off[:, d:].any()
        full = as_array(
            average_gradient_outer_product(
                backend.gram(kernel, T, BANDWIDTH),
                coef,
                weight,
                backend=backend,
                options=AgopOptions(centered=centered, rows=rows),
            )
        )
        assert_allclose(np.diagonal(found[1]), np.diagonal(full), atol=1e-12)
        assert_allclose(found[1][:d, :d], full[:d, :d], atol=1e-12)


def test_a_metric_mixes_the_first_columns_only(rng):
    J = rng.normal(size=(30, 7))
    G = J.T @ J
    G_mixed = Agop(products=G[:4, :4], squares=np.diagonal(G)[4:])
    metric = FeatureMetric.from_agop(G_mixed)
    components = metric.to_array()
    expected = np.diag(np.diagonal(G)) / np.diagonal(G).max()
    expected[:4, :4] = G[:4, :4] / np.diagonal(G).max()
    assert_allclose(components.T @ components, expected, atol=1e-12)
    X, backend = rng.normal(size=(9, 7)), NumpyBackend()
    assert_allclose(metric.transform(X, backend), X @ components.T, atol=1e-12)
    H = np.diag(rng.uniform(1, 2, 7))
    H[:4, :4] += 0.1
    H_mixed = Agop(products=H[:4, :4], squares=np.diagonal(H)[4:])
    got = as_array(metric.pull_back(H_mixed))
    assert_allclose(got, components.T @ H @ components, atol=1e-12)


def test_a_metric_of_categories_alone():
    G = Agop(products=np.zeros((2, 2)), squares=np.array([4.0, 1.0]))
    metric = FeatureMetric.from_agop(G)
    assert_allclose(metric.to_array(), [[0, 0, 1, 0], [0, 0, 0, 0.5]])
    assert_allclose(metric.transform(np.ones((1, 4)), NumpyBackend()), [[1, 0.5]])
