"""Tiles of pairs of rows: distances, kernel values and slopes, computed in the cache.

A tile is the part of the matrix of all pairs (rows of T, rows of Z) in rows i0 to i1
and columns j0 to j1. Distance powers are ‖t − z‖_p^p; slopes w are the factors in
∇_t k(t, z) = w |t − z|^(p−1) sign(t − z).
"""

from copy import copy
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from .. import _jit
from ._angles import Directions, gaps, inner_gradients
from ._levels import Levels
from ._types import BoolArray

# Rows and columns of a tile: its distances stay in the cache until they are values.
TILE = 256
# The lower triangle has at least this number of blocks, for threads to share, unless
# they would have fewer than this number of rows.
_FEWEST_BLOCKS, _FEWEST_ROWS = 8, 32
# Pairs nearer than this share of ‖t‖² + ‖z‖² get their distance from differences:
# inner products leave a relative accuracy of about eps / share. By bits of a number.
NEARNESS = {32: 1e-2, 64: 1e-4}


def block_ranges(stop, size=TILE, start=0):
    """Return (first, last + 1) of the blocks of `size` that divide start … stop."""
    return list(pairwise([*range(start, stop, size), stop]))


def lower_triangle_ranges(n_rows):
    """Return the ranges of blocks of rows of the lower triangle.

    The last rows, which are the longest, come first, so that threads end together.
    """
    size = max(_FEWEST_ROWS, min(TILE, n_rows // _FEWEST_BLOCKS))
    return block_ranges(n_rows, size)[::-1]


# Fits to few rows ask for the same few masks in each round. One of the largest tile
# has 64 KiB, and one of the rows that a median distance takes 250.
@lru_cache(maxsize=16)
def lower_mask(rows: int, columns: int, diagonal: int = -1) -> BoolArray:
    """Return the mask of what lies on some diagonal and below it, not to be written."""
    mask = np.tri(rows, columns, diagonal, dtype=bool)
    mask.flags.writeable = False
    return mask


def _power(profile):
    """Return None for an exponent that needs no logarithm, else the exponent."""
    _, exponent, _, floor = profile
    plain = exponent == 1 or (exponent == 0.5 and floor == 0)
    return None if plain else exponent


def _pack(k, w, packed, i0, j0):
    """Write a tile of values below, and of slopes above the diagonal of a buffer.

    The tile starts at row i0 and column j0 <= i0; its pairs (i, j) with j >= i are left
    out.
    """
    rows, columns = k.shape
    below = packed[i0 : i0 + rows, j0 : j0 + columns]
    above = packed[j0 : j0 + columns, i0 : i0 + rows]
    if j0 + columns <= i0:
        below[:], above[:] = k, w.T
    else:
        mask = lower_mask(rows, columns, i0 - j0 - 1)
        np.copyto(below, k, where=mask)
        np.copyto(above, w.T, where=mask.T)


class PairTiles:
    """Tiles of distance powers, kernel values and slopes of a kernel of a distance.

    Parameters
    ----------
    kernel : Kernel
    T : ndarray of shape (m, k)
    Z : ndarray of shape (n, k)
    bandwidth : float, default=None
        Not needed for distances.
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns, which are looked up.

    Attributes
    ----------
    T : ndarray of shape (m, n_dense)
        Columns that are not looked up.
    t_levels, z_levels : Levels or None
        The others.
    columns : ndarray of shape (n_dense, n)
        Z transposed, for coordinatewise kernels.
    p : float
        Order of the norm, in the precision of T.
    order : float or None
        The same for compiled code, where None stands for 1.
    """

    def __init__(self, kernel, T, Z, bandwidth=None, category_sizes=()):
        self.kernel, self.bandwidth = kernel, bandwidth
        dtype = T.dtype.type
        self.p = dtype(kernel.norm_order)
        self.order = None if self.p == 1 else self.p
        self.T, self.t_levels = self._split_levels(T, category_sizes)
        if Z is T:
            self.Z, self.z_levels = self.T, self.t_levels
        else:
            self.Z, self.z_levels = self._split_levels(Z, category_sizes)
        if kernel.coordinatewise:
            self.columns = np.ascontiguousarray(self.Z.T)
        else:
            self._t_squares = np.einsum("ij,ij->i", self.T, self.T)
            self._z_squares = self._t_squares
            if Z is not T:
                self._z_squares = np.einsum("ij,ij->i", self.Z, self.Z)
            self._nearness = dtype(NEARNESS[8 * T.dtype.itemsize])
        profile = None if bandwidth is None else kernel.profile(bandwidth)
        self._profile = None if profile is None else tuple(map(dtype, profile))
        self._power = None if profile is None else _power(self._profile)

    def _split_levels(self, rows, category_sizes):
        """Return the columns that are not looked up, and the Levels of the others."""
        if not category_sizes:
            return rows, None
        n_dense = rows.shape[1] - sum(category_sizes)
        dense = np.ascontiguousarray(rows[:, :n_dense])
        return dense, Levels(rows[:, n_dense:], category_sizes, self.p)

    def distance_powers(self, i0, i1, j0, j1):
        """Return the distance powers of one tile."""
        if self.kernel.coordinatewise:
            out = np.empty((i1 - i0, j1 - j0), dtype=self.T.dtype)
            _jit.power_sums(self.T[i0:i1], self.columns, j0, self.order, out)
        else:
            t, z = self.T[i0:i1], self.Z[j0:j1]
            t_squares, z_squares = self._t_squares[i0:i1], self._z_squares[j0:j1]
            out = t @ z.T
            _jit.squared_distances(out, t, z, t_squares, z_squares, self._nearness)
        if self.t_levels is not None:
            self.t_levels.add_distances(self.z_levels, i0, i1, j0, out)
        return out

    def take(self, rows):
        """Return the tiles of some of the rows of T."""
        taken = copy(self)
        taken.T = self.T[rows]
        if not self.kernel.coordinatewise:
            taken._t_squares = self._t_squares[rows]
        if self.t_levels is not None:
            taken.t_levels = self.t_levels.take(rows)
        return taken

    def slopes(self, i0, i1, j0, j1):
        """Return the slopes of one tile."""
        u = self.distance_powers(i0, i1, j0, j1)
        if self._profile is None:
            k = self.kernel.value(u, self.bandwidth, np)
            return self.kernel.slope(u, k, self.bandwidth, np)
        w = np.empty_like(u)
        _jit.values_and_slopes(u.reshape(-1), self._profile, self._power, w.reshape(-1))
        return w

    def values(self, i0, i1, j0, j1):
        """Return the kernel values of one tile."""
        u = self.distance_powers(i0, i1, j0, j1)
        if self._profile is None:
            return self.kernel.value(u, self.bandwidth, np)
        _jit.values_of_powers(u.reshape(-1), self._profile, self._power)
        return u

    def pack_rows(self, packed, powers, rows):
        """Write values below and slopes above the diagonal of a square buffer.

        Parameters
        ----------
        packed : ndarray of shape (n, n)
            The buffer, for T = Z.
        powers : ndarray of shape (n, n) or None
            Distance powers of all pairs, if they are computed already.
        rows : tuple of int
            Range of the rows i; the pairs are (i, j) with j < i.
        """
        i0, i1 = rows
        for j0, j1 in block_ranges(i1):
            if powers is None:
                u = self.distance_powers(i0, i1, j0, j1)
            else:
                u = powers[i0:i1, j0:j1].copy()  # it is changed in place
            if self._profile is not None:
                k, w = u, np.empty_like(u)
                _jit.values_and_slopes(
                    k.reshape(-1), self._profile, self._power, w.reshape(-1)
                )
            else:
                k = self.kernel.value(u, self.bandwidth, np)
                w = self.kernel.slope(u, k, self.bandwidth, np)
            _pack(k, w, packed, i0, j0)


class AnglePairTiles(PairTiles):
    """Tiles of kernel values and gradients of a kernel of inner products.

    Parameters
    ----------
    kernel : InnerProductKernel
    T : ndarray of shape (m, k)
    Z : ndarray of shape (n, k)
    bandwidth : float

    Attributes
    ----------
    t, z : Directions
        The augmented rows of T and of Z.
    network : tuple or None
        Parameters for compiled code; without them the kernel's array code runs.
    """

    def __init__(self, kernel, T, Z, bandwidth):
        super().__init__(kernel, T, Z)
        self.bandwidth = bandwidth
        self.t = Directions(kernel.augment(T, bandwidth, np), np)
        self.z = self.t if Z is T else Directions(kernel.augment(Z, bandwidth, np), np)
        self.network = kernel.network()

    def take(self, rows):
        """Return the tiles of some of the rows of T."""
        taken = copy(self)
        taken.t = self.t.take(rows)
        return taken

    def values(self, i0, i1, j0, j1):
        """Return the kernel values of one tile."""
        t, z = self.t.take(slice(i0, i1)), self.z.take(slice(j0, j1))
        if self.network is None:
            om, op, a, c = gaps(t, z, np)
            return self.kernel.of_angles(om, op, a, c, np)
        k = t.units @ z.units.T
        v = np.ascontiguousarray(z.units)
        _jit.network_values(k, t.units, v, t.squares, z.squares, self.network)
        return k

    def gradients(self, i0, i1, j0, j1):
        """Return (values, W, D) of one tile: ∇_t k(t, z) = D t − W z."""
        t, z = self.t.take(slice(i0, i1)), self.z.take(slice(j0, j1))
        if self.network is None:
            return inner_gradients(self.kernel, t, z, self.bandwidth, np)
        k = t.units @ z.units.T
        W, D = np.empty_like(k), np.empty_like(k)
        v = np.ascontiguousarray(z.units)
        scale = float(self.bandwidth) ** -2
        _jit.network_gradients(
            k, t.units, v, t.squares, z.squares, self.network, scale, W, D
        )
        return k, W, D

    def pack_rows(self, packed, powers, rows):
        """Write values below and slopes W above the diagonal of a square buffer."""
        i0, i1 = rows
        for j0, j1 in block_ranges(i1):
            k, w, _ = self.gradients(i0, i1, j0, j1)
            _pack(k, w, packed, i0, j0)


def pair_tiles(kernel, T, Z, bandwidth, category_sizes=()) -> Any:
    """Return the tiles of a kernel, of a distance or of inner products."""
    if kernel.of_inner_products:
        return AnglePairTiles(kernel, T, Z, bandwidth)
    return PairTiles(kernel, T, Z, bandwidth, category_sizes)
