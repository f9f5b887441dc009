"""EigenPro 2: preconditioned stochastic gradient descent that need not hold K.

S. Ma, M. Belkin, "Kernel machines that adapt to GPUs for effective large batch
training", MLSys 2019. The leading eigenvectors of the kernel of a subsample flatten the
spectrum, so that large steps on large batches do not diverge.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._backend import Array, Backend
from ..exceptions import NotConvergedError
from ._rows import CachedKernelRows
from ._solution import Solution, require_no_diagonal

# Rows of the subsample, at most half of all: more rows estimate eigenvectors better, at
# the cost of a larger eigendecomposition.
_SUBSAMPLE = 2000
# Eigenvectors of the preconditioner, and the rows of the subsample that each takes: it
# diverges with fewer.
_EIGENVECTORS, _ROWS_PER_EIGENVECTOR = 200, 5
# Exponent of the damping of the leading eigenvalues; 1 would flatten them completely.
_DAMPING = 0.95
# Rows of a batch, as a share of the number beyond which more rows speed up nothing.
_BATCH_SHARE = 1 / 2
# Rows of a batch, which bound the memory of its kernel values.
_MAX_BATCH = 4096
# Steps of power iteration, which leave the estimate of an eigenvalue a little low.
_POWER_STEPS, _SAFETY = 20, 1.1
# Epochs at most, and the residual relative to the targets that ends them: test errors
# are within 1 % of Cholesky (benchmarks/solvers.py).
_EPOCHS = 12
_TOLERANCE = 0.07
# Preconditioners that are tried, each with half of the eigenvectors and of the step.
_ATTEMPTS = 4


@dataclass(kw_only=True)
class _Problem:
    """The system (K + diag(ridge)) α = Y, its rows in random order.

    Attributes
    ----------
    kernel_rows : CachedKernelRows
        K.
    targets : array of shape (n, c)
    weight : array of shape (n, 1)
        Weights of the rows relative to the largest: smallest ridge / ridge.
    ridge : float
        The smallest ridge.
    mean_square : float
        Mean over the rows of the squared targets, summed over the outputs.
    """

    kernel_rows: CachedKernelRows
    targets: Array
    weight: Array
    ridge: float
    mean_square: float


@dataclass(kw_only=True)
class _Preconditioner:
    """The leading eigenvectors of a kernel matrix, with batch size and step.

    Attributes
    ----------
    vectors : array of shape (s, q)
        Eigenvectors of the kernel matrix of the first s rows.
    shrinkage : array of shape (q, 1)
        How much of a step each eigenvector removes.
    batch_size : int
    step : float
    """

    vectors: Array
    shrinkage: Array
    batch_size: int
    step: float

    @classmethod
    def from_gram(cls, gram, ridge, n_eigenvectors, backend):
        """Return the preconditioner of a streamed Gram with rows in random order."""
        n, dtype, xp = gram.T.shape[0], gram.T.dtype, backend.xp
        s = min(_SUBSAMPLE, n // 2)
        q = max(1, min(n_eigenvectors, s // _ROWS_PER_EIGENVECTOR))
        # rows of the subsample, and as many others to estimate the rest of the spectrum
        no_coef = backend.empty((2 * s, 0), gram.T)
        K = gram.rows_product(slice(0, 2 * s), no_coef, 2 * s)[1]
        values, vectors = backend.leading_eigenvectors(K[:s, :s] / s, q + 1)
        values, vectors = backend.to_numpy(values), vectors[:, :q]
        tail, values = values[q], values[:q]
        # below the ridge the spectrum is flat already
        damped = np.minimum(max(tail, ridge / n) / values, 1) ** _DAMPING
        shrinkage = backend.asarray((1 - damped) / (s * values), dtype)
        features = K[:, :s] @ vectors * xp.sqrt(shrinkage)
        # without the ridge in beta and top, it diverges for a ridge of the size of beta
        beta = float(xp.max(1 - xp.sum(features * features, axis=1))) + ridge
        others = K[s:, s:] - features[s:, :] @ features[s:, :].T
        top = max(values[0] * damped[0], _largest_eigenvalue(others, backend) / s)
        top += ridge / n
        batch_size = int(min(_BATCH_SHARE * beta / top + 1, _MAX_BATCH, n))
        return cls(
            vectors=vectors,
            shrinkage=shrinkage[:, None],
            batch_size=batch_size,
            step=1 / (beta + (batch_size - 1) * float(top)),
        )

    def run_epoch(self, problem, coef, xp):
        """Take the steps of one epoch, which update the coefficients in place.

        Returns
        -------
        float
            Mean over the rows of the squared residuals, each before the step of its
            batch.
        """
        V, s, n = self.vectors, self.vectors.shape[0], coef.shape[0]
        total = xp.zeros_like(coef[0, 0], dtype=xp.float64)
        for start in range(0, n, self.batch_size):
            rows = slice(start, min(start + self.batch_size, n))
            gradient, K_first = problem.kernel_rows.product(rows, coef)
            gradient -= problem.targets[rows, :]
            gradient *= problem.weight[rows, :]
            gradient += problem.ridge * coef[rows, :]
            total += xp.sum(gradient * gradient, dtype=xp.float64)
            gradient *= self.step
            coef[rows, :] -= gradient
            coef[:s, :] += V @ (self.shrinkage * (V.T @ (K_first.T @ gradient)))
        return float(total) / n


def _largest_eigenvalue(A, backend):
    """Return an upper estimate of the largest eigenvalue of a symmetric matrix."""
    xp = backend.xp
    v = np.random.default_rng(0).normal(size=(A.shape[0], 1))
    v = backend.asarray(v, A.dtype)
    for _ in range(_POWER_STEPS):
        v = A @ (v / xp.sqrt(xp.sum(v * v)))
    return _SAFETY * float(xp.sqrt(xp.sum(v * v)))


def eigenpro(
    gram: Any,
    Y: Array,
    ridge: Array,
    backend: Backend,
    *,
    want_diagonal: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve (K + diag(ridge)) α = Y approximately by stochastic gradient descent.

    Parameters as in `Solver`; `gram` is streamed, and `seed` shuffles the rows.

    Raises
    ------
    NotConvergedError
        If it diverges with every preconditioner that is tried.
    """
    require_no_diagonal(want_diagonal, "eigenpro")
    xp, n = backend.xp, Y.shape[0]
    order = np.random.default_rng(seed).permutation(n)
    shuffled, targets = gram.take(order), backend.take(Y, order)
    smallest = float(xp.min(ridge))
    no_ridge = smallest == 0
    weight = xp.ones_like(ridge) if no_ridge else smallest / backend.take(ridge, order)
    mean_square = float(xp.sum(Y * Y, dtype=xp.float64)) / n
    for attempt in range(_ATTEMPTS):
        fraction = 2**attempt
        preconditioner = _Preconditioner.from_gram(
            shuffled, smallest, _EIGENVECTORS // fraction, backend
        )
        preconditioner.step /= fraction
        n_first = preconditioner.vectors.shape[0]
        problem = _Problem(
            kernel_rows=CachedKernelRows(shuffled, n_first, backend),
            targets=targets,
            weight=weight[:, None],
            ridge=smallest,
            mean_square=mean_square,
        )
        coef = _descend(preconditioner, problem, xp)
        if coef is not None:
            return Solution(coef=backend.take(coef, np.argsort(order)))
    raise NotConvergedError("solver='eigenpro' diverges; pass solver='pcg'.")


def _descend(preconditioner, problem, xp):
    """Return the coefficients after the last epoch, or None if they diverge."""
    coef, last = xp.zeros_like(problem.targets), np.inf
    for _ in range(_EPOCHS):
        residual = preconditioner.run_epoch(problem, coef, xp)
        # not "greater", so that NaN counts as divergence
        if not residual <= max(last, problem.mean_square):
            return None
        if residual <= _TOLERANCE**2 * problem.mean_square:
            break
        last = residual
    return coef
