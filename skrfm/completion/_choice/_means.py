"""Means of rows and columns, both shrunk: the additive model of a matrix."""

from dataclasses import dataclass

import numpy as np

from ..._backend import FloatArray
from .._entries import ObservedEntries

# The iterations end when no variance changes by more than this share of the total: on
# drug screens the predictions then differ by less than a thousandth of their error.
_TOL, _MAX_ITER = 1e-5, 200
# The least variance of an effect, as a share of the total: keeps ratios finite.
_LEAST_SHARE = 1e-12


@dataclass(frozen=True)
class ShrunkMeans:
    """The model mean + row effect + column effect, with random effects.

    An effect is the mean of its residuals, shrunk by the ratio of noise to signal:
    Σ residuals / (count + noise variance / variance of the effects). The variances
    are those of the largest likelihood, found by iterations of expectation and
    maximisation that update rows and columns in turn.

    Attributes
    ----------
    mean : float
    rows, columns : ndarray of shape (m,) and (n,)
        The effects, 0 where nothing is observed.
    row_penalty, column_penalty : float
        The ratios of the variances of noise and effects, which are added to counts.
    """

    mean: float
    rows: FloatArray
    columns: FloatArray
    row_penalty: float
    column_penalty: float

    @classmethod
    def of(cls, entries: ObservedEntries) -> "ShrunkMeans":
        """Return the means of weighted entries."""
        values = entries.values.astype(np.float64)
        scale = float(np.abs(values).max(initial=0)) or 1.0
        values, weight = values / scale, entries.weight.astype(np.float64)
        mean = float(np.average(values, weights=weight))
        found = _effects(entries, values - mean, weight)
        shift, rows, columns, row_penalty, column_penalty = found
        return cls(
            (mean + shift) * scale,
            rows * scale,
            columns * scale,
            row_penalty=row_penalty,
            column_penalty=column_penalty,
        )

    def of_rows(self, entries: ObservedEntries) -> FloatArray:
        """Return the effects of rows, new ones or not, from their entries."""
        residual = entries.values - self.mean - self.columns[entries.cols]
        return _shrunk(
            entries.rows,
            residual,
            entries.weight,
            size=entries.shape[0],
            penalty=self.row_penalty,
        )[0]

    def dense(self, rows: FloatArray) -> FloatArray:
        """Return the matrix of rows with the given effects."""
        return self.mean + rows[:, None] + self.columns

    def residuals(self, entries: ObservedEntries) -> ObservedEntries:
        """Return the entries of some rows less their means."""
        predicted = (
            self.mean + self.of_rows(entries)[entries.rows] + self.columns[entries.cols]
        )
        return entries.with_values(entries.values - predicted)


def _shrunk(index, residual, weight, *, size, penalty):
    """Return shrunk means of residuals by index, and counts plus the penalty."""
    total = np.bincount(index, weight, size) + penalty
    sums = np.bincount(index, weight * residual, size)
    return np.divide(sums, total, out=np.zeros(size), where=total > 0), total


def _effects(entries, values, weight):
    """Return a shift of the mean, the effects of rows and columns, their penalties."""
    rows, cols, (m, n) = entries.rows, entries.cols, entries.shape
    total = float(np.average(values**2, weights=weight))
    shift, a, b = 0.0, np.zeros(m), np.zeros(n)
    if total == 0:
        return shift, a, b, 1.0, 1.0
    known_rows, known_cols = np.unique(rows), np.unique(cols)
    variances = np.full(3, total / 3)  # of rows, columns and noise
    for _ in range(_MAX_ITER):
        penalty = variances[2] / variances[:2]
        left = values - shift
        b, col_totals = _shrunk(
            cols, left - a[rows], weight, size=n, penalty=penalty[1]
        )
        a, row_totals = _shrunk(
            rows, left - b[cols], weight, size=m, penalty=penalty[0]
        )
        row_spread, col_spread = variances[2] / row_totals, variances[2] / col_totals
        squares = (left - a[rows] - b[cols]) ** 2 + row_spread[rows]
        latest = np.array(
            [
                np.mean(a[known_rows] ** 2 + row_spread[known_rows]),
                np.mean(b[known_cols] ** 2 + col_spread[known_cols]),
                np.average(squares + col_spread[cols], weights=weight),
            ]
        )
        latest = np.maximum(latest, _LEAST_SHARE * total)
        change = np.abs(latest - variances).max()
        variances = latest
        if change <= _TOL * total:
            break
        # a common part of the effects belongs to the mean, which is not shrunk: updates
        # in turn would move it slowly
        parts = a[known_rows].mean(), b[known_cols].mean()
        a[known_rows] -= parts[0]
        b[known_cols] -= parts[1]
        shift += sum(parts)
    return shift, a, b, float(penalty[0]), float(penalty[1])
