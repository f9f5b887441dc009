"""What kernel matrices of the training rows have in common, in memory or not."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from .. import _jit
from ._threads import for_each
from ._tiles import block_ranges, pair_tiles
from ._types import Array, FloatArray, IntArray

# Columns of values or slopes that are computed at a time: a bound on memory.
_COLUMNS = 1024
# Rows of a block of gradients, and blocks that threads share before the first is
# yielded: a bound on memory.
_GRADIENT_ROWS, _GRADIENT_BLOCKS = 64, 16
# Rows that are few: gradients of the L1 distance by columns took a quarter of the time
# of those by rows at 20 rows, and three quarters at 200.
_FEW_ROWS = 200


class TileGram:
    """Base class of the kernel matrices K of training rows, and of their slopes W.

    Attributes
    ----------
    T : ndarray of shape (n, k)
        The rows.
    kernel : Kernel
    diagonal : ndarray of shape (n,)
        The diagonal of K.
    n_dense : int
        Number of columns of T before those of categories that are looked up.
    """

    T: FloatArray
    kernel: Any
    diagonal: FloatArray
    n_dense: int
    _tiles: Any
    _bandwidth: float
    _category_sizes: tuple[int, ...]

    def _slopes_of_rows(self, rows):
        """Return a function of (j0, j1): the slopes of rows and these columns."""
        raise NotImplementedError

    def columns(self, rows: IntArray) -> FloatArray:
        """Return K[:, rows]."""
        tiles = pair_tiles(
            self.kernel, self.T, self.T[rows], self._bandwidth, self._category_sizes
        )
        out = np.empty((self.T.shape[0], len(rows)), dtype=self.T.dtype)

        def fill(block):
            i0, i1 = block
            for j0, j1 in block_ranges(len(rows), _COLUMNS):
                out[i0:i1, j0:j1] = tiles.values(i0, i1, j0, j1)

        for_each(fill, block_ranges(len(out)))
        return out

    def square(self, rows: IntArray) -> FloatArray:
        """Return K[rows][:, rows], of few rows."""
        T = self.T[rows]
        tiles = pair_tiles(self.kernel, T, T, self._bandwidth, self._category_sizes)
        out = tiles.values(0, len(rows), 0, len(rows))
        np.fill_diagonal(out, self.diagonal[rows])
        return out

    def slope_rows_product(self, rows: IntArray, V: Array) -> FloatArray:
        """Return W[rows] @ V."""
        V = np.ascontiguousarray(V)
        out = np.zeros((len(rows), V.shape[1]), dtype=V.dtype)

        def fill(block):
            i0, i1 = block
            slopes = self._slopes_of_rows(rows[i0:i1])
            for j0, j1 in block_ranges(len(V), _COLUMNS):
                out[i0:i1] += slopes(j0, j1) @ V[j0:j1]

        for_each(fill, block_ranges(len(rows)))
        return out

    def level_gradients(self, rows: IntArray, coef: Array) -> FloatArray:
        """Return the gradients along the columns that are looked up."""
        coef_rows = np.ascontiguousarray(coef.T)

        def gradients(block):
            return self._level_gradients(rows[block[0] : block[1]], coef_rows)

        return np.concatenate(for_each(gradients, block_ranges(len(rows))))

    def _level_gradients(self, rows, coef_rows):
        W = self._slopes_of_rows(rows)(0, self.T.shape[0])
        return self._tiles.t_levels.gradients(rows, W, coef_rows)

    def coordinate_gradients(
        self, rows: IntArray, coef: Array
    ) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (positions, gradients) of blocks of `rows`."""
        coef_rows = np.ascontiguousarray(coef.T)
        gradients = partial(self._block_gradients, rows, coef_rows)
        blocks = block_ranges(len(rows), _GRADIENT_ROWS)
        for first, last in block_ranges(len(blocks), _GRADIENT_BLOCKS):
            yield from for_each(gradients, blocks[first:last])

    def _block_gradients(self, rows, coef_rows, block):
        """Return the positions and the gradients of one block of `rows`."""
        tiles, positions = self._tiles, slice(block[0], block[1])
        rows = rows[positions]
        n, d = tiles.T.shape
        gradients = np.zeros((len(rows), len(coef_rows), d), dtype=self.T.dtype)
        t, slopes = tiles.T[rows], self._slopes_of_rows(rows)
        if tiles.p == 1 and n <= min(_FEW_ROWS, d):
            _jit.wide_sign_gradients(t, tiles.T, slopes(0, n), coef_rows, gradients)
        else:
            for j0, j1 in block_ranges(n):
                _jit.coordinate_gradients(
                    t,
                    tiles.columns,
                    j0,
                    slopes(j0, j1),
                    coef_rows,
                    tiles.order,
                    gradients,
                )
        if tiles.t_levels is not None:
            along_levels = self._level_gradients(rows, coef_rows)
            gradients = np.concatenate([gradients, along_levels], axis=2)
        return positions, gradients
