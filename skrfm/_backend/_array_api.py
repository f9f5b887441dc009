"""The portable backend: any array library that follows the array API standard.

It uses only functions of the standard, in blocks of rows of bounded size, and no
compiled code. It serves libraries without a backend of their own; the GPU backend
inherits from it, and tests run it with array_api_strict.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .._sklearn import move_to
from ..exceptions import NotPositiveDefiniteError
from ._angles import self_values
from ._array_gram import CrossArrayGram, PackedArrayGram, StreamedArrayGram
from ._blocked import Factor
from ._memory import DIRECT_ROWS, fits_in_memory, require_memory
from ._numpy import NumpyBackend, is_numpy
from ._pairs import DistancePairs, pairs_of
from ._protocols import Kernel
from ._tiles import NEARNESS, block_ranges
from ._types import Array, IntArray, Namespace

# The most elements of a temporary array: a bound on memory.
_MOST_ELEMENTS = 1 << 22


def get_backend(xp: Namespace, device: Any = None) -> "NumpyBackend | ArrayAPIBackend":
    """Return the backend of an array namespace and device."""
    return NumpyBackend() if is_numpy(xp) else ArrayAPIBackend(xp, device)


class ArrayAPIBackend:
    """Arrays of any library that follows the array API standard, without compiled code.

    Levels of categories (`category_sizes`) are not looked up: their columns are
    computed with like all others.

    Parameters
    ----------
    xp : namespace
    device : device of the namespace, default=None
    """

    #: whether it computes in threads of this package
    threads = False

    def __init__(self, xp: Namespace, device: Any = None):
        self.xp, self.device = xp, device

    # -- arrays -----------------------------------------------------------------------

    def asarray(self, a: Array, dtype: Any = None) -> Array:
        """Return `a` as an array of this backend."""
        out: Array = move_to(a, xp=self.xp, device=self.device)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a: Array) -> np.ndarray:
        """Return `a` as a NumPy array."""
        out: Any = move_to(a, xp=np, device="cpu")
        return out

    def empty(self, shape: int | tuple[int, ...], like: Array) -> Array:
        """Return an uninitialised array with the dtype of another one."""
        return self.xp.empty(shape, dtype=like.dtype, device=self.device)

    def take(self, a: Array, rows: IntArray) -> Array:
        """Return the rows of `a` at some NumPy indices."""
        indices = self.xp.asarray(np.asarray(rows), device=self.device)
        return self.xp.take(a, indices, axis=0)

    def rows(self, a: Array) -> Array:
        """Return `a` in the layout that the other methods read fastest."""
        return a

    def map_rows(self, X: Array, A: Array) -> Array:
        """Return X @ A."""
        return X @ A

    def diagonal_matrix(self, values: Array) -> Array:
        """Return a diagonal matrix."""
        n = values.shape[0]
        eye = self.xp.eye(n, dtype=values.dtype, device=self.device)
        return eye * values[:, None]

    # -- memory -----------------------------------------------------------------------

    def fits_in_memory(self, T: Array, reusable_bytes: int = 0) -> bool:
        """Return whether the kernel matrix of the rows of T fits in memory.

        `reusable_bytes` are those of an earlier matrix, which are free for this one.
        """
        return fits_in_memory(T.shape[0], self._itemsize(T), reusable_bytes)

    def direct_rows(self, T: Array, reusable_bytes: int = 0) -> int:
        """Return the largest number of rows like those of T to factorise."""
        return DIRECT_ROWS

    def _itemsize(self, like: Array) -> int:
        return self.xp.finfo(like.dtype).bits // 8

    def require_memory(self, n_rows: int, like: Array) -> None:
        """Raise MemoryError if a square matrix of `n_rows` does not fit."""
        require_memory(n_rows, self._itemsize(like))

    def block_elements(self, like: Array) -> int:
        """Return the number of elements to compute at a time."""
        return _MOST_ELEMENTS

    def block_rows(self, width: int, like: Array) -> int:
        """Return the number of rows of `width` elements to compute at a time."""
        return max(1, self.block_elements(like) // max(1, width))

    def for_each_block(
        self, function: Callable[[int, int], None], n_rows: int, size: int
    ) -> None:
        """Call a function of (start, stop) for blocks of `size` of all rows."""
        for start, stop in block_ranges(n_rows, size):
            function(start, stop)

    def release(self) -> None:
        """Free unused memory."""

    # -- algebra ----------------------------------------------------------------------

    def cholesky(self, block: Array, row: int) -> Array:
        """Return the lower Cholesky factor of a block.

        `row` is the first row of the block in its matrix, for the error.
        """
        try:
            factor = self.xp.linalg.cholesky(block)
        except Exception as error:  # each library raises its own type
            raise NotPositiveDefiniteError(row) from error
        if not bool(self.xp.all(self.xp.isfinite(factor))):
            raise NotPositiveDefiniteError(row)
        return factor

    def positive_solver(self, A: Array, ridge: float) -> Callable[[Array], Array]:
        """Return the function B → (A + ridge I)⁻¹ B for a symmetric A."""
        diagonal = self.xp.linalg.diagonal(A) + ridge
        return Factor(self.xp.asarray(A, copy=True), diagonal, self).solve

    def invert_lower(self, factor: Array) -> Array:
        """Return the inverse of a lower triangular matrix."""
        return self.xp.tril(self.xp.linalg.inv(factor))

    def factorize(self, A: Array, shift: float) -> Factor:
        """Overwrite A, which is symmetric, by the Cholesky factor of A + shift I.

        Above the diagonal, A is neither read nor changed.
        """
        return Factor(A, self.xp.linalg.diagonal(A) + shift, self)

    def leading_eigenvectors(self, A: Array, count: int) -> tuple[Array, Array]:
        """Return the largest eigenvalues, in falling order, and their eigenvectors."""
        values, vectors = self.xp.linalg.eigh(A)
        return values[::-1][:count], vectors[:, ::-1][:, :count]

    # -- pairs of rows ----------------------------------------------------------------

    def squared_distances(
        self, t: Array, z: Array, t_squares: Array, z_squares: Array
    ) -> Array:
        """Return ‖t − z‖² of all pairs, from differences where they are near.

        Parameters
        ----------
        t : array of shape (m, d)
        z : array of shape (n, d)
        t_squares : array of shape (m,)
            Squared norms of the rows of t.
        z_squares : array of shape (n,)

        Returns
        -------
        array of shape (m, n)
        """
        xp = self.xp
        both = t_squares[:, None] + z_squares[None, :]
        u = both - 2 * (t @ z.T)
        bits = xp.finfo(t.dtype).bits
        near = u < NEARNESS[bits] * both
        i, j = xp.nonzero(near)
        size = max(1, _MOST_ELEMENTS // max(1, t.shape[1]))
        exact = []
        for start, stop in block_ranges(i.shape[0], size):
            part = slice(start, stop)
            delta = xp.take(t, i[part], axis=0) - xp.take(z, j[part], axis=0)
            exact.append(xp.sum(delta * delta, axis=1))
        if exact:
            u[near] = xp.concat(exact)
        return u

    def power_sums(self, t: Array, z: Array, p: float) -> Array:
        """Return Σ_l |t_l − z_l|^p of all pairs of rows of t (m, d) and z (n, d)."""
        out = self.empty((t.shape[0], z.shape[0]), t)
        size = max(1, _MOST_ELEMENTS // max(1, z.shape[0] * z.shape[1]))
        for start, stop in block_ranges(t.shape[0], size):
            delta = self.xp.abs(t[start:stop, None, :] - z[None, :, :])
            out[start:stop, :] = self.xp.sum(delta**p, axis=-1)
        return out

    def kernel_values(self, kernel: Kernel, u: Array, bandwidth: float) -> Array:
        """Return the kernel of distance powers, which may be overwritten."""
        return kernel.value(u, bandwidth, self.xp)

    def kernel_values_and_slopes(
        self, kernel: Kernel, u: Array, bandwidth: float
    ) -> tuple[Array, Array]:
        """Return the kernel and the slopes of distance powers, which may change."""
        K = kernel.value(u, bandwidth, self.xp)
        return K, kernel.slope(u, K, bandwidth, self.xp)

    def coordinate_gradients(
        self, t: Array, z: Array, slopes: Array, coef: Array, p: float
    ) -> Array:
        """Return Σ_j slopes_ij coef_jo |δ|^(p−1) sign δ, δ = t_il − z_jl.

        Parameters
        ----------
        t : array of shape (b, d)
        z : array of shape (n, d)
        slopes : array of shape (b, n)
        coef : array of shape (n, c)
        p : float

        Returns
        -------
        array of shape (b, c, d)
        """
        xp, parts = self.xp, []
        size = max(1, _MOST_ELEMENTS // max(1, z.shape[0] * z.shape[1]))
        for start, stop in block_ranges(t.shape[0], size):
            delta = t[start:stop, None, :] - z[None, :, :]
            power = xp.sign(delta) * xp.abs(delta) ** (p - 1)
            weighted = slopes[start:stop, None, :] * coef.T[None, :, :]
            parts.append(xp.matmul(weighted, power))
        return xp.concat(parts)

    # -- kernel matrices --------------------------------------------------------------

    def gram(
        self,
        kernel: Kernel,
        T: Array,
        bandwidth: float,
        *,
        reusable: PackedArrayGram | None = None,
        category_sizes: tuple[int, ...] = (),
        powers: Array | None = None,
    ) -> PackedArrayGram:
        """Return the kernel matrix of the rows of T; all its columns are numbers."""
        return PackedArrayGram(
            self, kernel, T, bandwidth, reusable=reusable, powers=powers
        )

    def product_gram(
        self,
        kernel: Kernel,
        T: Array,
        bandwidth: float,
        *,
        reusable: PackedArrayGram | None = None,
        category_sizes: tuple[int, ...] = (),
    ) -> PackedArrayGram:
        """Return the kernel matrix of the rows of T, held to be multiplied by."""
        return self.gram(kernel, T, bandwidth, reusable=reusable)

    def streamed_gram(
        self,
        kernel: Kernel,
        T: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> StreamedArrayGram:
        """Return the kernel matrix of the rows of T, computed for each product.

        For kernels of a distance.
        """
        return StreamedArrayGram(self, kernel, T, bandwidth)

    def distance_powers(
        self, kernel: Kernel, T: Array, *, category_sizes: tuple[int, ...] = ()
    ) -> Array:
        """Return ‖t_i − t_j‖_p^p of all pairs of rows."""
        every = slice(None)
        return DistancePairs(kernel, T, T, None, self).powers(every, every)

    def cross(
        self,
        kernel: Kernel,
        T: Array,
        Z: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> Array:
        """Return the kernel matrix between the rows of T and of Z."""
        pairs = pairs_of(kernel, T, Z, bandwidth, self)
        out = self.empty((T.shape[0], Z.shape[0]), T)

        def fill(start, stop):
            out[start:stop, :] = pairs.values(slice(start, stop), slice(None))

        self.for_each_block(fill, T.shape[0], self.block_rows(Z.shape[0], T))
        return out

    def cross_dot(
        self,
        kernel: Kernel,
        T: Array,
        Z: Array,
        bandwidth: float,
        A: Array,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> Array:
        """Return cross(T, Z) @ A, with one block of rows of it in memory."""
        pairs = pairs_of(kernel, T, Z, bandwidth, self)
        out = self.empty((T.shape[0], A.shape[1]), T)

        def fill(start, stop):
            out[start:stop, :] = pairs.values(slice(start, stop), slice(None)) @ A

        self.for_each_block(fill, T.shape[0], self.block_rows(Z.shape[0], T))
        return out

    def cross_gram(
        self,
        kernel: Kernel,
        T: Array,
        Z: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> CrossArrayGram:
        """Return the kernel matrix between rows and centres, for least squares."""
        return CrossArrayGram(self, kernel, T, Z, bandwidth, category_sizes)

    def self_values(self, kernel: Kernel, T: Array, bandwidth: float) -> Array:
        """Return the kernel of each row of T with itself."""
        return self_values(kernel, T, bandwidth, self.xp)
