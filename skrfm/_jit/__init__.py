"""All functions compiled by Numba: plain loops that run without the GIL.

Callers divide the work into tiles that fit the cache and run them in threads; no
function here starts a thread or allocates more than a few rows. LLVM turns the
innermost loops into SIMD code. With the environment variable ``NUMBA_DISABLE_JIT=1``
the functions run as Python code, slowly, with the same results up to rounding.

The kernels that CuPy compiles are in ``_cuda``.
"""

from ._draws import drawn_rows
from ._entries import (
    dual_solves,
    gather,
    normal_rows,
    quadratic_forms,
    row_solves,
    row_sums,
    sampled_products,
)
from ._factors import eliminated_rows, posterior_rows
from ._levels import add_level_distances, subtract_level_sums
from ._networks import (
    cosine_values,
    left_out_values,
    network_gradients,
    network_values,
)
from ._pairs import (
    GRADIENT_COLUMNS,
    coordinate_gradients,
    mapped_rows,
    pair_gradients,
    power_sums,
    squared_distances,
    strip_product,
    triangle_product,
    unpack_slopes,
    values_and_slopes,
    values_of_powers,
    wide_sign_gradients,
)

__all__ = [
    "GRADIENT_COLUMNS",
    "add_level_distances",
    "coordinate_gradients",
    "cosine_values",
    "drawn_rows",
    "dual_solves",
    "eliminated_rows",
    "gather",
    "left_out_values",
    "mapped_rows",
    "network_gradients",
    "network_values",
    "normal_rows",
    "pair_gradients",
    "posterior_rows",
    "power_sums",
    "quadratic_forms",
    "row_solves",
    "row_sums",
    "sampled_products",
    "squared_distances",
    "strip_product",
    "subtract_level_sums",
    "triangle_product",
    "unpack_slopes",
    "values_and_slopes",
    "values_of_powers",
    "wide_sign_gradients",
]
