"""What several test files share: the two backends, and small tables."""

import array_api_strict
import numpy as np
import pytest
from cuda_host import host_backend, needs_compiler

from skrfm._backend import ArrayAPIBackend, NumpyBackend

BACKENDS = {
    "numpy": NumpyBackend,
    "array_api_strict": lambda: ArrayAPIBackend(
        array_api_strict, array_api_strict.Device("CPU_DEVICE")
    ),
    "cuda_on_host": host_backend,
}


def backends(*without):
    """Return the names of backends as parameters of tests."""
    return [
        pytest.param(name, marks=needs_compiler if "cuda" in name else ())
        for name in sorted(set(BACKENDS) - set(without))
    ]


@pytest.fixture(params=backends())
def backend(request):
    """The compiled backend, the portable one, and that of GPUs on the host."""
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
