"""Estimators on a GPU: which device computes, and the library of the results.

All tests run on a simulated GPU, whose kernels run on the host and whose arrays do not
mix with those of NumPy, and on a real GPU where there is one.
"""

import builtins
import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from _gpu import OutOfMemory, SimulatedRuntime, has_gpu, runtimes, same
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrfm import (
    LinRFMRegressor,
    RFMClassifier,
    RFMRegressor,
    RFMRegressorCV,
    TransferKernel,
    XRFMClassifier,
    XRFMRegressor,
)
from skrfm._backend import CudaBackend, _cuda
from skrfm._jit._cuda import find_runtime
from skrfm._tables import _stream
from skrfm.kernels import Laplace
from skrfm.solvers import cholesky, choose_solver, conjugate_gradients

KERNELS = ["laplace", "l1_laplace", "lpq_laplace", "ntk"]
FAST = {"alpha": 0.1, "max_iter": 2, "random_state": 0}

every_kernel = pytest.mark.parametrize("kernel", KERNELS)


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="there is no GPU with CuPy")
def test_a_gpu_is_used_where_there_is_one():
    assert [param.values for param in runtimes()] == [("simulated",), ("gpu",)]


@pytest.mark.parametrize("in_blocks", [False, True])
def test_few_centres_are_fitted_on_a_gpu(in_blocks, table, gpu, monkeypatch):
    X, y = table
    if in_blocks:
        monkeypatch.setattr(_stream, "SAMPLE_ROWS", 60)
        monkeypatch.setattr(_stream, "_BLOCK_ROWS", 50)
    machine = RFMRegressor(kernel="laplace", validation=None, n_centers=40, **FAST)
    here = clone(machine).fit(X, y)
    there = machine.set_params(device="cuda").fit(X, y)
    assert gpu.launches
    same(there.predict(X), here.predict(X))


@every_kernel
@pytest.mark.parametrize("validation", [None, "holdout", "loo"])
def test_results_equal_those_of_the_cpu(kernel, validation, table, gpu):
    X, y = table
    machine = RFMRegressor(kernel=kernel, validation=validation, **FAST)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    assert gpu.launches or kernel == "ntk"
    here = machine.fit(X, y)
    assert there.best_iter_ == here.best_iter_
    for name in ("metric_", "feature_importances_", "dual_coef_", "X_fit_"):
        same(getattr(there, name), getattr(here, name))
    same(there.predict(X), here.predict(X))
    same(there.transform(X), here.transform(X))
    for got, expected in zip(
        there.predict(X, return_std=True),
        here.predict(X, return_std=True),
        strict=True,
    ):
        same(got, expected)


def test_a_classifier_in_float32(classes, gpu):
    X, y = classes
    X = X.astype(np.float32)
    machine = RFMClassifier(kernel="laplace", validation="holdout", **FAST)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    here = machine.fit(X, y)
    same(there.predict_proba(X), here.predict_proba(X), 1e-4)
    same(there.decision_function(X), here.decision_function(X), 1e-4)
    assert_array_equal(there.predict(X), here.predict(X))
    assert there.dual_coef_.dtype == np.float32


def test_data_frames_are_encoded_on_the_host(rng, gpu):
    X = pd.DataFrame(
        {
            "number": rng.normal(size=80),
            "kind": pd.Categorical(rng.choice(list("abc"), 80)),
        }
    )
    X.loc[::7, "number"] = np.nan
    y = np.where(X["kind"] == "a", 1.0, X["number"].fillna(0))
    machine = RFMRegressor(kernel="l1_laplace", validation=None, **FAST)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    same(there.predict(X), machine.fit(X, y).predict(X))


def test_values_of_discrete_numbers_are_described_on_the_host(rng, gpu):
    X = np.column_stack([rng.normal(size=300), rng.integers(0, 20, 300)])
    y = X[:, 0] + rng.normal(size=20)[X[:, 1].astype(int)]
    settings = {"kernel": "laplace", "validation": "holdout", **FAST}
    machine = RFMRegressor(level_statistics="targets", **settings)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    assert there.X_fit_.shape == (300, 3)
    same(there.predict(X), machine.fit(X, y).predict(X))


@pytest.mark.parametrize(
    ("solver", "n"), [("pcg", 1100), ("eigenpro", 1100), ("eigh", 200)]
)
def test_solvers(solver, n, rng, gpu):
    X = rng.normal(size=(n, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    machine = RFMRegressor(
        kernel="laplace", validation=None, solver=solver, alpha=0.1, max_iter=1
    ).set_params(random_state=0)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    same(there.predict(X[:50]), machine.fit(X, y).predict(X[:50]))


def test_pipelines_and_searches(table, gpu):
    X, y = table
    machine = RFMRegressor(kernel="laplace", validation=None, device="cuda", **FAST)
    grid = {"rfmregressor__alpha": [0.1, 10.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), machine), grid, cv=3)
    assert search.fit(X, y).best_params_ == {"rfmregressor__alpha": 0.1}
    model = RFMRegressorCV(n_candidates=3, max_iter=1, device="cuda", random_state=0)
    here = clone(model).set_params(device=None).fit(X, y)
    same(model.fit(X, y).predict(X), here.predict(X))


@pytest.mark.parametrize("estimator", [RFMRegressor, RFMClassifier])
def test_choices_of_ridges_and_scalings(estimator, table, classes, gpu):
    X, y = table if estimator is RFMRegressor else classes
    machine = estimator(kernel="laplace", max_iter=1, random_state=0)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    here = machine.fit(X, y)
    assert there.alpha_ == here.alpha_
    same(there.dual_coef_, here.dual_coef_)


# -- input on the GPU -----------------------------------------------------------------


def test_arrays_of_the_gpu_give_arrays_of_the_gpu(table, classes, gpu):
    X, y = table
    there = gpu.to_device(X)
    machine = RFMRegressor(kernel="laplace", validation=None, **FAST)
    expected = clone(machine).fit(X, y)
    for targets in (y, gpu.to_device(y)):
        model = clone(machine).fit(there, targets)
        got = model.predict(there)
        assert gpu.owns(got)
        arrays = [a for a in vars(model).values() if hasattr(a, "shape")]
        assert all(map(gpu.owns, arrays))
        same(gpu.to_host(got), expected.predict(X))
    X, y = classes
    model = RFMClassifier(kernel="laplace", validation="holdout", **FAST)
    expected = clone(model).fit(X, y)
    model.fit(gpu.to_device(X), y)
    assert gpu.owns(model._fitted.unseen_outputs)
    got = model.predict_proba(gpu.to_device(X))
    assert gpu.owns(got)
    same(gpu.to_host(got), expected.predict_proba(X))
    assert_array_equal(model.predict(gpu.to_device(X)), expected.predict(X))


def test_device_cpu_copies_gpu_arrays_to_the_host(table, gpu):
    X, y = table
    machine = RFMRegressor(kernel="laplace", device="cpu", validation=None, **FAST)
    got = machine.fit(gpu.to_device(X), gpu.to_device(y)).predict(gpu.to_device(X))
    assert isinstance(got, np.ndarray)
    assert not gpu.launches


@pytest.mark.parametrize("fitted_there", [False, True])
def test_a_model_and_an_input_on_different_devices_raise(fitted_there, table, gpu):
    X, y = table
    inputs = [X, gpu.to_device(X)]
    machine = RFMRegressor(kernel="laplace", validation=None, **FAST)
    machine.fit(inputs[fitted_there], y)
    before = dict(vars(machine))
    device = "cpu" if fitted_there else "cuda"
    with pytest.raises(ValueError, match=rf"Move the model by to_device\('{device}'\)"):
        machine.predict(inputs[not fitted_there])
    assert vars(machine) == before


# -- trees and transfer ---------------------------------------------------------------


def test_a_tree_on_the_gpu(rng, gpu):
    X = rng.normal(size=(90, 3))
    y = X[:, 0] + np.sin(2 * X[:, 1])
    leaf = RFMRegressor(kernel="laplace", validation=None, alpha=0.1, max_iter=1)
    tree = XRFMRegressor(leaf, max_leaf_size=40, random_state=0)
    here = clone(tree).fit(X, y)
    there = clone(tree).set_params(device="cuda").fit(X, y)
    assert gpu.launches
    same(there.predict(X), here.predict(X))
    there.to_device("cpu")
    gpu.launches.clear()
    same(there.predict(X), here.predict(X))
    assert not gpu.launches
    follower = clone(tree).fit(gpu.to_device(X), gpu.to_device(y))
    got = follower.predict(gpu.to_device(X))
    assert gpu.owns(got)
    same(gpu.to_host(got), here.predict(X))
    labels = np.where(y > 0, "up", "down")
    leaf = RFMClassifier(kernel="laplace", validation=None, alpha=0.1, max_iter=1)
    tree = XRFMClassifier(leaf, max_leaf_size=40, device="cuda", random_state=0)
    here = clone(tree).set_params(device=None).fit(X, labels)
    assert_array_equal(tree.fit(X, labels).predict(X), here.predict(X))
    same(tree.predict_proba(X), here.predict_proba(X))
    with pytest.warns(UserWarning, match="n_jobs=2 has no effect") as caught:
        tree.set_params(n_jobs=2).fit(X, labels)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("method", ["projection", "translation", "both"])
def test_transfer_on_the_gpu(method, table, gpu):
    X, y = table
    source = RFMRegressor(kernel="laplace", validation=None, **FAST).fit(X, y)
    target = RFMRegressor(kernel="laplace", validation=None, **FAST)
    model = TransferKernel(source, target, method=method, random_state=0)
    here = clone(model).fit(X[:30], y[:30] + X[:30, 2])
    gpu.launches.clear()
    there = clone(model).set_params(device="cuda").fit(X[:30], y[:30] + X[:30, 2])
    assert gpu.launches
    assert target.device is None
    same(there.predict(X), here.predict(X))
    expected = there.predict(X)
    gpu.launches.clear()
    same(there.to_device("cpu").predict(X), expected)
    assert not gpu.launches
    got = clone(model).fit(gpu.to_device(X[:30]), y[:30] + X[:30, 2])
    assert gpu.owns(got.predict(gpu.to_device(X)))
    assert got.score(gpu.to_device(X), gpu.to_device(y)) == pytest.approx(
        here.score(X, y)
    )


# -- sparse regression ----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 12), (16, 40)])
@pytest.mark.parametrize("alpha", ["auto", 0.05, 0.0])
def test_sparse_regression_on_the_gpu(shape, alpha, rng, gpu):
    X = rng.normal(size=shape)
    y = np.stack([3 * X[:, 1] - 2 * X[:, 7], X[:, 7]], axis=1)
    y += 0.1 * rng.normal(size=y.shape)
    machine = LinRFMRegressor(alpha=alpha, alphas=3, random_state=0)
    here = clone(machine).fit(X, y)
    there = clone(machine).set_params(device="cuda").fit(X, y)
    assert there.alpha_ == pytest.approx(here.alpha_)
    same(there.coef_, here.coef_)
    same(there.predict(X), here.predict(X))
    follower = machine.fit(gpu.to_device(X), gpu.to_device(y))
    got = follower.predict(gpu.to_device(X))
    assert gpu.owns(got)
    same(gpu.to_host(got), here.predict(X))


# -- moving models --------------------------------------------------------------------


def test_to_device_and_back(table, gpu):
    X, y = table
    machine = RFMRegressor(kernel="laplace", validation=None, **FAST).fit(X, y)
    expected = machine.predict(X)
    assert machine.to_device("cuda") is machine
    assert gpu.owns(machine.dual_coef_)
    gpu.launches.clear()
    same(machine.predict(X), expected)
    assert gpu.launches
    got = machine.predict(gpu.to_device(X))
    assert gpu.owns(got)
    gpu.launches.clear()
    machine.to_device("cpu")
    assert_array_equal(machine.predict(X), expected)
    assert not gpu.launches


def test_pickles_hold_numpy_arrays(table, gpu):
    X, y = table
    machine = RFMRegressor(kernel="laplace", validation=None, **FAST)
    machine.fit(gpu.to_device(X), y)
    expected = gpu.to_host(machine.predict(gpu.to_device(X)))
    found = pickle.loads(pickle.dumps(machine))
    gpu.launches.clear()
    same(found.predict(X), expected)
    assert not gpu.launches
    assert gpu.owns(machine.dual_coef_)
    same(found.to_device("cuda").predict(X), expected)


def test_to_device_requires_a_fitted_model_and_a_device(table):
    machine = RFMRegressor(kernel="laplace", validation=None, **FAST)
    with pytest.raises(ValueError, match="not fitted"):
        machine.to_device("cpu")
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda'"):
        machine.fit(*table).to_device("tpu")


# -- memory ---------------------------------------------------------------------------


def test_blocks_become_smaller_once_when_memory_runs_out():
    runtime = SimulatedRuntime()
    backend = CudaBackend(runtime)
    sizes = []

    def compute(start, stop):
        sizes.append(stop - start)
        if stop - start > limit:
            raise OutOfMemory("1,000,000 bytes.")

    limit = 20
    backend.for_each_block(compute, 100, 100)
    assert sizes == [100] + 8 * [12] + [4]
    assert runtime.released == 1
    limit = 10
    with pytest.raises(MemoryError, match="4 GB are free: 1,000,000 bytes"):
        backend.for_each_block(compute, 100, 100)


def test_a_fit_in_smaller_blocks_when_memory_runs_out(table, gpu, monkeypatch):
    """Kernels on more than six rows fail; m is among their last arguments."""
    X, y = table
    machine = RFMRegressor(kernel="l1_laplace", bandwidth=2.0, validation=None, **FAST)
    expected = clone(machine).fit(X, y).predict(X)
    positions = {"power_sums_4": -3, "gradients_4": -4}
    launch, failed = gpu.launch, set()

    def limited(name, *arguments):
        kernel = name.split(".")[1]
        if kernel in positions and arguments[positions[kernel]] > 6:
            failed.add(kernel)
            raise OutOfMemory("1,000,000 bytes.")
        launch(name, *arguments)

    monkeypatch.setattr(gpu, "launch", limited)
    same(machine.set_params(device="cuda").fit(X, y).predict(X), expected)
    assert failed == {"power_sums_4"}  # whose blocks the gradients share


def test_a_kernel_matrix_that_does_not_fit():
    backend = CudaBackend(SimulatedRuntime(memory=1e6))
    T = backend.asarray(np.zeros((400, 2)))
    with pytest.raises(MemoryError, match=r"400 rows needs .*of the GPU's .*about 353"):
        backend.gram(Laplace(), T, 1.0)
    assert backend.direct_rows(T) == 335
    assert not backend.fits_in_memory(T)
    assert backend.fits_in_memory(T[:300, :])
    assert backend.fits_in_memory(T, reusable_bytes=1_000_000)


def test_later_rounds_reuse_the_memory_of_the_first():
    """A kernel matrix that fits once fits again, in the memory of the one before."""
    backend = CudaBackend(SimulatedRuntime(memory=10e6))
    T = backend.asarray(np.random.default_rng(0).normal(size=(1000, 2)))
    assert choose_solver("auto", Laplace(), T, backend) == (cholesky, False)
    gram = backend.gram(Laplace(), T, 1.0)
    backend._runtime.memory -= gram.nbytes
    assert choose_solver("auto", Laplace(), T, backend) == (
        conjugate_gradients,
        True,
    )
    choice = choose_solver("auto", Laplace(), T, backend, reusable=gram)
    assert choice == (cholesky, False)


def test_the_size_of_blocks_follows_the_free_memory():
    def rows(memory, width):
        backend = CudaBackend(SimulatedRuntime(memory=memory))
        return backend.block_rows(width, backend.asarray(np.zeros(1)))

    assert [rows(1.28e8, 1000), rows(2.56e8, 1000)] == [1000, 2000]
    most = min(_cuda._MOST_GRID_ROWS, _cuda._MOST_ELEMENTS // 1000)
    assert rows(1e15, 1000) == most
    assert rows(1e15, 10**12) == 1


def test_a_fit_releases_unused_memory(table, gpu):
    RFMRegressor(kernel="laplace", validation=None, device="cuda", **FAST).fit(*table)
    assert gpu.released


def test_several_jobs_on_a_gpu_warn(table, gpu):
    machine = RFMRegressor(kernel="laplace", device="cuda", n_jobs=2, **FAST)
    with pytest.warns(UserWarning, match="n_jobs=2 has no effect on a GPU") as caught:
        machine.fit(*table)
    assert caught[0].filename == __file__


# -- missing libraries -------------------------------------------------------------


def test_the_error_without_cupy_names_what_to_install(monkeypatch, table):
    real = builtins.__import__

    def no_cupy(name, *arguments):
        if name == "cupy":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", no_cupy)
    machine = RFMRegressor(device="cuda")
    before = dict(vars(machine))
    with pytest.raises(ImportError, match=r"install skrfm\[gpu-cuda12\] or .*'cpu'"):
        machine.fit(*table)
    assert vars(machine) == before


@pytest.mark.parametrize("found", [0, None])
def test_the_error_without_a_gpu_names_the_alternative(found, monkeypatch):
    class Broken(RuntimeError):
        pass

    def count():
        if found is None:
            raise Broken("the driver is too old")
        return found

    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=Broken)
    cupy = SimpleNamespace(__version__="14", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(__import__("sys").modules, "cupy", cupy)
    with pytest.raises(RuntimeError, match="pass device='cpu'"):
        find_runtime()
