"""The kernel of the training rows, never held: tiles come and go."""

import numpy as np

from ._gram import Gram
from ._threads import for_each
from ._tiles import PairTiles, cuts

# rows and columns of kernel values that are taken at a time
_ROWS, _COLUMNS = 64, 1024


class StreamedGram(Gram):
    """K and its slopes W on one set of rows, computed whenever they are asked for.

    It takes the memory of the rows alone. For kernels of a distance.
    """

    def __init__(self, kernel, T, bandwidth, category_sizes=()):
        self.T, self.kernel = T, kernel
        self._rest = bandwidth, category_sizes
        self.diagonal = np.ones(T.shape[0], dtype=T.dtype)
        self._tiles = PairTiles(kernel, T, T, bandwidth, category_sizes)

    def take(self, rows):
        """Return the same of the rows at some indices."""
        return StreamedGram(self.kernel, self.T[rows], *self._rest)

    def product(self, V):
        """Return K @ V."""
        return self.rows_product(slice(0, self.T.shape[0]), V)[0]

    def rows_product(self, rows, V, n_kept=0, start=0):
        """Return K[rows, start:] @ V for a slice of rows, and its first columns.

        There may be fewer rows of V than columns.
        """
        first, n_rows = rows.start, rows.stop - rows.start
        out = np.zeros((n_rows, V.shape[1]), dtype=self.T.dtype)
        kept = np.empty((n_rows, n_kept), dtype=self.T.dtype)

        def strip(edge):
            i0, i1 = edge
            for j0, j1 in cuts(len(V), _COLUMNS):
                columns = start + j0, start + j1
                tile = self._tiles.values(first + i0, first + i1, *columns)
                out[i0:i1] += tile @ V[j0:j1]
                if j0 < n_kept:
                    kept[i0:i1, j0:j1] = tile[:, : n_kept - j0]

        for_each(strip, cuts(n_rows, _ROWS))
        return out, kept

    def slope_product(self, V):
        """Return W @ V."""
        return self.slope_rows_product(np.arange(self.T.shape[0]), V)

    def _slopes_of(self, rows):
        tiles = self._tiles.of_rows(rows)
        return lambda j0, j1: tiles.slopes(0, len(rows), j0, j1)
