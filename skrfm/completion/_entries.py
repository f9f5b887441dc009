"""The observed entries of a matrix, and sums over them in compiled code."""

from copy import copy
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array

from .. import _jit
from .._backend import for_each

# the loops are cut into parts, always the same ones: results do not depend on threads
_PARTS = 16
# up to so many columns, a metric may be formed
_WIDEST_METRIC = 4000


class _Layout:
    """The entries of each row: the `indices` from its `pointer` to the next one."""

    def __init__(self, pointer, indices):
        self.pointer, self.indices = pointer, indices
        targets = np.linspace(0, pointer[-1], _PARTS + 1)
        cuts = np.searchsorted(pointer, targets[1:-1])
        edges = np.unique([0, *cuts, len(pointer) - 1])
        self.parts = list(pairwise(edges.tolist()))

    def each_part(self, loop, *arrays, indices=None):
        """Call a compiled loop for parts of about equal numbers of entries.

        It gets the columns of the entries, or other `indices`.
        """
        indices = self.indices if indices is None else indices
        for_each(lambda part: loop(*part, self.pointer, indices, *arrays), self.parts)

    def __len__(self):
        return len(self.pointer) - 1


class ObservedEntries:
    """Entries (row, column, value, weight) of a matrix, sorted by row and column.

    Products with dense factors take the memory of the entries and the factors; the
    matrix itself is never formed. `column_order` sorts the entries by column and row.
    """

    def __init__(self, rows, cols, values, shape, weight=None):
        # positions, sorted by SciPy in linear time; it adds up those of duplicates
        positions = np.arange(len(values), dtype=_index_type(len(values)))
        by_row = coo_array((positions, (rows, cols)), shape=shape).tocsr()
        if by_row.nnz < len(values):
            raise ValueError(
                f"{len(values) - by_row.nnz} of the entries are given more than once: "
                "each pair of row and column may occur once. Average or drop "
                "duplicates first."
            )
        by_row.sort_indices()
        order = by_row.data
        self.shape = tuple(int(size) for size in shape)
        self.values = np.asarray(values)[order]
        weight = np.ones(len(order)) if weight is None else np.asarray(weight)[order]
        self.weight = weight.astype(self.values.dtype, copy=False)
        by_row.data = positions
        by_column = by_row.tocsc()
        self.column_order = by_column.data
        self._by_row = _Layout(by_row.indptr, by_row.indices)
        self._by_column = _Layout(by_column.indptr, by_column.indices)
        self.rows = _repeated_rows(self._by_row)

    def __len__(self):
        return len(self.values)

    @property
    def cols(self):
        """The column of each entry."""
        return self._by_row.indices

    def row_counts(self):
        """Return the number of entries in each row."""
        return np.diff(self._by_row.pointer)

    def column_counts(self):
        """Return the number of entries in each column."""
        return np.diff(self._by_column.pointer)

    def by_row(self):
        """Yield the slice of the entries of each row."""
        for start, stop in pairwise(self._by_row.pointer.tolist()):
            yield slice(start, stop)

    def select(self, chosen):
        """Return the entries where the boolean array `chosen` is true."""
        fields = (self.rows, self.cols, self.values)
        picked = (a[chosen] for a in fields)
        return ObservedEntries(*picked, self.shape, self.weight[chosen])

    def with_values(self, values):
        """Return entries of other values at the same places."""
        other = copy(self)
        other.values = values
        return other

    def column_means(self):
        """Return the weighted mean of each column; of an empty one, of all entries."""
        n = self.shape[1]
        total = np.bincount(self.cols, self.weight, n)
        sums = np.bincount(self.cols, self.weight * self.values, n)
        overall = np.average(self.values, weights=self.weight)
        means = np.divide(sums, total, out=np.full(n, overall), where=total > 0)
        return means.astype(self.values.dtype)

    def less(self, means):
        """Return the entries less a mean for each column."""
        return self.with_values(self.values - means[self.cols])

    def transposed(self):
        """Return the entries of the transposed matrix."""
        other = copy(self)
        other.shape = self.shape[::-1]
        other.values = self.by_column(self.values)
        other.weight = self.by_column(self.weight)
        other._by_row, other._by_column = self._by_column, self._by_row
        other.rows = _repeated_rows(other._by_row)
        other.column_order = np.empty_like(self.column_order)
        other.column_order[self.column_order] = np.arange(len(self))
        return other

    def asarray(self, a):
        """Return an array of NumPy where the values of the entries are."""
        return a

    def to_numpy(self, a):
        """Return an array that was computed from the entries as one of NumPy."""
        return a

    def dense(self):
        """Return the matrix, zero where nothing is observed."""
        out = np.zeros(self.shape, dtype=self.values.dtype)
        out[self.rows, self.cols] = self.values
        return out

    def row_maxima(self, values):
        """Return the largest of values that are positive in each row, zero without."""
        out = np.zeros(self.shape[0], dtype=values.dtype)
        np.maximum.at(out, self.rows, values)
        return out

    def hide(self, share, random_state):
        """Return a mask of entries to hide: a random share of them, at least one."""
        hidden = np.zeros(len(self), dtype=bool)
        count = min(max(1, round(share * len(self))), len(self))
        hidden[random_state.choice(len(self), count, replace=False)] = True
        return hidden

    def products(self, L, R):
        """Return L_i · R_j at the entries."""
        out = np.empty(len(self), dtype=L.dtype)
        L, R = np.ascontiguousarray(L), np.ascontiguousarray(R)
        self._by_row.each_part(_jit.sampled_products, L, R, out)
        return out

    def row_sums(self, values, R):
        """Return S @ R, S the sparse matrix of `values` at the entries."""
        return _sums(self._by_row, values, R)

    def column_sums(self, values, L):
        """Return S.T @ L, S the sparse matrix of `values` at the entries."""
        return self.sums_by_column(self.by_column(values), L)

    def sums_by_column(self, values, L):
        """Return `column_sums` of values that are in the order of `by_column`."""
        return _sums(self._by_column, values, L)

    def normal_row_sums(self, weight, L, R, columns):
        """Return S @ R[:, columns], S the sparse matrix of weight · (L_i · R_j)."""
        return _normal_sums(self._by_row, weight, L, R, columns)

    def normal_column_sums(self, weight, L, R, columns):
        """Return S.T @ L[:, columns], S that of `normal_row_sums`; weights by column.

        Products are computed anew, since to fetch them in another order takes longer.
        """
        return _normal_sums(self._by_column, weight, R, L, columns)

    def by_column(self, values):
        """Return values at the entries in the order of columns and rows."""
        out = np.empty_like(values)
        arrays = np.ascontiguousarray(values), out
        self._by_column.each_part(_jit.gather, *arrays, indices=self.column_order)
        return out

    def row_solves(self, V, penalty, weight):
        """Return z_i = argmin Σ_j weight_ij (value_ij − V_j · z)² + Σ penalty z²."""
        V = np.ascontiguousarray(V)
        penalty = np.asarray(penalty, dtype=V.dtype)
        if self._has_short_rows(V.shape[1]):
            scaled = V / penalty
            return self.row_sums(self.dual_solves(scaled @ V.T, 1 / weight), scaled)
        out = np.empty((self.shape[0], V.shape[1]), dtype=V.dtype)
        arrays = weight, self.values, V, penalty, out
        self._by_row.each_part(_jit.row_solves, *arrays)
        return out

    def _has_short_rows(self, k):
        """Return whether rows of k unknowns are solved faster by their entries."""
        return k * self.shape[0] > len(self) and self.shape[1] <= _WIDEST_METRIC

    def dual_solves(self, P, noise):
        """Return (P_ii + diag(noise_i))⁻¹ values_i for each row, at the entries.

        P_ii is the metric P (n, n) between the columns observed in the row i.
        """
        out = np.empty(len(self), dtype=P.dtype)
        arrays = self.values, noise, np.ascontiguousarray(P), out
        self._by_row.each_part(_jit.dual_solves, *arrays)
        return out


def _sums(layout, values, R):
    out = np.empty((len(layout), R.shape[1]), dtype=R.dtype)
    layout.each_part(_jit.row_sums, values, np.ascontiguousarray(R), out)
    return out


def _normal_sums(layout, weight, L, R, columns):
    first, stop, _ = columns.indices(R.shape[1])
    out = np.empty((len(layout), stop - first), dtype=L.dtype)
    L, R = np.ascontiguousarray(L), np.ascontiguousarray(R)
    layout.each_part(_jit.normal_rows, weight, L, R, first, out)
    return out


def _repeated_rows(layout):
    rows = np.arange(len(layout), dtype=layout.indices.dtype)
    return np.repeat(rows, np.diff(layout.pointer))


def _index_type(size):
    return np.int32 if size < np.iinfo(np.int32).max else np.int64


def degrees_of_freedom(rank, shape):
    """Return the dimension of the manifold of matrices of a rank."""
    return rank * (sum(shape) - rank)
