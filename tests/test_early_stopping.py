"""EigenPro whose epochs are ended by held-out rows."""

import numpy as np
import pytest
from _gpu import same
from _oracles import dense_values
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits

from skrfm import RFMClassifier, RFMRegressor, XRFMRegressor
from skrfm._backend import NumpyBackend
from skrfm.kernels import NTK, Laplace
from skrfm.solvers import EigenPro, _eigenpro, cholesky, choose_solver

BACKEND, BANDWIDTH, N = NumpyBackend(), 3.0, 400
FAST = {"kernel": "laplace", "alpha": 1e-6, "validation": None, "random_state": 0}


@pytest.fixture
def noisy(rng):
    """Rows, noisy targets, clean ones, and ridges small enough to fit the noise."""
    T = rng.normal(size=(N, 3))
    clean = np.stack([np.sin(T[:, 0]), T[:, 1]], axis=1)
    Y = clean + rng.normal(size=clean.shape)
    return T, Y, clean, 1e-6 / rng.uniform(0.5, 1, size=N)


def solve(noisy, seed=5, **parameters):
    T, Y, _, ridge = noisy
    gram = BACKEND.streamed_gram(Laplace(), T, BANDWIDTH)
    solver = EigenPro(early_stopping=True, **parameters)
    return solver(gram, Y, ridge, BACKEND, seed=seed)


@pytest.mark.parametrize("held_in_memory", [True, False])
def test_errors_are_those_of_rows_without_coefficients(
    held_in_memory, noisy, monkeypatch
):
    if not held_in_memory:
        monkeypatch.setattr(_eigenpro, "CACHE_BYTES", 0)
    T, Y, _, ridge = noisy
    found = solve(noisy, validation_fraction=0.25)
    held = np.flatnonzero((found.coef == 0).all(axis=1))
    assert_array_equal(held, np.sort(np.random.default_rng(5).permutation(N)[300:]))
    outputs = dense_values(Laplace(), T[held], T, BANDWIDTH) @ found.coef
    weight = 1 / ridge[held, None]
    error = np.sum(weight * (outputs - Y[held]) ** 2) / np.sum(weight * Y[held] ** 2)
    errors = found.validation_errors
    assert min(errors) == pytest.approx(error)
    # two epochs without a smaller error end the descent
    assert len(errors) == np.argmin(errors) + 3 < _eigenpro._EPOCHS


def test_the_next_epochs_are_worse_and_the_best_is_kept(noisy, monkeypatch):
    patient = solve(noisy, n_iter_no_change=_eigenpro._EPOCHS)
    assert len(patient.validation_errors) == _eigenpro._EPOCHS
    hasty = solve(noisy, n_iter_no_change=1)
    best = int(np.argmin(patient.validation_errors))
    assert len(hasty.validation_errors) == best + 2
    assert_array_equal(hasty.coef, patient.coef)
    monkeypatch.setattr(_eigenpro, "_EPOCHS", best + 1)
    assert_array_equal(solve(noisy).coef, patient.coef)


def test_targets_of_held_out_rows_say_only_when_to_stop(noisy):
    T, Y, clean, ridge = noisy
    expected = solve(noisy)
    held = (expected.coef == 0).all(axis=1)
    found = solve((T, np.where(held[:, None], 1.01 * Y, Y), clean, ridge))
    errors, others = found.validation_errors, expected.validation_errors
    assert errors != others and np.argmin(errors) == np.argmin(others)
    assert_array_equal(found.coef, expected.coef)


def test_it_keeps_noise_out(noisy):
    T, Y, clean, _ = noisy
    K = dense_values(Laplace(), T, T, BANDWIDTH)
    stopped = K @ solve(noisy).coef
    interpolated = K @ np.linalg.solve(K, Y)
    assert np.mean((stopped - clean) ** 2) < 0.6 * np.mean((interpolated - clean) ** 2)


def test_wrong_labels():
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(len(y)) < 0.3, rng.integers(10, size=len(y)), y)
    model = RFMClassifier(max_iter=0, scaling=None, bandwidth=40.0, **FAST)
    scores = {}
    for name, solver in [("exact", "cholesky"), ("stopped", EigenPro())]:
        if name == "stopped":
            solver.set_params(early_stopping=True)
        model.set_params(solver=solver).fit(X[:1000], labels[:1000])
        scores[name] = model.score(X[1000:], y[1000:])
    assert scores["stopped"] > scores["exact"] + 0.01


def test_estimators_take_the_solver(noisy):
    X, Y, clean, _ = noisy
    model = RFMRegressor(solver=EigenPro(early_stopping=True), max_iter=2, **FAST)
    copy = clone(model).set_params(solver__validation_fraction=0.3)
    assert model.solver.validation_fraction == 0.1
    found = [m.fit(X, Y).predict(X) for m in (model, copy)]
    exact = RFMRegressor(max_iter=2, **FAST).fit(X, Y).predict(X)
    for outputs in found:
        assert np.mean((outputs - clean) ** 2) < np.mean((exact - clean) ** 2)
    assert (model.dual_coef_ == 0).all(axis=1).sum() == 40
    assert (copy.dual_coef_ == 0).all(axis=1).sum() == 120
    tree = XRFMRegressor(clone(model), max_leaf_size=200, random_state=0)
    assert np.mean((tree.fit(X, Y).predict(X) - clean) ** 2) < 1


def test_estimators_show_the_scores_of_the_epochs(noisy):
    X, Y, _, _ = noisy
    solver = EigenPro(early_stopping=True, validation_fraction=0.25)
    options = FAST | {"solver": solver, "bandwidth": BANDWIDTH, "scaling": None}
    weight = np.where(np.arange(N) % 2, 2.0, 1.0)
    model = RFMRegressor(max_iter=0, **options).fit(X, Y, weight)
    scores, held = model.validation_scores_, (model.dual_coef_ == 0).all(axis=1)
    assert held.sum() == N // 4
    # two epochs without a better score end the descent
    assert scores.shape == (np.argmax(scores) + 3,)
    mean = np.average(Y, axis=0, weights=weight)
    assert_allclose(model.intercept_, mean)
    K = dense_values(Laplace(), X[held], X, BANDWIDTH)
    residuals = Y[held] - mean - K @ model.dual_coef_
    squares = weight[held] @ residuals**2, weight[held] @ (Y[held] - mean) ** 2
    assert scores.max() == pytest.approx(1 - squares[0].sum() / squares[1].sum())


@pytest.mark.parametrize("solver", ["cholesky", "eigenpro", EigenPro()])
def test_other_solvers_have_no_scores_of_epochs(solver, noisy):
    X, Y, _, _ = noisy
    model = RFMRegressor(solver=solver, max_iter=0, **FAST).fit(X, Y)
    assert model.validation_scores_ is None
    stopped = EigenPro(early_stopping=True)
    few = RFMRegressor(solver=stopped, max_iter=0, **FAST).fit(X[:19], Y[:19])
    assert few.validation_scores_ is None


def test_on_a_gpu(noisy, gpu):
    X, Y, _, _ = noisy
    model = RFMRegressor(solver=EigenPro(early_stopping=True), max_iter=1, **FAST)
    here = clone(model).fit(X, Y).predict(X[:50])
    same(model.set_params(device="cuda").fit(X, Y).predict(X[:50]), here)
    assert gpu.launches


def test_few_rows_are_factorised():
    T, solver = np.zeros((30, 2)), EigenPro(early_stopping=True)
    assert choose_solver(solver, Laplace(), T, BACKEND) == (solver, True)
    assert choose_solver(solver, Laplace(), T[:19], BACKEND) == (cholesky, False)
    assert choose_solver(EigenPro(), Laplace(), T, BACKEND) == (cholesky, False)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": EigenPro(early_stopping=1.5)}, "'early_stopping'"),
        (
            {"solver": EigenPro(early_stopping=True, validation_fraction=1.0)},
            "'validation_fraction'",
        ),
        (
            {"solver": EigenPro(early_stopping=True, n_iter_no_change=0)},
            "'n_iter_no_change'",
        ),
        ({"kernel": NTK()}, "does not work with NTK"),
        ({"validation": "loo"}, "does not give leave-one-out"),
    ],
)
def test_error_messages(parameters, message, noisy):
    X, Y, _, _ = noisy
    options = FAST | {"solver": EigenPro(early_stopping=True)} | parameters
    with pytest.raises(ValueError, match=message):
        RFMRegressor(**options).fit(X, Y)
