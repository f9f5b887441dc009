"""The backends: packed kernel matrices, tiles, memory and threads.

`PackedGram` is compared with dense NumPy algebra on matrices of SciPy's distances, at
sizes around the edges of its tiles.
"""

import functools
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest
from _kernels import Cauchy
from _oracles import dense_slopes, dense_values, gradients, kernel_matrix
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import ThreadpoolController, threadpool_limits

from skrfm import RFMRegressor
from skrfm._backend import ArrayAPIBackend, NumpyBackend, _memory, get_backend
from skrfm._backend._packed import _FEW_COLUMNS, _PANEL
from skrfm._backend._threads import for_each, own_threads
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
def test_given_distances_are_used_and_not_changed(kernel, backend):
    problem = Problem(kernel, 300)
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


@pytest.mark.parametrize("columns", [1, 5, _FEW_COLUMNS, _FEW_COLUMNS + 1])
@pytest.mark.parametrize("n", [*SIZES, PRODUCT_COLUMNS + 2 * PRODUCT_ROWS + 7])
def test_products(n, columns, threads):
    """With the matrix below the diagonal and with its slopes above it."""
    problem = Problem(Laplace(), n)
    W = dense_slopes(problem.kernel, problem.T, BANDWIDTH)
    V = np.random.default_rng(2).normal(size=(n, columns))
    gram = problem.gram()
    assert_allclose(gram.product(V), problem.K @ V, rtol=1e-9, atol=1e-11)
    assert_allclose(gram.slope_product(V), W @ V, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("columns", [3, _FEW_COLUMNS + 1])
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


# -- memory -------------------------------------------------------------------------


def test_available_memory_of_this_machine():
    assert _memory.available_memory() > 1e6


def test_without_proc_the_bound_is_the_physical_memory(monkeypatch):
    def unreadable(path):
        raise OSError(path)

    monkeypatch.setattr(_memory.Path, "read_text", unreadable)
    physical = _memory.available_memory()
    assert physical is None or physical > 1e6


def test_memory_of_a_control_group(monkeypatch):
    texts = {"memory.max": "5000\n", "memory.current": "2000\n"}
    monkeypatch.setattr(_memory.Path, "read_text", lambda path: texts[path.name])
    assert _memory._cgroup_memory() == 3000
    texts["memory.max"] = "max\n"
    assert _memory._cgroup_memory() is None


@pytest.mark.parametrize(
    ("system", "group", "available"), [(5, 3, 3), (3, 5, 3), (5, None, 5), (None, 5, 5)]
)
def test_the_smaller_bound_counts(system, group, available, monkeypatch):
    monkeypatch.setattr(_memory, "_system_memory", lambda: system)
    monkeypatch.setattr(_memory, "_cgroup_memory", lambda: group)
    assert _memory.available_memory() == available


def test_the_error_for_a_matrix_that_does_not_fit_names_alternatives(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 8e9)
    with pytest.raises(
        MemoryError,
        match=r"kernel matrix of 50000 rows needs 20 GB, and 8 GB are free\. Fit on "
        r"fewer rows \(about 31622 fit\), pass solver='pcg', .*float32 halves it",
    ):
        _memory.require_memory(50_000, 8)
    with pytest.raises(MemoryError, match=r"needs 10 GB.*about 44721.*Classifier\.$"):
        _memory.require_memory(50_000, 4)
    _memory.require_memory(31_622, 8)


def test_unknown_memory_is_no_error(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: None)
    _memory.require_memory(10**9, 8)


def test_a_fit_checks_the_memory_before_it_allocates(monkeypatch, table):
    X, y = table
    monkeypatch.setattr(_memory, "available_memory", lambda: 1000)
    monkeypatch.setattr("skrfm._backend._packed.UNCHECKED_BYTES", 0)
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None)
    with pytest.raises(MemoryError, match=r"48 rows needs 1.84e-05 GB"):
        machine.fit(X, y)


# -- threads ------------------------------------------------------------------------

MANY_ROWS = 10**6


def blas_threads():
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


def threads_used(items=4):
    """Return the number of threads of `for_each`, and those of BLAS in them."""

    def seen(_):
        time.sleep(0.02)  # long enough that one thread cannot take all the items
        return threading.get_ident(), frozenset(blas_threads())

    found = for_each(seen, range(items))
    return len({ident for ident, _ in found}), set().union(*(c for _, c in found))


@pytest.mark.parametrize("limit", [1, 3])
def test_for_each_keeps_the_order(limit):
    with threadpool_limits(limit, user_api="blas"), own_threads(MANY_ROWS):
        assert for_each(lambda i: i**2, list(range(20))) == [i**2 for i in range(20)]
        assert for_each(str, []) == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_for_each_uses_the_threads_of_blas_and_limits_blas_to_one(limit):
    with threadpool_limits(limit, user_api="blas"):
        with own_threads(MANY_ROWS):
            assert threads_used() == (limit, {1})
        assert blas_threads() == {limit}


def test_few_rows_and_calls_outside_own_threads_use_one_thread():
    with threadpool_limits(2, user_api="blas"):
        with own_threads(100):
            assert threads_used() == (1, {1})
        assert threads_used() == (1, {2})


def test_threads_start_no_threads_of_their_own():
    with threadpool_limits(2, user_api="blas"), own_threads(MANY_ROWS):
        assert for_each(lambda _: threads_used(2)[0], [0, 1]) == [1, 1]


def test_errors_are_passed_on_and_blas_is_restored():
    def fail(item):
        raise KeyError(item)

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyError), own_threads(MANY_ROWS):
            for_each(fail, [1, 2])
        assert blas_threads() == {2}


@pytest.mark.parametrize("failing", [IndexError, StopIteration, KeyboardInterrupt])
@pytest.mark.parametrize("limit", [1, 2])
def test_any_error_of_any_item_is_raised(failing, limit):
    def fail(item):
        time.sleep(0.01)
        if item == 1:
            raise failing

    with (
        threadpool_limits(limit, user_api="blas"),
        own_threads(MANY_ROWS),
        pytest.raises(failing),
    ):
        for_each(fail, range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent():
    with threadpool_limits(2, user_api="blas"), own_threads(MANY_ROWS):
        for_each(str, range(4))
        context = multiprocessing.get_context("fork")
        process = context.Process(target=for_each, args=(str, range(4)))
        process.start()
        process.join(timeout=30)
        process.kill()
    assert process.exitcode == 0


@pytest.mark.parametrize("rows", [100, MANY_ROWS])
def test_simultaneous_fits_restore_the_threads_of_blas(rows):
    """The second to start ends last, and must not restore the limit of the first."""
    with threadpool_limits(2, user_api="blas"):
        second = own_threads(rows)
        with own_threads(rows):
            second.__enter__()
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_a_fit_restores_the_threads_of_blas(table):
    X, y = table
    with threadpool_limits(2, user_api="blas"):
        RFMRegressor(kernel="laplace", cv=2, max_iter=1, n_jobs=2).fit(X, y).predict(X)
        assert blas_threads() == {2}
        with pytest.raises(ValueError):
            RFMRegressor(kernel="laplace", cv=[]).fit(X, y)
        assert blas_threads() == {2}
