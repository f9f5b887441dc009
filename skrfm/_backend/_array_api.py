"""The portable backend: any array library that follows the array API standard.

It holds whole n × n arrays and uses only functions of the standard, so it is
slow; it serves libraries without a backend of their own, and it keeps the array
code honest for those that have one.
"""

import numpy as np

from .._compat import move_to
from ..exceptions import NotPositiveDefiniteError
from ._angles import Directions, gaps, inner_gradients, self_pairs, self_values

_BLOCK = 1 << 24  # elements of the largest temporary in a coordinate kernel


class DenseGram:
    """K and its slopes as two arrays."""

    def __init__(self, backend, kernel, T, bandwidth):
        self._backend, self.kernel, self.T = backend, kernel, T
        xp, n = backend.xp, T.shape[0]
        self.n_dense = T.shape[1]
        eye = xp.eye(n, dtype=T.dtype, device=backend.device)
        if kernel.of_inner_products:
            rows = Directions(kernel.augment(T, bandwidth, xp), xp)
            pairs = inner_gradients(kernel, rows, rows, bandwidth, xp)
            self._K, W, self._D = pairs
            self.diagonal, own = self_pairs(kernel, rows, bandwidth, xp)
            self._W = W * (1 - eye) + eye * own
            return
        u = backend.distance_powers(kernel, T)
        self._K = kernel.value(u, bandwidth, xp)
        self._W = kernel.slope(u, self._K, bandwidth, xp) * (1 - eye)
        self.diagonal = xp.ones(n, dtype=T.dtype, device=backend.device)

    def refill(self):
        """Nothing to do: K is kept."""

    def _with_ridge(self, ridge):
        xp = self._backend.xp
        eye = xp.eye(self._K.shape[0], dtype=self._K.dtype, device=self._backend.device)
        return self._K * (1 - eye) + eye * (self.diagonal + ridge)

    def factorize(self, ridge):
        """Keep K + diag(ridge), after a check that it is positive definite."""
        self._matrix = self._with_ridge(ridge)
        try:
            factor = self._backend.xp.linalg.cholesky(self._matrix)
        except Exception as error:  # each library raises its own type
            raise NotPositiveDefiniteError(0) from error
        if not bool(self._backend.xp.all(self._backend.xp.isfinite(factor))):
            raise NotPositiveDefiniteError(0)

    def solve(self, B):
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        return self._backend.xp.linalg.solve(self._matrix, B)

    def inverse_diagonal(self):
        """Return the diagonal of the inverse."""
        xp = self._backend.xp
        return xp.linalg.diagonal(xp.linalg.inv(self._matrix))

    def eigh(self, ridge):
        """Eigenvalues and eigenvectors of K + diag(ridge)."""
        return tuple(self._backend.xp.linalg.eigh(self._with_ridge(ridge)))

    def slope_product(self, V):
        """Return W @ V."""
        return self._W @ V

    def slope_rows_product(self, rows, V):
        """Return W[rows] @ V."""
        return self._backend.take(self._W, rows) @ V

    def radial_product(self, rows, V):
        """Return D[rows] @ V, for a kernel of inner products."""
        return self._backend.take(self._D, rows) @ V

    def coordinate_gradients(self, rows, coef):
        """Yield (positions, gradients): the (b, c, d) gradients of blocks of rows."""
        xp, p = self._backend.xp, self.kernel.norm_order
        n, d = self.T.shape
        step = max(1, _BLOCK // (n * d))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            t = self._backend.take(self.T, block)
            delta = t[:, None, :] - self.T[None, :, :]
            power = xp.sign(delta) * xp.abs(delta) ** (p - 1)
            slope = self._backend.take(self._W, block)
            weighted = slope[:, None, :] * xp.permute_dims(coef, (1, 0))[None, :, :]
            yield slice(start, start + len(block)), xp.matmul(weighted, power)


class ArrayAPIBackend:
    """Any array API library, without compiled kernels.

    Levels of categories (`widths`) are columns as all others here.
    """

    #: whether iterative solvers run on it
    iterates = False

    def __init__(self, xp, device=None):
        self.xp, self.device = xp, device

    def asarray(self, a, dtype=None):
        """Return `a` as an array of this backend."""
        out = move_to(a, xp=self.xp, device=self.device)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a):
        """Return `a` as a NumPy array."""
        return move_to(a, xp=np, device="cpu")

    def take(self, a, rows):
        """Return the rows of `a` at the NumPy indices `rows`."""
        rows = self.xp.asarray(np.asarray(rows), device=self.device)
        return self.xp.take(a, rows, axis=0)

    def rows(self, a):
        """Return `a` in the layout that the other methods read fastest."""
        return a

    def gram(self, kernel, T, bandwidth, spent=None, widths=()):
        """Return the Gram object of the rows of T; a `spent` one is of no use."""
        return DenseGram(self, kernel, T, bandwidth)

    def _pair_powers(self, kernel, T, Z):
        xp, p = self.xp, kernel.norm_order
        step = max(1, _BLOCK // max(1, Z.shape[0] * Z.shape[1]))
        blocks = []
        for start in range(0, T.shape[0], step):
            stop = min(start + step, T.shape[0])
            delta = T[start:stop, None, :] - Z[None, :, :]
            blocks.append(xp.sum(xp.abs(delta) ** p, axis=-1))
        return xp.concat(blocks, axis=0)

    def distance_powers(self, kernel, T, widths=()):
        """Return ‖t_i − t_j‖_p^p of all pairs of rows."""
        return self._pair_powers(kernel, T, T)

    def cross(self, kernel, T, Z, bandwidth, widths=()):
        """Return the kernel matrix between the rows of T and of Z."""
        if kernel.of_inner_products:
            augmented = (kernel.augment(A, bandwidth, self.xp) for A in (T, Z))
            pairs = (Directions(rows, self.xp) for rows in augmented)
            return kernel.of_angles(*gaps(*pairs, self.xp), self.xp)
        return kernel.value(self._pair_powers(kernel, T, Z), bandwidth, self.xp)

    def self_values(self, kernel, T, bandwidth):
        """Return the kernel of each row of T with itself."""
        return self_values(kernel, T, bandwidth, self.xp)

    def cross_dot(self, kernel, T, Z, bandwidth, A, widths=()):
        """Return cross(T, Z) @ A."""
        return self.cross(kernel, T, Z, bandwidth) @ A
