"""Solvers that only multiply by the kernel matrix, held or computed anew each time."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from _oracles import dense_values
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss

from skrfm import RFMClassifier, RFMRegressor
from skrfm._backend import NumpyBackend, worker_threads
from skrfm.agop import AgopOptions, average_gradient_outer_product
from skrfm.exceptions import NotConvergedError, NumericalWarning
from skrfm.kernels import (
    NTK,
    Gaussian,
    GeneralizedLaplace,
    L1Laplace,
    Laplace,
    LpqLaplace,
)
from skrfm.solvers import _eigenpro, _iterative, _rows, choose_solver, solve

KERNELS = [
    Laplace(),
    GeneralizedLaplace(exponent=0.8),
    Gaussian(),
    L1Laplace(),
    LpqLaplace(p=1.4),
]
BANDWIDTH = 3.0
BACKEND = NumpyBackend()

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)
held_or_not = pytest.mark.parametrize("streamed", [False, True])


def make_gram(kernel, T, streamed, category_sizes=()):
    if streamed:
        return BACKEND.streamed_gram(
            kernel, T, BANDWIDTH, category_sizes=category_sizes
        )
    return BACKEND.gram(kernel, T, BANDWIDTH, category_sizes=category_sizes)


def problem(rng, n=1200, c=2, dtype=np.float64):
    """Rows, centred targets (the last column zero) and ridges of weights."""
    T = rng.normal(size=(n, 4)).astype(dtype)
    Y = np.sin(T @ rng.normal(size=(4, c))) + 0.1 * rng.normal(size=(n, c))
    Y -= Y.mean(axis=0)
    Y[:, -1] = 0
    ridge = 0.1 / rng.uniform(0.3, 1, size=n)
    return T, Y.astype(dtype), ridge.astype(dtype)


# -- the kernel matrix ----------------------------------------------------------------


@every_kernel
@held_or_not
def test_products_are_those_of_the_dense_matrix(kernel, streamed, rng):
    T, V = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    K = dense_values(kernel, T, T, BANDWIDTH)
    gram = make_gram(kernel, T, streamed)
    rows = np.array([0, 7, 299])
    with worker_threads(1000):
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
def test_gradients_are_those_of_the_matrix_that_is_held(
    kernel, category_sizes, some, rng
):
    n = 200
    blocks = [np.eye(w)[rng.integers(0, w, n)] for w in category_sizes]
    T = np.hstack([rng.normal(size=(n, 3)), *blocks])
    coef, weight = rng.normal(size=(n, 2)), rng.uniform(0.5, 2, size=n)
    rows = np.sort(rng.choice(n, 70, replace=False)) if some else None
    unmixed = 0 if kernel.coordinatewise else sum(category_sizes)
    options = AgopOptions(diagonal=kernel.coordinatewise, rows=rows, n_unmixed=unmixed)
    held, streamed = (
        average_gradient_outer_product(
            make_gram(kernel, T, s, category_sizes), coef, weight, BACKEND, options
        )
        for s in (False, True)
    )
    assert_allclose(streamed, held, atol=1e-11 * np.abs(held).max())


# -- conjugate gradients --------------------------------------------------------------


@every_kernel
@held_or_not
def test_conjugate_gradients_reach_the_solution(kernel, streamed, rng, monkeypatch):
    monkeypatch.setattr(_iterative, "_TOLERANCE", 1e-9)
    monkeypatch.setattr(_iterative, "_SUBSAMPLE", 150)
    T, Y, ridge = problem(rng)
    K = dense_values(kernel, T, T, BANDWIDTH)
    expected = np.linalg.solve(K + np.diag(ridge), Y)
    gram = make_gram(kernel, T, streamed)
    got = solve(gram, Y, ridge, BACKEND, solver="pcg")
    assert got.residual <= 1e-9
    assert_allclose(got.coef, expected, atol=1e-7 * np.abs(expected).max())
    assert_array_equal(got.coef[:, -1], 0)


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0])
def test_conjugate_gradients_in_float32(alpha, rng):
    T, Y, _ = problem(rng, dtype=np.float32)
    ridge = np.full(len(T), alpha, dtype=np.float32)
    got = solve(make_gram(Laplace(), T, True), Y, ridge, BACKEND, solver="pcg")
    assert got.coef.dtype == np.float32
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    left = (K + np.diag(ridge)) @ got.coef - Y
    assert np.linalg.norm(left[:, 0]) < 2e-3 * np.linalg.norm(Y[:, 0])
    assert got.residual < 2e-3


def test_equal_rows_are_no_trouble(rng):
    T, Y, ridge = problem(rng)
    T[600:] = T[:600]
    got = solve(make_gram(L1Laplace(), T, False), Y, ridge, BACKEND, solver="pcg")
    assert got.residual < 1e-3


def test_a_kernel_of_inner_products_is_held(rng):
    T, Y, ridge = problem(rng)
    assert choose_solver("pcg", NTK(), T, BACKEND) == ("pcg", False)
    expected = solve(BACKEND.gram(NTK(), T, BANDWIDTH), Y, ridge, BACKEND).coef
    got = solve(BACKEND.gram(NTK(), T, BANDWIDTH), Y, ridge, BACKEND, solver="pcg")
    gram = BACKEND.gram(NTK(), T, BANDWIDTH)
    there, here = gram.product(expected), gram.product(got.coef)
    assert np.linalg.norm(here - there) < 2e-2 * np.linalg.norm(there)


# -- EigenPro -------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(), L1Laplace()], ids=repr)
def test_eigenpro_goes_to_the_solution(kernel, rng, monkeypatch):
    T, Y, ridge = problem(rng)
    K = dense_values(kernel, T, T, BANDWIDTH)
    expected = K @ np.linalg.solve(K + np.diag(ridge), Y)
    errors = []
    for epochs in (1, 6, 200):
        monkeypatch.setattr(_eigenpro, "_EPOCHS", epochs)
        monkeypatch.setattr(_eigenpro, "_TOLERANCE", 1e-9)
        gram = make_gram(kernel, T, True)
        got = K @ solve(gram, Y, ridge, BACKEND, solver="eigenpro").coef
        errors.append(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.3
    assert errors[2] < 1e-2


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0, 30.0])
def test_eigenpro_does_not_diverge(alpha, rng):
    T, Y, _ = problem(rng, dtype=np.float32)
    ridge = np.full(len(T), alpha, dtype=np.float32)
    gram = make_gram(Laplace(), T, True)
    got = solve(gram, Y, ridge, BACKEND, solver="eigenpro").coef
    left = gram.product(got) + alpha * got - Y
    assert np.linalg.norm(left) < 0.3 * np.linalg.norm(Y)


def test_steps_that_diverge_are_made_smaller(rng, monkeypatch):
    """A step that is four times too large is halved until it is not."""
    T, Y, ridge = problem(rng)
    make, steps = _eigenpro._Preconditioner.of, []

    def too_large(gram, smallest, n_eigenvectors, backend):
        method = make(gram, smallest, n_eigenvectors, backend)
        method.step *= 8
        steps.append(n_eigenvectors)
        return method

    monkeypatch.setattr(_eigenpro._Preconditioner, "of", too_large)
    gram = make_gram(Laplace(), T, True)
    got = solve(gram, Y, ridge, BACKEND, solver="eigenpro").coef
    assert len(steps) > 1
    assert steps[1] == steps[0] // 2
    left = gram.product(got) + ridge[:, None] * got - Y
    assert np.linalg.norm(left) < np.linalg.norm(Y)


def test_no_diverged_model_is_returned(rng, monkeypatch):
    T, Y, ridge = problem(rng)
    monkeypatch.setattr(_eigenpro, "_ATTEMPTS", 1)
    make = _eigenpro._Preconditioner.of

    def wild(*arguments):
        method = make(*arguments)
        method.step *= 1e4
        return method

    monkeypatch.setattr(_eigenpro._Preconditioner, "of", wild)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(NotConvergedError, match="pass solver='pcg'"),
    ):
        solve(make_gram(Laplace(), T, True), Y, ridge, BACKEND, solver="eigenpro")


@pytest.mark.parametrize("kept_rows", [0, 700, 1000, 5000])
@pytest.mark.parametrize("n_first", [1, 150, 400])
def test_rows_are_the_same_kept_or_not(kept_rows, n_first, rng, monkeypatch):
    """Three epochs over batches of 180 rows, whose coefficients change in between."""
    T, Y, _ = problem(rng)
    K, n = dense_values(Laplace(), T, T, BANDWIDTH), len(T)
    monkeypatch.setattr(_rows, "_KEPT", 8 * kept_rows**2 / 2)
    rows_of_k = _rows.KernelRows(make_gram(Laplace(), T, True), n_first, BACKEND)
    coef, products = np.zeros_like(Y), []
    count = rows_of_k._gram.rows_product
    monkeypatch.setattr(
        rows_of_k._gram,
        "rows_product",
        lambda *args, **kw: products.append(1) or count(*args, **kw),
    )
    for _ in range(3):
        for start in range(0, n, 180):
            rows = slice(start, min(start + 180, n))
            got, first = rows_of_k.product(rows, coef)
            assert_allclose(got, K[rows] @ coef, rtol=1e-10, atol=1e-12)
            assert_allclose(first, K[rows, :n_first], rtol=1e-10)
            coef[rows] += rng.normal(size=got.shape)
            coef[:n_first] += rng.normal(size=(n_first, Y.shape[1]))
    batches = -(-n // 180)
    assert len(products) == (batches if kept_rows >= n else 3 * batches)


# -- which solver ---------------------------------------------------------------------


def test_auto_factorises_where_it_can(monkeypatch):
    few, many = np.zeros((10_000, 1)), np.zeros((10_001, 1))
    assert choose_solver("auto", Laplace(), few, BACKEND) == ("cholesky", False)
    assert choose_solver("auto", Laplace(), many, BACKEND) == ("pcg", False)
    wanted = choose_solver("auto", Laplace(), many, BACKEND, want_diagonal=True)
    assert wanted == ("cholesky", False)
    monkeypatch.setattr("skrfm._backend._process.available_memory", lambda: 1e8)
    assert choose_solver("auto", Laplace(), many, BACKEND) == ("pcg", True)
    reusable = SimpleNamespace(nbytes=2 * 8 * 10_001**2)
    found = choose_solver("auto", Laplace(), many, BACKEND, reusable=reusable)
    assert found == ("pcg", False)
    assert choose_solver("cholesky", Laplace(), many, BACKEND) == ("cholesky", False)
    # a few rows are factorised whatever was asked for
    assert choose_solver("pcg", Laplace(), few[:999], BACKEND) == ("cholesky", False)


def test_what_a_solver_cannot_do_is_said():
    with pytest.raises(ValueError, match="'eigenpro' does not work with NTK"):
        choose_solver("eigenpro", NTK(), np.zeros((2000, 2)), BACKEND)


# -- in the estimators ----------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=1500)
    return X[:1100], X[1100:], y[:1100], y[1100:]


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
@pytest.mark.parametrize("free", [None, 1e6])
def test_a_machine_by_conjugate_gradients(kernel, free, table, monkeypatch):
    X, X_new, y, _ = table
    if free is not None:  # too little for the kernel matrix
        monkeypatch.setattr("skrfm._backend._process.available_memory", lambda: free)
        with pytest.raises(MemoryError, match="pass solver='pcg'"):
            RFMRegressor(kernel=kernel, alpha=0.1, validation=None).fit(X, y)
    settings = {"kernel": kernel, "alpha": 0.1, "validation": None, "max_iter": 2}
    got = RFMRegressor(solver="pcg", **settings).fit(X, y).predict(X_new)
    monkeypatch.undo()
    expected = RFMRegressor(**settings).fit(X, y).predict(X_new)
    assert_allclose(got, expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("solver", ["pcg", "eigenpro"])
def test_weights_are_repetitions(solver, table):
    X, X_new, y, _ = table
    counts = np.arange(len(y)) % 2 + 1
    repeated = np.repeat(np.arange(len(y)), counts)
    machine = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=1,
        solver=solver,
        random_state=0,
    )
    weighted = machine.fit(X, y, sample_weight=counts).predict(X_new)
    plain = machine.fit(X[repeated], y[repeated]).predict(X_new)
    # EigenPro stops early, after other steps where rows are other rows
    close = 5e-3 if solver == "pcg" else 0.1
    assert np.linalg.norm(weighted - plain) < close * np.linalg.norm(plain)


@pytest.mark.parametrize("solver", ["pcg", "eigenpro"])
def test_all_is_chosen_by_a_hold_out(solver, table):
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


def test_no_leave_one_out_without_a_factor(table):
    X, _, y, _ = table
    with pytest.raises(ValueError, match="solver='pcg' does not give leave-one-out"):
        RFMRegressor(solver="pcg", validation="loo").fit(X, y)


@pytest.mark.parametrize("solver", ["auto", "pcg", "eigenpro"])
def test_many_rows_have_a_hold_out_in_the_last_round(solver, table, rng, monkeypatch):
    """Probabilities take one more solve, of the other rows, and no factor."""
    X, X_new, y, y_new = table
    monkeypatch.setattr("skrfm._backend._numpy.DIRECT_ROWS", 1000)
    monkeypatch.setattr("skrfm._backend._packed.PackedGram.factorize", None)
    classes, classes_new = y > 0, y_new > 0
    machine = RFMClassifier(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=2,
        solver=solver,
        random_state=0,
        validation_fraction=0.09,
        scaling="clipped",
    ).fit(X, classes)
    assert machine.history_["iter"].tolist() == [2]
    assert machine.best_iter_ == machine.n_iter_ == 2
    assert 0 < log_loss(classes_new, machine.predict_proba(X_new)) < 0.4
    unsure = RFMClassifier(**machine.get_params()).fit(X, rng.permutation(classes))
    assert np.abs(unsure.predict_proba(X_new) - 0.5).max() < 0.2


def test_a_hold_out_in_the_last_round_chooses_kernel_and_ridge(table):
    X, X_new, y, y_new = table
    settings = {"validation": None, "max_iter": 1, "random_state": 0}
    machine = RFMRegressor(solver="pcg", **settings).fit(X, y)
    assert machine.history_["iter"].tolist() == [1] * 8
    best = np.argmax(machine.history_["score"])
    assert machine.alpha_ == machine.history_["alpha"][best]
    assert repr(machine.kernel_) == machine.history_["kernel"][best]
    assert machine.score(X_new, y_new) > 0.9


def test_a_residual_that_is_left_is_warned_of(table, monkeypatch):
    X, _, y, _ = table
    machine = RFMRegressor(
        kernel="laplace", alpha=1e-6, validation=None, max_iter=0, solver="pcg"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine.fit(X, y)
    monkeypatch.setattr(_iterative, "_STEPS", 1)
    monkeypatch.setattr(_iterative, "_SUBSAMPLE", 5)
    with pytest.warns(NumericalWarning, match=r"residual of .* Raise alpha, or pass"):
        machine.fit(X, y)
