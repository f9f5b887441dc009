"""The observed entries of a matrix, and sums over them in compiled code."""

from collections.abc import Iterator
from copy import copy
from itertools import pairwise
from typing import Self

import numpy as np

from .. import _jit
from .._backend import Array, BoolArray, FloatArray, IntArray
from ._compressed import CompressedRows, repeated_rows, sorted_by_row
from ._entries_protocol import Entries

__all__ = ["Entries", "ObservedEntries", "degrees_of_freedom"]

# The metric of a matrix with more columns is not formed: it takes their number squared.
_WIDEST_METRIC = 4000


class ObservedEntries:
    """The observed entries of a matrix, in the memory of the CPU.

    Products with dense factors take memory for the entries and the factors only; the
    matrix itself is formed by `dense` alone.

    Parameters
    ----------
    rows, cols : array-like of int of shape (n_entries,)
        The indices of the entries, in any order.
    values : array-like of shape (n_entries,)
    shape : tuple of (int, int)
        Shape (m, n) of the matrix.
    weight : array-like of shape (n_entries,), default=None
        The weights of the entries, None for 1.

    Attributes
    ----------
    rows, cols, values, weight : ndarray of shape (n_entries,)
        The entries, sorted by row and column.
    column_order : ndarray of int of shape (n_entries,)
        The order that sorts the entries by column and row.
    """

    def __init__(
        self,
        rows: Array,
        cols: Array,
        values: Array,
        *,
        shape: tuple[int, int],
        weight: Array | None = None,
    ):
        self.shape = int(shape[0]), int(shape[1])
        by_row, order = sorted_by_row(np.asarray(rows), np.asarray(cols), self.shape)
        self.values = np.asarray(values)[order]
        weight = None if weight is None else np.asarray(weight)[order]
        if weight is None:
            weight = np.ones(len(self.values), self.values.dtype)
        self.weight = weight.astype(self.values.dtype, copy=False)
        by_column = by_row.tocsc()
        self.column_order: IntArray = by_column.data
        self._by_row = CompressedRows(by_row.indptr, by_row.indices)
        self._by_column = CompressedRows(by_column.indptr, by_column.indices)
        self.rows = repeated_rows(self._by_row)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def cols(self) -> IntArray:
        """The column of each entry."""
        return self._by_row.indices

    def row_counts(self) -> IntArray:
        """Return the number of entries in each row."""
        return np.diff(self._by_row.pointer)

    def column_counts(self) -> IntArray:
        """Return the number of entries in each column."""
        return np.diff(self._by_column.pointer)

    def by_row(self) -> Iterator[slice]:
        """Yield the slice of the entries of each row."""
        for start, stop in pairwise(self._by_row.pointer.tolist()):
            yield slice(start, stop)

    def select(self, mask: BoolArray) -> "ObservedEntries":
        """Return the entries where a boolean mask is True."""
        rows, cols, values = self.rows[mask], self.cols[mask], self.values[mask]
        weight = self.weight[mask]
        return ObservedEntries(rows, cols, values, shape=self.shape, weight=weight)

    def with_values(self, values: FloatArray) -> Self:
        """Return entries with other values at the same positions."""
        other = copy(self)
        other.values = values
        return other

    def column_means(self) -> FloatArray:
        """Return the weighted mean of each column; of all entries for empty columns."""
        n, (values, exponent) = self.shape[1], self._summable_values()
        total = np.bincount(self.cols, self.weight, n)
        sums = np.bincount(self.cols, self.weight * values, n)
        overall = np.average(values, weights=self.weight)
        means = np.divide(sums, total, out=np.full(n, overall), where=total > 0)
        return np.ldexp(means, exponent).astype(self.values.dtype)

    def overall_mean(self) -> np.floating:
        """Return the weighted mean of all entries."""
        values, exponent = self._summable_values()
        mean = np.average(values, weights=self.weight)
        return self.values.dtype.type(np.ldexp(mean, exponent))

    def _summable_values(self) -> tuple[FloatArray, int]:
        """Return values whose sums do not overflow, over a power of two."""
        top = np.abs(self.values).max(initial=0)
        if top <= np.finfo(self.values.dtype).max ** 0.5:
            return self.values, 0
        exponent = int(np.frexp(top)[1])
        return np.ldexp(self.values, -exponent), exponent

    def subtract(self, means: FloatArray) -> Self:
        """Return the entries minus a mean for each column."""
        return self.with_values(self.values - means[self.cols])

    def transposed(self) -> "ObservedEntries":
        """Return the entries of the transposed matrix."""
        other = copy(self)
        other.shape = self.shape[1], self.shape[0]
        other.values = self.by_column(self.values)
        other.weight = self.by_column(self.weight)
        other._by_row, other._by_column = self._by_column, self._by_row
        other.rows = repeated_rows(other._by_row)
        other.column_order = np.empty_like(self.column_order)
        positions = np.arange(len(self), dtype=self.column_order.dtype)
        other.column_order[self.column_order] = positions
        return other

    def on_host(self) -> "ObservedEntries":
        """Return the entries themselves."""
        return self

    def asarray(self, a: np.ndarray) -> np.ndarray:
        """Return a NumPy array as it is."""
        return a

    def to_numpy(self, a: FloatArray) -> FloatArray:
        """Return a NumPy array as it is."""
        return a

    def dense(self) -> FloatArray:
        """Return the matrix, with zeros where no entry is observed."""
        out = np.zeros(self.shape, dtype=self.values.dtype)
        out[self.rows, self.cols] = self.values
        return out

    def row_maxima(self, values: FloatArray) -> FloatArray:
        """Return the largest of positive values in each row, 0 for empty rows."""
        out = np.zeros(self.shape[0], dtype=values.dtype)
        np.maximum.at(out, self.rows, values)
        return out

    def draw_hidden(
        self, share: float, random_state: np.random.RandomState
    ) -> BoolArray:
        """Return the mask of a random share of the entries, at least one of them."""
        hidden = np.zeros(len(self), dtype=bool)
        count = min(max(1, round(share * len(self))), len(self))
        hidden[random_state.choice(len(self), count, replace=False)] = True
        return hidden

    def products(self, L: FloatArray, R: FloatArray) -> FloatArray:
        """Return L_i · R_j at the entries (i, j)."""
        out = np.empty(len(self), dtype=L.dtype)
        L, R = np.ascontiguousarray(L), np.ascontiguousarray(R)
        self._by_row.for_each_part(_jit.sampled_products, L, R, out)
        return out

    def row_sums(self, values: FloatArray, R: FloatArray) -> FloatArray:
        """Return S @ R, S the sparse matrix of `values` at the entries."""
        return _sums(self._by_row, values, R)

    def column_sums(self, values: FloatArray, L: FloatArray) -> FloatArray:
        """Return S.T @ L, S the sparse matrix of `values` at the entries."""
        return self.sums_by_column(self.by_column(values), L)

    def sums_by_column(self, values: FloatArray, L: FloatArray) -> FloatArray:
        """Return `column_sums` of values in the order of `by_column`."""
        return _sums(self._by_column, values, L)

    def normal_row_sums(
        self, weight: FloatArray, L: FloatArray, R: FloatArray, columns: slice
    ) -> FloatArray:
        """Return S @ R[:, columns], S the sparse matrix of weight · (L_i · R_j)."""
        return _normal_sums(self._by_row, weight, L, R, columns=columns)

    def normal_column_sums(
        self, weight: FloatArray, L: FloatArray, R: FloatArray, columns: slice
    ) -> FloatArray:
        """Return S.T @ L[:, columns], S as in `normal_row_sums`, weights by column.

        The products are computed again: reading them in another order takes longer.
        """
        return _normal_sums(self._by_column, weight, R, L, columns=columns)

    def by_column(self, values: FloatArray) -> FloatArray:
        """Return values of the entries in the order of columns, then rows."""
        out = np.empty_like(values)
        self._by_column.for_each_part(
            _jit.gather, np.ascontiguousarray(values), out, indices=self.column_order
        )
        return out

    def row_solves(
        self, V: FloatArray, penalty: FloatArray, weight: FloatArray
    ) -> FloatArray:
        """Return z_i = argmin Σ_j weight_ij (value_ij − V_j · z)² + Σ penalty z²."""
        V = np.ascontiguousarray(V)
        penalty = np.asarray(penalty, dtype=V.dtype)
        if self._has_short_rows(V.shape[1]):
            scaled = V / penalty
            return self.row_sums(self.dual_solves(scaled @ V.T, 1 / weight), scaled)
        out = np.empty((self.shape[0], V.shape[1]), dtype=V.dtype)
        self._by_row.for_each_part(
            _jit.row_solves, weight, self.values, V, penalty, out
        )
        return out

    def _has_short_rows(self, k: int) -> bool:
        """Return whether the dual systems of the rows are smaller, with k unknowns."""
        return k * self.shape[0] > len(self) and self.shape[1] <= _WIDEST_METRIC

    def dual_solves(self, P: FloatArray, noise: FloatArray) -> FloatArray:
        """Return (P_ii + diag(noise_i))⁻¹ values_i of each row, at the entries.

        P_ii is the metric P (n, n) between the columns observed in row i.
        """
        out = np.empty(len(self), dtype=P.dtype)
        self._by_row.for_each_part(
            _jit.dual_solves, self.values, noise, np.ascontiguousarray(P), out
        )
        return out

    def quadratic_forms(
        self,
        V: FloatArray,
        penalty: FloatArray,
        weight: FloatArray,
        *,
        rows: IntArray,
        cols: IntArray,
    ) -> FloatArray:
        """Return V_j · (Σ_e weight_e V_e V_eᵀ + diag(penalty))⁻¹ V_j at any (i, j).

        The sum is over the entries e of row i, in columns whose rows of V are V_e.
        """
        order = np.argsort(rows, kind="stable")
        pointer = np.searchsorted(rows[order], np.arange(self.shape[0] + 1))
        V, penalty = np.ascontiguousarray(V), np.asarray(penalty, dtype=V.dtype)
        ordered = np.empty(len(order), dtype=V.dtype)
        self._by_row.for_each_part(
            _jit.quadratic_forms, weight, V, penalty, pointer, cols[order], ordered
        )
        out = np.empty_like(ordered)
        out[order] = ordered
        return out

    def posterior_rows(
        self,
        columns: tuple[FloatArray, FloatArray],
        *,
        weight: FloatArray,
        prior: FloatArray,
        noise: float,
    ) -> tuple[tuple[FloatArray, FloatArray], FloatArray]:
        """Return the normal posterior of row factors u_i, given that of the columns.

        The entries are u_i · v_j plus errors of variance noise / weight.

        Parameters
        ----------
        columns : tuple of ndarray, of shapes (n, k) and (n, k, k)
            The means and the covariances of v_j. Here and below only the lower
            triangles of covariances are used and set.
        weight : ndarray of shape (n_entries,)
        prior : ndarray of shape (k, k)
            The precision of u_i without entries.
        noise : float

        Returns
        -------
        rows : tuple of ndarray, of shapes (m, k) and (m, k, k)
            The means and the covariances of u_i.
        squares : ndarray of shape (n_entries,)
            The expected squares of the entries minus u_i · v_j.
        """
        means, covariances = columns
        m, k, dtype = self.shape[0], means.shape[1], means.dtype
        rows = np.empty((m, k), dtype), np.zeros((m, k, k), dtype)
        squares = np.empty(len(self), dtype)
        self._by_row.for_each_part(
            _jit.posterior_rows,
            self.values,
            weight,
            np.ascontiguousarray(means),
            covariances,
            prior,
            noise,
            *rows,
            squares,
        )
        return rows, squares

    def drawn_rows(
        self,
        normal: FloatArray,
        columns: FloatArray,
        offset: FloatArray,
        *,
        prior: FloatArray,
        linear: FloatArray,
        precision: float,
    ) -> tuple[FloatArray, float]:
        """Return draws of the factors of the rows, given those of the columns.

        The entries are offset_j + u_i · v_j plus errors of precision times weight.

        Parameters
        ----------
        normal : ndarray of shape (m, k)
            Standard normal numbers, which are overwritten by the draws.
        columns, offset : ndarray of shapes (n, k) and (n,)
            v_j and the offsets.
        prior, linear : ndarray of shapes (k, k) and (k,)
            The precision of u_i without entries, and that times its mean.
        precision : float

        Returns
        -------
        rows : ndarray of shape (m, k)
        square : float
            The weighted sum of the squared errors.
        """
        dtype, squares = normal.dtype, np.empty(self.shape[0], normal.dtype)
        self._by_row.for_each_part(
            _jit.drawn_rows,
            *(self.values, self.weight),
            *(np.ascontiguousarray(columns), np.ascontiguousarray(offset)),
            *(prior.astype(dtype), linear.astype(dtype), dtype.type(precision)),
            *(normal, squares),
        )
        return normal, float(squares.sum(dtype=np.float64))

    def eliminated_rows(
        self, V: FloatArray, ridge: float
    ) -> tuple[FloatArray, float, FloatArray, FloatArray]:
        """Return the rows U that fit columns V, and the problem left for the columns.

        Parameters
        ----------
        V : ndarray of shape (n, k)
        ridge : float
            Of each row, relative to the trace of its system.

        Returns
        -------
        U : ndarray of shape (m, k)
        square : float
            The weighted sum of the squared residuals.
        system : ndarray of shape (n * k, n * k)
            The Gauss-Newton matrix of V, its lower triangle.
        gradient : ndarray of shape (n, k)
            Minus half the gradient by V.
        """
        (n, k), m = V.shape, self.shape[0]
        U, residuals = np.empty((m, k), V.dtype), np.empty(len(self), V.dtype)
        system, gradient = np.zeros((n * k, n * k), V.dtype), np.zeros((n, k), V.dtype)
        rows, V = self._by_row, np.ascontiguousarray(V)
        # in one part: all rows add to the same system
        _jit.eliminated_rows(
            *(rows.pointer, rows.indices, self.values),
            *(np.sqrt(self.weight).astype(V.dtype), V, ridge),
            *(U, residuals, system, gradient),
        )
        return U, float(residuals @ residuals), system, gradient


def _sums(layout, values, R):
    """Return S @ R, S the sparse matrix of values in the order of a layout."""
    out = np.empty((len(layout), R.shape[1]), dtype=R.dtype)
    layout.for_each_part(_jit.row_sums, values, np.ascontiguousarray(R), out)
    return out


def _normal_sums(layout, weight, L, R, *, columns):
    """Return S @ R[:, columns], S the sparse matrix of weight · (L_i · R_j)."""
    first, stop, _ = columns.indices(R.shape[1])
    out = np.empty((len(layout), stop - first), dtype=L.dtype)
    L, R = np.ascontiguousarray(L), np.ascontiguousarray(R)
    layout.for_each_part(_jit.normal_rows, weight, L, R, first, out)
    return out


def degrees_of_freedom(rank: int, shape: tuple[int, int]) -> int:
    """Return the dimension of the manifold of matrices with this rank and shape."""
    return rank * (sum(shape) - rank)
