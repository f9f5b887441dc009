"""Tiles of pairs of rows: distances, kernel values and slopes, computed in cache."""

from itertools import pairwise

import numpy as np

from .. import _jit

#: rows and columns of a tile
TILE = 256
# pairs nearer than this share of ‖t‖² + ‖z‖² get their distance from differences:
# the GEMM form keeps about eps / share of relative accuracy
_NEARNESS = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-4}


def cuts(n, tile=TILE):
    """Return the (start, stop) pairs that cut n rows into tiles."""
    edges = [*range(0, n, tile), n]
    return list(pairwise(edges))


class PairTiles:
    """Distance powers and kernel values of tiles of pairs (rows of T, rows of Z)."""

    def __init__(self, kernel, T, Z, bandwidth=None):
        self.kernel, self.T, self.Z, self.bandwidth = kernel, T, Z, bandwidth
        self.dtype = T.dtype.type
        self.p = self.dtype(kernel.norm_order)
        if not kernel.coordinatewise:
            self.t_norms = np.einsum("ij,ij->i", T, T)
            self.z_norms = self.t_norms if Z is T else np.einsum("ij,ij->i", Z, Z)
            self.nearness = self.dtype(_NEARNESS[T.dtype])
        else:
            self.columns = np.ascontiguousarray(Z.T)
        profile = kernel.profile(bandwidth) if bandwidth is not None else None
        self.profile = profile and tuple(self.dtype(value) for value in profile)

    def distance_powers(self, i0, i1, j0, j1):
        """‖t_i − z_j‖_p^p of one tile."""
        if self.kernel.coordinatewise:
            out = np.empty((i1 - i0, j1 - j0), dtype=self.T.dtype)
            _jit.power_sums(self.T[i0:i1], self.columns, j0, self.p, out)
            return out
        t, z = self.T[i0:i1], self.Z[j0:j1]
        out = t @ z.T
        norms = self.t_norms[i0:i1], self.z_norms[j0:j1]
        _jit.square_distances(out, t, z, *norms, self.nearness)
        return out

    def values(self, i0, i1, j0, j1):
        """Kernel values of one tile."""
        u = self.distance_powers(i0, i1, j0, j1)
        if self.profile is None:
            return self.kernel.value(u, self.bandwidth, np)
        _jit.value_tile(u, self.profile)
        return u

    def pack(self, packed, i0, i1, j0, j1):
        """Write one tile's values below and slopes above the diagonal."""
        u = self.distance_powers(i0, i1, j0, j1)
        if self.profile is None:
            k = self.kernel.value(u, self.bandwidth, np)
            w = self.kernel.slope(u, k, self.bandwidth, np)
            _jit.pack_values(k, packed, i0, j0, False)
            _jit.pack_values(w, packed, i0, j0, True)
            return
        _jit.pack_tile(u, self.profile, packed, i0, j0, np.empty_like(u))
