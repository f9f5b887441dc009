"""Tiles of pairs of rows: distances, kernel values and slopes, computed in cache."""

from copy import copy
from itertools import pairwise

import numpy as np

from .. import _jit
from ._angles import Directions, gaps, inner_gradients
from ._levels import Levels

#: rows and columns of a tile
TILE = 256
# pairs nearer than this share of ‖t‖² + ‖z‖² get their distance from differences:
# the GEMM form keeps about eps / share of relative accuracy
NEARNESS = {32: 1e-2, 64: 1e-4}  # by the bits of the numbers


def cuts(n, tile=TILE):
    """Return the (start, stop) pairs that cut n rows into tiles."""
    edges = [*range(0, n, tile), n]
    return list(pairwise(edges))


def lower_strips(n):
    """Return the edges of strips of the lower triangle, the longest strips first."""
    return cuts(n, max(32, min(TILE, n // 8)))[::-1]


class PairTiles:
    """Distance powers and kernel values of tiles of pairs (rows of T, rows of Z).

    `category_sizes` are the numbers of levels of categories in the last columns, which
    are looked up.
    """

    def __init__(self, kernel, T, Z, bandwidth=None, category_sizes=()):
        self.kernel, self.bandwidth = kernel, bandwidth
        self.dtype = T.dtype.type
        self.p = self.dtype(kernel.norm_order)
        (T, self.t_levels), (Z, self.z_levels) = self._part(T, Z, category_sizes)
        self.T, self.Z = T, Z
        if not kernel.coordinatewise:
            self.t_norms = np.einsum("ij,ij->i", T, T)
            self.z_norms = self.t_norms if Z is T else np.einsum("ij,ij->i", Z, Z)
            self.nearness = self.dtype(NEARNESS[8 * T.dtype.itemsize])
        else:
            self.columns = np.ascontiguousarray(Z.T)
        profile = kernel.profile(bandwidth) if bandwidth is not None else None
        self.profile = profile and tuple(self.dtype(value) for value in profile)

    def _part(self, T, Z, category_sizes):
        """Return both as (columns of numbers, Levels or None)."""
        if not category_sizes:
            return (T, None), (Z, None)
        dense = T.shape[1] - sum(category_sizes)
        parts = [
            (
                np.ascontiguousarray(rows[:, :dense]),
                Levels(rows[:, dense:], category_sizes, self.p),
            )
            for rows in ([T] if Z is T else [T, Z])
        ]
        return parts[0], parts[-1]

    def distance_powers(self, i0, i1, j0, j1):
        """‖t_i − z_j‖_p^p of one tile."""
        out = self._dense_powers(i0, i1, j0, j1)
        if self.t_levels is not None:
            self.t_levels.add_distances(self.z_levels, i0, i1, j0, out)
        return out

    def _dense_powers(self, i0, i1, j0, j1):
        if self.kernel.coordinatewise:
            out = np.empty((i1 - i0, j1 - j0), dtype=self.T.dtype)
            _jit.power_sums(self.T[i0:i1], self.columns, j0, self.p, out)
            return out
        t, z = self.T[i0:i1], self.Z[j0:j1]
        out = t @ z.T
        norms = self.t_norms[i0:i1], self.z_norms[j0:j1]
        _jit.square_distances(out, t, z, *norms, self.nearness)
        return out

    def of_rows(self, rows):
        """Return the tiles of some of the rows of T."""
        other = copy(self)
        other.T = self.T[rows]
        if not self.kernel.coordinatewise:
            other.t_norms = self.t_norms[rows]
        if self.t_levels is not None:
            other.t_levels = self.t_levels.part(rows)
        return other

    def slopes(self, i0, i1, j0, j1):
        """Slopes of one tile."""
        u = self.distance_powers(i0, i1, j0, j1)
        if self.profile is None:
            k = self.kernel.value(u, self.bandwidth, np)
            return self.kernel.slope(u, k, self.bandwidth, np)
        _jit.slopes_of_powers(u, self.profile)
        return u

    def values(self, i0, i1, j0, j1):
        """Kernel values of one tile."""
        u = self.distance_powers(i0, i1, j0, j1)
        if self.profile is None:
            return self.kernel.value(u, self.bandwidth, np)
        _jit.value_tile(u, self.profile)
        return u

    def pack(self, packed, i0, i1, j0, j1, powers=None):
        """Write one tile's values below and slopes above the diagonal.

        `powers` are the distance powers of all pairs, if they are there.
        """
        if powers is None:
            u = self.distance_powers(i0, i1, j0, j1)
        else:
            u = np.ascontiguousarray(powers[i0:i1, j0:j1])
        if self.profile is None:
            k = self.kernel.value(u, self.bandwidth, np)
            w = self.kernel.slope(u, k, self.bandwidth, np)
            _jit.pack_values(k, packed, i0, j0, False)
            _jit.pack_values(w, packed, i0, j0, True)
            return
        _jit.pack_tile(u, self.profile, packed, i0, j0, np.empty_like(u))


class AnglePairTiles(PairTiles):
    """The same for kernels of inner products."""

    def __init__(self, kernel, T, Z, bandwidth):
        super().__init__(kernel, T, Z)
        self.bandwidth = bandwidth
        self.t = Directions(kernel.augment(T, bandwidth, np), np)
        self.z = self.t if Z is T else Directions(kernel.augment(Z, bandwidth, np), np)
        self.network = kernel.network()

    def of_rows(self, rows):
        """Return the tiles of some of the rows of T."""
        other = copy(self)
        other.t = self.t.part(rows)
        return other

    def _of(self, i0, i1, j0, j1):
        return self.t.part(slice(i0, i1)), self.z.part(slice(j0, j1))

    def _cosines(self, t, z):
        """Return a tile of cosines, and what compiled code takes beside it."""
        units = t.units, np.ascontiguousarray(z.units)
        return t.units @ z.units.T, (*units, t.squares, z.squares, self.network)

    def values(self, i0, i1, j0, j1):
        """Kernel values of one tile."""
        t, z = self._of(i0, i1, j0, j1)
        if self.network is None:
            return self.kernel.of_angles(*gaps(t, z, np), np)
        k, rest = self._cosines(t, z)
        _jit.network_values(k, *rest)
        return k

    def gradients(self, i0, i1, j0, j1):
        """(values, W, D) of one tile: ∇_t k(t, z) = D t − W z."""
        t, z = self._of(i0, i1, j0, j1)
        if self.network is None:
            return inner_gradients(self.kernel, t, z, self.bandwidth, np)
        k, rest = self._cosines(t, z)
        W, D = np.empty_like(k), np.empty_like(k)
        _jit.network_gradients(k, *rest, float(self.bandwidth) ** -2, W, D)
        return k, W, D

    def pack(self, packed, i0, i1, j0, j1, powers=None):
        """Write one tile's values below and slopes W above the diagonal."""
        k, w, _ = self.gradients(i0, i1, j0, j1)
        _jit.pack_values(k, packed, i0, j0, False)
        _jit.pack_values(w, packed, i0, j0, True)


def pair_tiles(kernel, T, Z, bandwidth, category_sizes=()):
    """Return the tiles of a kernel."""
    if kernel.of_inner_products:
        return AnglePairTiles(kernel, T, Z, bandwidth)
    return PairTiles(kernel, T, Z, bandwidth, category_sizes)
