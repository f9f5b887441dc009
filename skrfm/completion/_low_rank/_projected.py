"""The Gauss-Newton system of columns whose rows are eliminated, by products alone."""

import numpy as np
from scipy.linalg import LinAlgError

from ..._backend import FloatArray
from .._entries import ObservedEntries

# Conjugate gradients end at this residual relative to the gradient, or after so many
# iterations. A looser residual takes more steps: a step is then no better than one of
# gradient descent in the directions that matter at the end.
_TOL, _MOST_ITERATIONS = 1e-4, 1000


class ProjectedSystem:
    """The rows that fit columns V best, and products with the system of the columns.

    A change D of the columns changes the residuals by P (U · D)_e, where P takes out
    what the rows can fit themselves. A product takes a few passes over the entries.

    Parameters
    ----------
    entries : ObservedEntries
    V : ndarray of shape (n, k)
    ridge : float
        Of each row, relative to the trace of its system.

    Attributes
    ----------
    U : ndarray of shape (m, k)
        The rows.
    square : float
        The weighted sum of the squared residuals.
    """

    def __init__(self, entries: ObservedEntries, V: FloatArray, ridge: float):
        self._entries, self._V = entries, V
        systems = _second_moments(entries.row_sums, entries.weight, V)
        diagonal = np.arange(V.shape[1])
        trace = np.trace(systems, axis1=1, axis2=2)
        # rows without entries have systems too
        systems[:, diagonal, diagonal] += np.where(trace > 0, ridge * trace, 1.0)[
            :, None
        ]
        self._lower = np.linalg.inv(np.linalg.cholesky(systems))
        self.U = self._rows_of(entries.values)
        self._residuals = entries.values - entries.products(self.U, V)
        self.square = float(self._residuals**2 @ entries.weight)

    def _rows_of(self, values: FloatArray) -> FloatArray:
        """Return the rows that fit values of the entries best."""
        sums = self._entries.row_sums(self._entries.weight * values, self._V)
        half = np.einsum("mab,mb->ma", self._lower, sums)
        return np.einsum("mab,ma->mb", self._lower, half)

    def _column_sums(self, values: FloatArray) -> FloatArray:
        """Return the weighted sums of values times rows, for each column."""
        return self._entries.column_sums(self._entries.weight * values, self.U)

    def _product(self, change: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the product of the damped system with a change of the columns."""
        values = self._entries.products(self.U, change)
        values -= self._entries.products(self._rows_of(values), self._V)
        return self._column_sums(values) + change @ scale

    def blocks(self, scale: FloatArray) -> FloatArray:
        """Return the inverses of the blocks of single columns: the preconditioner."""
        weight = self._entries.weight * (1 - self._leverage())
        return np.linalg.inv(
            _second_moments(self._entries.column_sums, weight, self.U) + scale
        )

    def _leverage(self) -> FloatArray:
        """Return the share of each entry that its row fits by itself."""
        rows, cols = self._entries.rows, self._entries.cols
        own = np.einsum("eab,eb->ea", self._lower[rows], self._V[cols])
        return np.minimum(np.sum(own**2, axis=1) * self._entries.weight, 1.0)

    def solve(self, scale: FloatArray) -> FloatArray | None:
        """Return the change of the columns by conjugate gradients.

        None if the damped blocks of the columns are singular. `scale` of shape (k, k)
        is added to the system of each column.
        """
        try:
            blocks = self.blocks(scale)
        except LinAlgError:
            return None
        left = self._column_sums(self._residuals)
        change, first = np.zeros_like(left), np.linalg.norm(left)
        step = np.einsum("nab,nb->na", blocks, left)
        direction, size = step, float(np.sum(left * step))
        for _ in range(_MOST_ITERATIONS):
            image = self._product(direction, scale)
            length = size / float(np.sum(direction * image))
            change = change + length * direction
            left = left - length * image
            if np.linalg.norm(left) <= _TOL * first:
                break
            step = np.einsum("nab,nb->na", blocks, left)
            before, size = size, float(np.sum(left * step))
            direction = step + size / before * direction
        return change


def _second_moments(sums, weight: FloatArray, factors: FloatArray) -> FloatArray:
    """Return Σ_e w_e f_e f_eᵀ for each row or column, by a function that adds up."""
    k = factors.shape[1]
    outer = np.einsum("na,nb->nab", factors, factors).reshape(-1, k * k)
    return sums(weight, outer).reshape(-1, k, k)
