"""The backends that tests run on, by name."""

import array_api_strict
from _gpu import RUNTIMES, runtimes

from skrfm._backend import ArrayAPIBackend, CudaBackend, NumpyBackend

BACKENDS = {
    "numpy": NumpyBackend,
    "array_api_strict": lambda: ArrayAPIBackend(
        array_api_strict, array_api_strict.Device("CPU_DEVICE")
    ),
    "cuda_simulated": lambda: CudaBackend(RUNTIMES["simulated"]()),
    "cuda_gpu": lambda: CudaBackend(RUNTIMES["gpu"]()),
}


def backends(*excluded):
    """Return the names of backends as parameters of tests."""
    portable = {"numpy", "array_api_strict"} - set(excluded)
    return [*sorted(portable), *runtimes("cuda_")]
