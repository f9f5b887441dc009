"""The kernel matrix between rows and centres, computed in tiles for each product."""

from functools import partial

import numpy as np

from ._threads import for_each
from ._tiles import block_ranges, pair_tiles
from ._types import Array

# Rows of a strip: its kernel values stay in the cache between the two products.
_STRIP = 128
# Parts of the rows, each with a sum of its own: their number does not depend on that of
# the threads, so neither do the results.
_PARTS = 16


class CrossTileGram:
    """K between n rows and p centres, and the products that least squares need.

    Parameters
    ----------
    kernel : Kernel
    T : ndarray of shape (n, k)
        The rows.
    Z : ndarray of shape (p, k)
        The centres.
    bandwidth : float
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns, which are looked up.
    """

    def __init__(self, kernel, T, Z, bandwidth, category_sizes=()):
        self.kernel, self.T, self.Z = kernel, T, Z
        self._tiles = pair_tiles(kernel, T, Z, bandwidth, category_sizes)

    def normal_product(self, weight: Array, V: Array | None, Y: Array | None = None):
        """Return Kᵀ diag(weight) (K V − Y), of shape (p, c), in float64.

        One pass over the rows. V has shape (p, c), Y (n, c); what is None is zero.
        """
        n = self.T.shape[0]
        size = -(-n // _PARTS)
        sums = for_each(partial(self._sum_of_part, weight, V, Y), block_ranges(n, size))
        return sum(sums[1:], sums[0])

    def _sum_of_part(self, weight, V, Y, part):
        """Return the product of the rows from part[0] to part[1]."""
        p, c = len(self.Z), (Y if V is None else V).shape[1]
        total = np.zeros((p, c))
        strip = np.empty((_STRIP, p), dtype=self.T.dtype)
        for i0, i1 in block_ranges(part[1], _STRIP, part[0]):
            K = self._fill(strip[: i1 - i0], i0, i1)
            R = -Y[i0:i1] if V is None else K @ V
            if V is not None and Y is not None:
                R -= Y[i0:i1]
            total += K.T @ (weight[i0:i1, None] * R)
        return total

    def _fill(self, out, i0, i1):
        """Write the kernel values of rows i0 to i1, and return them."""
        for j0, j1 in block_ranges(len(self.Z)):
            out[:, j0:j1] = self._tiles.values(i0, i1, j0, j1)
        return out
