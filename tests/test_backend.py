"""The backends: packed kernel matrices and tiles.

`PackedGram` is compared with dense NumPy algebra on matrices of SciPy's distances, at
sizes around the edges of its tiles.
"""

import functools

import numpy as np
import pytest
from _kernels import Cauchy
from _oracles import dense_slopes, dense_values, gradients, kernel_matrix
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from skrfm._backend import ArrayAPIBackend, NumpyBackend, get_backend
from skrfm._backend._packed import _PANEL, FEW_COLUMNS
from skrfm._backend._threads import own_threads
from skrfm._backend._tiles import TILE
from skrfm._jit._pairs import PRODUCT_COLUMNS, PRODUCT_ROWS
from skrfm.exceptions import NotPositiveDefiniteError
from skrfm.kernels import Gaussian, GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace

SIZES = [1, 2, 31, 255, 256, 257, 384, 385, 769]
KERNELS = [Laplace(), GeneralizedLaplace(exponent=1.3), L1Laplace(), Cauchy()]
BANDWIDTH = 2.0

every_size = pytest.mark.parametrize("n", SIZES)
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


def test_the_sizes_are_around_the_edges_of_tiles_and_panels():
    assert {TILE - 1, TILE, TILE + 1, _PANEL, _PANEL + 1, 2 * _PANEL + 1} <= set(SIZES)


@pytest.fixture(params=[1, 3])
def threads(request):
    """Compute in this number of threads, whatever the size."""
    with threadpool_limits(request.param, user_api="blas"), own_threads(10**6):
        yield request.param


@functools.cache
class Problem:
    """Rows, a ridge per row, and their dense matrices."""

    def __init__(self, kernel, n, dtype=np.float64):
        rng = np.random.default_rng(n)
        self.kernel, self.n = kernel, n
        self.T = rng.normal(size=(n, 3)).astype(dtype)
        self.ridge = rng.uniform(0.05, 0.5, size=n).astype(dtype)
        self.B = rng.normal(size=(n, 2)).astype(dtype)
        self.K = dense_values(kernel, self.T, self.T, BANDWIDTH)
        self.matrix = self.K + np.diag(self.ridge.astype(float))

    def gram(self, backend=None, reusable=None):
        backend = backend or NumpyBackend()
        T = backend.asarray(self.T)
        return backend.gram(self.kernel, T, BANDWIDTH, reusable=reusable)


# -- solving ------------------------------------------------------------------------


@every_size
@every_kernel
def test_factorize_and_solve(kernel, n, threads):
    problem = Problem(kernel, n)
    gram = problem.gram()
    gram.factorize(problem.ridge)
    expected = np.linalg.solve(problem.matrix, problem.B)
    assert_allclose(gram.solve(problem.B), expected, rtol=1e-9, atol=1e-10)


@every_size
@pytest.mark.parametrize("kernel", [Laplace(), L1Laplace()], ids=repr)
def test_inverse_diagonal(kernel, n, threads):
    problem = Problem(kernel, n)
    gram = problem.gram()
    gram.factorize(problem.ridge)
    expected = np.diag(np.linalg.inv(problem.matrix))
    assert_allclose(gram.inverse_diagonal(), expected, rtol=1e-10)


@pytest.mark.parametrize("n", [2, 257])
def test_eigh_decomposes_the_matrix(n, backend):
    problem = Problem(Laplace(), n)
    gram = problem.gram(backend)
    values, vectors = gram.eigh(backend.asarray(problem.ridge))
    values, vectors = backend.to_numpy(values), backend.to_numpy(vectors)
    assert_allclose(vectors * values @ vectors.T, problem.matrix, atol=1e-12)
    assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-12)


@pytest.mark.parametrize("kernel", [Laplace(), L1Laplace()], ids=repr)
def test_all_backends_solve_alike(kernel, backend):
    problem = Problem(kernel, 40)
    gram = problem.gram(backend)
    gram.factorize(backend.asarray(problem.ridge))
    got = backend.to_numpy(gram.solve(backend.asarray(problem.B)))
    assert_allclose(got, np.linalg.solve(problem.matrix, problem.B), rtol=1e-10)
    got = backend.to_numpy(gram.inverse_diagonal())
    assert_allclose(got, np.diag(np.linalg.inv(problem.matrix)), rtol=1e-10)


def test_float32_solves_stay_float32():
    problem = Problem(Laplace(), 257, np.float32)
    gram = problem.gram()
    gram.factorize(problem.ridge)
    solution = gram.solve(problem.B)
    assert solution.dtype == np.float32
    assert_allclose(problem.matrix @ solution, problem.B, atol=2e-4)
    inverse = gram.inverse_diagonal()
    assert inverse.dtype == np.float32
    assert_allclose(inverse, np.diag(np.linalg.inv(problem.matrix)), rtol=1e-4)


def test_factorize_raises_if_a_matrix_is_not_positive_definite(backend):
    problem = Problem(Laplace(), 9)
    gram = problem.gram(backend)
    with pytest.raises(NotPositiveDefiniteError, match="order .* is not positive"):
        gram.factorize(backend.asarray(np.full(9, -2.0)))
    assert issubclass(NotPositiveDefiniteError, np.linalg.LinAlgError)


@pytest.mark.parametrize("row", [3, _PANEL - 1, _PANEL, _PANEL + 70])
def test_factorize_names_the_row_of_the_first_bad_pivot(row, threads):
    problem = Problem(Laplace(), _PANEL + 100)
    ridge = problem.ridge.copy()
    ridge[row:] = -2
    with pytest.raises(NotPositiveDefiniteError, match=f"order {row + 1} is") as error:
        problem.gram().factorize(ridge)
    assert error.value.row == row


@pytest.mark.parametrize("columns", [1, 2, 64, 127, 128, 200])
def test_slope_products_of_any_width(columns, threads, rng):
    problem = Problem(Laplace(), 40)
    W = dense_slopes(problem.kernel, problem.T, BANDWIDTH)
    V = rng.normal(size=(40, columns))
    gram = problem.gram()
    for given in (V, np.asfortranarray(V), V.T.copy().T):
        assert_allclose(gram.slope_product(given), W @ V, rtol=1e-9, atol=1e-12)


def test_float32_slopes():
    problem = Problem(Laplace(), 300, np.float32)
    W = dense_slopes(problem.kernel, problem.T, BANDWIDTH)
    got = problem.gram().slope_product(problem.B)
    assert got.dtype == np.float32
    assert_allclose(got, W @ problem.B, atol=1e-4)
    rows = np.arange(250, 300)
    got = problem.gram().slope_rows_product(rows, problem.B)
    assert got.dtype == np.float32
    assert_allclose(got, W[rows] @ problem.B, atol=1e-4)


def test_the_number_of_threads_changes_no_bit():
    """Blocks depend on the size of the problem alone, so results are reproducible."""

    def everything():
        problem = Problem(Laplace(), 900)
        gram = problem.gram()
        gram.factorize(problem.ridge)
        return (
            gram.solve(problem.B),
            gram.inverse_diagonal(),
            gram.slope_product(problem.B),
        )

    results = []
    for count in (1, 3):
        with threadpool_limits(count, user_api="blas"), own_threads(10**6):
            results.append(everything())
    for one, other in zip(*results, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("n", [2, 256, 385])
def test_refill_restores_the_kernel_matrix(n):
    problem = Problem(L1Laplace(), n)
    gram = problem.gram()
    gram.factorize(problem.ridge)
    gram.inverse_diagonal()
    gram.refill()
    gram.factorize(2 * problem.ridge)
    matrix = problem.K + 2 * np.diag(problem.ridge)
    assert_allclose(gram.solve(problem.B), np.linalg.solve(matrix, problem.B), 1e-9)


def test_a_reusable_gram_gives_its_memory_and_nothing_else():
    problem = Problem(Laplace(), 300)
    reusable = Problem(Gaussian(), 300).gram()
    buffer = reusable._packed
    gram = problem.gram(reusable=reusable)
    assert gram._packed is buffer
    gram.factorize(problem.ridge)
    expected = np.linalg.solve(problem.matrix, problem.B)
    assert_allclose(gram.solve(problem.B), expected, rtol=1e-9, atol=1e-10)


@every_kernel
@pytest.mark.parametrize("n", [40, 300])  # one tile in a row of tiles, and two
def test_given_distances_are_used_and_not_changed(n, kernel, backend):
    problem = Problem(kernel, n)
    expected, T = problem.gram(backend), backend.asarray(problem.T)
    powers = backend.distance_powers(kernel, T)
    gram = backend.gram(kernel, T, BANDWIDTH, powers=powers)
    for again in (False, True):
        if again:
            gram.refill()  # the given distances are unchanged
        B = backend.asarray(problem.B)
        for name in ("product", "slope_product"):
            both = [getattr(each, name)(B) for each in (gram, expected)]
            assert_array_equal(*map(backend.to_numpy, both))


def test_a_gram_of_another_size_is_not_reused():
    problem = Problem(Laplace(), 40)
    gram = problem.gram(reusable=Problem(Laplace(), 41).gram())
    gram.factorize(problem.ridge)
    expected = np.linalg.solve(problem.matrix, problem.B)
    assert_allclose(gram.solve(problem.B), expected, rtol=1e-9)


# -- slopes -------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 5, FEW_COLUMNS, FEW_COLUMNS + 1])
@pytest.mark.parametrize("n", [*SIZES, PRODUCT_COLUMNS + 2 * PRODUCT_ROWS + 7])
def test_products(n, columns, threads):
    """With the matrix below the diagonal and with its slopes above it."""
    problem = Problem(Laplace(), n)
    W = dense_slopes(problem.kernel, problem.T, BANDWIDTH)
    V = np.random.default_rng(2).normal(size=(n, columns))
    gram = problem.gram()
    assert_allclose(gram.product(V), problem.K @ V, rtol=1e-9, atol=1e-11)
    assert_allclose(gram.slope_product(V), W @ V, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("columns", [3, FEW_COLUMNS + 1])
def test_products_do_not_depend_on_the_threads(columns):
    problem, found = Problem(Laplace(), 769), []
    V = np.random.default_rng(2).normal(size=(769, columns))
    for count in (1, 3):
        with threadpool_limits(count, user_api="blas"), own_threads(10**6):
            found.append(problem.gram().product(V))
    assert_array_equal(*found)


@pytest.mark.parametrize(
    "kernel", [k for k in KERNELS if not k.coordinatewise], ids=repr
)
def test_slope_product(kernel):
    problem = Problem(kernel, 257)
    W = dense_slopes(kernel, problem.T, BANDWIDTH)
    gram = problem.gram()
    assert_allclose(gram.slope_product(problem.B), W @ problem.B, rtol=1e-9, atol=1e-11)


@every_size
def test_slope_rows_product(n, backend, threads):
    problem = Problem(Laplace(), n)
    W = dense_slopes(problem.kernel, problem.T, BANDWIDTH)
    rows = np.random.default_rng(0).permutation(n)[: max(1, n // 2 + 1)]
    gram, V = problem.gram(backend), backend.asarray(problem.B)
    got = backend.to_numpy(gram.slope_rows_product(rows, V))
    assert_allclose(got, W[rows] @ problem.B, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n", [2, 257])
def test_the_factorisation_leaves_the_slopes(n):
    problem = Problem(Laplace(), n)
    W = dense_slopes(problem.kernel, problem.T, BANDWIDTH)
    gram = problem.gram()
    gram.factorize(problem.ridge)
    gram.inverse_diagonal()
    assert_allclose(gram.slope_product(problem.B), W @ problem.B, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("order", [1, -1])
@every_size
def test_coordinate_gradients(n, order, threads):
    """L1: the gradient is −Σ_j α_j k_ij sign(t_i − t_j) / L, axis by axis."""
    problem = Problem(L1Laplace(), n)
    gram = problem.gram()
    gram.factorize(problem.ridge)
    rows = np.arange(n)[::order]
    J = np.empty((n, 2, 3))
    for position, block in gram.coordinate_gradients(rows, problem.B):
        J[position] = block
    sign = np.sign(problem.T[:, None, :] - problem.T[None, :, :])
    expected = -np.einsum("ij,ijl,jc->icl", problem.K, sign, problem.B) / BANDWIDTH
    assert_allclose(J, expected[rows], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 199, 200, 201])
@pytest.mark.parametrize("d", [200, 513])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coordinate_gradients_of_wide_tables(n, d, dtype, rng):
    T, coef = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(n, 3))
    T[:, :5], T[n // 2] = np.round(T[:, :5]), T[0]
    rows, gram = np.arange(n)[::2], NumpyBackend().gram(L1Laplace(), T, 100.0)
    blocks = gram.coordinate_gradients(rows, coef.astype(dtype))
    J = np.concatenate([block for _, block in blocks])
    # in closed form: loops over pairs and columns would take half a minute
    differences = T[rows, None, :].astype(float) - T[None, :, :]
    values = np.exp(-np.abs(differences).sum(axis=2) / 100)
    expected = -np.einsum("ij,ijl,jc->icl", values, np.sign(differences), coef) / 100
    tolerance = 100 * np.finfo(dtype).eps * np.abs(expected).max()
    assert_allclose(J, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("p", [1.25, 1.3, 1.5, 1.75, 2.0])
@pytest.mark.parametrize("n", [20, 120])
def test_coordinate_gradients_of_other_norms(n, p, backend):
    problem = Problem(LpqLaplace(p=p), n)
    gram = problem.gram(backend)
    blocks = gram.coordinate_gradients(np.arange(n), backend.asarray(problem.B))
    J = np.concatenate([backend.to_numpy(block) for _, block in blocks])
    expected = gradients(problem.kernel, problem.T, problem.B, BANDWIDTH)
    assert_allclose(J, expected, rtol=1e-10, atol=1e-13)


def test_coordinate_gradients_do_not_depend_on_the_threads():
    problem, found = Problem(LpqLaplace(p=1.25), 769), []
    for count in (1, 3):
        with threadpool_limits(count, user_api="blas"), own_threads(10**6):
            blocks = problem.gram().coordinate_gradients(np.arange(769), problem.B)
            found.append(np.concatenate([block for _, block in blocks]))
    assert_array_equal(*found)


# -- kernel matrices ----------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(1, 513), (257, 2), (255, 256), (31, 1)])
@every_kernel
def test_cross_and_cross_dot(kernel, m, n, threads):
    problem = Problem(kernel, n)
    T = np.random.default_rng(1).normal(size=(m, 3))
    expected = dense_values(kernel, T, problem.T, BANDWIDTH)
    backend = NumpyBackend()
    got = backend.cross(kernel, T, problem.T, BANDWIDTH)
    assert_allclose(got, expected, rtol=1e-10)
    got = backend.cross_dot(kernel, T, problem.T, BANDWIDTH, problem.B)
    assert_allclose(got, expected @ problem.B, rtol=1e-9, atol=1e-11)


def test_all_backends_have_the_same_cross_products(backend):
    problem = Problem(LpqLaplace(p=1.4, q=0.9), 12)
    T, Z = backend.asarray(problem.T[:5]), backend.asarray(problem.T)
    A = backend.asarray(problem.B)
    expected = kernel_matrix(problem.kernel, problem.T[:5], problem.T, BANDWIDTH)
    got = backend.cross(problem.kernel, T, Z, BANDWIDTH)
    assert_allclose(backend.to_numpy(got), expected, rtol=1e-12)
    got = backend.cross_dot(problem.kernel, T, Z, BANDWIDTH, A)
    assert_allclose(backend.to_numpy(got), expected @ problem.B, rtol=1e-10)


def test_conversions_there_and_back(backend, rng):
    a = rng.normal(size=(5, 3))
    there = backend.asarray(a)
    assert_array_equal(backend.to_numpy(there), a)
    rows = np.array([4, 0, 0])
    assert_array_equal(backend.to_numpy(backend.take(there, rows)), a[rows])
    assert backend.asarray(a, backend.xp.float32).dtype == backend.xp.float32


def test_get_backend_by_namespace():
    import array_api_strict

    assert isinstance(get_backend(np), NumpyBackend)
    assert isinstance(get_backend(array_api_strict), ArrayAPIBackend)
