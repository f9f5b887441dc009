"""Symmetric matrices that share a square buffer, in array code of matrix products.

One matrix is below the diagonal of the buffer, another one above it, and their
diagonals are elsewhere.
"""

from ._tiles import cuts

# rows of a diagonal block, which is factorised and inverted by itself
BLOCK = 512


class Factor:
    """The Cholesky factor of the matrix below the diagonal, in its placement.

    The inverses of its diagonal blocks are kept beside it, so that solving takes
    products only.

    Parameters
    ----------
    A : array of shape (n, n)
        The buffer. Above the diagonal it stays as it is.
    diagonal : array of shape (n,)
        The diagonal of the matrix.
    backend : backend
    """

    def __init__(self, A, diagonal, backend):
        self._A, self._backend, self._inverses = A, backend, []
        self._edges = cuts(A.shape[0], BLOCK)
        for start, stop in self._edges:
            self._columns(start, stop, diagonal[start:stop])

    def _columns(self, start, stop, diagonal):
        """Factorise some columns, those before them done."""
        A, backend, xp = self._A, self._backend, self._backend.xp
        here, size = A[start:, start:stop], stop - start
        if start:
            own = A[start:stop, :start]
            here = here - A[start:, :start] @ own.T
            diagonal = diagonal - xp.sum(own * own, axis=1)
        lower = xp.tril(here[:size, :], k=-1)
        block = lower + lower.T + backend.diagonal_matrix(diagonal)
        factor = backend.cholesky(block, start)
        inverse = backend.invert_lower(factor)
        above = xp.triu(A[start:stop, start:stop], k=1)
        A[start:stop, start:stop] = xp.tril(factor, k=-1) + above
        if stop < A.shape[0]:
            A[stop:, start:stop] = here[size:, :] @ inverse.T
        self._inverses.append(inverse)

    def solve(self, B):
        """Return the inverse of the matrix by B."""
        A, X = self._A, self._backend.xp.asarray(B, copy=True)
        for (start, stop), inverse in self._by_block():
            left = X[start:stop, :]
            if start:
                left = left - A[start:stop, :start] @ X[:start, :]
            X[start:stop, :] = inverse @ left
        for (start, stop), inverse in reversed(self._by_block()):
            left = X[start:stop, :]
            if stop < A.shape[0]:
                left = left - A[stop:, start:stop].T @ X[stop:, :]
            X[start:stop, :] = inverse.T @ left
        return X

    def inverse_diagonal(self):
        """Return the diagonal of the inverse: square norms of the columns of L⁻¹."""
        A, xp = self._A, self._backend.xp
        parts = []
        for number, (first, last) in enumerate(self._edges):
            X = xp.empty(
                (A.shape[0] - first, last - first),
                dtype=A.dtype,
                device=self._backend.device,
            )
            X[: last - first, :] = self._inverses[number]
            for (start, stop), inverse in self._by_block()[number + 1 :]:
                known = A[start:stop, first:start] @ X[: start - first, :]
                X[start - first : stop - first, :] = -inverse @ known
            parts.append(xp.sum(X * X, axis=0))
        return xp.concat(parts)

    def _by_block(self):
        return list(zip(self._edges, self._inverses, strict=True))


def product(A, diagonal, V, backend, *, upper):
    """Return the product of one of the matrices with V."""
    xp, n = backend.xp, A.shape[0]
    out = xp.empty_like(V)
    low, high = (A.T, A) if upper else (A, A.T)

    def strip(i, j):
        block = xp.triu(high[i:j, i:j], k=1)
        part = V[i:j, :]
        total = block @ part + block.T @ part + diagonal[i:j, None] * part
        if i:
            total += low[i:j, :i] @ V[:i, :]
        if j < n:
            total += high[i:j, j:] @ V[j:, :]
        out[i:j, :] = total

    backend.each_strip(strip, n, BLOCK)
    return out


def dense(A, diagonal, backend):
    """Return the matrix below the diagonal as an array of its own."""
    lower = backend.xp.tril(A, k=-1)
    return lower + lower.T + backend.diagonal_matrix(diagonal)
