"""The kernel matrix of the training rows in array code, in memory or streamed."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from . import _blocked
from ._angles import self_pairs
from ._pairs import pairs_of
from ._types import Array, IntArray

_ALL = slice(None)


class ArrayGram:
    """Base class of the kernel matrices K of training rows, and of their slopes W.

    Parameters
    ----------
    backend : ArrayAPIBackend
    kernel : Kernel
    T : array of shape (n, k)
    bandwidth : float

    Attributes
    ----------
    T : array of shape (n, k)
    kernel : Kernel
    diagonal : array of shape (n,)
        The diagonal of K.
    n_dense : int
        k: no columns are looked up.
    """

    def __init__(self, backend, kernel, T, bandwidth):
        self._backend, self.kernel, self.T = backend, kernel, T
        self._bandwidth, self.n_dense = bandwidth, T.shape[1]
        self._pairs = pairs_of(kernel, T, T, bandwidth, backend)
        xp = backend.xp
        if kernel.of_inner_products:
            self.diagonal, self._slope_diagonal = self_pairs(
                kernel, self._pairs.t, bandwidth, xp
            )
        else:
            self.diagonal = xp.ones_like(T[:, 0])
            self._slope_diagonal = xp.zeros_like(T[:, 0])

    def columns(self, rows: IntArray) -> Array:
        """Return K[:, rows]."""
        values = self._pairs.take(rows).values
        return self._by_blocks(values, len(rows), self.T.shape[0]).T

    def square(self, rows: IntArray) -> Array:
        """Return K[rows][:, rows], of few rows."""
        T = self._backend.take(self.T, rows)
        pairs = pairs_of(self.kernel, T, T, self._bandwidth, self._backend)
        return pairs.values(_ALL, _ALL)

    def slope_rows_product(self, rows: IntArray, V: Array) -> Array:
        """Return W[rows] @ V."""
        slopes = self._pairs.take(rows).slopes
        return self._by_blocks(lambda i, j: slopes(i, j) @ V, len(rows), V.shape[1])

    def radial_product(self, rows: IntArray, V: Array) -> Array:
        """Return D[rows] @ V, for gradients D t − W z of kernels of inner products."""
        gradients = self._pairs.take(rows).gradients
        return self._by_blocks(
            lambda i, j: gradients(i, j)[2] @ V, len(rows), V.shape[1]
        )

    def level_gradients(self, rows: IntArray, coef: Array) -> Array:
        """Return the gradients along looked-up levels, which do not exist here."""
        return self._backend.empty((len(rows), coef.shape[1], 0), self.T)

    def _by_blocks(self, function, n_rows, n_columns):
        """Return an array that is computed by blocks of rows.

        The arguments of `function` are two slices: a block of rows, and all of them.
        """
        backend = self._backend
        out = backend.empty((n_rows, n_columns), self.T)

        def fill(start, stop):
            out[start:stop, :] = function(slice(start, stop), _ALL)

        size = backend.block_rows(self.T.shape[0], self.T)
        backend.for_each_block(fill, n_rows, size)
        return out

    def coordinate_gradients(
        self, rows: IntArray, coef: Array
    ) -> Iterator[tuple[slice, Array]]:
        """Yield (positions, gradients) of blocks of `rows`."""
        n, d = self.T.shape
        size = self._backend.block_rows(n + coef.shape[1] * d, self.T)
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            yield slice(start, start + len(block)), self._gradients(block, coef)

    def _gradients(self, rows, coef):
        """Return the gradients (b, c, k) at some rows."""
        backend, p = self._backend, self.kernel.norm_order
        out = backend.empty((len(rows), coef.shape[1], self.T.shape[1]), self.T)

        def fill(start, stop):
            pairs = self._pairs.take(rows[start:stop])
            slopes = pairs.slopes(_ALL, _ALL)
            gradients = backend.coordinate_gradients(pairs.T, self.T, slopes, coef, p)
            out[start:stop, :, :] = gradients

        backend.for_each_block(fill, len(rows), len(rows))
        return out


class PackedArrayGram(ArrayGram):
    """K below and W above the diagonal of one square buffer, factorised in place.

    Parameters
    ----------
    backend : ArrayAPIBackend
    kernel : Kernel
    T : array of shape (n, k)
    bandwidth : float
    reusable : PackedArrayGram, default=None
        An earlier one, whose buffer is taken if it has the size.
    powers : array of shape (n, n), default=None
        Distance powers of all pairs, if they are computed already.
    """

    _factor: Any = None

    def __init__(self, backend, kernel, T, bandwidth, *, reusable=None, powers=None):
        super().__init__(backend, kernel, T, bandwidth)
        self._powers = powers
        n = T.shape[0]
        if reusable is not None and reusable._packed.shape == (n, n):
            self._packed = reusable._packed
        else:
            if reusable is not None:
                reusable.free()
            backend.require_memory(n, T)
            self._packed = backend.empty((n, n), T)
        self.refill()

    def free(self) -> None:
        """Free the memory of the matrix, which is of no use then."""
        self._packed = self._backend.empty((0, 0), self.T)

    @property
    def nbytes(self) -> int:
        """The bytes of its buffer."""
        bits = self._backend.xp.finfo(self._packed.dtype).bits
        return self._packed.size * bits // 8

    def refill(self) -> None:
        """Compute K and W, also after K was overwritten."""
        backend, A, n = self._backend, self._packed, self.T.shape[0]
        xp = backend.xp

        def fill(i, j):
            K, W = self._pairs.values_and_slopes(slice(i, j), slice(0, j), self._powers)
            A[i:j, :i] = K[:, :i]
            A[:i, i:j] = W[:, :i].T
            A[i:j, i:j] = xp.tril(K[:, i:], k=-1) + xp.triu(W[:, i:], k=1)

        backend.for_each_block(fill, n, backend.block_rows(n, self.T))

    def factorize(self, ridge: Array) -> None:
        """Overwrite K by the Cholesky factor of K + diag(ridge)."""
        self._factor = None  # frees its memory first
        diagonal = self.diagonal + ridge
        self._factor = _blocked.Factor(self._packed, diagonal, self._backend)

    def solve(self, B: Array) -> Array:
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        return self._factor.solve(B)

    def inverse_diagonal(self) -> Array:
        """Return the diagonal of the inverse, after `factorize`."""
        return self._factor.inverse_diagonal()

    def eigh(self, ridge: Array) -> tuple[Array, Array]:
        """Return eigenvalues and eigenvectors of K + diag(ridge); K is not changed."""
        matrix = _blocked.dense(self._packed, self.diagonal + ridge, self._backend)
        values, vectors = self._backend.xp.linalg.eigh(matrix)
        return values, vectors

    def product(self, V: Array) -> Array:
        """Return K @ V, before `factorize`."""
        return self._product(self.diagonal, V, upper=False)

    def slope_product(self, V: Array) -> Array:
        """Return W @ V."""
        return self._product(self._slope_diagonal, V, upper=True)

    def _product(self, diagonal, V, *, upper):
        return _blocked.product(self._packed, diagonal, V, self._backend, upper=upper)


class StreamedArrayGram(ArrayGram):
    """K and W computed again for each product; for kernels of a distance.

    Parameters
    ----------
    backend : ArrayAPIBackend
    kernel : Kernel
    T : array of shape (n, k)
    bandwidth : float
    """

    def take(self, rows: IntArray) -> "StreamedArrayGram":
        """Return the kernel matrix of the rows at some NumPy indices."""
        T = self._backend.take(self.T, rows)
        return StreamedArrayGram(self._backend, self.kernel, T, self._bandwidth)

    def product(self, V: Array) -> Array:
        """Return K @ V."""
        return self.rows_product(slice(0, self.T.shape[0]), V)[0]

    def rows_product(
        self, rows: slice, V: Array, n_kept: int = 0, start: int = 0
    ) -> tuple[Array, Array]:
        """Return K[rows, start:] @ V, and the first `n_kept` columns of these rows."""
        backend, n_rows = self._backend, rows.stop - rows.start
        out = backend.empty((n_rows, V.shape[1]), self.T)
        kept = backend.empty((n_rows, n_kept), self.T)
        columns = slice(start, start + V.shape[0])

        def fill(i, j):
            K = self._pairs.values(slice(rows.start + i, rows.start + j), columns)
            if V.shape[1]:
                out[i:j, :] = K @ V
            if n_kept:
                kept[i:j, :] = K[:, :n_kept]

        backend.for_each_block(fill, n_rows, backend.block_rows(V.shape[0], self.T))
        return out, kept

    def slope_product(self, V: Array) -> Array:
        """Return W @ V."""
        slopes, n = self._pairs.slopes, self.T.shape[0]
        return self._by_blocks(lambda i, j: slopes(i, j) @ V, n, V.shape[1])


class CrossArrayGram:
    """K between n rows and p centres, and the products that least squares need.

    Parameters
    ----------
    backend : ArrayAPIBackend
    kernel : Kernel
    T : array of shape (n, k)
        The rows.
    Z : array of shape (p, k)
        The centres.
    bandwidth : float
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns.
    """

    def __init__(self, backend, kernel, T, Z, bandwidth, category_sizes=()):
        self._backend, self.T, self.Z = backend, T, Z
        self.kernel, self._bandwidth, self._sizes = kernel, bandwidth, category_sizes

    def _rows(self, i, j):
        """Return the kernel values of rows i to j."""
        T = self.T[i:j, :]
        return self._backend.cross(
            self.kernel, T, self.Z, self._bandwidth, category_sizes=self._sizes
        )

    def normal_product(self, weight: Array, V: Array) -> Array:
        """Return Kᵀ diag(weight) K V, of shape (p, c), in float64, by one pass."""
        return self._sum(V.shape[1], lambda K, i, j: weight[i:j, None] * (K @ V))

    def adjoint_product(self, weight: Array, Y: Array) -> Array:
        """Return Kᵀ diag(weight) Y, of shape (p, c), in float64, by one pass."""
        return self._sum(Y.shape[1], lambda K, i, j: weight[i:j, None] * Y[i:j, :])

    def _sum(self, n_columns, function):
        """Return the sum of Kᵀ f(K, i, j) over blocks K of rows i to j, in float64."""
        backend, xp = self._backend, self._backend.xp
        n, p = self.T.shape[0], self.Z.shape[0]
        total = xp.zeros((p, n_columns), dtype=xp.float64, device=backend.device)
        step = backend.block_rows(p, self.T)
        for i, j in pairwise([*range(0, n, step), n]):
            K = self._rows(i, j)
            total += xp.astype(K.T @ function(K, i, j), xp.float64)
        return total

    def normal_matrix(self, weight: Array) -> Array:
        """Return Kᵀ diag(weight) K in float64."""
        backend, xp = self._backend, self._backend.xp
        n, p = self.T.shape[0], self.Z.shape[0]
        total = xp.zeros((p, p), dtype=xp.float64, device=backend.device)
        step = backend.block_rows(p, self.T)
        for i, j in pairwise([*range(0, n, step), n]):
            K = xp.astype(self._rows(i, j), xp.float64)
            total += K.T @ (weight[i:j, None] * K)
        return total
