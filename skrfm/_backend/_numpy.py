"""The NumPy backend: BLAS and LAPACK for the algebra, Numba for what is fused.

The kernel matrix K and the matrix of its slopes W are both symmetric, so one
square buffer holds them: K below the diagonal, W above it. The Cholesky factor
and its inverse overwrite K in place and leave W for the AGOP: a whole fit takes
one n × n buffer.
"""

from itertools import pairwise

import numpy as np
from scipy.linalg import blas, eigh, lapack

from .. import _jit
from ..exceptions import NotPositiveDefiniteError
from ._memory import require_memory
from ._threads import for_each, thread_count

_TILE = 256
# pairs nearer than this share of ‖t‖² + ‖z‖² get their distance from differences:
# the GEMM form keeps about eps / share of relative accuracy
_NEARNESS = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-4}


def _edges(n, tile=_TILE):
    return [*range(0, n, tile), n]


def _square_norms(T):
    return np.einsum("ij,ij->i", T, T)


class _PairTiles:
    """Distance powers and kernel values of tiles of pairs (rows of T, rows of Z)."""

    def __init__(self, kernel, T, Z, bandwidth=None):
        self.kernel, self.T, self.Z, self.bandwidth = kernel, T, Z, bandwidth
        self.dtype = T.dtype.type
        self.p = self.dtype(kernel.norm_order)
        if self.p == 2:
            self.t_norms = _square_norms(T)
            self.z_norms = self.t_norms if Z is T else _square_norms(Z)
            self.nearness = self.dtype(_NEARNESS[T.dtype])
        else:
            self.columns = np.ascontiguousarray(Z.T)
        profile = kernel.profile(bandwidth) if bandwidth is not None else None
        self.profile = profile and tuple(self.dtype(value) for value in profile)

    def distance_powers(self, i0, i1, j0, j1):
        """‖t_i − z_j‖_p^p of one tile."""
        if self.p != 2:
            out = np.empty((i1 - i0, j1 - j0), dtype=self.T.dtype)
            _jit.power_sums(self.T[i0:i1], self.columns[:, j0:j1], self.p, out)
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
        _jit.profile_tile(u, self.profile, np.empty(j1 - j0, dtype=u.dtype))
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
        row = np.empty(j1 - j0, dtype=u.dtype)
        _jit.pack_tile(u, self.profile, packed, i0, j0, row, np.empty_like(u))


class PackedGram:
    """K and its slopes W on one set of rows, in one square buffer.

    `factorize` turns the lower triangle into the Cholesky factor of
    K + diag(ridge), `inverse_diagonal` into its inverse; `refill` makes K anew.
    """

    def __init__(self, kernel, T, bandwidth, spent=None):
        n = T.shape[0]
        self.T = T
        self.kernel = kernel
        self._tiles = _PairTiles(kernel, T, T, bandwidth)
        if spent is not None and spent._packed.shape == (n, n):
            self._packed = spent._packed
        else:
            require_memory(n, T.dtype.itemsize)
            self._packed = np.empty((n, n), dtype=T.dtype)
        self.diagonal = np.ones(n, dtype=T.dtype)
        self.refill()

    def refill(self):
        """Compute K and W; whatever overwrote K is gone."""
        n = self.T.shape[0]
        rows = list(pairwise(_edges(n, max(32, min(_TILE, n // 8)))))

        def strip(row):
            i0, i1 = row
            for j0, j1 in pairwise(_edges(i1)):
                self._tiles.pack(self._packed, i0, i1, j0, j1)

        for_each(strip, rows[::-1])  # the longest strips first

    def factorize(self, ridge):
        """Cholesky of K + diag(ridge), in the place of K."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        (potrf,) = lapack.get_lapack_funcs(("potrf",), (self._packed,))
        _, info = potrf(self._packed.T, lower=False, overwrite_a=True, clean=False)
        if info > 0:
            raise NotPositiveDefiniteError(info - 1)

    def solve(self, B):
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        (potrs,) = lapack.get_lapack_funcs(("potrs",), (self._packed,))
        B = np.asfortranarray(B, dtype=self._packed.dtype)
        return potrs(self._packed.T, B, lower=False)[0]

    def inverse_diagonal(self):
        """Return the diagonal of the inverse; the factor is overwritten."""
        (trtri,) = lapack.get_lapack_funcs(("trtri",), (self._packed,))
        trtri(self._packed.T, lower=False, overwrite_c=True)
        n = self._packed.shape[0]
        out = np.zeros(n)
        _jit.inverse_square_sums(self._packed, 0, n, out)
        return out.astype(self._packed.dtype)

    def eigh(self, ridge):
        """Eigenvalues and eigenvectors of K + diag(ridge); K stays as it is."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        return eigh(self._packed.T, lower=False)

    def slope_product(self, V):
        """Return W @ V."""
        np.fill_diagonal(self._packed, 0)
        (symm,) = blas.get_blas_funcs(("symm",), (self._packed,))
        return symm(1, self._packed.T, np.asfortranarray(V), lower=True)

    def slope_rows_product(self, rows, V):
        """Return W[rows] @ V."""
        n = self._packed.shape[0]
        V = np.ascontiguousarray(V)
        out = np.empty((len(rows), V.shape[1]), dtype=V.dtype)

        def strip(edge):
            i0, i1 = edge
            W = np.empty((i1 - i0, n), dtype=V.dtype)
            _jit.slope_tile(self._packed, rows[i0:i1], 0, W)
            np.dot(W, V, out=out[i0:i1])

        for_each(strip, list(pairwise(_edges(len(rows)))))
        return out

    def coordinate_gradients(self, rows, coef):
        """Yield (positions, gradients): the (b, c, d) gradients of blocks of rows."""
        columns = self._tiles.columns
        n, d = self.T.shape
        coef = np.ascontiguousarray(coef.T)

        def strip(edge):
            block = rows[edge[0] : edge[1]]
            gradients = np.zeros((len(block), coef.shape[0], d), dtype=self.T.dtype)
            W = np.empty((len(block), _TILE), dtype=self.T.dtype)
            t = self.T[block]
            for j0, j1 in pairwise(_edges(n)):
                slope = W[:, : j1 - j0]
                _jit.slope_tile(self._packed, block, j0, slope)
                _jit.coordinate_gradients(
                    t,
                    columns[:, j0:j1],
                    slope,
                    coef[:, j0:j1],
                    self._tiles.p,
                    gradients,
                )
            return slice(*edge), gradients

        edges = list(pairwise(_edges(len(rows), 64)))
        batch = 4 * thread_count()
        for start in range(0, len(edges), batch):
            yield from for_each(strip, edges[start : start + batch])


class NumpyBackend:
    """Arrays in memory, computed by BLAS, LAPACK and Numba."""

    xp = np
    device = None

    def asarray(self, a, dtype=None):
        """Return `a` as an array of this backend."""
        return np.asarray(a, dtype=dtype)

    def to_numpy(self, a):
        """Return `a` as a NumPy array."""
        return np.asarray(a)

    def take(self, a, rows):
        """Return the rows of `a` at the NumPy indices `rows`."""
        return a[rows]

    def rows(self, a):
        """Return `a` in the layout that the other methods read fastest."""
        return np.ascontiguousarray(a)

    def gram(self, kernel, T, bandwidth, spent=None):
        """Return the Gram object of the rows of T, in the memory of a `spent` one."""
        return PackedGram(kernel, T, bandwidth, spent)

    def distance_powers(self, kernel, T):
        """Return ‖t_i − t_j‖_p^p of all pairs of rows."""
        n = T.shape[0]
        tiles = _PairTiles(kernel, T, T)
        return tiles.distance_powers(0, n, 0, n)

    def cross(self, kernel, T, Z, bandwidth):
        """Return the kernel matrix between the rows of T and of Z."""
        tiles = _PairTiles(kernel, T, Z, bandwidth)
        out = np.empty((T.shape[0], Z.shape[0]), dtype=T.dtype)

        def strip(edge):
            for j0, j1 in pairwise(_edges(Z.shape[0])):
                out[edge[0] : edge[1], j0:j1] = tiles.values(*edge, j0, j1)

        for_each(strip, list(pairwise(_edges(T.shape[0]))))
        return out

    def cross_dot(self, kernel, T, Z, bandwidth, A):
        """Return cross(T, Z) @ A; no more than a tile of it is ever held."""
        tiles = _PairTiles(kernel, T, Z, bandwidth)
        out = np.zeros((T.shape[0], A.shape[1]), dtype=T.dtype)

        def strip(edge):
            for j0, j1 in pairwise(_edges(Z.shape[0])):
                out[edge[0] : edge[1]] += tiles.values(*edge, j0, j1) @ A[j0:j1]

        for_each(strip, list(pairwise(_edges(T.shape[0]))))
        return out
