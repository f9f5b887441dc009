"""Backends in array code against the NumPy backend, which has oracles of its own.

Blocks are made small, so that a few hundred rows take several of them.
"""

import numpy as np
import pytest
from _backends import BACKENDS, backends
from _oracles import as_array
from numpy.testing import assert_allclose, assert_array_equal

from skrfm._backend import NumpyBackend, _array_api, _blocked
from skrfm.agop import AgopOptions, average_gradient_outer_product
from skrfm.exceptions import NotPositiveDefiniteError
from skrfm.kernels import (
    NNGP,
    NTK,
    Gaussian,
    GeneralizedLaplace,
    L1Laplace,
    Laplace,
    LpqLaplace,
)
from skrfm.solvers import (
    cholesky,
    choose_solver,
    conjugate_gradients,
    eigenpro,
    solve,
)

OF_DISTANCES = [
    Laplace(),
    GeneralizedLaplace(exponent=0.8),
    Gaussian(),
    L1Laplace(),
    LpqLaplace(p=1.4),
    LpqLaplace(p=1.25),
    LpqLaplace(p=1.5, q=0.7),
    LpqLaplace(p=1.75),
    LpqLaplace(p=2, q=1.5),
]
OF_PRODUCTS = [NTK(), NTK(depth=2, bias=0.5), NNGP()]
NUMPY = NumpyBackend()
BANDWIDTH = 2.5
N = 150

every_kernel = pytest.mark.parametrize("kernel", OF_DISTANCES + OF_PRODUCTS, ids=repr)
of_distances = pytest.mark.parametrize("kernel", OF_DISTANCES, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@pytest.fixture(params=backends("numpy"))
def arrays(request):
    """A backend in array code."""
    return BACKENDS[request.param]()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_blocked, "BLOCK", 32)
    monkeypatch.setattr(_array_api, "_MOST_ELEMENTS", 6000)


def data(dtype=np.float64, n=N):
    """Return rows, some of them equal or nearly so, coefficients and ridges."""
    rng = np.random.default_rng(n)
    T = rng.normal(size=(n, 4))
    T[5] = T[3]
    T[7] = T[4] + 1e-4
    V, ridge = rng.normal(size=(n, 2)), rng.uniform(0.3, 1, size=n)
    return [a.astype(dtype) for a in (T, V, ridge)]


TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


def assert_close(got, expected, backend, tolerance=None):
    """Compare an array with one of NumPy, relative to its largest element."""
    got = backend.to_numpy(got)
    assert got.dtype == expected.dtype
    tolerance = tolerance or TOLERANCE[expected.dtype.type]
    scale = np.abs(expected).max(initial=0)
    assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


@every_kernel
@every_dtype
def test_products_and_solves_of_a_kernel_matrix(kernel, dtype, arrays):
    T, V, ridge = data(dtype)
    rows = np.random.default_rng(1).permutation(N)[:70]
    ours = NUMPY.gram(kernel, T, BANDWIDTH)
    theirs = arrays.gram(kernel, arrays.asarray(T), BANDWIDTH)
    W = arrays.asarray(V)
    assert_close(theirs.columns(rows), ours.columns(rows), arrays)
    assert_close(theirs.product(W), ours.product(V), arrays)
    for again in (False, True):
        if again:
            ours.refill()
            theirs.refill()
        ours.factorize(ridge)
        theirs.factorize(arrays.asarray(ridge))
        assert_close(theirs.solve(W), ours.solve(V), arrays)
        assert_close(theirs.inverse_diagonal(), ours.inverse_diagonal(), arrays)
        assert_close(theirs.slope_product(W), ours.slope_product(V), arrays)
        found, expected = (
            g.slope_rows_product(rows, v) for g, v in ((theirs, W), (ours, V))
        )
        assert_close(found, expected, arrays)
    if kernel.of_inner_products:
        found, expected = theirs.radial_product(rows, W), ours.radial_product(rows, V)
        assert_close(found, expected, arrays)


@every_kernel
def test_eigenvalues(kernel, arrays):
    T, _, ridge = data()
    values, vectors = NUMPY.gram(kernel, T, BANDWIDTH).eigh(ridge)
    gram = arrays.gram(kernel, arrays.asarray(T), BANDWIDTH)
    found, there = (arrays.to_numpy(a) for a in gram.eigh(arrays.asarray(ridge)))
    assert_allclose(found, values, rtol=1e-10)
    assert_allclose(there * found @ there.T, vectors * values @ vectors.T, atol=1e-9)


@every_kernel
@every_dtype
def test_kernel_between_two_sets_of_rows(kernel, dtype, arrays):
    T, V, _ = data(dtype)
    Z = np.concatenate([T[:40] + 0.5, T[:3]]).astype(dtype)
    theirs = [arrays.asarray(a) for a in (Z, T)]
    expected = NUMPY.cross(kernel, Z, T, BANDWIDTH)
    assert_close(arrays.cross(kernel, *theirs, BANDWIDTH), expected, arrays)
    found = arrays.cross_dot(kernel, *theirs, BANDWIDTH, arrays.asarray(V))
    assert_close(found, expected @ V, arrays)
    own = NUMPY.self_values(kernel, T, BANDWIDTH)
    assert_close(arrays.self_values(kernel, theirs[1], BANDWIDTH), own, arrays)


@every_kernel
def test_distance_powers(kernel, arrays):
    T, _, _ = data()
    found = arrays.xp.tril(arrays.distance_powers(kernel, arrays.asarray(T)))
    assert_close(found, np.tril(NUMPY.distance_powers(kernel, T)), arrays)
    assert arrays.to_numpy(found)[5, 3] == 0


@of_distances
def test_a_streamed_kernel_matrix(kernel, arrays):
    T, V, _ = data()
    order = np.random.default_rng(2).permutation(N)
    ours = NUMPY.streamed_gram(kernel, T, BANDWIDTH).take(order)
    theirs = arrays.streamed_gram(kernel, arrays.asarray(T), BANDWIDTH).take(order)
    W = arrays.asarray(V)
    assert_close(theirs.product(W), ours.product(V), arrays)
    assert_close(theirs.slope_product(W), ours.slope_product(V), arrays)
    pairs = zip(
        theirs.rows_product(slice(11, 99), W, 30),
        ours.rows_product(slice(11, 99), V, 30),
        strict=True,
    )
    for found, expected in pairs:
        assert_close(found, expected, arrays)


@pytest.mark.parametrize(
    ("kernel", "in_memory"),
    [(k, True) for k in OF_DISTANCES + OF_PRODUCTS]
    + [(k, False) for k in OF_DISTANCES],
    ids=repr,
)
@every_dtype
@pytest.mark.parametrize("some", [False, True])
def test_average_gradient_outer_products(kernel, dtype, some, in_memory, arrays):
    T, V, weight = data(dtype)
    rows = np.arange(0, N, 3) if some else None
    options = AgopOptions(diagonal=kernel.coordinatewise, centered=True, rows=rows)

    def average(backend):
        make = backend.gram if in_memory else backend.streamed_gram
        gram = make(kernel, backend.asarray(T), BANDWIDTH)
        coef, omega = backend.asarray(V), backend.asarray(weight)
        found = average_gradient_outer_product(
            gram, coef, omega, backend=backend, options=options
        )
        return as_array(found)

    assert_close(average(arrays), average(NUMPY), NUMPY, TOLERANCE[dtype])


@pytest.mark.parametrize("solver", ["pcg", "eigenpro", "cholesky", "eigh"])
def test_solvers(solver, arrays):
    T, V, ridge = data(n=1000)
    ours = NUMPY.streamed_gram(Laplace(), T, BANDWIDTH)
    theirs = arrays.streamed_gram(Laplace(), arrays.asarray(T), BANDWIDTH)
    if solver in ("cholesky", "eigh"):
        ours = NUMPY.gram(Laplace(), T, BANDWIDTH)
        theirs = arrays.gram(Laplace(), arrays.asarray(T), BANDWIDTH)
    expected = solve(ours, V, ridge, NUMPY, solver=solver, seed=0)
    theirs = solve(
        theirs, arrays.asarray(V), arrays.asarray(ridge), arrays, solver=solver, seed=0
    )
    assert_close(theirs.coef, expected.coef, arrays, 1e-8)


def test_the_solver_auto_factorises_few_rows(arrays):
    few = arrays.asarray(np.zeros((2000, 1)))
    assert choose_solver("auto", Laplace(), few, arrays) == (cholesky, False)
    assert choose_solver("pcg", Laplace(), few, arrays) == (conjugate_gradients, False)
    assert choose_solver("eigenpro", Laplace(), few, arrays) == (eigenpro, True)


def test_a_failed_factorisation_leaves_the_slopes(arrays):
    T, V, ridge = data()
    gram = arrays.gram(Laplace(), arrays.asarray(T), BANDWIDTH)
    before = arrays.to_numpy(gram.slope_product(arrays.asarray(V)))
    ridge[100] = -50
    with pytest.raises(NotPositiveDefiniteError):
        gram.factorize(arrays.asarray(ridge))
    gram.refill()
    assert_array_equal(arrays.to_numpy(gram.slope_product(arrays.asarray(V))), before)


def test_the_memory_of_a_reusable_gram_is_taken(arrays):
    T = arrays.asarray(data()[0])
    reusable = arrays.gram(Gaussian(), T, BANDWIDTH)
    gram = arrays.gram(Laplace(), T, BANDWIDTH, reusable=reusable)
    assert gram._packed is reusable._packed
    other = arrays.gram(Laplace(), T[:20, :], BANDWIDTH, reusable=gram)
    assert other._packed.shape == (20, 20)
    assert gram.nbytes == 0
