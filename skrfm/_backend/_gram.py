"""What a kernel matrix of the training rows does, however it is held."""

import numpy as np

from .. import _jit
from ._threads import for_each
from ._tiles import cuts, pair_tiles

# columns of values or slopes that are taken at a time
_COLUMNS = 1024
# blocks of gradients that are held at a time
_GRADIENT_BATCH = 16


class Gram:
    """Base class of the kernel matrices K of training rows, and of their slopes W.

    It has the rows `T`, the `kernel`, the `_tiles` of T with itself, what else they are
    made of (`_rest`), and `_slopes_of`.
    """

    def _slopes_of(self, rows):
        """Return a function of (j0, j1): the slopes of rows and those columns."""
        raise NotImplementedError

    @property
    def n_dense(self):
        """Number of columns of T before those of categories that are looked up."""
        return self._tiles.T.shape[1]

    def columns(self, rows):
        """Return K[:, rows]."""
        tiles = pair_tiles(self.kernel, self.T, self.T[rows], *self._rest)
        out = np.empty((self.T.shape[0], len(rows)), dtype=self.T.dtype)

        def strip(edge):
            for j0, j1 in cuts(len(rows), _COLUMNS):
                out[edge[0] : edge[1], j0:j1] = tiles.values(*edge, j0, j1)

        for_each(strip, cuts(len(out)))
        return out

    def slope_rows_product(self, rows, V):
        """Return W[rows] @ V."""
        V = np.ascontiguousarray(V)
        out = np.zeros((len(rows), V.shape[1]), dtype=V.dtype)

        def strip(edge):
            slopes = self._slopes_of(rows[edge[0] : edge[1]])
            for j0, j1 in cuts(len(V), _COLUMNS):
                out[edge[0] : edge[1]] += slopes(j0, j1) @ V[j0:j1]

        for_each(strip, cuts(len(rows)))
        return out

    def level_gradients(self, rows, coef):
        """Return the gradients (m, c, l) along the columns that are looked up."""
        coef = np.ascontiguousarray(coef.T)

        def strip(edge):
            return self._level_gradients(rows[edge[0] : edge[1]], coef)

        return np.concatenate(for_each(strip, cuts(len(rows))))

    def _level_gradients(self, rows, coef):
        W = self._slopes_of(rows)(0, self.T.shape[0])
        return self._tiles.t_levels.gradients(rows, W, coef)

    def coordinate_gradients(self, rows, coef):
        """Yield (positions, gradients): the (b, c, d) gradients of blocks of rows."""
        tiles = self._tiles
        n, d = tiles.T.shape
        coef = np.ascontiguousarray(coef.T)

        def strip(edge):
            block = rows[edge[0] : edge[1]]
            gradients = np.zeros((len(block), len(coef), d), dtype=self.T.dtype)
            t, slopes = tiles.T[block], self._slopes_of(block)
            for j0, j1 in cuts(n):
                _jit.coordinate_gradients(
                    t, tiles.columns, j0, slopes(j0, j1), coef, tiles.p, gradients
                )
            if tiles.t_levels is not None:
                along = self._level_gradients(block, coef)
                gradients = np.concatenate([gradients, along], axis=2)
            return slice(*edge), gradients

        edges = cuts(len(rows), 64)
        for start in range(0, len(edges), _GRADIENT_BATCH):
            yield from for_each(strip, edges[start : start + _GRADIENT_BATCH])
