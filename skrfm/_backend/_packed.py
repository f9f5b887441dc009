"""The kernel matrix and its slopes in one square buffer, factorised in place.

The kernel matrix K and the matrix of its slopes W are both symmetric, so one square
buffer holds them: K below the diagonal, W above it. The Cholesky factor overwrites K
and leaves W for the AGOP: a whole fit takes one n × n buffer.
"""

from functools import partial
from itertools import pairwise

import numpy as np
from scipy.linalg import eigh, lapack

from .. import _jit
from ..exceptions import NotPositiveDefiniteError
from ._angles import self_pairs
from ._blas import Matrix
from ._gram import Gram
from ._memory import require_memory
from ._threads import for_each
from ._tiles import cuts, lower_strips, pair_tiles

# rows of a panel in the Cholesky factorisation
_PANEL = 384
# rows that a thread updates at a time
_STRIP = 256
# a product with more columns is left to BLAS; one with fewer is in strips of rows, each
# of which sums apart
_FEW_COLUMNS, _PARTS = 32, 8


def _equal_areas(n, upper):
    """Return edges of strips of rows with as many entries each in a triangle.

    They do not depend on the number of threads, for sums that do not.
    """
    below = (n * np.sqrt(np.linspace(0, 1, _PARTS + 1))).astype(int)
    return list(pairwise((n - below[::-1] if upper else below).tolist()))


def _solve_panel(matrix, k, size, strip):
    matrix.solve_panel(k, size, *strip)


def _update(matrix, k, size, j0, strip):
    matrix.update(k, size, *strip, j0)


class PackedGram(Gram):
    """K and its slopes W on one set of rows, in one square buffer.

    `factorize` turns the lower triangle into the Cholesky factor of K + diag(ridge);
    `refill` makes K anew.
    """

    def __init__(
        self, kernel, T, bandwidth, *, reusable=None, category_sizes=(), powers=None
    ):
        n = T.shape[0]
        self.T = T
        self.kernel = kernel
        self._rest, self._powers = (bandwidth, category_sizes), powers
        self._tiles = pair_tiles(kernel, T, T, bandwidth, category_sizes)
        if reusable is not None and reusable._packed.shape == (n, n):
            self._packed = reusable._packed
        else:
            if reusable is not None:
                reusable._packed = None  # its memory comes back first
            require_memory(n, T.dtype.itemsize)
            self._packed = np.empty((n, n), dtype=T.dtype)
        self.diagonal = np.ones(n, dtype=T.dtype)
        self._slope_diagonal = np.zeros(n, dtype=T.dtype)
        if kernel.of_inner_products:
            pairs = self_pairs(kernel, self._tiles.t, bandwidth, np)
            self.diagonal, self._slope_diagonal = pairs
        self.refill()

    @property
    def nbytes(self):
        """The bytes of its buffer."""
        return self._packed.nbytes

    def refill(self):
        """Compute K and W; whatever overwrote K is gone."""

        def strip(row):
            i0, i1 = row
            for j0, j1 in cuts(i1):
                self._tiles.pack(self._packed, i0, i1, j0, j1, self._powers)

        for_each(strip, lower_strips(self.T.shape[0]))

    def factorize(self, ridge):
        """Cholesky of K + diag(ridge), in the place of K.

        Panel by panel: the factor of the diagonal block, the panel below it, and the
        update of all that is to the right; rows are shared out among the threads.
        """
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        matrix, n = Matrix(self._packed), len(self.diagonal)
        for k, end in cuts(n, _PANEL):
            size = end - k
            info = matrix.cholesky_block(k, size)
            if info:
                raise NotPositiveDefiniteError(k + info - 1)
            strips = [(end + i0, end + i1) for i0, i1 in cuts(n - end, _STRIP)]
            for_each(partial(_solve_panel, matrix, k, size), strips)
            # the longest strips first, so that all threads end together
            for_each(partial(_update, matrix, k, size, end), strips[::-1])

    def solve(self, B):
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        (potrs,) = lapack.get_lapack_funcs(("potrs",), (self._packed,))
        B = np.asfortranarray(B, dtype=self._packed.dtype)
        return potrs(self._packed.T, B, lower=False)[0]

    def inverse_diagonal(self):
        """Return the diagonal of the inverse, after `factorize`.

        Its entries are the squared norms of the columns of L⁻¹, which come in blocks.
        """
        matrix, n = Matrix(self._packed), len(self.diagonal)
        out = np.empty(n, dtype=self._packed.dtype)

        def columns(edge):
            j0, j1 = edge
            X = np.zeros((n - j0, j1 - j0), dtype=self._packed.dtype)
            np.fill_diagonal(X, 1)
            matrix.solve_columns(j0, X)
            out[j0:j1] = np.einsum("ij,ij->j", X, X)

        for_each(columns, cuts(n, _PANEL))
        return out

    def eigh(self, ridge):
        """Eigenvalues and eigenvectors of K + diag(ridge); K stays as it is."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        return eigh(self._packed.T, lower=False)

    def product(self, V):
        """Return K @ V, before `factorize`."""
        return self._symmetric_product(self.diagonal, V, upper=False)

    def slope_product(self, V):
        """Return W @ V."""
        return self._symmetric_product(self._slope_diagonal, V, upper=True)

    def _symmetric_product(self, diagonal, V, *, upper):
        if V.shape[1] > _FEW_COLUMNS:
            return self._blas_product(diagonal, V, upper)
        rows = np.ascontiguousarray(V.T)

        def strip(edge):
            out = np.zeros_like(rows)
            _jit.triangle_product(self._packed, *edge, upper, rows, out)
            return out

        total = sum(for_each(strip, _equal_areas(len(diagonal), upper)))
        return np.ascontiguousarray((total + diagonal * rows).T)

    def _blas_product(self, diagonal, V, upper):
        np.fill_diagonal(self._packed, diagonal)
        matrix, V = Matrix(self._packed), np.ascontiguousarray(V)
        out = np.empty_like(V)
        # parts that do not depend on the number of threads, for results that do not
        columns = V.shape[1]
        parts = 2 * max(1, columns // 64)
        edges = [columns * part // parts for part in range(parts + 1)]
        for_each(
            lambda edge: matrix.symmetric_product(V, out, *edge, upper=upper),
            list(pairwise(edges)),
        )
        return out

    def slope_rows_product(self, rows, V):
        """Return W[rows] @ V."""
        out = super().slope_rows_product(rows, V)
        out += self._slope_diagonal[rows, None] * V[rows]
        return out

    def coordinate_gradients(self, rows, coef):
        """Yield (positions, gradients): of all rows, where that is asked for, at once.

        Each pair of rows is looked at once then, in place of twice.
        """
        n, held = len(coef), coef.shape[1] * self.n_dense * _PARTS
        if held > n or not np.array_equal(rows, np.arange(n)):
            yield from super().coordinate_gradients(rows, coef)
            return
        tiles, alpha = self._tiles, np.ascontiguousarray(coef.T)

        def strip(edge):
            out = np.zeros((len(alpha), self.n_dense, n), dtype=self.T.dtype)
            what = tiles.columns, *edge, alpha, tiles.p
            _jit.pair_gradients(self._packed, *what, out)
            return out

        total = sum(for_each(strip, _equal_areas(n, upper=True)))
        gradients = np.ascontiguousarray(total.transpose(2, 0, 1))
        if tiles.t_levels is not None:
            along = self.level_gradients(rows, coef)
            gradients = np.concatenate([gradients, along], axis=2)
        yield slice(0, n), gradients

    def _slopes_of(self, rows):
        def slopes(j0, j1):
            out = np.empty((len(rows), j1 - j0), dtype=self.T.dtype)
            _jit.slope_tile(self._packed, rows, j0, out)
            return out

        return slopes

    def radial_product(self, rows, V):
        """Return D[rows] @ V, the gradients' parts along their own rows.

        Gradients are D t − W z. Those of a distance have D = W; of inner products D is
        no symmetric matrix, and computed anew.
        """
        out = np.zeros((len(rows), V.shape[1]), dtype=V.dtype)
        n, tiles = len(self.diagonal), self._tiles.of_rows(rows)

        def strip(edge):
            for j0, j1 in cuts(n):
                out[edge[0] : edge[1]] += tiles.gradients(*edge, j0, j1)[2] @ V[j0:j1]

        for_each(strip, cuts(len(rows)))
        return out
