"""Conjugate gradients with a Nyström preconditioner, which never hold K."""

from itertools import pairwise

import numpy as np

from .._backend import Array, Backend, Gram, for_each
from ._solution import Solution, require_no_diagonal

# Rows of the preconditioner: a share of all, and at most so many. More rows save steps,
# and each step and the eigendecomposition take longer.
_SHARE, _SUBSAMPLE = 1 / 25, 1000
# Eigenvalues below this share of the largest are rounding error; the ridge of the
# preconditioner is not below it either.
_NEGLIGIBLE = 1e-6
# Rows of a part of a product: the unit of work of a thread.
_STRIP = 1024
# Steps at most, and the residual relative to the targets that ends them.
_STEPS = 100
_TOLERANCE = 1e-3


class _NystromPreconditioner:
    """The inverse of ZZᵀ + diag(ridge), where ZZᵀ is the Nyström approximation of K.

    Parameters
    ----------
    gram : Gram
        K.
    ridge : array of shape (n,)
    rows : ndarray of int of shape (s,)
        The landmarks: rows of the subsample.
    backend : Backend
    """

    def __init__(self, gram, ridge, rows, backend):
        xp = self._xp = backend.xp
        columns = gram.columns(rows)
        dtype, n = columns.dtype, columns.shape[0]
        landmarks = xp.astype(backend.take(columns, rows), xp.float64)
        values, vectors = backend.leading_eigenvectors(landmarks, len(rows))
        rank = int(xp.sum(xp.astype(values > _NEGLIGIBLE * values[0], xp.int64)))
        root = xp.astype(vectors[:, :rank] / xp.sqrt(values[:rank]), dtype)
        self._strips = list(pairwise([*range(0, n, _STRIP), n]))
        self._Z = xp.concat(self._map_strips(lambda i, j: columns[i:j, :] @ root))
        # the part of the diagonal that the approximation lacks is added to the ridge
        residual = gram.diagonal - xp.sum(self._Z * self._Z, axis=1)
        lacking = max(float(xp.mean(residual)), _NEGLIGIBLE)
        self._inverse_ridge = (1 / (ridge + lacking))[:, None]
        inner = self._scaled_product(self._Z)
        inner = inner + backend.diagonal_matrix(xp.ones_like(self._Z[0, :]))
        self._inner_root = backend.invert_lower(backend.cholesky(inner, 0))

    def _map_strips(self, function):
        """Return what a function of (start, stop) returns for each strip of rows."""
        return for_each(lambda edge: function(*edge), self._strips)

    def _scaled_product(self, R):
        """Return Zᵀ diag(1 / ridge) R."""

        def product(i, j):
            return self._Z[i:j, :].T @ (self._inverse_ridge[i:j, :] * R[i:j, :])

        return sum(self._map_strips(product))

    def __call__(self, R):
        """Return the inverse times R, an array of shape (n, c), by Woodbury."""
        inner = self._inner_root.T @ (self._inner_root @ self._scaled_product(R))
        parts = self._map_strips(lambda i, j: R[i:j, :] - self._Z[i:j, :] @ inner)
        return self._inverse_ridge * self._xp.concat(parts)


def conjugate_gradients(
    gram: Gram,
    Y: Array,
    ridge: Array,
    backend: Backend,
    *,
    want_diagonal: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve (K + diag(ridge)) α = Y by preconditioned conjugate gradients.

    All targets are solved side by side. Parameters as in `Solver`; `gram` is held or
    streamed, and `seed` draws the rows of the preconditioner.
    """
    require_no_diagonal(want_diagonal, "pcg")
    xp, n = backend.xp, Y.shape[0]
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, min(_SUBSAMPLE, int(_SHARE * n) + 1), replace=False))
    precondition = _NystromPreconditioner(gram, ridge, rows, backend)
    coef, R = xp.zeros_like(Y), xp.asarray(Y, copy=True)
    Q = precondition(R)
    P, gamma = Q, _dots(R, Q, xp)
    scale = xp.sqrt(_dots(Y, Y, xp))
    residual = xp.ones_like(scale)
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
    return Solution(coef=coef, residual=float(xp.max(residual)))


def _dots(A, B, xp):
    """Return the inner products of the columns, in float64."""
    return xp.sum(A * B, axis=0, dtype=xp.float64)


def _ratio(a, b, dtype, xp):
    """Return a / b, and 0 where b is 0, so that a solved column stays as it is."""
    positive = b > 0
    ratio = a / xp.where(positive, b, xp.ones_like(b))
    return xp.astype(xp.where(positive, ratio, xp.zeros_like(b)), dtype)
