"""The backends: what differs between NumPy and other array libraries.

A backend converts arrays, has some linear algebra, and computes, for a kernel and rows
that the metric has mapped,

    gram(kernel, T, bandwidth)              a Gram: the kernel matrix and its slopes
    product_gram(kernel, T, bandwidth)      one that is multiplied by, not factorised
    streamed_gram(kernel, T, bandwidth)     one that is computed for each product
    cross(kernel, T, Z, bandwidth)          the kernel matrix between T and Z
    cross_dot(kernel, T, Z, bandwidth, A)   cross(...) @ A, in blocks of rows
    self_values(kernel, T, bandwidth)       the kernel of each row with itself
    distance_powers(kernel, T)              ‖t_i − t_j‖_p^p of all pairs

All but `self_values` take `category_sizes`: the numbers of levels of the categories
whose columns come last. These have at most one nonzero in a row and category, so a
backend may replace them by lookups. `Backend`, `Gram` and `Kernel` are the interfaces.
"""

from ._agop_factor import agop_factor
from ._array_api import ArrayAPIBackend, get_backend
from ._cuda import CudaBackend
from ._numpy import NumpyBackend, is_numpy
from ._protocols import (
    Backend,
    CrossGram,
    Gram,
    HeldGram,
    InnerProductKernel,
    Kernel,
    ProductGram,
    StreamedGram,
)
from ._threads import for_each, own_threads
from ._tiles import lower_mask, pair_tiles
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
    "CrossGram",
    "CudaBackend",
    "FloatArray",
    "Gram",
    "HeldGram",
    "InnerProductKernel",
    "IntArray",
    "Kernel",
    "Namespace",
    "NumpyBackend",
    "ProductGram",
    "Seed",
    "StreamedGram",
    "Table",
    "Vector",
    "agop_factor",
    "for_each",
    "get_backend",
    "is_numpy",
    "lower_mask",
    "own_threads",
    "pair_tiles",
]
