"""The NumPy backend: BLAS for the algebra, Numba for fused loops."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cholesky, eigh, get_lapack_funcs, solve_triangular

from .._jit import mapped_rows
from ..exceptions import NotPositiveDefiniteError
from ._angles import self_values
from ._cross import CrossTileGram
from ._memory import DIRECT_ROWS, fits_in_memory
from ._packed import PackedGram, TiledFactor
from ._protocols import Kernel
from ._streamed import StreamedTileGram
from ._threads import for_each
from ._tiles import PairTiles, block_ranges, lower_triangle_ranges, pair_tiles
from ._triangle import TriangleGram
from ._types import Array, FloatArray, IntArray, Namespace

# Rows that one thread maps at a time.
_MAPPED_ROWS = 1024


def is_numpy(xp: Namespace) -> bool:
    """Return whether a namespace is NumPy or one that wraps it."""
    return getattr(xp, "__name__", "").split(".")[-1] == "numpy"


@cache
def _cholesky_routines(dtype):
    """Return the routines of LAPACK that factorise, and solve with the factor."""
    return get_lapack_funcs(("potrf", "potrs"), dtype=dtype)


def _require_finite(a):
    """Raise ValueError if an array holds what is not finite."""
    if not np.isfinite(a).all():
        raise ValueError("array must not contain infs or NaNs")


class NumpyBackend:
    """Arrays of NumPy, and BLAS, LAPACK and Numba to compute with them."""

    xp: Namespace = np
    device: Any = None
    #: whether it computes in threads of this package
    threads = True

    def asarray(self, a: Array, dtype: Any = None) -> np.ndarray:
        """Return `a` as an array of this backend."""
        return np.asarray(a, dtype=dtype)

    def to_numpy(self, a: Array) -> np.ndarray:
        """Return `a` as a NumPy array."""
        return np.asarray(a)

    def take(self, a: Array, rows: IntArray) -> Array:
        """Return the rows of `a` at some indices."""
        return a[rows]

    def empty(self, shape: int | tuple[int, ...], like: Array) -> FloatArray:
        """Return an uninitialised array with the dtype of another one."""
        return np.empty(shape, dtype=like.dtype)

    def rows(self, a: Array) -> np.ndarray:
        """Return `a` in the layout that the other methods read fastest."""
        return np.ascontiguousarray(a)

    def map_rows(self, X: Array, A: Array) -> np.ndarray:
        """Return X @ A; a row does not depend on the others of X, nor on its place."""
        X, A = np.ascontiguousarray(X), np.ascontiguousarray(A)
        out = np.empty((len(X), A.shape[1]), dtype=X.dtype)

        def fill(part):
            rows = slice(*part)
            mapped_rows(X[rows], A, out[rows])

        for_each(fill, block_ranges(len(X), _MAPPED_ROWS))
        return out

    def fits_in_memory(self, T: Array, reusable_bytes: int = 0) -> bool:
        """Return whether the kernel matrix of the rows of T fits in memory.

        `reusable_bytes` are those of an earlier matrix, which are free for this one.
        """
        return fits_in_memory(T.shape[0], T.dtype.itemsize, reusable_bytes)

    def direct_rows(self, T: Array, reusable_bytes: int = 0) -> int:
        """Return the largest number of rows like those of T to factorise."""
        return DIRECT_ROWS

    def release(self) -> None:
        """Free unused memory; NumPy does that by itself."""

    def diagonal_matrix(self, values: Array) -> FloatArray:
        """Return a diagonal matrix."""
        return np.diag(values)

    def cholesky(self, block: Array, row: int) -> FloatArray:
        """Return the lower Cholesky factor of a block.

        `row` is the first row of the block in its matrix, for the error.
        """
        try:
            return cholesky(block, lower=True)
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(row) from error

    def positive_solver(self, A: Array, ridge: float) -> Callable[[Array], Array]:
        """Return the function B → (A + ridge I)⁻¹ B for a symmetric A."""
        # LAPACK itself: around matrices of tens of rows, which LinRFMRegressor solves
        # with thousands of times, the wrappers of SciPy take most of the time
        potrf, potrs = _cholesky_routines(A.dtype)
        factor = np.array(A, order="F")
        factor.reshape(-1, order="F")[:: len(A) + 1] += ridge
        factor, failed = potrf(factor, lower=True, clean=False, overwrite_a=True)
        if failed:
            raise NotPositiveDefiniteError(0)
        # what is not finite anywhere in A reaches the diagonal
        _require_finite(factor.diagonal())

        def solve(B):
            _require_finite(B)
            return potrs(factor, B, lower=True)[0]

        return solve

    def invert_lower(self, factor: Array) -> FloatArray:
        """Return the inverse of a lower triangular matrix."""
        return solve_triangular(
            factor, np.eye(len(factor), dtype=factor.dtype), lower=True
        )

    def factorize(self, A: Array, shift: float) -> TiledFactor:
        """Overwrite A, which is symmetric, by the Cholesky factor of A + shift I.

        Above the diagonal, A is neither read nor changed.
        """
        return TiledFactor(A, shift)

    def leading_eigenvectors(
        self, A: Array, count: int
    ) -> tuple[FloatArray, FloatArray]:
        """Return the largest eigenvalues, in falling order, and their eigenvectors."""
        n = len(A)
        values, vectors = eigh(A, subset_by_index=[n - count, n - 1])
        return values[::-1], vectors[:, ::-1]

    def gram(
        self,
        kernel: Kernel,
        T: Array,
        bandwidth: float,
        *,
        reusable: PackedGram | TriangleGram | None = None,
        category_sizes: tuple[int, ...] = (),
        powers: Array | None = None,
    ) -> PackedGram:
        """Return the kernel matrix of the rows of T, to solve with."""
        return PackedGram(
            kernel,
            T,
            bandwidth,
            reusable=reusable,
            category_sizes=category_sizes,
            powers=powers,
        )

    def product_gram(
        self,
        kernel: Kernel,
        T: Array,
        bandwidth: float,
        *,
        reusable: PackedGram | TriangleGram | None = None,
        category_sizes: tuple[int, ...] = (),
    ) -> PackedGram | TriangleGram:
        """Return the kernel matrix of the rows of T, held to be multiplied by."""
        make = PackedGram if kernel.of_inner_products else TriangleGram
        return make(
            kernel, T, bandwidth, reusable=reusable, category_sizes=category_sizes
        )

    def streamed_gram(
        self,
        kernel: Kernel,
        T: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> StreamedTileGram:
        """Return the kernel matrix of the rows of T, computed for each product.

        For kernels of a distance.
        """
        return StreamedTileGram(kernel, T, bandwidth, category_sizes)

    def distance_powers(
        self, kernel: Kernel, T: Array, *, category_sizes: tuple[int, ...] = ()
    ) -> FloatArray:
        """Return ‖t_i − t_j‖_p^p of the pairs i >= j of rows; above may be anything."""
        n = T.shape[0]
        tiles = PairTiles(kernel, T, T, category_sizes=category_sizes)
        out = np.empty((n, n), dtype=T.dtype)

        def fill(rows):
            i0, i1 = rows
            for j0, j1 in block_ranges(i1):
                out[i0:i1, j0:j1] = tiles.distance_powers(i0, i1, j0, j1)

        for_each(fill, lower_triangle_ranges(n))
        return out

    def cross(
        self,
        kernel: Kernel,
        T: Array,
        Z: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> FloatArray:
        """Return the kernel matrix between the rows of T and of Z."""
        tiles = pair_tiles(kernel, T, Z, bandwidth, category_sizes)
        out = np.empty((T.shape[0], Z.shape[0]), dtype=T.dtype)

        def fill(rows):
            i0, i1 = rows
            for j0, j1 in block_ranges(Z.shape[0]):
                out[i0:i1, j0:j1] = tiles.values(i0, i1, j0, j1)

        for_each(fill, block_ranges(T.shape[0]))
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
    ) -> FloatArray:
        """Return cross(T, Z) @ A, with one tile per thread of it in memory."""
        tiles = pair_tiles(kernel, T, Z, bandwidth, category_sizes)
        out = np.zeros((T.shape[0], A.shape[1]), dtype=T.dtype)

        def fill(rows):
            i0, i1 = rows
            for j0, j1 in block_ranges(Z.shape[0]):
                out[i0:i1] += tiles.values(i0, i1, j0, j1) @ A[j0:j1]

        for_each(fill, block_ranges(T.shape[0]))
        return out

    def cross_gram(
        self,
        kernel: Kernel,
        T: Array,
        Z: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> CrossTileGram:
        """Return the kernel matrix between rows and centres, for least squares."""
        return CrossTileGram(kernel, T, Z, bandwidth, category_sizes)

    def self_values(self, kernel: Kernel, T: Array, bandwidth: float) -> FloatArray:
        """Return the kernel of each row of T with itself."""
        return self_values(kernel, T, bandwidth, np)
