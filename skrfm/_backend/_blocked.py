"""Symmetric matrices that share a square buffer, in array code of matrix products.

One matrix is below the diagonal of the buffer, another one above it, and their
diagonals are elsewhere.
"""

from ._tiles import block_ranges

# Rows of a diagonal block, which is factorised and inverted by itself; everything else
# is matrix products.
BLOCK = 512


class Factor:
    """The Cholesky factor of the matrix below the diagonal, which it overwrites.

    The inverses of its diagonal blocks are kept beside it, so that solving takes
    matrix products only.

    Parameters
    ----------
    A : array of shape (n, n)
        The buffer. Above the diagonal it is not changed.
    diagonal : array of shape (n,)
        The diagonal of the matrix.
    backend : ArrayAPIBackend

    Attributes
    ----------
    smallest_pivot : float
        The smallest square of a diagonal entry of the factor.
    """

    smallest_pivot = float("inf")

    def __init__(self, A, diagonal, backend):
        self._A, self._backend, self._inverses = A, backend, []
        self._ranges = block_ranges(A.shape[0], BLOCK)
        for start, stop in self._ranges:
            self._factorize_columns(start, stop, diagonal[start:stop])

    def _factorize_columns(self, start, stop, diagonal):
        """Factorise some columns, after those before them."""
        A, backend, xp = self._A, self._backend, self._backend.xp
        columns, size = A[start:, start:stop], stop - start
        if start:
            own = A[start:stop, :start]
            columns = columns - A[start:, :start] @ own.T
            diagonal = diagonal - xp.sum(own * own, axis=1)
        lower = xp.tril(columns[:size, :], k=-1)
        block = lower + lower.T + backend.diagonal_matrix(diagonal)
        factor = backend.cholesky(block, start)
        pivot = float(xp.min(xp.linalg.diagonal(factor))) ** 2
        self.smallest_pivot = min(self.smallest_pivot, pivot)
        inverse = backend.invert_lower(factor)
        above = xp.triu(A[start:stop, start:stop], k=1)
        A[start:stop, start:stop] = xp.tril(factor, k=-1) + above
        if stop < A.shape[0]:
            A[stop:, start:stop] = columns[size:, :] @ inverse.T
        self._inverses.append(inverse)

    def solve(self, B):
        """Return the inverse of the matrix times B."""
        A, X = self._A, self._backend.xp.asarray(B, copy=True)
        for (start, stop), inverse in self._blocks():
            residual = X[start:stop, :]
            if start:
                residual = residual - A[start:stop, :start] @ X[:start, :]
            X[start:stop, :] = inverse @ residual
        for (start, stop), inverse in reversed(self._blocks()):
            residual = X[start:stop, :]
            if stop < A.shape[0]:
                residual = residual - A[stop:, start:stop].T @ X[stop:, :]
            X[start:stop, :] = inverse.T @ residual
        return X

    def inverse_diagonal(self):
        """Return the diagonal of the inverse: squared norms of the columns of L⁻¹."""
        A, xp = self._A, self._backend.xp
        parts = []
        for number, (first, last) in enumerate(self._ranges):
            X = xp.empty(
                (A.shape[0] - first, last - first),
                dtype=A.dtype,
                device=self._backend.device,
            )
            X[: last - first, :] = self._inverses[number]
            for (start, stop), inverse in self._blocks()[number + 1 :]:
                known = A[start:stop, first:start] @ X[: start - first, :]
                X[start - first : stop - first, :] = -inverse @ known
            parts.append(xp.sum(X * X, axis=0))
        return xp.concat(parts)

    def _blocks(self):
        """Return the ranges of the diagonal blocks with the inverses of the blocks."""
        return list(zip(self._ranges, self._inverses, strict=True))


def product(A, diagonal, V, backend, *, upper):
    """Return the product of one of the two matrices of a buffer with V.

    Parameters
    ----------
    A : array of shape (n, n)
        The buffer.
    diagonal : array of shape (n,)
        The diagonal of the matrix.
    V : array of shape (n, c)
    backend : ArrayAPIBackend
    upper : bool
        Whether the matrix is the one above the diagonal.

    Returns
    -------
    array of shape (n, c)
    """
    xp, n = backend.xp, A.shape[0]
    out = xp.empty_like(V)
    low, high = (A.T, A) if upper else (A, A.T)

    def fill(i, j):
        block = xp.triu(high[i:j, i:j], k=1)
        part = V[i:j, :]
        total = block @ part + block.T @ part + diagonal[i:j, None] * part
        if i:
            total += low[i:j, :i] @ V[:i, :]
        if j < n:
            total += high[i:j, j:] @ V[j:, :]
        out[i:j, :] = total

    backend.for_each_block(fill, n, BLOCK)
    return out


def dense(A, diagonal, backend):
    """Return the matrix below the diagonal as an array of its own."""
    lower = backend.xp.tril(A, k=-1)
    return lower + lower.T + backend.diagonal_matrix(diagonal)
