"""The kernel matrix of the training rows in array code, held or computed anew."""

from . import _blocked
from ._angles import self_pairs
from ._pairs import pairs_of

_ALL = slice(None)


class ArrayGram:
    """What a kernel matrix K of the rows T does, and its slopes W, held or not."""

    def __init__(self, backend, kernel, T, bandwidth):
        self._backend, self.kernel, self.T = backend, kernel, T
        self._bandwidth, self.n_dense = bandwidth, T.shape[1]
        self._pairs = pairs_of(kernel, T, T, bandwidth, backend)
        xp = backend.xp
        if kernel.of_inner_products:
            own = self_pairs(kernel, self._pairs.t, bandwidth, xp)
            self.diagonal, self._slope_diagonal = own
        else:
            self.diagonal = xp.ones_like(T[:, 0])
            self._slope_diagonal = xp.zeros_like(T[:, 0])

    def columns(self, rows):
        """Return K[:, rows]."""
        return self._strips(self._pairs.of_rows(rows).values, len(rows)).T

    def slope_rows_product(self, rows, V):
        """Return W[rows] @ V."""
        slopes = self._pairs.of_rows(rows).slopes
        return self._strips(lambda i, j: slopes(i, j) @ V, len(rows), V.shape[1])

    def radial_product(self, rows, V):
        """Return D[rows] @ V, for a kernel of inner products."""
        of = self._pairs.of_rows(rows).gradients
        return self._strips(lambda i, j: of(i, j)[2] @ V, len(rows), V.shape[1])

    def _strips(self, function, n_rows, n_columns=None):
        """Return what a function of slices of rows gives, of each one and all rows."""
        backend, n = self._backend, self.T.shape[0]
        out = backend.empty((n_rows, n if n_columns is None else n_columns), self.T)

        def strip(start, stop):
            out[start:stop, :] = function(slice(start, stop), _ALL)

        backend.each_strip(strip, n_rows, backend.rows_of_strip(n, self.T))
        return out

    def coordinate_gradients(self, rows, coef):
        """Yield (positions, gradients): the (b, c, d) gradients of blocks of rows."""
        n, d = self.T.shape
        step = self._backend.rows_of_strip(n + coef.shape[1] * d, self.T)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            yield slice(start, start + len(block)), self._gradients(block, coef)

    def _gradients(self, rows, coef):
        """Return the gradients (b, c, d) at some rows."""
        backend, p = self._backend, self.kernel.norm_order
        out = backend.empty((len(rows), coef.shape[1], self.T.shape[1]), self.T)

        def strip(start, stop):
            pairs = self._pairs.of_rows(rows[start:stop])
            slopes = pairs.slopes(_ALL, _ALL)
            found = backend.coordinate_gradients(pairs.T, self.T, slopes, coef, p)
            out[start:stop, :, :] = found

        backend.each_strip(strip, len(rows), len(rows))
        return out


class HeldGram(ArrayGram):
    """K below and W above the diagonal of one square buffer, factorised in place."""

    def __init__(self, backend, kernel, T, bandwidth, *, reusable=None, powers=None):
        super().__init__(backend, kernel, T, bandwidth)
        self._powers = powers
        n = T.shape[0]
        if reusable is not None and reusable._packed.shape == (n, n):
            self._packed = reusable._packed
        else:
            if reusable is not None:
                reusable._packed = None  # its memory comes back first
            backend.require_memory(n, T)
            self._packed = backend.empty((n, n), T)
        self.refill()

    @property
    def nbytes(self):
        """The bytes of its buffer."""
        bits = self._backend.xp.finfo(self._packed.dtype).bits
        return self._packed.size * bits // 8

    def refill(self):
        """Compute K and W; whatever overwrote K is gone."""
        backend, A, n = self._backend, self._packed, self.T.shape[0]
        xp = backend.xp

        def strip(i, j):
            K, W = self._pairs.both(slice(i, j), slice(0, j), self._powers)
            A[i:j, :i] = K[:, :i]
            A[:i, i:j] = W[:, :i].T
            A[i:j, i:j] = xp.tril(K[:, i:], k=-1) + xp.triu(W[:, i:], k=1)

        backend.each_strip(strip, n, backend.rows_of_strip(n, self.T))

    def factorize(self, ridge):
        """Cholesky of K + diag(ridge), in the place of K."""
        self._factor = None  # its memory comes back first
        diagonal = self.diagonal + ridge
        self._factor = _blocked.Factor(self._packed, diagonal, self._backend)

    def solve(self, B):
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        return self._factor.solve(B)

    def inverse_diagonal(self):
        """Return the diagonal of the inverse, after `factorize`."""
        return self._factor.inverse_diagonal()

    def eigh(self, ridge):
        """Eigenvalues and eigenvectors of K + diag(ridge); K stays as it is."""
        matrix = _blocked.dense(self._packed, self.diagonal + ridge, self._backend)
        return tuple(self._backend.xp.linalg.eigh(matrix))

    def product(self, V):
        """Return K @ V, before `factorize`."""
        return self._product(self.diagonal, V, upper=False)

    def slope_product(self, V):
        """Return W @ V."""
        return self._product(self._slope_diagonal, V, upper=True)

    def _product(self, diagonal, V, *, upper):
        return _blocked.product(self._packed, diagonal, V, self._backend, upper=upper)


class StreamedArrayGram(ArrayGram):
    """K and W computed whenever they are asked for; for kernels of a distance."""

    def take(self, rows):
        """Return the same of the rows at some NumPy indices."""
        T = self._backend.take(self.T, rows)
        return StreamedArrayGram(self._backend, self.kernel, T, self._bandwidth)

    def product(self, V):
        """Return K @ V."""
        return self.rows_product(slice(0, self.T.shape[0]), V)[0]

    def rows_product(self, rows, V, n_kept=0, start=0):
        """Return K[rows, start:] @ V for a slice of rows, and its first columns.

        There may be fewer rows of V than columns.
        """
        backend, n_rows = self._backend, rows.stop - rows.start
        out = backend.empty((n_rows, V.shape[1]), self.T)
        kept = backend.empty((n_rows, n_kept), self.T)
        columns = slice(start, start + V.shape[0])

        def strip(i, j):
            K = self._pairs.values(slice(rows.start + i, rows.start + j), columns)
            if V.shape[1]:
                out[i:j, :] = K @ V
            if n_kept:
                kept[i:j, :] = K[:, :n_kept]

        step = backend.rows_of_strip(V.shape[0], self.T)
        backend.each_strip(strip, n_rows, step)
        return out, kept

    def slope_product(self, V):
        """Return W @ V."""
        slopes = self._pairs.slopes
        n = self.T.shape[0]
        return self._strips(lambda i, j: slopes(i, j) @ V, n, V.shape[1])
