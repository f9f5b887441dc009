"""EigenPro 2: preconditioned stochastic gradient descent that need not hold K.

S. Ma, M. Belkin, "Kernel machines that adapt to GPUs for effective large batch
training", MLSys 2019. The leading eigenvectors of the kernel of a subsample flatten the
spectrum, so that large steps on large batches do not diverge.
"""

from dataclasses import dataclass

import numpy as np

from ..exceptions import NotConvergedError
from ._rows import KernelRows
from ._solution import Solution

# rows of the subsample, the eigenvectors of it, and how much of the spectrum they take
_SUBSAMPLE = 2000
_EIGENVECTORS = 200
_DAMPING = 0.95
# rows of a batch: this share of the number beyond which more rows are no help
_BATCH = 1 / 2
_MOST_BATCH = 4096
# powers of a matrix that its largest eigenvalue is taken from
_POWERS = 20
# epochs, and the residual by the targets that ends them
_EPOCHS = 12
_TOLERANCE = 0.07
# the preconditioners that are tried, each with half of the eigenvectors and of the step
_ATTEMPTS = 4


@dataclass
class _Preconditioner:
    """The leading eigenvectors of the kernel of the first rows, batch and step."""

    vectors: object
    shrinkage: object
    batch: int
    step: float

    @classmethod
    def of(cls, gram, ridge, n_eigenvectors, backend):
        """Return that of a gram whose rows are in random order."""
        n, dtype, xp = gram.T.shape[0], gram.T.dtype, backend.xp
        s = min(_SUBSAMPLE, n // 2)
        q = max(1, min(n_eigenvectors, s // 5))
        # rows of the subsample, and as many others that tell how far it carries
        nothing = backend.empty((2 * s, 0), gram.T)
        K = gram.rows_product(slice(0, 2 * s), nothing, 2 * s)[1]
        values, vectors = backend.leading_eigenvectors(K[:s, :s] / s, q + 1)
        values, vectors = backend.to_numpy(values), vectors[:, :q]
        tail, values = values[q], values[:q]
        # below the ridge the spectrum is flat as it is
        left = np.minimum(max(tail, ridge / n) / values, 1) ** _DAMPING
        shrinkage = backend.asarray((1 - left) / (s * values), dtype)
        features = K[:, :s] @ vectors * xp.sqrt(shrinkage)
        beta = float(xp.max(1 - xp.sum(features * features, axis=1))) + ridge
        others = K[s:, s:] - features[s:, :] @ features[s:, :].T
        top = max(values[0] * left[0], _largest(others, backend) / s) + ridge / n
        batch = int(min(_BATCH * beta / top + 1, _MOST_BATCH, n))
        step = 1 / (beta + (batch - 1) * float(top))
        return cls(vectors, shrinkage[:, None], batch, step)

    def descend(self, kernel_rows, Y, share, ridge, coef, xp):
        """Take one epoch of steps, in place; return the mean square of the residuals.

        Each residual is that of the coefficients before its batch has changed them.
        """
        V, s, n = self.vectors, self.vectors.shape[0], Y.shape[0]
        total = xp.zeros_like(Y[0, 0], dtype=xp.float64)
        for start in range(0, n, self.batch):
            rows = slice(start, min(start + self.batch, n))
            G, kept = kernel_rows.product(rows, coef)
            G -= Y[rows, :]
            G *= share[rows, :]
            G += ridge * coef[rows, :]
            total += xp.sum(G * G, dtype=xp.float64)
            G *= self.step
            coef[rows, :] -= G
            coef[:s, :] += V @ (self.shrinkage * (V.T @ (kept.T @ G)))
        return float(total) / n


def _largest(A, backend):
    """Return about the largest eigenvalue of a symmetric matrix, rather more."""
    xp = backend.xp
    v = np.random.default_rng(0).normal(size=(A.shape[0], 1))
    v = backend.asarray(v, A.dtype)
    for _ in range(_POWERS):
        v = A @ (v / xp.sqrt(xp.sum(v * v)))
    return 1.1 * float(xp.sqrt(xp.sum(v * v)))


def eigenpro(gram, Y, ridge, seed, backend):
    """Solve (K + diag(ridge)) α = Y by stochastic steps.

    Parameters
    ----------
    gram : streamed Gram
        K.
    Y : array of shape (n, c)
    ridge : array of shape (n,)
    seed : int
        Seeds the order of the rows.
    backend : backend

    Returns
    -------
    Solution
    """
    xp, n = backend.xp, Y.shape[0]
    order = np.random.default_rng(seed).permutation(n)
    mixed, targets = gram.take(order), backend.take(Y, order)
    smallest = float(xp.min(ridge))
    share = smallest / backend.take(ridge, order) if smallest else xp.ones_like(ridge)
    scale = float(xp.sum(Y * Y, dtype=xp.float64)) / n
    n_eigenvectors, slower = _EIGENVECTORS, 1.0
    for _ in range(_ATTEMPTS):
        method = _Preconditioner.of(mixed, smallest, n_eigenvectors, backend)
        method.step /= slower
        kernel_rows = KernelRows(mixed, method.vectors.shape[0], backend)
        problem = targets, share[:, None], smallest
        coef = _epochs(method, kernel_rows, problem, scale, xp)
        if coef is not None:
            return Solution(backend.take(coef, np.argsort(order)))
        n_eigenvectors, slower = n_eigenvectors // 2, 2 * slower
    raise NotConvergedError("solver='eigenpro' diverges; pass solver='pcg'.")


def _epochs(method, kernel_rows, problem, scale, xp):
    """Return coefficients after some epochs, or None where they diverge."""
    coef, last = xp.zeros_like(problem[0]), np.inf
    for _ in range(_EPOCHS):
        residual = method.descend(kernel_rows, *problem, coef, xp)
        if not residual <= max(last, scale):
            return None
        if residual <= _TOLERANCE**2 * scale:
            break
        last = residual
    return coef
