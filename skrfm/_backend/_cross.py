"""The kernel matrix between rows and centres, computed in tiles for each product."""

import numpy as np

from ._threads import for_each
from ._tiles import block_ranges, pair_tiles
from ._types import Array, FloatArray

# Rows of a strip: its kernel values stay in the cache between the two products.
_STRIP = 128
# Columns of a strip that are computed at a time: 256 took an eighth more time. One
# compiled loop for distances and values took as much as two.
_COLUMNS = 512
# Rows between two sums of a product of all pairs of centres, which is in main memory.
_MATRIX_STRIP = 2048
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

    def normal_product(self, weight: Array, V: Array) -> FloatArray:
        """Return Kᵀ diag(weight) K V, of shape (p, c), in float64, by one pass."""
        return self._sum(V.shape[1], lambda K, rows: weight[rows, None] * (K @ V))

    def adjoint_product(self, weight: Array, Y: Array) -> FloatArray:
        """Return Kᵀ diag(weight) Y, of shape (p, c), in float64, by one pass."""
        return self._sum(Y.shape[1], lambda K, rows: weight[rows, None] * Y[rows])

    def normal_matrix(self, weight: Array) -> FloatArray:
        """Return Kᵀ diag(weight) K in float64, of shape (p, p)."""
        n, p = self.T.shape[0], len(self.Z)
        root, total = np.sqrt(weight), np.zeros((p, p))
        strip = np.empty((min(n, _MATRIX_STRIP), p))
        for start, stop in block_ranges(n, _MATRIX_STRIP):
            K = strip[: stop - start]

            def fill(rows, start=start, K=K):
                i0, i1 = rows
                values = self._fill(K[i0:i1], start + i0, start + i1)
                values *= root[start + i0 : start + i1, None]

            def add(columns, K=K):
                j0, j1 = columns
                total[j0:j1, :j1] += K[:, j0:j1].T @ K[:, :j1]

            for_each(fill, block_ranges(len(K), _STRIP))
            # the longest rows first, so that all threads end together
            for_each(add, block_ranges(p)[::-1])
        for j0, j1 in block_ranges(p):
            total[j0:j1, j1:] = total[j1:, j0:j1].T
        return total

    def _sum(self, n_columns, function):
        """Return the sum of Kᵀ f(K, rows) over strips K of the rows, in float64."""
        n, p = self.T.shape[0], len(self.Z)

        def sum_of_part(part):
            total = np.zeros((p, n_columns))
            strip = np.empty((_STRIP, p), dtype=self.T.dtype)
            for i0, i1 in block_ranges(part[1], _STRIP, part[0]):
                K = self._fill(strip[: i1 - i0], i0, i1)
                total += K.T @ function(K, slice(i0, i1))
            return total

        sums = for_each(sum_of_part, block_ranges(n, -(-n // _PARTS)))
        return sum(sums[1:], sums[0])

    def _fill(self, out, i0, i1):
        """Write the kernel values of rows i0 to i1, and return them."""
        for j0, j1 in block_ranges(len(self.Z), _COLUMNS):
            out[:, j0:j1] = self._tiles.values(i0, i1, j0, j1)
        return out
