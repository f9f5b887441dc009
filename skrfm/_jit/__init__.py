"""Every Numba kernel: plain loops over one tile or some rows, released from the GIL.

The callers cut the work into tiles that fit the cache and share them out among
threads; nothing here starts a thread or allocates more than a few rows. All loops are
written so that LLVM turns them into SIMD code.
"""

from ._entries import (
    dual_solves,
    gather,
    normal_rows,
    row_solves,
    row_sums,
    sampled_products,
)
from ._gradients import coordinate_gradients, pair_gradients
from ._levels import add_level_distances, subtract_level_sums
from ._networks import network_gradients, network_values
from ._pairs import (
    pack_tile,
    pack_values,
    power_sums,
    slope_tile,
    slopes_of_powers,
    square_distances,
    value_tile,
)
from ._products import triangle_product

__all__ = [
    "add_level_distances",
    "coordinate_gradients",
    "dual_solves",
    "gather",
    "network_gradients",
    "network_values",
    "normal_rows",
    "pack_tile",
    "pack_values",
    "pair_gradients",
    "power_sums",
    "row_solves",
    "row_sums",
    "sampled_products",
    "slope_tile",
    "slopes_of_powers",
    "square_distances",
    "subtract_level_sums",
    "triangle_product",
    "value_tile",
]
