"""Standard deviations of entries that a kernel of rows and one of columns couple.

The entries are a Gaussian process whose covariance is the product of both kernels.
Where few are observed, its covariance matrix is factorised. Otherwise the process is
drawn from the prior and conditioned on the observed entries, by conjugate gradients
(pathwise conditioning): the mean squares of what remains are the variances.

J. Wilson, V. Borovitskiy, A. Terenin, P. Mostowsky and M. Deisenroth, "Pathwise
conditioning of Gaussian processes", JMLR 22, 2021.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from ..._backend import (
    Array,
    Backend,
    BoolArray,
    FloatArray,
    for_each,
    own_threads,
)
from ._kernel_completion import ridge_solver
from ._leave_one_out import KernelOfEntries, LeaveOneOut
from ._masked_system import MaskedSystem
from ._side_kernels import CrossKernel

# The most observed entries whose covariance matrix is factorised: 2 to 3 CPU seconds.
_MOST_FACTORISED = 3000
# Draws of the process; a variance from n draws has a relative error of sqrt(2 / n), and
# a standard deviation of half that: 13 %, or less by the share of the noise. On drug
# screens the coverage of intervals is that of 64 draws.
_N_DRAWS = 32
# Draws that are held at a time, each a few matrices of the size of the completed one.
_DRAWS_HELD = 8
# The tolerance of conjugate gradients for a draw: far below the error of the draws.
_DRAW_TOL = 1e-2
# Entries that are predicted together where the covariance matrix is factorised.
_BLOCK = 2000


@dataclass(frozen=True, kw_only=True)
class CoupledProcess:
    """A Gaussian process on the entries of a matrix, and those that are observed.

    Attributes
    ----------
    row_kernel, column_kernel : ndarray of shapes (m, m) and (n, n)
    observed : ndarray of bool of shape (m, n)
    targets : ndarray of shape (m, n)
        The observed entries, less the means of their columns if they are `centred`.
    centred : bool
    coef : ndarray of shape (m, n)
        The coefficients of the observed entries, 0 elsewhere.
    alpha : float
        The variance of the noise.
    max_iter : int
        The most iterations of conjugate gradients.
    backend : Backend
    """

    row_kernel: FloatArray
    column_kernel: FloatArray
    observed: BoolArray
    targets: FloatArray
    centred: bool
    coef: FloatArray
    alpha: float
    max_iter: int
    backend: Backend

    def deviations(self, cross: CrossKernel) -> FloatArray:
        """Return standard deviations (n_new, n) of new rows, noise included.

        The variance of each column is scaled such that leave-one-out residuals are as
        large as predicted.
        """
        few = np.count_nonzero(self.observed) <= _MOST_FACTORISED
        variance, *inverse = (self._factorised if few else self._drawn)(cross)
        left_out = self._leave_one_out(*inverse)
        variance = np.maximum(variance, 0) + self.alpha + left_out.mean_variances()
        return np.sqrt(variance * left_out.scales())

    def _leave_one_out(self, precision: FloatArray, sums: FloatArray) -> LeaveOneOut:
        """Return the entries, each predicted from the others.

        `precision` has the diagonal of the inverse covariance of the entries, and
        `sums` those of its rows over the entries of the same column.
        """
        own = np.diag(self.column_kernel)
        kernel = KernelOfEntries.zeros(self.observed.shape)
        part = KernelOfEntries(
            coef=self.coef[self.observed],
            precision=precision,
            precision_sum=sums,
            variance=np.outer(np.diag(self.row_kernel), own)[self.observed],
            variance_sum=(self.row_kernel @ self.observed * own)[self.observed],
        )
        kernel.set_part(self.observed, part)
        for array in (kernel.variance, kernel.variance_sum):
            array[self.observed] += self.alpha
        return LeaveOneOut(self.observed, self.targets, kernel, self.centred)

    def _factorised(self, cross: CrossKernel) -> tuple[FloatArray, ...]:
        """Return variances (n_new, n), and what `_leave_one_out` takes."""
        backend = self.backend
        rows, cols = np.nonzero(self.observed)
        K = self.row_kernel[np.ix_(rows, rows)] * self.column_kernel[np.ix_(cols, cols)]
        solve = ridge_solver(backend.asarray(K), self.alpha, backend)
        inverse = solve(backend.asarray(np.eye(len(rows))))
        of_row = cross.block(0, np.arange(len(self.row_kernel)))[:, rows]
        of_column = self.column_kernel[:, cols]
        explained = np.empty((len(cross), len(of_column)))
        step = max(1, _BLOCK // len(of_column))
        for start in range(0, len(cross), step):
            block = slice(start, start + step)
            k = backend.asarray(
                (of_row[block, None] * of_column).reshape(-1, len(rows))
            )
            of_block = backend.to_numpy(np.sum(k @ inverse * k, axis=1))
            explained[block] = of_block.reshape(-1, len(of_column))
        prior = np.outer(cross.diagonal(0), np.diag(self.column_kernel))
        inverse = backend.to_numpy(inverse)
        of_columns = np.zeros((len(rows), len(of_column)))
        of_columns[np.arange(len(rows)), cols] = 1
        sums = (inverse @ of_columns)[np.arange(len(rows)), cols]
        return prior - explained, np.diag(inverse), sums

    def _drawn(self, cross: CrossKernel) -> tuple[FloatArray, ...]:
        """Return the same as `_factorised`, as means over draws of the process.

        Given the process at the fitted rows, that at a new row has a known mean and
        variance; only the mean is drawn.
        """
        backend = self.backend
        values, vectors = np.linalg.eigh(self.row_kernel)
        K = cross.block(0, np.arange(len(values)))
        positive = values > len(values) * np.finfo(values.dtype).eps * values[-1]
        U = vectors[:, positive]
        weights = (K @ U / values[positive]) @ U.T
        rest = np.maximum(cross.diagonal(0) - np.sum(weights * K, axis=1), 0)
        weights = backend.asarray(weights)
        draw, threads = self._drawer(values, vectors), backend.threads
        squares, precision, sums = 0.0, 0.0, 0.0
        with own_threads(len(values)) if threads else nullcontext():
            for start in range(0, _N_DRAWS, _DRAWS_HELD):
                seeds = list(range(start, start + _DRAWS_HELD))
                drawn = for_each(draw, seeds) if threads else map(draw, seeds)
                for remaining, coef in drawn:
                    squares = squares + (weights @ remaining) ** 2
                    precision = precision + coef**2
                    sums = sums + coef.sum(axis=0) ** 2
        variance = backend.to_numpy(squares) / _N_DRAWS
        variance += np.outer(rest, np.diag(self.column_kernel))
        # the mean of 1 / x over draws is larger than 1 / mean by n / (n − 2)
        precision = backend.to_numpy(precision)[self.observed] / (_N_DRAWS - 2)
        # the mean over the column, as those of single entries have large errors
        sums = backend.to_numpy(sums) / _N_DRAWS / np.maximum(self.observed.sum(0), 1)
        return variance, precision, sums[np.nonzero(self.observed)[1]]

    def _drawer(
        self, values: FloatArray, vectors: FloatArray
    ) -> Callable[[int], tuple[Array, Array]]:
        """Return the function of a seed that draws the process.

        It returns what remains of the draw after conditioning, and its coefficients.
        The eigenvalues and eigenvectors are those of the kernel of rows.
        """
        backend = self.backend
        left = backend.asarray(vectors * np.sqrt(np.maximum(values, 0)))
        values, vectors = np.linalg.eigh(self.column_kernel)
        right = backend.asarray(vectors * np.sqrt(np.maximum(values, 0)))
        row_kernel = backend.asarray(self.row_kernel)
        column_kernel = backend.asarray(self.column_kernel)
        observed = backend.asarray(self.observed)
        system = MaskedSystem(row_kernel, column_kernel)
        system.prepare()

        def draw(seed):
            normal = np.random.RandomState(seed).standard_normal
            process, noise = normal((2, *observed.shape))
            process = left @ backend.asarray(process) @ right.T
            measured = process + self.alpha**0.5 * backend.asarray(noise)
            coef, _, _ = system.solve(
                np.where(observed, measured, 0.0),
                observed,
                alpha=self.alpha,
                tol=_DRAW_TOL,
                max_iter=self.max_iter,
            )
            return process - row_kernel @ coef @ column_kernel, coef

        return draw
