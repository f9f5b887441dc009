"""What several test files share: the backends, and small tables."""

import array_api_strict
import numpy as np
import pytest
from _gpu import RUNTIMES, runtimes

from skrfm._backend import ArrayAPIBackend, CudaBackend, NumpyBackend

BACKENDS = {
    "numpy": NumpyBackend,
    "array_api_strict": lambda: ArrayAPIBackend(
        array_api_strict, array_api_strict.Device("CPU_DEVICE")
    ),
    "cuda_host": lambda: CudaBackend(RUNTIMES["host"]()),
    "cuda_gpu": lambda: CudaBackend(RUNTIMES["gpu"]()),
}


def backends(*without):
    """Return the names of backends as parameters of tests."""
    portable = {"numpy", "array_api_strict"} - set(without)
    return [*sorted(portable), *runtimes("cuda_")]


@pytest.fixture(params=backends())
def backend(request):
    """The compiled backend, the portable one, and that of GPUs."""
    return BACKENDS[request.param]()


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
