"""Conjugate gradients with a Nyström preconditioner, which never hold K."""

from itertools import pairwise

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

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

    def __init__(self, gram, ridge, rows):
        part = gram.columns(rows)
        values, vectors = eigh(part[rows].astype(np.float64))
        kept = values > _NEGLIGIBLE * values[-1]
        root = (vectors[:, kept] / np.sqrt(values[kept])).astype(part.dtype)
        edges = [*range(0, len(part), _STRIP), len(part)]
        self._strips = list(pairwise(edges))
        self._Z = np.concatenate(self._each(lambda i, j: part[i:j] @ root))
        # what the form leaves out of K is taken for a ridge
        left = gram.diagonal - np.einsum("ij,ij->i", self._Z, self._Z)
        left = max(float(left.mean()), _NEGLIGIBLE)
        self._inverse = (1 / (ridge + left)).astype(part.dtype)[:, None]
        inner = sum(self._each(lambda i, j: self._transposed(self._Z[i:j], i, j)))
        inner[np.diag_indices_from(inner)] += 1
        self._factor = cho_factor(inner)

    def _each(self, function):
        return for_each(lambda edge: function(*edge), self._strips)

    def _transposed(self, R, i, j):
        return self._Z[i:j].T @ (self._inverse[i:j] * R)

    def __call__(self, R):
        """Return the inverse by R."""
        sums = sum(self._each(lambda i, j: self._transposed(R[i:j], i, j)))
        inner = cho_solve(self._factor, sums).astype(R.dtype)
        rest = self._each(lambda i, j: R[i:j] - self._Z[i:j] @ inner)
        return self._inverse * np.concatenate(rest)


def conjugate_gradients(gram, Y, ridge, seed):
    """Solve (K + diag(ridge)) α = Y, all targets side by side.

    Parameters
    ----------
    gram : Gram
        K, held or streamed.
    Y : ndarray of shape (n, c)
    ridge : ndarray of shape (n,)
    seed : int
        Seeds the rows of the preconditioner.

    Returns
    -------
    Solution
    """
    n = len(Y)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, min(_SUBSAMPLE, n // 4), replace=False))
    precondition = _Nystrom(gram, ridge, rows)
    coef, R = np.zeros_like(Y), Y.copy()
    Q = precondition(R)
    P, gamma = Q.copy(), _dots(R, Q)
    scale = np.sqrt(_dots(Y, Y))
    for _ in range(_STEPS):
        A = gram.product(P) + ridge[:, None] * P
        step = _ratio(gamma, _dots(P, A), Y.dtype)
        coef += step * P
        R -= step * A
        residual = _ratio(np.sqrt(_dots(R, R)), scale, np.float64)
        if residual.max() <= _TOLERANCE:
            break
        Q = precondition(R)
        last, gamma = gamma, _dots(R, Q)
        P = Q + _ratio(gamma, last, Y.dtype) * P
    return Solution(coef, residual=float(residual.max()))


def _dots(A, B):
    """Return the inner products of the columns."""
    return np.einsum("ij,ij->j", A, B, dtype=np.float64)


def _ratio(a, b, dtype):
    """Return a / b, 0 where b is: a column that is solved stays as it is."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0).astype(dtype)
