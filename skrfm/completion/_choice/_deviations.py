"""Standard deviations of entries, from the errors of entries that were hidden."""

from dataclasses import dataclass

import numpy as np

from ..._backend import FloatArray, IntArray
from .._entries import ObservedEntries
from .._low_rank._loss import deviation_of_top_tenth

# Errors of average size that are added to each row and column.
_PRIOR_ENTRIES = 10
# Alternations of the factors of rows and columns; they change by less than 1e-3 then.
_N_ALTERNATIONS = 20


@dataclass(frozen=True)
class Deviations:
    """Standard deviations that are products of a factor of the row and of the column.

    Attributes
    ----------
    rows, columns : ndarray of shape (m,) and (n,)
        Factors, 1 where nothing is observed.
    scale : float
        Intervals of 90 % hold 90 % of the errors of hidden entries.
    unknown_row, unknown_column : float
        The variance that is added in rows and in columns without entries: of the
        effects of the others.
    """

    rows: FloatArray
    columns: FloatArray
    scale: float
    unknown_row: float
    unknown_column: float

    @classmethod
    def of(cls, errors: ObservedEntries, effects: list[FloatArray]) -> "Deviations":
        """Return the deviations of weighted errors.

        Parameters
        ----------
        errors : ObservedEntries
            Entries less their predictions by fits without them.
        effects : list of ndarray
            The shrunk effects of the rows and of the columns.
        """
        scaled = errors.values * np.sqrt(errors.weight)
        factors = [np.ones(size) for size in errors.shape]
        indices = errors.rows, errors.cols
        mean = float(np.mean(scaled**2)) or 1.0
        for _ in range(_N_ALTERNATIONS):
            for side in (0, 1):
                own, other = indices[side], indices[1 - side]
                squares = scaled**2 / (mean * factors[1 - side][other])
                size = errors.shape[side]
                sums = np.bincount(own, squares, size) + _PRIOR_ENTRIES
                factors[side] = sums / (
                    np.bincount(own, minlength=size) + _PRIOR_ENTRIES
                )
        rows, columns = (np.sqrt(factor) for factor in factors)
        counts = [
            np.bincount(own, minlength=len(f))
            for own, f in zip(indices, factors, strict=True)
        ]
        unknown = [
            float(np.var(effect[count > 0]))
            for effect, count in zip(effects, counts, strict=True)
        ]
        scale = deviation_of_top_tenth(
            scaled / (rows[errors.rows] * columns[errors.cols])
        )
        return cls(rows, columns, scale, *unknown)

    def at(self, rows: IntArray, cols: IntArray, *, known) -> FloatArray:
        """Return standard deviations of new measurements.

        Parameters
        ----------
        rows, cols : ndarray of int of shape (k,)
        known : tuple of ndarray of bool
            Whether rows, and columns, have entries.
        """
        variance = (self.scale * self.rows[rows] * self.columns[cols]) ** 2
        variance += np.where(known[0][rows], 0.0, self.unknown_row)
        variance += np.where(known[1][cols], 0.0, self.unknown_column)
        return np.sqrt(variance)
