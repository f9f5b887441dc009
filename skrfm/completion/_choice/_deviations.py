"""Standard deviations of entries, from the errors of entries that were hidden."""

from dataclasses import dataclass

import numpy as np

from ..._backend import FloatArray, IntArray
from .._entries import ObservedEntries
from .._low_rank._loss import deviation_of_top_tenth
from .._noise import NoiseFactors


@dataclass(frozen=True)
class Spread:
    """Variances that are products of a factor of the row and of the column.

    Attributes
    ----------
    rows, columns : ndarray of shape (m,) and (n,)
        Intervals of 90 % hold 90 % of the errors of hidden entries.
    """

    rows: FloatArray
    columns: FloatArray

    @classmethod
    def of(cls, errors: ObservedEntries) -> "Spread":
        """Return the variances of weighted errors."""
        squares = errors.weight * errors.values**2
        factors = NoiseFactors.of(errors, squares)
        # an error of 0 is inside any interval, however short
        tiny = np.finfo(squares.dtype).tiny
        ratios = np.sqrt(squares / np.maximum(factors.left_out, tiny))
        return cls(factors.rows, factors.columns * deviation_of_top_tenth(ratios) ** 2)

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the variances of entries."""
        return self.rows[rows] * self.columns[cols]


@dataclass(frozen=True)
class Deviations:
    """Standard deviations of new measurements, also where nothing was observed.

    Attributes
    ----------
    spread : Spread
        Of rows and columns with entries.
    of_gaps : list of Spread
        Of the predictions that rows without entries have, and columns without.
    effects : list of float
        The variances of the effects of rows and of columns, which such a row or column
        adds.
    """

    spread: Spread
    of_gaps: list[Spread]
    effects: list[float]

    @classmethod
    def of(
        cls,
        errors: ObservedEntries,
        effects: list[FloatArray],
        errors_of_gaps: list[ObservedEntries],
    ) -> "Deviations":
        """Return the deviations of weighted errors.

        Parameters
        ----------
        errors : ObservedEntries
            Entries less their predictions by fits without them.
        effects : list of ndarray
            The shrunk effects of the rows and of the columns.
        errors_of_gaps : list of ObservedEntries
            The same errors of the methods that predict rows and columns without
            entries, apart from their effects.
        """
        counts = errors.row_counts(), errors.column_counts()
        variances = [
            float(np.var(effect[count > 0]))
            for effect, count in zip(effects, counts, strict=True)
        ]
        of_gaps = [Spread.of(other) for other in errors_of_gaps]
        return cls(Spread.of(errors), of_gaps, variances)

    def at(self, rows: IntArray, cols: IntArray, *, known) -> FloatArray:
        """Return standard deviations of new measurements.

        Parameters
        ----------
        rows, cols : ndarray of int of shape (k,)
        known : tuple of ndarray of bool
            Whether rows, and columns, have entries.
        """
        variance = self.spread.at(rows, cols)
        gaps = ~known[0][rows], ~known[1][cols]
        for gap, other in zip(gaps, self.of_gaps, strict=True):
            larger = np.maximum(variance, other.at(rows, cols))
            variance = np.where(gap, larger, variance)
        for gap, effect in zip(gaps, self.effects, strict=True):
            variance += np.where(gap, effect, 0.0)
        return np.sqrt(variance)
