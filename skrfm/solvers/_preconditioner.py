"""The preconditioner of conjugate gradients: landmarks, and blocks of near rows.

Gaussian processes know it as the partially independent conditional (PIC)
approximation: Snelson, Ghahramani, "Local and global sparse Gaussian process
approximations", AISTATS 2007.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from .._backend import Array, Backend, Gram, for_each
from ..exceptions import NotPositiveDefiniteError

# Landmarks: a share of all rows, and at most so many. With 1000 in place of 600, a
# table of 12 000 rows took 15 steps in place of 20 to 25, and the preconditioner twice
# the seconds, which at 36 000 rows are those of 8 steps.
_SHARE, MOST_LANDMARKS = 1 / 25, 600
# From so many rows on, landmarks are the most.
ROWS_OF_MOST_LANDMARKS = int(MOST_LANDMARKS / _SHARE)
# Rows of a block at most. Without blocks, 12 000 rows of protein took 59 steps to a
# residual of 1e-2 with 1000 landmarks and a ridge of 3e-4; with 600 landmarks and
# blocks of 375 rows 15, of 750 rows 13, whose inverses take four times the seconds.
_BLOCK_ROWS = 400
# Eigenvalues of landmarks below this share of the largest are rounding error.
_NEGLIGIBLE = 1e-6
# Rounding errors of K, in units of the precision, which are added to the diagonal of
# blocks; tenfold where that does not make a block positive definite, so many times.
_ROUNDING, _TRIES = 100.0, 8


class LocalNystrom:
    """The inverse of an approximation of K + diag(ridge).

    It is ZZᵀ + blockdiag(K − ZZᵀ) + diag(ridge), where ZZᵀ is the Nyström approximation
    from random landmarks and blocks are of rows that are near each other. Landmarks see
    what is smooth, and blocks what is local: near rows are what makes K with a small
    ridge ill-conditioned. All is in double precision, for differences of large numbers
    are what is left where the ridge is small.

    Parameters
    ----------
    gram : Gram
        K.
    ridge : array of shape (n,)
    backend : Backend
    seed : int
        Draws the landmarks.
    """

    def __init__(self, gram: Gram, ridge: Array, backend: Backend, seed: int):
        self._backend, xp = backend, backend.xp
        self._order, edges = near_blocks(backend.to_numpy(gram.T), _BLOCK_ROWS)
        self._inverse_order = np.argsort(self._order)
        self._ranges = list(pairwise(edges))
        Z = self._nystrom(gram, seed)
        ridge = xp.astype(backend.take(ridge, self._order), xp.float64)
        parts = for_each(lambda edge: self._block(gram, ridge, Z, *edge), self._ranges)
        self._inverses = [inverse for inverse, _ in parts]
        self._scaled = xp.concat([scaled for _, scaled in parts])
        del parts
        inner: Any = self._sum(lambda i, j: Z[i:j, :].T @ self._scaled[i:j, :])
        inner = (inner + inner.T) / 2 + backend.diagonal_matrix(xp.ones_like(Z[0, :]))
        self._inner_root = backend.invert_lower(backend.cholesky(inner, 0))

    def _nystrom(self, gram, seed):
        """Return Z, with its rows in the order of the blocks."""
        backend, xp, n = self._backend, self._backend.xp, len(self._order)
        rng = np.random.default_rng(seed)
        count = min(MOST_LANDMARKS, int(_SHARE * n) + 1)
        rows = np.sort(rng.choice(n, count, replace=False))
        columns = gram.columns(rows)
        landmarks = xp.astype(backend.take(columns, rows), xp.float64)
        values, vectors = backend.leading_eigenvectors(landmarks, count)
        rank = int(xp.sum(xp.astype(values > _NEGLIGIBLE * values[0], xp.int64)))
        root = vectors[:, :rank] / xp.sqrt(values[:rank])

        def product(i, j):
            part = backend.take(columns, self._order[i:j])
            return xp.astype(part, xp.float64) @ root

        return xp.concat(for_each(lambda edge: product(*edge), self._ranges))

    def _block(self, gram, ridge, Z, i, j):
        """Return the inverse of a block of K − ZZᵀ + diag(ridge), and it times Z."""
        backend, xp, Z = self._backend, self._backend.xp, Z[i:j, :]
        K = gram.square(self._order[i:j])
        shift = _ROUNDING * float(xp.finfo(K.dtype).eps)
        block = xp.astype(K, xp.float64) - Z @ Z.T
        for number in range(_TRIES + 1):
            added = backend.diagonal_matrix(ridge[i:j] + shift * 10**number)
            try:
                root = backend.invert_lower(backend.cholesky(block + added, i))
                break
            except NotPositiveDefiniteError:
                if number == _TRIES:
                    raise
        inverse = root.T @ root
        return inverse, inverse @ Z

    def _sum(self, function):
        """Return the sum over blocks of a function of (start, stop)."""
        return sum(for_each(lambda edge: function(*edge), self._ranges))

    def __call__(self, R: Array) -> Array:
        """Return the inverse times R, an array of shape (n, c), by Woodbury."""
        backend, xp, scaled = self._backend, self._backend.xp, self._scaled
        given = xp.astype(backend.take(R, self._order), xp.float64)
        inner = self._sum(lambda i, j: scaled[i:j, :].T @ given[i:j, :])
        inner = self._inner_root.T @ (self._inner_root @ inner)

        def solve(part):
            (i, j), inverse = part
            return inverse @ given[i:j, :] - scaled[i:j, :] @ inner

        parts = zip(self._ranges, self._inverses, strict=True)
        out = xp.astype(xp.concat(for_each(solve, parts)), R.dtype)
        return backend.take(out, self._inverse_order)


def near_blocks(T: np.ndarray, size: int) -> tuple[np.ndarray, list[int]]:
    """Return an order of rows, and the edges of blocks of it that are near each other.

    Halves are split at the median of the column of the largest variance, until they
    have at most `size` rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.solvers._preconditioner import near_blocks
    >>> order, edges = near_blocks(np.array([[5.0], [1.0], [6.0], [2.0]]), 2)
    >>> order.tolist(), edges
    ([1, 3, 0, 2], [0, 2, 4])
    """
    blocks = [np.arange(len(T))]
    while max(map(len, blocks)) > size:
        halves = []
        for rows in blocks:
            column = T[rows].var(axis=0).argmax()
            rows = rows[np.argsort(T[rows, column], kind="stable")]
            halves += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
        blocks = halves
    edges = np.cumsum([0, *map(len, blocks)])
    return np.concatenate(blocks), edges.tolist()
