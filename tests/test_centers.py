"""Kernel least squares over p centres: products, the solver, and closed forms."""

from functools import partial

import numpy as np
import pytest
from _kernels import KERNELS
from numpy.testing import assert_allclose, assert_array_equal

from skrfm._backend import NumpyBackend, own_threads
from skrfm._backend._cross import CrossTileGram
from skrfm.kernels import Gaussian, Laplace
from skrfm.solvers import (
    CenterPreconditioner,
    SamplePreconditioner,
    predictive_variance,
    sample_size,
    solve_centers,
    variance_of_centers,
)

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
    H = gram.normal_matrix(w)
    assert_allclose(backend.to_numpy(H), K.T @ (weight[:, None] * K), rtol=1e-9)


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
        CenterPreconditioner(K, 0.1, share, backend),
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
    preconditioner = CenterPreconditioner(K, ridge, weight.sum() / len(Z), BACKEND)
    return solve_centers(
        lambda V: gram.normal_product(weight, V),
        gram.adjoint_product(weight, Y),
        preconditioner,
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
    assert found.residual <= 1e-10
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
    preconditioner = CenterPreconditioner(K, 0.1, 1.0, BACKEND)
    solve_centers(
        product, right, preconditioner, BACKEND, dtype=T.dtype, tolerance=1e-3
    )
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


def exact(problem, kernel, ridge):
    """Return the kernel matrix of the rows, and the predictions of the solution."""
    T, Z, weight, Y = problem
    K, K_zz = (BACKEND.cross(kernel, A, Z, BANDWIDTH) for A in (T, Z))
    H = K.T @ (weight[:, None] * K) + ridge * K_zz
    return K, K @ np.linalg.lstsq(H, K.T @ (weight[:, None] * Y), rcond=1e-15)[0]


def counted_solution(problem, kernel, preconditioner, tolerance=1e-8):
    """Return the solution and the number of passes over the rows."""
    T, Z, weight, Y = problem
    gram, passes = CrossTileGram(kernel, T, Z, BANDWIDTH), []

    def product(V):
        passes.append(1)
        return gram.normal_product(weight, V)

    right = gram.adjoint_product(weight, Y)
    found = solve_centers(
        product,
        right,
        preconditioner,
        BACKEND,
        dtype=T.dtype,
        tolerance=tolerance,
        max_steps=200,
    )
    return found, len(passes)


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian()], ids=repr)
def test_a_sample_of_all_rows_is_the_solution(kernel, problem):
    T, Z, weight, _ = problem
    H = CrossTileGram(kernel, T, Z, BANDWIDTH).normal_matrix(weight)
    K_zz = BACKEND.cross(kernel, Z, Z, BANDWIDTH)
    preconditioner = SamplePreconditioner(K_zz, H, 0.1, BACKEND)
    found, passes = counted_solution(problem, kernel, preconditioner, 1e-6)
    K, expected = exact(problem, kernel, 0.1)
    assert passes <= 2
    assert_allclose(K @ found.coef, expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian()], ids=repr)
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_both_preconditioners_lead_to_the_solution(kernel, ridge, problem):
    T, Z, weight, _ = problem
    K_zz, share = BACKEND.cross(kernel, Z, Z, BANDWIDTH), weight.sum() / len(Z)
    H = CrossTileGram(kernel, T[:500], Z, BANDWIDTH).normal_matrix(1.4 * weight[:500])
    K, expected = exact(problem, kernel, ridge)
    for preconditioner in (
        CenterPreconditioner(K_zz, ridge, share, BACKEND),
        SamplePreconditioner(K_zz, H, ridge, BACKEND),
    ):
        found, _ = counted_solution(problem, kernel, preconditioner, 1e-7)
        assert_allclose(K @ found.coef, expected, atol=0.01)


@pytest.mark.parametrize("ridge", [0.2, 30.0])
@pytest.mark.parametrize("single", [True, False])
def test_centres_precondition_by_the_inverse_of_a_polynomial(single, ridge, rng):
    Q = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    # with an eigenvalue as small as this, float32 does not serve
    values = np.linspace(0.5, 20, 200) if single else np.geomspace(1e-5, 20, 200)
    K = (Q * values) @ Q.T
    K = ((K + K.T) / 2).astype(np.float32)
    share = 30.0
    preconditioner = CenterPreconditioner(K, ridge, share, BACKEND)
    exact = K.astype(float) + preconditioner.rounding * np.eye(200)
    found = preconditioner.solve(share * exact @ exact + ridge * exact)
    assert found.dtype == np.float64
    # all are 1, but for an eigenvalue beside the shift, where one factor has to serve
    values = np.linalg.eigvals(found)
    assert values.real.max() < 1.01 and values.real.min() > (0.7 if single else 0.99)


def test_indefinite_matrices_get_a_jitter(problem):
    T, Z, weight, Y = problem
    K = np.ones((300, 300))
    for preconditioner in (
        CenterPreconditioner(K, 0.0, 1.0, BACKEND),
        SamplePreconditioner(K, K.copy(), 0.0, BACKEND),
    ):
        assert np.isfinite(preconditioner.solve(Y[:300])).all()


@pytest.mark.parametrize("ridge", [1e-4, 1.0])
@pytest.mark.parametrize("sampled", [True, False])
def test_smooth_kernels_in_single_precision(ridge, sampled, rng):
    T = rng.normal(size=(3000, 2))
    Y = np.sin(2 * T[:, :1]) + T[:, 1:] ** 2
    problem = T, T[:400], np.ones(3000), Y
    single = tuple(a.astype(np.float32) for a in problem)
    T, Z, weight, _ = single
    K_zz = BACKEND.cross(Gaussian(), Z, Z, BANDWIDTH)
    preconditioner = CenterPreconditioner(K_zz, ridge, 3000 / 400, BACKEND)
    if sampled:
        gram = CrossTileGram(Gaussian(), T[:1500], Z, BANDWIDTH)
        H = gram.normal_matrix(2 * weight[:1500])
        preconditioner = SamplePreconditioner(K_zz, H, ridge, BACKEND)
    found, passes = counted_solution(single, Gaussian(), preconditioner, 1e-3)
    assert found.residual <= 1e-3 and passes < (30 if sampled else 100)
    K, expected = exact(problem, Gaussian(), ridge)
    assert np.abs(K @ found.coef - expected).mean() < 0.01


def test_a_residual_that_grows_ends_the_steps(problem):
    T, Z, weight, Y = problem
    K_zz = BACKEND.cross(Laplace(), Z, Z, BANDWIDTH)
    preconditioner = CenterPreconditioner(K_zz, 0.1, weight.sum() / 300, BACKEND)
    gram, steps = CrossTileGram(Laplace(), T, Z, BANDWIDTH), []

    def product(V, *, spoiled=True):
        steps.append(np.nan if spoiled and len(steps) == 2 else 1.0)
        return steps[-1] * gram.normal_product(weight, V)

    arguments = gram.adjoint_product(weight, Y), preconditioner, BACKEND
    options = {"dtype": np.float64, "tolerance": 1e-9}
    found = solve_centers(product, *arguments, **options)
    assert len(steps) == 3
    right = partial(product, spoiled=False)
    expected = solve_centers(right, *arguments, **options, max_steps=2)
    assert_array_equal(found.coef, expected.coef)
    assert found.residual == expected.residual > 1e-9


def test_the_size_of_the_sample():
    assert sample_size(1000, 1000) == 0  # all rows are centres
    assert sample_size(900, 100) == 800  # all other rows: a direct solve
    assert sample_size(200_000, 20_000) == 0
    sizes = [sample_size(200_000, p) / p for p in (1000, 2000, 4000)]
    assert sizes == sorted(sizes, reverse=True) and min(sizes) >= 1
    # few steps do not pay for as many rows
    assert 0 < sample_size(200_000, 4000, 0.1) < sample_size(200_000, 4000)


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_factors_leave_what_is_above_the_diagonal(shift, backend, rng):
    B = rng.normal(size=(700, 700))
    A = B @ B.T + np.eye(700)
    full = backend.asarray(A.copy())
    factor = backend.factorize(full, shift)
    V = rng.normal(size=(700, 3))
    found = backend.to_numpy(factor.solve(backend.asarray(V)))
    assert_allclose((A + shift * np.eye(700)) @ found, V, atol=1e-8)
    assert_allclose(np.triu(backend.to_numpy(full), 1), np.triu(A, 1))
    pivots = np.diagonal(np.linalg.cholesky(A + shift * np.eye(700))) ** 2
    assert_allclose(factor.smallest_pivot, pivots.min())


def test_results_do_not_depend_on_the_number_of_threads(rng):
    T = rng.normal(size=(3000, 5)).astype(np.float32)
    weight, V = np.ones(3000, np.float32), rng.normal(size=(600, 2)).astype("f")
    gram = CrossTileGram(Laplace(), T, T[:600], BANDWIDTH)

    def products():
        return gram.normal_product(weight, V), gram.normal_matrix(weight)

    alone = products()
    with own_threads(3000):
        together = products()
    for one, other in zip(alone, together, strict=True):
        assert_array_equal(one, other)


# -- variances ------------------------------------------------------------------------


def variance(problem, new, ridge, backend=BACKEND, share=1.0):
    """Return the variance at new rows, from the rows and residuals of a problem."""
    T, Z, weight, residuals = problem
    rows, centers, later = (backend.rows(backend.asarray(a)) for a in (T, Z, new))
    blocks = [
        (
            backend.cross(Laplace(), part, centers, BANDWIDTH),
            backend.self_values(Laplace(), part, BANDWIDTH),
        )
        for part in (rows, later[:3, :], later[3:, :])
    ]
    return backend.to_numpy(
        variance_of_centers(
            backend.cross(Laplace(), centers, centers, BANDWIDTH),
            backend.cross_gram(Laplace(), rows, centers, BANDWIDTH),
            backend.asarray(residuals),
            blocks[:1],
            blocks[1:],
            weight=backend.asarray(weight),
            share=share,
            alpha=ridge,
            backend=backend,
        )
    )


WEIGHTS = {"equal": 1.0, "fractions": (0.3, 1.7), "counts": (1, 5)}


@pytest.mark.parametrize("weights", WEIGHTS)
def test_with_all_rows_as_centres_the_variance_is_that_of_the_process(
    weights, problem, rng
):
    T, _, weight, Y = problem
    given = WEIGHTS[weights]
    if weights == "equal":
        weight = np.ones(len(T))
    elif weights == "counts":
        weight = rng.integers(*given, size=len(T)).astype(float)
    else:
        weight = rng.uniform(*given, size=len(T))
    new, ridge = rng.normal(size=(9, 4)), 0.1
    K, K_new = (BACKEND.cross(Laplace(), A, T, BANDWIDTH) for A in (T, new))
    coef = np.linalg.solve(K + np.diag(ridge / weight), Y)
    expected = predictive_variance(
        BACKEND.gram(Laplace(), T, BANDWIDTH),
        coef,
        [(K_new, np.ones(9))],
        weight=weight,
        alpha=ridge,
        xp=np,
    )
    found = variance((T, T, weight, Y - K @ coef), new, ridge)
    assert_allclose(found, expected, rtol=1e-8)


def test_variance_of_few_centres_equals_the_dense_formula(backend, problem, rng):
    T, Z, weight, Y = problem
    new, ridge, share = rng.normal(size=(9, 4)), 0.2, 3.0
    K, K_zz, K_new = (BACKEND.cross(Laplace(), A, Z, BANDWIDTH) for A in (T, Z, new))
    left = share * K.T @ (weight[:, None] * K) + ridge * K_zz

    def parts(values):
        leverage = (values.T * np.linalg.solve(left, values.T)).sum(axis=0)
        rest = 1 - (values.T * np.linalg.solve(K_zz, values.T)).sum(axis=0)
        return leverage, rest

    h, d = parts(K)
    squares = (weight**2 / (1 - weight * h)) @ Y**2
    signal = squares / (weight @ (ridge + weight * d * (1 - weight * h)))
    h, d = parts(K_new)
    expected = (d + ridge * h + ridge)[:, None] * signal
    found = variance((T, Z, weight, Y), new, ridge, backend, share)
    assert_allclose(found, expected, rtol=1e-7)


def test_residuals_of_zero_have_no_variance(problem, rng):
    T, Z, weight, Y = problem
    new = rng.normal(size=(5, 4))
    assert (variance((T, Z, weight, 0 * Y), new, 0.0) == 0).all()
    assert (variance((T, T, weight, 0 * Y), new, 0.0) == 0).all()
