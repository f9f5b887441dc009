"""The portable backend: any array library that follows the array API standard.

It uses only functions of the standard, in strips of bounded size, and no compiled
code. It serves libraries without a backend of their own, and keeps the array code
honest for those that have one.
"""

import numpy as np

from .._sklearn import move_to
from ..exceptions import NotPositiveDefiniteError
from ._angles import self_values
from ._array_gram import HeldGram, StreamedArrayGram
from ._blocked import Factor
from ._memory import DIRECT_ROWS, fits_in_memory, require_memory
from ._pairs import DistancePairs, pairs_of
from ._tiles import NEARNESS, cuts

_ELEMENTS = 1 << 22  # of the largest temporary


class ArrayAPIBackend:
    """Any array API library, without compiled kernels.

    Levels of categories (`category_sizes`) are columns as all others here.
    """

    #: whether it computes in threads of this package
    threads = False

    def __init__(self, xp, device=None):
        self.xp, self.device = xp, device

    # -- arrays -----------------------------------------------------------------------

    def asarray(self, a, dtype=None):
        """Return `a` as an array of this backend."""
        out = move_to(a, xp=self.xp, device=self.device)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a):
        """Return `a` as a NumPy array."""
        return move_to(a, xp=np, device="cpu")

    def empty(self, shape, like):
        """Return an array of a shape to be filled, in the precision of another one."""
        return self.xp.empty(shape, dtype=like.dtype, device=self.device)

    def take(self, a, rows):
        """Return the rows of `a` at the NumPy indices `rows`."""
        rows = self.xp.asarray(np.asarray(rows), device=self.device)
        return self.xp.take(a, rows, axis=0)

    def rows(self, a):
        """Return `a` in the layout that the other methods read fastest."""
        return a

    def diagonal_matrix(self, values):
        """Return a diagonal matrix."""
        n = values.shape[0]
        eye = self.xp.eye(n, dtype=values.dtype, device=self.device)
        return eye * values[:, None]

    # -- memory -----------------------------------------------------------------------

    def fits_in_memory(self, T, held=0):
        """Return whether the kernel matrix of T leaves room for the rest.

        So many bytes as are `held` can be had beside what is free.
        """
        return fits_in_memory(T.shape[0], self._itemsize(T), held)

    def direct_rows(self, T, held=0):
        """Return up to how many rows like those of T to factorise is best."""
        return DIRECT_ROWS

    def _itemsize(self, like):
        return self.xp.finfo(like.dtype).bits // 8

    def require_memory(self, n_rows, like):
        """Raise MemoryError where a square matrix does not fit."""
        require_memory(n_rows, self._itemsize(like))

    def elements_of_strip(self, like):
        """Return how many elements are computed at a time."""
        return _ELEMENTS

    def rows_of_strip(self, width, like):
        """Return how many rows of so many elements are computed at a time."""
        return max(1, self.elements_of_strip(like) // max(1, width))

    def each_strip(self, function, n_rows, step):
        """Call a function of (start, stop) for all rows, some at a time."""
        for start, stop in cuts(n_rows, step):
            function(start, stop)

    def release(self):
        """Give back the memory that nothing holds."""

    # -- algebra ----------------------------------------------------------------------

    def cholesky(self, block, row):
        """Return the lower factor of a block that starts at some row."""
        try:
            factor = self.xp.linalg.cholesky(block)
        except Exception as error:  # each library raises its own type
            raise NotPositiveDefiniteError(row) from error
        if not bool(self.xp.all(self.xp.isfinite(factor))):
            raise NotPositiveDefiniteError(row)
        return factor

    def positive_solver(self, A, ridge):
        """Return the function B → (A + ridge I)⁻¹ B for a symmetric A."""
        diagonal = self.xp.linalg.diagonal(A) + ridge
        return Factor(self.xp.asarray(A, copy=True), diagonal, self).solve

    def invert_lower(self, factor):
        """Return the inverse of a lower triangular matrix."""
        return self.xp.tril(self.xp.linalg.inv(factor))

    def leading_eigenvectors(self, A, count):
        """Return the largest eigenvalues, in falling order, and their vectors."""
        values, vectors = self.xp.linalg.eigh(A)
        return values[::-1][:count], vectors[:, ::-1][:, :count]

    # -- pairs of rows ----------------------------------------------------------------

    def square_distances(self, t, z, t_norms, z_norms):
        """Return ‖t − z‖² of all pairs, from differences where they are near."""
        xp = self.xp
        both = t_norms[:, None] + z_norms[None, :]
        u = both - 2 * (t @ z.T)
        bits = xp.finfo(t.dtype).bits
        near = u < NEARNESS[bits] * both
        i, j = xp.nonzero(near)
        exact = []
        for start, stop in cuts(i.shape[0], max(1, _ELEMENTS // max(1, t.shape[1]))):
            part = slice(start, stop)
            delta = xp.take(t, i[part], axis=0) - xp.take(z, j[part], axis=0)
            exact.append(xp.sum(delta * delta, axis=1))
        if exact:
            u[near] = xp.concat(exact)
        return u

    def power_sums(self, t, z, p):
        """Return Σ |t_l − z_l|^p of all pairs."""
        out = self.empty((t.shape[0], z.shape[0]), t)
        step = max(1, _ELEMENTS // max(1, z.shape[0] * z.shape[1]))
        for start, stop in cuts(t.shape[0], step):
            delta = self.xp.abs(t[start:stop, None, :] - z[None, :, :])
            out[start:stop, :] = self.xp.sum(delta**p, axis=-1)
        return out

    def values(self, kernel, u, bandwidth):
        """Return the kernel of distance powers, which may be overwritten."""
        return kernel.value(u, bandwidth, self.xp)

    def both(self, kernel, u, bandwidth):
        """Return the kernel and the slopes of distance powers."""
        K = kernel.value(u, bandwidth, self.xp)
        return K, kernel.slope(u, K, bandwidth, self.xp)

    def coordinate_gradients(self, t, z, slopes, coef, p):
        """Return Σ_j slopes_ij coef_jo |δ|^(p−1) sign δ, δ = t_il − z_jl: (b, c, d)."""
        xp, parts = self.xp, []
        step = max(1, _ELEMENTS // max(1, z.shape[0] * z.shape[1]))
        for start, stop in cuts(t.shape[0], step):
            delta = t[start:stop, None, :] - z[None, :, :]
            power = xp.sign(delta) * xp.abs(delta) ** (p - 1)
            weighted = slopes[start:stop, None, :] * coef.T[None, :, :]
            parts.append(xp.matmul(weighted, power))
        return xp.concat(parts)

    # -- kernel matrices --------------------------------------------------------------

    def gram(
        self, kernel, T, bandwidth, *, reusable=None, category_sizes=(), powers=None
    ):
        """Return the Gram object of the rows of T, in the memory of a `reusable` one.

        `powers` are what `distance_powers` returns, if it is there.
        """
        return HeldGram(self, kernel, T, bandwidth, reusable=reusable, powers=powers)

    def streamed_gram(self, kernel, T, bandwidth, *, category_sizes=()):
        """Return the same with nothing held, for kernels of a distance."""
        return StreamedArrayGram(self, kernel, T, bandwidth)

    def distance_powers(self, kernel, T, *, category_sizes=()):
        """Return ‖t_i − t_j‖_p^p of all pairs of rows."""
        every = slice(None)
        return DistancePairs(kernel, T, T, None, self).powers(every, every)

    def cross(self, kernel, T, Z, bandwidth, *, category_sizes=()):
        """Return the kernel matrix between the rows of T and of Z."""
        return self._of_rows(kernel, T, Z, bandwidth, Z.shape[0], lambda K: K)

    def cross_dot(self, kernel, T, Z, bandwidth, A, *, category_sizes=()):
        """Return cross(T, Z) @ A; no more than a strip of it is ever held."""
        return self._of_rows(kernel, T, Z, bandwidth, A.shape[1], lambda K: K @ A)

    def _of_rows(self, kernel, T, Z, bandwidth, width, function):
        pairs = pairs_of(kernel, T, Z, bandwidth, self)
        out = self.empty((T.shape[0], width), T)

        def strip(start, stop):
            K = pairs.values(slice(start, stop), slice(None))
            out[start:stop, :] = function(K)

        self.each_strip(strip, T.shape[0], self.rows_of_strip(Z.shape[0], T))
        return out

    def self_values(self, kernel, T, bandwidth):
        """Return the kernel of each row of T with itself."""
        return self_values(kernel, T, bandwidth, self.xp)
