"""A fitted low-rank matrix: its entries, its completed rows, and what fills the gaps.

Factors are held for the rows and columns with entries only. A row without entries is
filled with the weighted means of the columns, a column without entries with the
weighted mean of all entries.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..._backend import Backend, FloatArray, IntArray, own_threads
from ..._tables import Placement
from .._observed import ObservedIndices, ObservedMatrix, Triplets
from ._iterates import Averages, Iterate, RowModel
from ._rows import FactorModel, new_rows
from ._scaling import Scaling
from ._uncertainty import HoldOut, Uncertainty

# So many entries are as much work as a row of a kernel machine: with fewer of them,
# starting threads does not pay.
_ENTRIES_PER_ROW = 50
# Entries that are predicted together: bounds the memory of their factors.
_BLOCK = 100_000


def threads_for(n_entries: int) -> AbstractContextManager:
    """Return the context of the threads that so many entries are worth."""
    return own_threads(n_entries // _ENTRIES_PER_ROW)


@dataclass(frozen=True, kw_only=True)
class Filling:
    """The values of a matrix where rows or columns have no entries.

    Attributes
    ----------
    rows, columns : ObservedIndices
        The rows and columns that have entries.
    column_means : ndarray of shape (n_observed_columns,)
        The weighted means of the observed columns, for rows without entries.
    overall_mean : floating
        The weighted mean of all entries, for columns without entries.
    row_means : ndarray of shape (n_observed_rows,) or None
        What the observed rows have in columns without entries instead, if given.
    """

    rows: ObservedIndices
    columns: ObservedIndices
    column_means: FloatArray
    overall_mean: np.floating
    row_means: FloatArray | None = None

    @classmethod
    def of(cls, matrix: ObservedMatrix) -> "Filling":
        """Return the means of a matrix."""
        return cls(
            rows=matrix.rows,
            columns=matrix.columns,
            column_means=matrix.entries.column_means(),
            overall_mean=matrix.entries.overall_mean(),
        )

    def dense(self, observed: FloatArray) -> FloatArray:
        """Return the whole matrix.

        Parameters
        ----------
        observed : ndarray of shape (n_observed_rows, n_observed_columns)
            The values in rows and columns that have entries.
        """
        if self.rows.indices is None and self.columns.indices is None:
            return observed
        out = np.empty((self.rows.size, self.columns.size), dtype=observed.dtype)
        out[:] = self.columns.expand(self.column_means, self.overall_mean)
        rows = self.rows.original(np.arange(len(self.rows)))
        if self.row_means is not None:
            out[rows] = self.row_means[:, None]
        columns = self.columns.original(np.arange(len(self.columns)))
        out[np.ix_(rows, columns)] = observed
        return out

    def at(
        self,
        rows: IntArray,
        cols: IntArray,
        observed_at: Callable[[IntArray, IntArray], FloatArray],
    ) -> FloatArray:
        """Return the values at some positions.

        Parameters
        ----------
        rows, cols : ndarray of int of shape (n_entries,)
            The positions in the whole matrix.
        observed_at : callable
            Maps positions among the observed rows and columns to values.
        """
        i, row_known = self.rows.positions(rows)
        j, column_known = self.columns.positions(cols)
        known = row_known & column_known
        if known.all():
            return observed_at(i, j)
        out = np.full(len(known), self.overall_mean, dtype=self.column_means.dtype)
        if self.row_means is not None:
            out[row_known] = self.row_means[i[row_known]]
        # a row without entries, or a value that the next line replaces
        out[column_known] = self.column_means[j[column_known]]
        out[known] = observed_at(i[known], j[known])
        return out


@dataclass(frozen=True, kw_only=True)
class CompletedRows:
    """Completed rows.

    Attributes
    ----------
    observed : ndarray of shape (n_observed_rows, n_observed_columns)
        The values in rows that have entries, and columns that had entries in the fit.
    filling : Filling
        The other values.
    """

    observed: FloatArray
    filling: Filling

    def dense(self) -> FloatArray:
        """Return all values."""
        return self.filling.dense(self.observed)

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the values at some positions."""
        return self.filling.at(rows, cols, lambda i, j: self.observed[i, j])


@dataclass(frozen=True, kw_only=True)
class FittedMatrix:
    """The matrix ``mean + (U * s) @ V.T`` in the rows and columns that have entries.

    Attributes
    ----------
    factors : tuple of ndarray, of shapes (n_observed_rows, k), (k,) and \
(n_observed_columns, k)
        U, s and V.
    scaling : Scaling
        The means of the observed columns, and the scale of the entries around them.
    row_model : RowModel
        The regression that completes rows.
    filling : Filling
        The values in rows and columns without entries.
    uncertainty : Uncertainty
        What standard deviations are computed from.
    """

    factors: tuple[FloatArray, FloatArray, FloatArray]
    scaling: Scaling
    row_model: RowModel
    filling: Filling
    uncertainty: Uncertainty

    @classmethod
    def of(
        cls, iterate: Iterate, *, loss: str, scaling: Scaling, matrix: ObservedMatrix
    ) -> "FittedMatrix":
        """Return the fitted matrix of an iterate, in the units before scaling."""
        model = FactorModel.of(iterate, loss).map_arrays(iterate.entries.to_numpy)
        U, s, V = model.factors
        mean, filling = scaling.mean, Filling.of(matrix)
        if iterate.averages is not None:
            filling = _filling_of(filling, iterate.averages, scaling)
        if model.mean is not None:
            mean = mean + model.mean * scaling.scale
        return cls(
            factors=(U, s * scaling.scale, V),
            scaling=Scaling(mean, scaling.scale),
            row_model=model.row_model,
            filling=filling,
            uncertainty=Uncertainty(
                observed=matrix.stored(),
                scaling=scaling,
                model=model,
                loss="squared" if loss == "absolute" else loss,
                averages=iterate.averages,
            ),
        )

    def with_hold_out(self, hold_out: HoldOut | None) -> "FittedMatrix":
        """Return the same with the hidden entries that scale standard deviations."""
        uncertainty = replace(self.uncertainty, hold_out=hold_out)
        return replace(self, uncertainty=uncertainty)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the whole matrix."""
        return self.filling.rows.size, self.filling.columns.size

    @property
    def entries(self) -> Triplets:
        """The entries of the fit, in rows and columns of the whole matrix."""
        entries = self.uncertainty.observed.entries()
        return Triplets(
            self.filling.rows.original(entries.rows),
            self.filling.columns.original(entries.cols),
            entries.values,
            shape=self.shape,
        )

    def all_factors(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return factors of all rows and columns, zeros where they have no entries."""
        U, s, V = self.factors
        rows, columns = self.filling.rows, self.filling.columns
        return rows.expand(U, 0.0), s, columns.expand(V, 0.0)

    def all_means(self) -> FloatArray:
        """Return the means of all columns that are added to the factors."""
        return self.filling.columns.expand(self.scaling.mean, self.filling.overall_mean)

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the values at some positions."""
        return self.filling.at(rows, cols, self._products)

    def _products(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return values at positions among the observed rows and columns."""
        U, s, V = self.factors
        out = np.empty(len(rows), dtype=U.dtype)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = np.einsum("ek,ek->e", U[rows[block]] * s, V[cols[block]])
        return out + self.scaling.mean[cols]

    def deviations(
        self, rows: IntArray, cols: IntArray, *, backend: Backend
    ) -> FloatArray:
        """Return standard deviations at some positions, noise included.

        Their small systems are solved on the CPU, whatever the backend is.
        """
        uncertainty = self.uncertainty
        filling = replace(
            self.filling,
            column_means=uncertainty.column_deviations,
            overall_mean=uncertainty.overall_deviation,
            row_means=None,
        )
        with threads_for(len(uncertainty.observed)):
            out = filling.at(rows, cols, uncertainty.deviations)
        return out.astype(self.factors[0].dtype, copy=False)

    def complete(self, triplets: Triplets, placement: Placement) -> CompletedRows:
        """Return completed rows, from entries in rows of any number.

        Entries in columns that had none in the fit have no effect.
        """
        dtype = triplets.values.dtype
        matrix = triplets.in_columns(self.filling.columns)
        filling = replace(
            self.filling,
            rows=matrix.rows,
            column_means=self.filling.column_means.astype(dtype),
            row_means=None,
        )
        if len(matrix.entries) == 0:
            nothing = np.empty((0, len(matrix.columns)), dtype=dtype)
            return CompletedRows(observed=nothing, filling=filling)
        mean, scale = self.scaling.mean.astype(dtype), dtype.type(self.scaling.scale)
        scaled = Scaling(mean, scale).apply(matrix.entries, placement)
        model = self.row_model.map_arrays(partial(np.asarray, dtype=dtype))
        with threads_for(len(matrix.entries)):
            Z = scaled.to_numpy(new_rows(scaled, model.map_arrays(scaled.asarray)))
        return CompletedRows(observed=(Z * scale) @ model.V.T + mean, filling=filling)


def _filling_of(filling: Filling, averages: Averages, scaling: Scaling) -> Filling:
    """Return a filling with the averages of draws, in the units before scaling."""
    dtype, scale = filling.column_means.dtype, scaling.scale
    mean = np.mean(scaling.mean)
    return replace(
        filling,
        column_means=(averages.of_columns * scale + scaling.mean).astype(dtype),
        row_means=(averages.of_rows * scale + mean).astype(dtype),
    )


def fitted_matrix(completer: Any, name: str) -> FittedMatrix:
    """Return the fitted matrix, or raise AttributeError for a fitted attribute."""
    if not hasattr(completer, "_fitted"):
        raise AttributeError(
            f"{name!r} is available after the completer is fitted: call fit first."
        )
    return completer._fitted
