"""Blocks of pairs of rows in array code: distances, kernel values and slopes.

The counterpart of `_tiles` for other libraries than NumPy. Blocks are given by a slice
of the rows of T and one of the rows of Z.
"""

from copy import copy
from typing import Any

from ._angles import Directions, gaps, inner_gradients


class DistancePairs:
    """Pairs (rows of T, rows of Z) of a kernel of a distance.

    Parameters
    ----------
    kernel : Kernel
    T : array of shape (m, k)
    Z : array of shape (n, k)
    bandwidth : float or None
        Not needed for distances.
    backend : ArrayAPIBackend
    """

    def __init__(self, kernel, T, Z, bandwidth, backend):
        self.kernel, self.bandwidth, self._backend = kernel, bandwidth, backend
        self.T, self.Z = T, Z
        if not kernel.coordinatewise:
            self._t_squares = backend.xp.sum(T * T, axis=1)
            self._z_squares = backend.xp.sum(Z * Z, axis=1)

    def take(self, rows):
        """Return the pairs of the rows of T at some NumPy indices."""
        taken, backend = copy(self), self._backend
        taken.T = backend.take(self.T, rows)
        if not self.kernel.coordinatewise:
            taken._t_squares = backend.take(self._t_squares, rows)
        return taken

    def powers(self, i, j):
        """Return the distance powers ‖t − z‖_p^p of two slices of rows."""
        t, z = self.T[i, :], self.Z[j, :]
        if self.kernel.coordinatewise:
            return self._backend.power_sums(t, z, self.kernel.norm_order)
        t_squares, z_squares = self._t_squares[i], self._z_squares[j]
        return self._backend.squared_distances(t, z, t_squares, z_squares)

    def values(self, i, j):
        """Return the kernel values of two slices of rows."""
        u = self.powers(i, j)
        return self._backend.kernel_values(self.kernel, u, self.bandwidth)

    def values_and_slopes(self, i, j, powers=None):
        """Return the kernel values and the slopes of two slices of rows.

        `powers`, if given, are the distance powers of all pairs.
        """
        if powers is None:
            u = self.powers(i, j)
        else:
            u = self._backend.xp.asarray(powers[i, j], copy=True)
        return self._backend.kernel_values_and_slopes(self.kernel, u, self.bandwidth)

    def slopes(self, i, j):
        """Return the slopes of two slices of rows."""
        return self.values_and_slopes(i, j)[1]


class AnglePairs:
    """Pairs (rows of T, rows of Z) of a kernel of inner products.

    Parameters
    ----------
    kernel : InnerProductKernel
    T : array of shape (m, k)
    Z : array of shape (n, k)
    bandwidth : float
    backend : ArrayAPIBackend

    Attributes
    ----------
    t : Directions
        The augmented rows of T.
    """

    def __init__(self, kernel, T, Z, bandwidth, backend):
        self.kernel, self.bandwidth, self._backend = kernel, bandwidth, backend
        xp = backend.xp
        self.t = Directions(kernel.augment(T, bandwidth, xp), xp)
        self._z = self.t if Z is T else Directions(kernel.augment(Z, bandwidth, xp), xp)

    def take(self, rows):
        """Return the pairs of the rows of T at some NumPy indices."""
        taken, backend = copy(self), self._backend
        taken.t = copy(self.t)
        taken.t.squares = backend.take(self.t.squares, rows)
        taken.t.units = backend.take(self.t.units, rows)
        return taken

    def values(self, i, j):
        """Return the kernel values of two slices of rows."""
        xp = self._backend.xp
        om, op, a, c = gaps(self.t.take(i), self._z.take(j), xp)
        return self.kernel.of_angles(om, op, a, c, xp)

    def gradients(self, i, j):
        """Return (values, W, D) of two slices of rows: ∇_t k(t, z) = D t − W z."""
        t, z, xp = self.t.take(i), self._z.take(j), self._backend.xp
        return inner_gradients(self.kernel, t, z, self.bandwidth, xp)

    def values_and_slopes(self, i, j, powers=None):
        """Return the kernel values and W of two slices of rows."""
        values, W, _ = self.gradients(i, j)
        return values, W

    def slopes(self, i, j):
        """Return W of two slices of rows."""
        return self.gradients(i, j)[1]


def pairs_of(kernel, T, Z, bandwidth, backend) -> Any:
    """Return the pairs of a kernel, of a distance or of inner products."""
    kind = AnglePairs if kernel.of_inner_products else DistancePairs
    return kind(kernel, T, Z, bandwidth, backend)
