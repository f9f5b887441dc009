"""The kernel matrix of the training rows computed in tiles for each product."""

import numpy as np

from ._gram import TileGram
from ._threads import for_each
from ._tiles import PairTiles, block_ranges
from ._types import Array, FloatArray, IntArray

# Rows and columns of kernel values that are computed at a time.
_ROWS, _COLUMNS = 64, 1024


class StreamedTileGram(TileGram):
    """K and its slopes W on one set of rows, computed again for each product.

    It takes no memory besides the rows. For kernels of a distance.

    Parameters
    ----------
    kernel : Kernel
    T : ndarray of shape (n, k)
    bandwidth : float
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns, which are looked up.
    """

    def __init__(self, kernel, T, bandwidth, category_sizes=()):
        self.T, self.kernel = T, kernel
        self._bandwidth, self._category_sizes = bandwidth, category_sizes
        self.diagonal = np.ones(T.shape[0], dtype=T.dtype)
        self._tiles = PairTiles(kernel, T, T, bandwidth, category_sizes)
        self.n_dense = self._tiles.T.shape[1]

    def take(self, rows: IntArray) -> "StreamedTileGram":
        """Return the kernel matrix of the rows at some indices."""
        return StreamedTileGram(
            self.kernel, self.T[rows], self._bandwidth, self._category_sizes
        )

    def product(self, V: Array) -> FloatArray:
        """Return K @ V."""
        return self.rows_product(slice(0, self.T.shape[0]), V)[0]

    def rows_product(
        self, rows: slice, V: Array, n_kept: int = 0, start: int = 0
    ) -> tuple[FloatArray, FloatArray]:
        """Return K[rows, start:] @ V, and the first `n_kept` columns of these rows."""
        first, n_rows = rows.start, rows.stop - rows.start
        out = np.zeros((n_rows, V.shape[1]), dtype=self.T.dtype)
        kept = np.empty((n_rows, n_kept), dtype=self.T.dtype)

        def fill(block):
            i0, i1 = block
            for j0, j1 in block_ranges(len(V), _COLUMNS):
                K = self._tiles.values(first + i0, first + i1, start + j0, start + j1)
                out[i0:i1] += K @ V[j0:j1]
                if j0 < n_kept:
                    kept[i0:i1, j0:j1] = K[:, : n_kept - j0]

        for_each(fill, block_ranges(n_rows, _ROWS))
        return out, kept

    def slope_product(self, V: Array) -> FloatArray:
        """Return W @ V."""
        return self.slope_rows_product(np.arange(self.T.shape[0]), V)

    def _slopes_of_rows(self, rows):
        tiles = self._tiles.take(rows)

        def slopes(j0, j1):
            return tiles.slopes(0, len(rows), j0, j1)

        return slopes
