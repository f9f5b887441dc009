"""The observed entries of a matrix, and sums over them in compiled code."""

from copy import copy
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array

from .. import _jit
from .._backend import for_each

# the loops are cut into parts, always the same ones: results do not depend on threads
_PARTS = 16


class ObservedEntries:
    """Entries (row, column, value, weight) of a matrix, sorted by row and column.

    Products with dense factors take the memory of the entries and the factors; the
    matrix itself is never formed.
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
        self.cols, self._row_ptr = by_row.indices, by_row.indptr
        self.rows = np.repeat(
            np.arange(shape[0], dtype=self.cols.dtype), np.diff(self._row_ptr)
        )
        by_row.data = positions
        by_column = by_row.tocsc()
        self.column_order, self._rows_by_column = by_column.data, by_column.indices
        self._col_ptr = by_column.indptr
        self._row_parts = _balanced(self._row_ptr)
        self._col_parts = _balanced(self._col_ptr)

    def __len__(self):
        return len(self.values)

    def row_counts(self):
        """Return the number of entries in each row."""
        return np.diff(self._row_ptr)

    def column_counts(self):
        """Return the number of entries in each column."""
        return np.diff(self._col_ptr)

    def by_row(self):
        """Yield the slice of the entries of each row."""
        for start, stop in pairwise(self._row_ptr.tolist()):
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

    def transposed(self):
        """Return the entries of the transposed matrix."""
        return ObservedEntries(
            self.cols, self.rows, self.values, self.shape[::-1], self.weight
        )

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

        def part(edge):
            _jit.sampled_products(*edge, self._row_ptr, self.cols, L, R, out)

        for_each(part, self._row_parts)
        return out

    def normal_products(self, weight, L, R, k):
        """Return v = weight · (L_i · R_j) at the entries, and v R[:, :k] by rows."""
        values = np.empty(len(self), dtype=L.dtype)
        out = np.empty((self.shape[0], k), dtype=L.dtype)
        L, R = np.ascontiguousarray(L), np.ascontiguousarray(R)

        def part(edge):
            _jit.normal_rows(*edge, self._row_ptr, self.cols, weight, L, R, values, out)

        for_each(part, self._row_parts)
        return values, out

    def row_sums(self, values, R):
        """Return S @ R, S the sparse matrix of `values` at the entries."""
        out = np.empty((self.shape[0], R.shape[1]), dtype=R.dtype)
        R = np.ascontiguousarray(R)

        def part(edge):
            _jit.row_sums(*edge, self._row_ptr, self.cols, values, R, out)

        for_each(part, self._row_parts)
        return out

    def column_sums(self, values, L):
        """Return S.T @ L, S the sparse matrix of `values` at the entries."""
        out = np.empty((self.shape[1], L.shape[1]), dtype=L.dtype)
        L = np.ascontiguousarray(L)

        def part(edge):
            _jit.column_sums(
                *edge,
                self._col_ptr,
                self._rows_by_column,
                self.column_order,
                values,
                L,
                out,
            )

        for_each(part, self._col_parts)
        return out

    def row_solves(self, V, penalty, weight):
        """Return z_i = argmin Σ_j weight_ij (value_ij − V_j · z)² + Σ penalty z²."""
        out = np.empty((self.shape[0], V.shape[1]), dtype=V.dtype)
        V = np.ascontiguousarray(V)
        penalty = np.asarray(penalty, dtype=V.dtype)

        def part(edge):
            arrays = self._row_ptr, self.cols, weight, self.values
            _jit.row_solves(*edge, *arrays, V, penalty, out)

        for_each(part, self._row_parts)
        return out


def _index_type(size):
    return np.int32 if size < np.iinfo(np.int32).max else np.int64


def _balanced(pointer):
    """Return (start, stop) pairs of rows with about equal numbers of entries."""
    targets = np.linspace(0, pointer[-1], _PARTS + 1)
    cuts = np.unique([0, *np.searchsorted(pointer, targets[1:-1]), len(pointer) - 1])
    return list(pairwise(cuts.tolist()))
