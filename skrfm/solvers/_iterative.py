"""Conjugate gradients with a Nyström preconditioner, which never hold K."""

from itertools import pairwise

import numpy as np

from .._backend import for_each
from ._solution import Solution

# rows of the preconditioner, and the share of an eigenvalue that is rounding error
_SUBSAMPLE = 1000
_NEGLIGIBLE = 1e-6
# rows of a part of a product
_STRIP = 1024
# steps, and the residual by the targets that ends them
_STEPS = 100
_TOLERANCE = 1e-3


class _Nystrom:
    """The inverse of ZZᵀ + diag(ridge), with ZZᵀ the Nyström form of K."""

    def __init__(self, gram, ridge, rows, backend):
        xp = self._xp = backend.xp
        part = gram.columns(rows)
        dtype, n = part.dtype, part.shape[0]
        own = xp.astype(backend.take(part, rows), xp.float64)
        values, vectors = backend.leading_eigenvectors(own, len(rows))
        kept = int(xp.sum(xp.astype(values > _NEGLIGIBLE * values[0], xp.int64)))
        root = xp.astype(vectors[:, :kept] / xp.sqrt(values[:kept]), dtype)
        self._strips = list(pairwise([*range(0, n, _STRIP), n]))
        self._Z = xp.concat(self._each(lambda i, j: part[i:j, :] @ root))
        # what the form leaves out of K is taken for a ridge
        left = float(xp.mean(gram.diagonal - xp.sum(self._Z * self._Z, axis=1)))
        self._inverse = (1 / (ridge + max(left, _NEGLIGIBLE)))[:, None]
        parts = self._each(lambda i, j: self._transposed(self._Z[i:j, :], i, j))
        inner = sum(parts) + backend.diagonal_matrix(xp.ones_like(self._Z[0, :]))
        self._root = backend.invert_lower(backend.cholesky(inner, 0))

    def _each(self, function):
        return for_each(lambda edge: function(*edge), self._strips)

    def _transposed(self, R, i, j):
        return self._Z[i:j, :].T @ (self._inverse[i:j, :] * R)

    def __call__(self, R):
        """Return the inverse by R."""
        sums = sum(self._each(lambda i, j: self._transposed(R[i:j, :], i, j)))
        inner = self._root.T @ (self._root @ sums)
        rest = self._each(lambda i, j: R[i:j, :] - self._Z[i:j, :] @ inner)
        return self._inverse * self._xp.concat(rest)


def conjugate_gradients(gram, Y, ridge, seed, backend):
    """Solve (K + diag(ridge)) α = Y, all targets side by side.

    Parameters
    ----------
    gram : Gram
        K, held or streamed.
    Y : array of shape (n, c)
    ridge : array of shape (n,)
    seed : int
        Seeds the rows of the preconditioner.
    backend : backend

    Returns
    -------
    Solution
    """
    xp, n = backend.xp, Y.shape[0]
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, min(_SUBSAMPLE, n // 4), replace=False))
    precondition = _Nystrom(gram, ridge, rows, backend)
    coef, R = xp.zeros_like(Y), xp.asarray(Y, copy=True)
    Q = precondition(R)
    P, gamma = Q, _dots(R, Q, xp)
    scale = xp.sqrt(_dots(Y, Y, xp))
    for _ in range(_STEPS):
        A = gram.product(P) + ridge[:, None] * P
        step = _ratio(gamma, _dots(P, A, xp), Y.dtype, xp)
        coef += step * P
        R -= step * A
        residual = _ratio(xp.sqrt(_dots(R, R, xp)), scale, xp.float64, xp)
        if float(xp.max(residual)) <= _TOLERANCE:
            break
        Q = precondition(R)
        last, gamma = gamma, _dots(R, Q, xp)
        P = Q + _ratio(gamma, last, Y.dtype, xp) * P
    return Solution(coef, residual=float(xp.max(residual)))


def _dots(A, B, xp):
    """Return the inner products of the columns."""
    return xp.sum(A * B, axis=0, dtype=xp.float64)


def _ratio(a, b, dtype, xp):
    """Return a / b, 0 where b is: a column that is solved stays as it is."""
    positive = b > 0
    ratio = a / xp.where(positive, b, xp.ones_like(b))
    return xp.astype(xp.where(positive, ratio, xp.zeros_like(b)), dtype)
