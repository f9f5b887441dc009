"""Kernel least squares over p centres: products, the solver, and closed forms."""

import numpy as np
import pytest
from _kernels import KERNELS
from numpy.testing import assert_allclose

from skrfm._backend import NumpyBackend
from skrfm._backend._cross import CrossTileGram
from skrfm.kernels import Laplace
from skrfm.solvers import CenterWhitening, solve_centers

BANDWIDTH, BACKEND = 1.7, NumpyBackend()
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


@pytest.fixture
def problem(rng):
    """Rows, centres among them, weights and targets."""
    T = rng.normal(size=(700, 4))
    Z = T[rng.permutation(700)[:300]]
    weight = rng.uniform(0.5, 2, size=700)
    Y = np.stack([np.sin(T[:, 0]), T[:, 1] * T[:, 2]], axis=1)
    return T, Z, weight, Y


@every_kernel
def test_products_are_those_of_the_matrix(kernel, problem, rng):
    T, Z, weight, Y = problem
    K = BACKEND.cross(kernel, T, Z, BANDWIDTH)
    gram = CrossTileGram(kernel, T, Z, BANDWIDTH)
    V = rng.normal(size=(300, 2))
    assert_allclose(
        gram.normal_product(weight, V), K.T @ (weight[:, None] * (K @ V)), rtol=1e-9
    )
    assert_allclose(
        gram.adjoint_product(weight, Y), K.T @ (weight[:, None] * Y), rtol=1e-9
    )


def test_products_and_solvers_of_every_backend(backend, problem, rng):
    T, Z, weight, Y = problem
    K, V = BACKEND.cross(Laplace(), T, Z, BANDWIDTH), rng.normal(size=(300, 2))
    rows, centers, w = (backend.rows(backend.asarray(a)) for a in (T, Z, weight))
    gram = backend.cross_gram(Laplace(), rows, centers, BANDWIDTH)
    products = gram.normal_product(w, backend.asarray(V))
    assert_allclose(
        backend.to_numpy(products), K.T @ (weight[:, None] * (K @ V)), rtol=1e-9
    )
    products = gram.adjoint_product(w, backend.asarray(Y))
    assert_allclose(backend.to_numpy(products), K.T @ (weight[:, None] * Y), rtol=1e-9)
    L = np.tril(rng.normal(size=(300, 300)), -1) + 40 * np.eye(300)
    factor = backend.asarray(L)
    assert_allclose(backend.to_numpy(backend.lower_product(factor)), L.T @ L)
    solve = backend.lower_solver(factor)
    found = solve(backend.asarray(V)), solve(backend.asarray(V), transposed=True)
    for A, solved in zip((L, L.T), found, strict=True):
        assert_allclose(A @ backend.to_numpy(solved), V, atol=1e-12)


def test_coefficients_of_every_backend(backend, problem):
    T, Z, weight, Y = problem
    rows, centers, w, targets = (
        backend.rows(backend.asarray(a)) for a in (T, Z, weight[:, None], Y)
    )
    gram = backend.cross_gram(Laplace(), rows, centers, BANDWIDTH)
    K = backend.cross(Laplace(), centers, centers, BANDWIDTH)
    share = float(weight.sum()) / len(Z)
    found = solve_centers(
        lambda V: gram.normal_product(w[:, 0], V),
        gram.adjoint_product(w[:, 0], targets),
        CenterWhitening(K, 0.1, share, backend),
        backend,
        dtype=rows.dtype,
        tolerance=1e-9,
    )
    expected = solution(problem, 0.1, tolerance=1e-9)
    assert_allclose(backend.to_numpy(found.coef), expected.coef, atol=1e-5)


def test_sums_of_single_precision_are_in_double(rng):
    T = rng.normal(size=(40_000, 2)).astype(np.float32)
    gram = CrossTileGram(Laplace(), T, T[:5], BANDWIDTH)
    found = gram.normal_product(np.ones(40_000, np.float32), np.ones((5, 1), "f"))
    K = BACKEND.cross(Laplace(), T.astype(float), T[:5].astype(float), BANDWIDTH)
    assert found.dtype == np.float64
    assert_allclose(found, K.T @ K.sum(axis=1)[:, None], rtol=2e-6)


def solution(problem, ridge, **options):
    """Return the coefficients by conjugate gradients."""
    T, Z, weight, Y = problem
    gram = CrossTileGram(Laplace(), T, Z, BANDWIDTH)
    K = BACKEND.cross(Laplace(), Z, Z, BANDWIDTH)
    whitening = CenterWhitening(K, ridge, weight.sum() / len(Z), BACKEND)
    return solve_centers(
        lambda V: gram.normal_product(weight, V),
        gram.adjoint_product(weight, Y),
        whitening,
        BACKEND,
        dtype=T.dtype,
        **{"tolerance": 1e-3, **options},
    )


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_coefficients_are_those_of_the_normal_equations(ridge, problem):
    T, Z, weight, Y = problem
    K, K_zz = (BACKEND.cross(Laplace(), A, Z, BANDWIDTH) for A in (T, Z))
    H = K.T @ (weight[:, None] * K) + ridge * K_zz
    expected = np.linalg.solve(H, K.T @ (weight[:, None] * Y))
    found = solution(problem, ridge, tolerance=1e-10)
    assert found.residual <= 1e-10 and found.jitter == 0
    assert_allclose(K @ found.coef, K @ expected, atol=1e-7)
    rough = solution(problem, ridge)
    assert rough.residual <= 1e-3
    assert_allclose(K @ rough.coef, K @ expected, atol=0.02)


def test_with_all_rows_as_centres_it_is_kernel_ridge_regression(problem):
    T, _, weight, Y = problem
    found = solution((T, T, weight, Y), 0.1, tolerance=1e-9)
    K = BACKEND.cross(Laplace(), T, T, BANDWIDTH)
    expected = np.linalg.solve(K + np.diag(0.1 / weight), Y)
    assert_allclose(K @ found.coef, K @ expected, atol=1e-6)


def test_equal_weights_need_one_step_where_all_rows_are_centres(problem):
    T, _, _, Y = problem
    steps = []
    gram = CrossTileGram(Laplace(), T, T, BANDWIDTH)
    K, weight = BACKEND.cross(Laplace(), T, T, BANDWIDTH), np.ones(len(T))

    def product(V):
        steps.append(1)
        return gram.normal_product(weight, V)

    right = gram.adjoint_product(weight, Y)
    whitening = CenterWhitening(K, 0.1, 1.0, BACKEND)
    solve_centers(product, right, whitening, BACKEND, dtype=T.dtype, tolerance=1e-3)
    assert len(steps) == 1


def test_equal_centres_and_zero_targets(problem):
    T, Z, weight, Y = problem
    twice = T, np.concatenate([Z, Z[:7]]), weight, Y
    K, K_twice = (BACKEND.cross(Laplace(), T, A, BANDWIDTH) for A in (Z, twice[1]))
    found = K_twice @ solution(twice, 0.1, tolerance=1e-8).coef
    expected = K @ solution(problem, 0.1, tolerance=1e-8).coef
    assert_allclose(found, expected, atol=1e-5)
    zero = solution((T, Z, weight, 0 * Y), 0.1)
    assert (zero.coef == 0).all() and zero.residual == 0
