"""Solvers that only multiply by the kernel matrix, held or computed anew each time."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from _kernels import DISTANCE
from _oracles import as_array, dense_values
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss

from skrfm import RFMClassifier, RFMRegressor
from skrfm._backend import NumpyBackend, own_threads
from skrfm.agop import AgopOptions, average_gradient_outer_product
from skrfm.exceptions import NotConvergedError, NumericalWarning
from skrfm.kernels import NTK, Gaussian, L1Laplace, Laplace
from skrfm.solvers import (
    _choice,
    _eigenpro,
    _iterative,
    _preconditioner,
    _rows,
    cholesky,
    choose_solver,
    conjugate_gradients,
    eigenpro,
)

BANDWIDTH = 3.0
BACKEND = NumpyBackend()

every_kernel = pytest.mark.parametrize("kernel", DISTANCE, ids=repr)
# "products" holds one triangle, to be multiplied by only
held_or_streamed = pytest.mark.parametrize("streamed", [False, True, "products"])


@pytest.fixture(autouse=True)
def threads():
    """Compute in threads of the package, as estimators do for many rows."""
    with own_threads(1000):
        yield


def make_gram(kernel, T, streamed, category_sizes=()):
    make = {
        False: BACKEND.gram,
        True: BACKEND.streamed_gram,
        "products": BACKEND.product_gram,
    }[streamed]
    return make(kernel, T, BANDWIDTH, category_sizes=category_sizes)


def problem(rng, n=500, c=2, dtype=np.float64):
    """Return rows, centred targets (the last column zero) and ridges of weights."""
    T = rng.normal(size=(n, 4)).astype(dtype)
    Y = np.sin(T @ rng.normal(size=(4, c))) + 0.1 * rng.normal(size=(n, c))
    Y -= Y.mean(axis=0)
    Y[:, -1] = 0
    ridge = 0.1 / rng.uniform(0.3, 1, size=n)
    return T, Y.astype(dtype), ridge.astype(dtype)


# -- the kernel matrix ----------------------------------------------------------------


@every_kernel
@held_or_streamed
def test_products_and_columns_equal_the_dense_matrix(kernel, streamed, rng):
    T, V = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    K = dense_values(kernel, T, T, BANDWIDTH)
    gram = make_gram(kernel, T, streamed)
    rows = np.array([0, 7, 299])
    assert_allclose(gram.product(V), K @ V, rtol=1e-10)
    assert_allclose(gram.columns(rows), K[:, rows], rtol=1e-10)
    assert_allclose(gram.diagonal, 1)


def test_rows_of_a_streamed_matrix_and_some_of_its_columns(rng):
    T, V = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    out, kept = make_gram(Laplace(), T, True).rows_product(slice(40, 170), V, 90)
    assert_allclose(out, K[40:170] @ V, rtol=1e-10)
    assert_allclose(kept, K[40:170, :90], rtol=1e-10)
    order = rng.permutation(300)
    mixed = make_gram(Laplace(), T, True).take(order)
    assert_allclose(mixed.product(V), K[np.ix_(order, order)] @ V, rtol=1e-10)


@every_kernel
@pytest.mark.parametrize("category_sizes", [(), (3, 5)])
@pytest.mark.parametrize("some", [False, True])
def test_agop_of_a_streamed_matrix_equals_that_of_a_held_one(
    kernel, category_sizes, some, rng
):
    n = 200
    blocks = [np.eye(w)[rng.integers(0, w, n)] for w in category_sizes]
    T = np.hstack([rng.normal(size=(n, 3)), *blocks])
    coef, weight = rng.normal(size=(n, 2)), rng.uniform(0.5, 2, size=n)
    rows = np.sort(rng.choice(n, 70, replace=False)) if some else None
    unmixed = 0 if kernel.coordinatewise else sum(category_sizes)
    options = AgopOptions(diagonal=kernel.coordinatewise, rows=rows, n_unmixed=unmixed)
    held, streamed, products = (
        as_array(
            average_gradient_outer_product(
                make_gram(kernel, T, streamed, category_sizes),
                coef,
                weight,
                backend=BACKEND,
                options=options,
            )
        )
        for streamed in (False, True, "products")
    )
    assert_allclose(products, held, atol=1e-11 * np.abs(held).max())
    assert_allclose(streamed, held, atol=1e-11 * np.abs(held).max())


# -- conjugate gradients --------------------------------------------------------------


@every_kernel
@held_or_streamed
def test_conjugate_gradients_converge(kernel, streamed, rng, monkeypatch):
    monkeypatch.setattr(_iterative, "_TOLERANCE", 1e-9)
    monkeypatch.setattr(_preconditioner, "_BLOCK_ROWS", 100)
    T, Y, ridge = problem(rng)
    K = dense_values(kernel, T, T, BANDWIDTH)
    expected = np.linalg.solve(K + np.diag(ridge), Y)
    got = conjugate_gradients(make_gram(kernel, T, streamed), Y, ridge, BACKEND)
    assert got.residual <= 1e-9
    assert_allclose(got.coef, expected, atol=1e-7 * np.abs(expected).max())
    assert_array_equal(got.coef[:, -1], 0)


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0])
def test_conjugate_gradients_in_float32(alpha, rng):
    T, Y, _ = problem(rng, dtype=np.float32)
    ridge = np.full(len(T), alpha, dtype=np.float32)
    got = conjugate_gradients(make_gram(Laplace(), T, True), Y, ridge, BACKEND)
    assert got.coef.dtype == np.float32
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    residual = (K + np.diag(ridge)) @ got.coef - Y
    assert np.linalg.norm(residual[:, 0]) < 2e-3 * np.linalg.norm(Y[:, 0])
    assert got.residual < 2e-3


def test_conjugate_gradients_with_equal_rows(rng):
    T, Y, ridge = problem(rng)
    T[250:] = T[:250]
    got = conjugate_gradients(make_gram(L1Laplace(), T, False), Y, ridge, BACKEND)
    assert got.residual < 1e-3


def test_conjugate_gradients_for_a_kernel_of_inner_products(rng):
    T, Y, ridge = problem(rng)
    many = np.zeros((1200, 4))
    chosen = choose_solver("pcg", NTK(), many, BACKEND)
    assert chosen == (conjugate_gradients, False)
    expected = cholesky(BACKEND.gram(NTK(), T, BANDWIDTH), Y, ridge, BACKEND).coef
    gram = BACKEND.gram(NTK(), T, BANDWIDTH)
    got = conjugate_gradients(gram, Y, ridge, BACKEND).coef
    fitted, expected = gram.product(got), gram.product(expected)
    assert np.linalg.norm(fitted - expected) < 2e-2 * np.linalg.norm(expected)


def test_triangle_in_memory_that_is_taken_over(rng):
    T = rng.normal(size=(700, 3))
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    V = rng.normal(size=(700, 40))  # so many columns are left to BLAS
    gram = BACKEND.product_gram(Laplace(), T, BANDWIDTH)
    assert_allclose(gram.product(V), K @ V, rtol=1e-10)
    assert gram.nbytes < 8 * 700**2 * 0.7
    rows = np.arange(5, 300)
    fewer = BACKEND.product_gram(Laplace(), T[rows], BANDWIDTH, reusable=gram)
    assert fewer.nbytes == gram.nbytes
    assert_allclose(fewer.product(V[rows]), K[np.ix_(rows, rows)] @ V[rows], rtol=1e-10)
    square = BACKEND.gram(Laplace(), T, BANDWIDTH, reusable=fewer)
    assert fewer.nbytes == 0
    again = BACKEND.product_gram(Laplace(), T, BANDWIDTH, reusable=square)
    assert square.nbytes == 0
    assert_allclose(again.product(V), K @ V, rtol=1e-10)


@every_kernel
def test_squares_of_the_kernel_matrix(kernel, rng):
    T = rng.normal(size=(60, 4))
    rows = np.array([3, 50, 7])
    K = dense_values(kernel, T, T, BANDWIDTH)
    for streamed in (False, True, "products"):
        got = make_gram(kernel, T, streamed).square(rows)
        assert_allclose(got, K[np.ix_(rows, rows)], rtol=1e-10)


def test_preconditioner_is_the_inverse_of_landmarks_and_blocks(rng, monkeypatch):
    monkeypatch.setattr(_preconditioner, "_BLOCK_ROWS", 60)
    monkeypatch.setattr(_preconditioner, "_SHARE", 0.1)
    T, Y, ridge = problem(rng, n=400)
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    landmarks = np.sort(np.random.default_rng(7).choice(400, 41, replace=False))
    nystrom = K[:, landmarks] @ np.linalg.solve(
        K[np.ix_(landmarks, landmarks)], K[landmarks]
    )
    order, edges = _preconditioner.near_blocks(T, 60)
    assert_array_equal(np.sort(order), np.arange(400))
    assert edges == list(range(0, 401, 50))
    number = np.empty(400, dtype=int)
    number[order] = np.arange(400) // 50
    same_block = number[:, None] == number
    matrix = np.where(same_block, K, nystrom) + np.diag(ridge)
    gram = make_gram(Laplace(), T, "products")
    inverse = _preconditioner.LocalNystrom(gram, ridge, BACKEND, 7)
    expected = np.linalg.solve(matrix, Y)
    assert_allclose(inverse(Y), expected, atol=1e-8 * np.abs(expected).max())


def test_near_rows_take_few_steps_with_a_small_ridge(rng, monkeypatch):
    """Pairs of near rows make K ill-conditioned; blocks hold them together."""
    monkeypatch.setattr(_iterative, "_STEPS", 25)
    T, Y, _ = problem(rng, n=1000)
    T[500:] = T[:500] + 1e-4 * rng.normal(size=(500, 4))
    ridge = np.full(1000, 1e-4)
    got = conjugate_gradients(
        make_gram(Laplace(), T, "products"), Y, ridge, BACKEND, seed=1
    )
    assert got.residual <= 1e-3
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    residual = (K + np.diag(ridge)) @ got.coef - Y
    assert np.linalg.norm(residual) <= 1.1e-3 * np.linalg.norm(Y)


# -- EigenPro -------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(), L1Laplace()], ids=repr)
def test_eigenpro_converges(kernel, rng, monkeypatch):
    T, Y, ridge = problem(rng, n=1000)
    K = dense_values(kernel, T, T, BANDWIDTH)
    expected = K @ np.linalg.solve(K + np.diag(ridge), Y)
    errors = []
    for epochs in (1, 6, 200):
        monkeypatch.setattr(_eigenpro, "_EPOCHS", epochs)
        monkeypatch.setattr(_eigenpro, "_TOLERANCE", 1e-9)
        gram = make_gram(kernel, T, True)
        got = K @ eigenpro(gram, Y, ridge, BACKEND).coef
        errors.append(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.3
    assert errors[2] < 1e-2


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0, 30.0])
def test_eigenpro_does_not_diverge(alpha, rng):
    T, Y, _ = problem(rng, dtype=np.float32)
    ridge = np.full(len(T), alpha, dtype=np.float32)
    gram = make_gram(Laplace(), T, True)
    got = eigenpro(gram, Y, ridge, BACKEND).coef
    residual = gram.product(got) + alpha * got - Y
    assert np.linalg.norm(residual) < 0.3 * np.linalg.norm(Y)


@pytest.fixture
def scale_steps(monkeypatch):
    """Return a function that has steps multiplied, and the numbers of eigenvectors."""
    make, n_eigenvectors = _eigenpro._Preconditioner.from_gram, []

    def scale(factor):
        def scaled(gram, ridge, n, backend):
            preconditioner = make(gram, ridge, n, backend)
            preconditioner.step *= factor
            n_eigenvectors.append(n)
            return preconditioner

        monkeypatch.setattr(_eigenpro._Preconditioner, "from_gram", scaled)
        return n_eigenvectors

    return scale


def test_eigenpro_divides_steps_that_diverge(rng, scale_steps):
    T, Y, ridge = problem(rng)
    tried = scale_steps(8)
    gram = make_gram(Laplace(), T, True)
    got = eigenpro(gram, Y, ridge, BACKEND).coef
    assert len(tried) > 1
    assert tried[1] == tried[0] // 2
    residual = gram.product(got) + ridge[:, None] * got - Y
    assert np.linalg.norm(residual) < np.linalg.norm(Y)


def test_eigenpro_that_diverges_is_an_error(rng, monkeypatch, scale_steps):
    T, Y, ridge = problem(rng)
    monkeypatch.setattr(_eigenpro, "_ATTEMPTS", 1)
    scale_steps(1e4)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(NotConvergedError, match="pass solver='pcg'"),
    ):
        eigenpro(make_gram(Laplace(), T, True), Y, ridge, BACKEND)


@pytest.mark.parametrize("cached_rows", [0, 300, 400, 5000])
@pytest.mark.parametrize("n_first", [1, 60, 170])
def test_products_are_the_same_cached_or_not(cached_rows, n_first, rng, monkeypatch):
    """Three epochs of batches of 75 rows, with coefficients that change in between."""
    T, Y, _ = problem(rng)
    K, n = dense_values(Laplace(), T, T, BANDWIDTH), len(T)
    monkeypatch.setattr(_rows, "CACHE_BYTES", 8 * cached_rows**2 / 2)
    gram, calls = make_gram(Laplace(), T, True), []
    rows_product = gram.rows_product

    def counted(*arguments, **options):
        calls.append(1)
        return rows_product(*arguments, **options)

    monkeypatch.setattr(gram, "rows_product", counted)
    kernel_rows = _rows.CachedKernelRows(gram, n_first, BACKEND)
    coef = np.zeros_like(Y)
    for _ in range(3):
        for start in range(0, n, 75):
            rows = slice(start, min(start + 75, n))
            got, first = kernel_rows.product(rows, coef)
            assert_allclose(got, K[rows] @ coef, rtol=1e-10, atol=1e-12)
            assert_allclose(first, K[rows, :n_first], rtol=1e-10)
            coef[rows] += rng.normal(size=got.shape)
            coef[:n_first] += rng.normal(size=(n_first, Y.shape[1]))
    batches = -(-n // 75)
    assert len(calls) == (batches if cached_rows >= n else 3 * batches)


# -- which solver ---------------------------------------------------------------------


def test_choice_of_the_solver(monkeypatch):
    few, many = np.zeros((4000, 1)), np.zeros((4001, 1))

    def choose(name, rows, **options):
        return choose_solver(name, Laplace(), rows, BACKEND, **options)

    assert choose("auto", few) == (cholesky, False)
    assert choose("auto", many) == (conjugate_gradients, False)
    assert choose("auto", many, want_diagonal=True) == (cholesky, False)
    monkeypatch.setattr("skrfm._backend._memory.available_memory", lambda: 2e7)
    assert choose("auto", many) == (conjugate_gradients, True)
    reusable = SimpleNamespace(nbytes=2 * 8 * 4001**2)
    assert choose("auto", many, reusable=reusable) == (conjugate_gradients, False)
    assert choose("cholesky", many) == (cholesky, False)
    # a few rows are factorised whatever solver is named
    assert choose("pcg", few[:999]) == (cholesky, False)
    assert choose("pcg", few[:1000]) == (conjugate_gradients, False)


def test_eigenpro_refuses_kernels_of_inner_products():
    with pytest.raises(ValueError, match="'eigenpro' does not work with NTK"):
        choose_solver("eigenpro", NTK(), np.zeros((2000, 2)), BACKEND)


# -- in the estimators ----------------------------------------------------------------


def make_table(n_train):
    """Return X, new X, y and new y; 400 rows are new."""
    rng, n = np.random.default_rng(0), n_train + 400
    X = rng.normal(size=(n, 4))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=n)
    return X[:n_train], X[n_train:], y[:n_train], y[n_train:]


@pytest.fixture
def table(monkeypatch):
    """A table of few rows, for which iterative solvers are taken all the same."""
    monkeypatch.setattr(_choice, "_MIN_ITERATIVE_ROWS", 300)
    return make_table(400)


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
@pytest.mark.parametrize("free", [None, 1e6])
def test_estimators_with_conjugate_gradients(kernel, free, monkeypatch):
    X, X_new, y, _ = make_table(1100)
    if free is not None:  # too little for the kernel matrix
        monkeypatch.setattr("skrfm._backend._memory.available_memory", lambda: free)
        monkeypatch.setattr("skrfm._backend._packed.UNCHECKED_BYTES", 0)
        with pytest.raises(MemoryError, match="pass solver='pcg'"):
            RFMRegressor(kernel=kernel, alpha=0.1, validation=None).fit(X, y)
    settings = {"kernel": kernel, "alpha": 0.1, "validation": None, "max_iter": 2}
    settings["random_state"] = 0
    got = RFMRegressor(solver="pcg", **settings).fit(X, y).predict(X_new)
    monkeypatch.undo()
    expected = RFMRegressor(**settings).fit(X, y).predict(X_new)
    assert_allclose(got, expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("solver", ["pcg", "eigenpro"])
def test_weights_are_repetitions(solver, table):
    X, X_new, y, _ = table
    counts = np.arange(len(y)) % 2 + 1
    repeated = np.repeat(np.arange(len(y)), counts)
    model = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=1,
        solver=solver,
        random_state=0,
    )
    weighted = model.fit(X, y, sample_weight=counts).predict(X_new)
    plain = model.fit(X[repeated], y[repeated]).predict(X_new)
    # EigenPro stops early, and takes other steps on repeated rows
    close = 5e-3 if solver == "pcg" else 0.1
    assert np.linalg.norm(weighted - plain) < close * np.linalg.norm(plain)


@pytest.mark.parametrize("solver", ["pcg", "eigenpro"])
def test_hold_out_with_an_iterative_solver(solver, table):
    X, X_new, y, y_new = table
    kind = {
        "solver": solver,
        "validation": "holdout",
        "validation_fraction": 0.05,
        "max_iter": 2,
        "random_state": 0,
    }
    model = RFMRegressor(**kind).fit(X, y)
    assert model.score(X_new, y_new) > 0.9
    classes = np.digitize(y, [-0.5, 0.5])
    model = RFMClassifier(**kind).fit(X, classes)
    assert model.score(X_new, np.digitize(y_new, [-0.5, 0.5])) > 0.75


def test_no_leave_one_out_with_an_iterative_solver(table):
    X, _, y, _ = table
    with pytest.raises(ValueError, match="solver='pcg' does not give leave-one-out"):
        RFMRegressor(solver="pcg", validation="loo").fit(X, y)


@pytest.mark.parametrize("solver", ["auto", "pcg", "eigenpro"])
def test_hold_out_in_the_last_round_for_many_rows(solver, table, rng, monkeypatch):
    """Probabilities take one more solve, for the other rows, and no factor."""
    X, X_new, y, y_new = table
    monkeypatch.setattr("skrfm._backend._numpy.DIRECT_ROWS", 300)
    monkeypatch.setattr("skrfm._backend._packed.PackedGram.factorize", None)
    classes, classes_new = y > 0, y_new > 0
    model = RFMClassifier(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=2,
        solver=solver,
        random_state=0,
        validation_fraction=0.09,
        scaling="clipped",
    ).fit(X, classes)
    assert model.history_["iter"].tolist() == [2]
    assert model.best_iter_ == model.n_iter_ == 2
    assert 0 < log_loss(classes_new, model.predict_proba(X_new)) < 0.4
    unsure = RFMClassifier(**model.get_params()).fit(X, rng.permutation(classes))
    assert np.abs(unsure.predict_proba(X_new) - 0.5).max() < 0.2


def test_hold_out_in_the_last_round_chooses_kernel_and_ridge(table):
    X, X_new, y, y_new = table
    settings = {"validation": None, "max_iter": 1, "random_state": 0}
    model = RFMRegressor(solver="pcg", **settings).fit(X, y)
    assert len(model.history_["iter"]) > 9 and set(model.history_["iter"]) == {1}
    best = np.argmax(model.history_["score"])
    assert model.alpha_ == model.history_["alpha"][best]
    assert repr(model.kernel_) == model.history_["kernel"][best]
    assert model.score(X_new, y_new) > 0.9


def test_warning_of_a_large_residual(table, monkeypatch):
    X, _, y, _ = table
    model = RFMRegressor(
        kernel="laplace", alpha=1e-6, validation=None, max_iter=0, solver="pcg"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    monkeypatch.setattr(_iterative, "_STEPS", 1)
    monkeypatch.setattr(_preconditioner, "MOST_LANDMARKS", 5)
    monkeypatch.setattr(_preconditioner, "_BLOCK_ROWS", 5)
    with pytest.warns(NumericalWarning, match=r"residual of .* Raise alpha, or pass"):
        model.fit(X, y)
