"""Fixtures of several test files: the backends, and small tables."""

import gc

import numpy as np
import pytest
from _backends import BACKENDS, backends
from _gpu import runtimes, use_runtime
from threadpoolctl import threadpool_limits

# The garbage collector looks at all tests again and again while they are collected, in
# a quarter of the time that this takes; none of them is garbage.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)  # a hook of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Give all tests of a file to one worker, where no other way is asked for.

    Tests of a file call the same compiled loops, which take a second or more each to
    compile, and two workers that need a loop at the same time both compile it. Fixtures
    of a module are made once.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Limit BLAS to one thread: problems are small, and threads that wait spin.

    Tests of several threads set a limit of their own.
    """
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(autouse=True)
def global_seed():
    """Estimators without a `random_state` are the same in every run of a test."""
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(params=backends())
def backend(request):
    """The NumPy backend, the portable one, and that of GPUs."""
    return BACKENDS[request.param]()


@pytest.fixture(params=runtimes())
def gpu(request, monkeypatch):
    """The runtime of the GPU that estimators find."""
    return use_runtime(request.param, monkeypatch)


@pytest.fixture(params=runtimes(simulated="guarded"))
def numpy_gpu(request, monkeypatch):
    """The same for code that calls functions of NumPy on arrays of the GPU."""
    return use_runtime(request.param, monkeypatch)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture
def table(rng):
    """A small regression problem with one strong, one weak and two idle features."""
    X = rng.normal(size=(48, 4))
    y = np.sin(2 * X[:, 0]) + 0.3 * X[:, 1] + 0.05 * rng.normal(size=48)
    return X, y


@pytest.fixture
def classes(rng):
    """A small problem with three overlapping classes, named by strings."""
    X = rng.normal(size=(60, 4))
    scores = np.column_stack([X[:, 0], -X[:, 0], X[:, 1]])
    codes = (scores + 0.5 * rng.normal(size=scores.shape)).argmax(axis=1)
    return X, np.array(["ash", "birch", "cedar"])[codes]
