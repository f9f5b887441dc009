"""Blocks of pairs of rows in array code: distances, kernel values and slopes."""

from copy import copy

from ._angles import Directions, gaps, inner_gradients


class DistancePairs:
    """Pairs (rows of T, rows of Z) of a kernel of a distance."""

    def __init__(self, kernel, T, Z, bandwidth, backend):
        self.kernel, self.bandwidth, self._backend = kernel, bandwidth, backend
        self.T, self.Z = T, Z
        if not kernel.coordinatewise:
            self._t_norms = backend.xp.sum(T * T, axis=1)
            self._z_norms = backend.xp.sum(Z * Z, axis=1)

    def of_rows(self, rows):
        """Return the pairs of some rows of T, by their NumPy indices."""
        other, take = copy(self), self._backend.take
        other.T = take(self.T, rows)
        if not self.kernel.coordinatewise:
            other._t_norms = take(self._t_norms, rows)
        return other

    def powers(self, i, j):
        """‖t − z‖_p^p of two slices of rows."""
        t, z = self.T[i, :], self.Z[j, :]
        if self.kernel.coordinatewise:
            return self._backend.power_sums(t, z, self.kernel.norm_order)
        norms = self._t_norms[i], self._z_norms[j]
        return self._backend.square_distances(t, z, *norms)

    def values(self, i, j):
        """Kernel values of two slices of rows."""
        return self._backend.values(self.kernel, self.powers(i, j), self.bandwidth)

    def both(self, i, j, powers=None):
        """Kernel values and slopes of two slices of rows.

        `powers` are the distance powers of all pairs, if they are there.
        """
        if powers is None:
            u = self.powers(i, j)
        else:
            u = self._backend.xp.asarray(powers[i, j], copy=True)
        return self._backend.both(self.kernel, u, self.bandwidth)

    def slopes(self, i, j):
        """Slopes of two slices of rows."""
        return self.both(i, j)[1]


class AnglePairs:
    """The same for kernels of inner products."""

    def __init__(self, kernel, T, Z, bandwidth, backend):
        self.kernel, self.bandwidth, self._backend = kernel, bandwidth, backend
        xp = backend.xp
        self.t = Directions(kernel.augment(T, bandwidth, xp), xp)
        self._z = self.t if Z is T else Directions(kernel.augment(Z, bandwidth, xp), xp)

    def of_rows(self, rows):
        """Return the pairs of some rows of T, by their NumPy indices."""
        other, take = copy(self), self._backend.take
        other.t = copy(self.t)
        other.t.squares = take(self.t.squares, rows)
        other.t.units = take(self.t.units, rows)
        return other

    def values(self, i, j):
        """Kernel values of two slices of rows."""
        xp = self._backend.xp
        return self.kernel.of_angles(*gaps(self.t.part(i), self._z.part(j), xp), xp)

    def gradients(self, i, j):
        """(values, W, D) of two slices of rows: ∇_t k(t, z) = D t − W z."""
        t, z, xp = self.t.part(i), self._z.part(j), self._backend.xp
        return inner_gradients(self.kernel, t, z, self.bandwidth, xp)

    def both(self, i, j, powers=None):
        """Kernel values and W of two slices of rows."""
        return self.gradients(i, j)[:2]

    def slopes(self, i, j):
        """W of two slices of rows."""
        return self.gradients(i, j)[1]


def pairs_of(kernel, T, Z, bandwidth, backend):
    """Return the pairs of a kernel."""
    kind = AnglePairs if kernel.of_inner_products else DistancePairs
    return kind(kernel, T, Z, bandwidth, backend)
