"""The kernel matrix and its slopes in one square buffer, factorised in place.

The kernel matrix K and the matrix of its slopes W are both symmetric, so one square
buffer holds them: K below the diagonal, W above it. The Cholesky factor overwrites K
and leaves W for the AGOP: a whole fit takes one n × n buffer.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import eigh

from .. import _jit
from ._angles import self_pairs
from ._blas import PANEL, BlasMatrix, factorize, solve_factorized
from ._gram import TileGram
from ._memory import UNCHECKED_BYTES, require_memory
from ._threads import for_each
from ._tiles import block_ranges, lower_triangle_ranges, pair_tiles
from ._types import Array, FloatArray, IntArray

# Up to this number of columns, compiled loops are 2 to 5 times as fast as BLAS, which
# packs the matrix for each product; above it, the product is left to BLAS.
_FEW_COLUMNS = 32
# The parts of such a product. Their sums are added in this order whatever the number of
# threads, so that results do not depend on it.
_PARTS = 8


def _equal_area_ranges(n_rows, *, upper):
    """Return ranges of rows that have as many entries each in a triangle."""
    below = (n_rows * np.sqrt(np.linspace(0, 1, _PARTS + 1))).astype(int)
    return list(pairwise((n_rows - below[::-1] if upper else below).tolist()))


class PackedGram(TileGram):
    """K and its slopes W on one set of rows, in one square buffer.

    `factorize` turns the lower triangle into the Cholesky factor of K + diag(ridge);
    `refill` computes K again.

    Parameters
    ----------
    kernel : Kernel
    T : ndarray of shape (n, k)
    bandwidth : float
    reusable : PackedGram, default=None
        An earlier one, whose buffer is taken if it has the size.
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns, which are looked up.
    powers : ndarray of shape (n, n), default=None
        Distance powers of all pairs, if they are computed already.
    """

    def __init__(
        self, kernel, T, bandwidth, *, reusable=None, category_sizes=(), powers=None
    ):
        n = T.shape[0]
        self.T, self.kernel = T, kernel
        self._bandwidth, self._category_sizes = bandwidth, category_sizes
        self._powers = powers
        self._tiles = pair_tiles(kernel, T, T, bandwidth, category_sizes)
        self.n_dense = self._tiles.T.shape[1]
        if reusable is not None and reusable._packed.shape == (n, n):
            self._packed = reusable._packed
        else:
            if reusable is not None:
                reusable._packed = None  # frees its memory first
            if n * n * T.dtype.itemsize > UNCHECKED_BYTES:
                require_memory(n, T.dtype.itemsize)
            self._packed = np.empty((n, n), dtype=T.dtype)
        self.diagonal = np.ones(n, dtype=T.dtype)
        self._slope_diagonal = np.zeros(n, dtype=T.dtype)
        if kernel.of_inner_products:
            self.diagonal, self._slope_diagonal = self_pairs(
                kernel, self._tiles.t, bandwidth, np
            )
        self.refill()

    @property
    def nbytes(self) -> int:
        """The bytes of its buffer."""
        return self._packed.nbytes

    def refill(self) -> None:
        """Compute K and W, also after K was overwritten."""
        pack_rows = partial(self._tiles.pack_rows, self._packed, self._powers)
        for_each(pack_rows, lower_triangle_ranges(self.T.shape[0]))

    def factorize(self, ridge: Array) -> None:
        """Overwrite K by the Cholesky factor of K + diag(ridge)."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        factorize(self._packed)

    def solve(self, B: Array) -> FloatArray:
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        return solve_factorized(self._packed, B)

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of the inverse, after `factorize`.

        Its entries are the squared norms of the columns of L⁻¹, computed in blocks.
        """
        matrix, n = BlasMatrix(self._packed), len(self.diagonal)
        out = np.empty(n, dtype=self._packed.dtype)

        def fill(columns):
            j0, j1 = columns
            X = np.zeros((n - j0, j1 - j0), dtype=self._packed.dtype)
            np.fill_diagonal(X, 1)
            matrix.solve_columns(j0, X)
            out[j0:j1] = np.einsum("ij,ij->j", X, X)

        for_each(fill, block_ranges(n, PANEL))
        return out

    def eigh(self, ridge: Array) -> tuple[FloatArray, FloatArray]:
        """Return eigenvalues and eigenvectors of K + diag(ridge); K is not changed."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        return eigh(self._packed.T, lower=False)

    def product(self, V: Array) -> FloatArray:
        """Return K @ V, before `factorize`."""
        return self._symmetric_product(self.diagonal, V, upper=False)

    def slope_product(self, V: Array) -> FloatArray:
        """Return W @ V."""
        return self._symmetric_product(self._slope_diagonal, V, upper=True)

    def _symmetric_product(self, diagonal, V, *, upper):
        if V.shape[1] > _FEW_COLUMNS:
            return self._blas_product(diagonal, V, upper=upper)
        columns = np.ascontiguousarray(V.T)
        # each part of the rows has its own sum
        product = partial(_jit.triangle_product, self._packed, upper, columns)
        ranges = _equal_area_ranges(len(diagonal), upper=upper)
        total = sum(for_each(product, ranges))
        return np.ascontiguousarray((total + diagonal * columns).T)

    def _blas_product(self, diagonal, V, *, upper):
        np.fill_diagonal(self._packed, diagonal)
        matrix, V = BlasMatrix(self._packed), np.ascontiguousarray(V)
        out = np.empty_like(V)
        # the parts do not depend on the number of threads, so neither do the results
        n_columns = V.shape[1]
        n_parts = 2 * max(1, min(n_columns, len(V) // 4) // 64)
        edges = [n_columns * part // n_parts for part in range(n_parts + 1)]
        write_columns = partial(matrix.symmetric_product, V, out, upper)
        for_each(write_columns, list(pairwise(edges)))
        return out

    def slope_rows_product(self, rows: IntArray, V: Array) -> FloatArray:
        """Return W[rows] @ V."""
        out = super().slope_rows_product(rows, V)
        out += self._slope_diagonal[rows, None] * V[rows]
        return out

    def coordinate_gradients(
        self, rows: IntArray, coef: Array
    ) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (positions, gradients) of blocks of `rows`.

        The gradients of all rows are computed at once, where they take no more memory
        than the kernel matrix: this visits each pair of rows once, not twice.
        """
        n, n_outputs = coef.shape
        fits = _PARTS * n_outputs * self.n_dense <= n
        if not fits or not np.array_equal(rows, np.arange(n)):
            yield from super().coordinate_gradients(rows, coef)
            return
        tiles, coef_rows = self._tiles, np.ascontiguousarray(coef.T)

        def partial_gradients(rows):
            out = np.zeros((n_outputs, self.n_dense, n), dtype=self.T.dtype)
            i0, i1 = rows
            _jit.pair_gradients(
                self._packed, tiles.columns, i0, i1, coef_rows, tiles.p, out
            )
            return out

        total: Any = sum(for_each(partial_gradients, _equal_area_ranges(n, upper=True)))
        gradients = np.ascontiguousarray(total.transpose(2, 0, 1))
        if tiles.t_levels is not None:
            along_levels = self.level_gradients(rows, coef)
            gradients = np.concatenate([gradients, along_levels], axis=2)
        yield slice(0, n), gradients

    def _slopes_of_rows(self, rows):
        def slopes(j0, j1):
            out = np.empty((len(rows), j1 - j0), dtype=self.T.dtype)
            _jit.unpack_slopes(self._packed, rows, j0, out)
            return out

        return slopes

    def radial_product(self, rows: IntArray, V: Array) -> FloatArray:
        """Return D[rows] @ V, for gradients D t − W z of kernels of inner products.

        D is not symmetric and not in the buffer: it is computed here. (For kernels of a
        distance D is W.)
        """
        out = np.zeros((len(rows), V.shape[1]), dtype=V.dtype)
        n, tiles = len(self.diagonal), self._tiles.take(rows)

        def fill(block):
            i0, i1 = block
            for j0, j1 in block_ranges(n):
                out[i0:i1] += tiles.gradients(i0, i1, j0, j1)[2] @ V[j0:j1]

        for_each(fill, block_ranges(len(rows)))
        return out
