"""The backends: what differs between NumPy and other array libraries.

A backend offers, for a kernel object and rows already mapped by the metric,

    gram(kernel, T, bandwidth, reusable)       a Gram: solve with it, and its slopes
    cross(kernel, T, Z, bandwidth)          the kernel matrix between T and Z
    cross_dot(kernel, T, Z, bandwidth, A)   cross(...) @ A, in blocks of rows
    self_values(kernel, T, bandwidth)       the kernel of each row with itself
    distance_powers(kernel, T)              ‖t_i − t_j‖_p^p of all pairs

and conversions, pieces of algebra and what memory there is. All but `self_values` take
`category_sizes` as well: the numbers of levels of categories whose columns come last,
one entry in a row and category, which may be looked up. `get_backend` picks one by the
array it is given.
"""

from ._array_api import ArrayAPIBackend
from ._cuda import CudaBackend
from ._numpy import NumpyBackend
from ._protocols import Backend, Gram, HeldGram, Kernel
from ._threads import for_each, worker_threads
from ._types import (
    Array,
    BoolArray,
    FloatArray,
    IntArray,
    Namespace,
    Seed,
    Table,
    Vector,
)

__all__ = [
    "Array",
    "ArrayAPIBackend",
    "Backend",
    "BoolArray",
    "CudaBackend",
    "FloatArray",
    "Gram",
    "HeldGram",
    "IntArray",
    "Kernel",
    "Namespace",
    "NumpyBackend",
    "Seed",
    "Table",
    "Vector",
    "for_each",
    "get_backend",
    "worker_threads",
]


def get_backend(xp, device=None):
    """Return the backend of an array namespace and device."""
    name = getattr(xp, "__name__", "")
    if name.split(".")[-1] == "numpy":
        return NumpyBackend()
    return ArrayAPIBackend(xp, device)
