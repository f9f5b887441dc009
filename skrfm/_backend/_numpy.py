"""The NumPy backend: BLAS for the algebra, Numba for what is fused."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, eigh, solve_triangular

from ..exceptions import NotPositiveDefiniteError
from ._angles import self_values
from ._memory import DIRECT_ROWS, fits_in_memory
from ._packed import PackedGram
from ._streamed import StreamedGram
from ._threads import for_each
from ._tiles import PairTiles, cuts, lower_strips, pair_tiles


class NumpyBackend:
    """Arrays in memory, computed by BLAS, LAPACK and Numba."""

    xp = np
    device = None
    #: whether it computes in threads of this package
    threads = True

    def asarray(self, a, dtype=None):
        """Return `a` as an array of this backend."""
        return np.asarray(a, dtype=dtype)

    def to_numpy(self, a):
        """Return `a` as a NumPy array."""
        return np.asarray(a)

    def take(self, a, rows):
        """Return the rows of `a` at the NumPy indices `rows`."""
        return a[rows]

    def empty(self, shape, like):
        """Return an array of a shape to be filled, in the precision of another one."""
        return np.empty(shape, dtype=like.dtype)

    def rows(self, a):
        """Return `a` in the layout that the other methods read fastest."""
        return np.ascontiguousarray(a)

    def fits_in_memory(self, T, held=0):
        """Return whether the kernel matrix of T leaves room for the rest.

        So many bytes as are `held` can be had beside what is free.
        """
        return fits_in_memory(T.shape[0], T.dtype.itemsize, held)

    def direct_rows(self, T, held=0):
        """Return up to how many rows like those of T to factorise is best."""
        return DIRECT_ROWS

    def release(self):
        """Give back the memory that nothing holds, which NumPy does by itself."""

    def diagonal_matrix(self, values):
        """Return a diagonal matrix."""
        return np.diag(values)

    def cholesky(self, block, row):
        """Return the lower factor of a block that starts at some row."""
        try:
            return cholesky(block, lower=True)
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(row) from error

    def positive_solver(self, A, ridge):
        """Return the function B → (A + ridge I)⁻¹ B for a symmetric A."""
        try:
            factor = cho_factor(A + ridge * np.eye(len(A), dtype=A.dtype), lower=True)
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(0) from error
        return lambda B: cho_solve(factor, B)

    def invert_lower(self, factor):
        """Return the inverse of a lower triangular matrix."""
        return solve_triangular(
            factor, np.eye(len(factor), dtype=factor.dtype), lower=True
        )

    def leading_eigenvectors(self, A, count):
        """Return the largest eigenvalues, in falling order, and their vectors."""
        n = len(A)
        values, vectors = eigh(A, subset_by_index=[n - count, n - 1])
        return values[::-1], vectors[:, ::-1]

    def gram(
        self, kernel, T, bandwidth, *, reusable=None, category_sizes=(), powers=None
    ):
        """Return the Gram object of the rows of T, in the memory of a `reusable` one.

        `powers` are what `distance_powers` returns, if it is there.
        """
        return PackedGram(
            kernel,
            T,
            bandwidth,
            reusable=reusable,
            category_sizes=category_sizes,
            powers=powers,
        )

    def streamed_gram(self, kernel, T, bandwidth, *, category_sizes=()):
        """Return the same with nothing held, for kernels of a distance."""
        return StreamedGram(kernel, T, bandwidth, category_sizes)

    def distance_powers(self, kernel, T, *, category_sizes=()):
        """Return ‖t_i − t_j‖_p^p of the pairs i >= j of rows; above may be anything."""
        n = T.shape[0]
        tiles = PairTiles(kernel, T, T, category_sizes=category_sizes)
        out = np.empty((n, n), dtype=T.dtype)

        def strip(edge):
            for j0, j1 in cuts(edge[1]):
                powers = tiles.distance_powers(*edge, j0, j1)
                out[edge[0] : edge[1], j0:j1] = powers

        for_each(strip, lower_strips(n))
        return out

    def cross(self, kernel, T, Z, bandwidth, *, category_sizes=()):
        """Return the kernel matrix between the rows of T and of Z."""
        tiles = pair_tiles(kernel, T, Z, bandwidth, category_sizes)
        out = np.empty((T.shape[0], Z.shape[0]), dtype=T.dtype)

        def strip(edge):
            for j0, j1 in cuts(Z.shape[0]):
                out[edge[0] : edge[1], j0:j1] = tiles.values(*edge, j0, j1)

        for_each(strip, cuts(T.shape[0]))
        return out

    def self_values(self, kernel, T, bandwidth):
        """Return the kernel of each row of T with itself."""
        return self_values(kernel, T, bandwidth, np)

    def cross_dot(self, kernel, T, Z, bandwidth, A, *, category_sizes=()):
        """Return cross(T, Z) @ A; no more than a tile of it is ever held."""
        tiles = pair_tiles(kernel, T, Z, bandwidth, category_sizes)
        out = np.zeros((T.shape[0], A.shape[1]), dtype=T.dtype)

        def strip(edge):
            for j0, j1 in cuts(Z.shape[0]):
                out[edge[0] : edge[1]] += tiles.values(*edge, j0, j1) @ A[j0:j1]

        for_each(strip, cuts(T.shape[0]))
        return out
