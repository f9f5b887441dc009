"""EigenPro 2: preconditioned stochastic gradient descent that never holds K.

S. Ma, M. Belkin, "Kernel machines that adapt to GPUs for effective large batch
training", MLSys 2019. The leading eigenvectors of the kernel of a subsample flatten the
spectrum, so that large steps on large batches do not diverge.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ..exceptions import NotConvergedError
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
_TOLERANCE = 0.15
# the preconditioners that are tried, each with half of the eigenvectors and of the step
_ATTEMPTS = 4


@dataclass
class _Preconditioner:
    """The leading eigenvectors of the kernel of the first rows, batch and step."""

    vectors: np.ndarray
    shrinkage: np.ndarray
    batch: int
    step: float

    @classmethod
    def of(cls, gram, ridge, n_eigenvectors):
        """Return that of a gram whose rows are in random order."""
        n, dtype = gram.T.shape[0], gram.T.dtype
        s = min(_SUBSAMPLE, n // 2)
        q = max(1, min(n_eigenvectors, s // 5))
        # rows of the subsample, and as many others that tell how far it carries
        K = gram.rows_product(slice(0, 2 * s), np.zeros((n, 0), dtype), 2 * s)[1]
        part = K[:s, :s].astype(np.float64) / s
        values, vectors = eigh(part, subset_by_index=[s - q - 1, s - 1])
        values, vectors = values[::-1], vectors[:, ::-1]
        tail, values, vectors = values[q], values[:q], vectors[:, :q].astype(dtype)
        # below the ridge the spectrum is flat as it is
        left = np.minimum(max(tail, ridge / n) / values, 1) ** _DAMPING
        shrinkage = ((1 - left) / (s * values)).astype(dtype)
        features = K[:, :s] @ vectors * np.sqrt(shrinkage)
        beta = float((1 - np.square(features).sum(axis=1)).max()) + ridge
        others = K[s:, s:] - features[s:] @ features[s:].T
        top = max(values[0] * left[0], _largest(others) / s) + ridge / n
        batch = int(min(_BATCH * beta / top + 1, _MOST_BATCH, n))
        step = 1 / (beta + (batch - 1) * top)
        return cls(vectors, shrinkage[:, None], batch, step)

    def descend(self, gram, Y, share, ridge, coef):
        """Take one epoch of steps, in place; return the mean square of the residuals.

        Each residual is that of the coefficients before its batch has changed them.
        """
        n, total, V = len(Y), 0.0, self.vectors
        for start in range(0, n, self.batch):
            rows = slice(start, min(start + self.batch, n))
            G, kept = gram.rows_product(rows, coef, len(V))
            G -= Y[rows]
            G *= share[rows]
            G += ridge * coef[rows]
            total += float(np.square(G, dtype=np.float64).sum())
            G *= self.step
            coef[rows] -= G
            coef[: len(V)] += V @ (self.shrinkage * (V.T @ (kept.T @ G)))
        return total / n


def _largest(A):
    """Return about the largest eigenvalue of a symmetric matrix, rather more."""
    v = np.random.default_rng(0).normal(size=len(A)).astype(A.dtype)
    for _ in range(_POWERS):
        v = A @ (v / np.linalg.norm(v))
    return 1.1 * float(np.linalg.norm(v))


def eigenpro(gram, Y, ridge, seed):
    """Solve (K + diag(ridge)) α = Y by stochastic steps.

    Parameters
    ----------
    gram : StreamedGram
        K.
    Y : ndarray of shape (n, c)
    ridge : ndarray of shape (n,)
    seed : int
        Seeds the order of the rows.

    Returns
    -------
    Solution
    """
    n, order = len(Y), np.random.default_rng(seed).permutation(len(Y))
    mixed, targets = gram.take(order), Y[order]
    smallest = float(ridge.min())
    share = (smallest / ridge[order] if smallest else np.ones(n))[:, None]
    share, scale = share.astype(Y.dtype), float(np.square(Y).mean(axis=0).sum())
    n_eigenvectors, slower = _EIGENVECTORS, 1.0
    for _ in range(_ATTEMPTS):
        method = _Preconditioner.of(mixed, smallest, n_eigenvectors)
        method.step /= slower
        coef = _epochs(method, mixed, targets, share, smallest, scale)
        if coef is not None:
            out = np.empty_like(coef)
            out[order] = coef
            return Solution(out)
        n_eigenvectors, slower = n_eigenvectors // 2, 2 * slower
    raise NotConvergedError("solver='eigenpro' diverges; pass solver='pcg'.")


def _epochs(method, gram, Y, share, ridge, scale):
    """Return coefficients after some epochs, or None where they diverge."""
    coef, last = np.zeros_like(Y), np.inf
    for _ in range(_EPOCHS):
        residual = method.descend(gram, Y, share, ridge, coef)
        if not residual <= max(last, scale):
            return None
        if residual <= _TOLERANCE**2 * scale:
            break
        last = residual
    return coef
