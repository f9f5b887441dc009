"""The observed entries of a matrix on a GPU."""

from functools import partial

import numpy as np

from .._entries import ObservedEntries

# threads of a block, as in the source
_WIDTH = 64


class GpuEntries(ObservedEntries):
    """Entries whose values, factors and sums are arrays of a GPU.

    Parameters
    ----------
    host : ObservedEntries
        The entries.
    backend : CudaBackend
    """

    def __init__(self, host, backend):
        self._host, self._backend, self.shape = host, backend, host.shape
        self.values, self.weight = map(backend.asarray, (host.values, host.weight))
        self.rows = backend.asarray(host.rows.astype(np.int32))
        self.column_order = backend.asarray(host.column_order)
        self._by_row, self._by_column = (
            _GpuLayout(layout, backend) for layout in (host._by_row, host._by_column)
        )

    def _on_host(self):
        """Return the same entries on the host, with the values of now."""
        other = self._host.with_values(self.to_numpy(self.values))
        other.weight = self.to_numpy(self.weight)
        return other

    # -- what is done on the host -----------------------------------------------------

    def asarray(self, a):
        """Return an array of NumPy where the values of the entries are."""
        return self._backend.asarray(a)

    def to_numpy(self, a):
        """Return an array that was computed from the entries as one of NumPy."""
        return self._backend.to_numpy(a)

    def row_counts(self):
        """Return the number of entries in each row, as NumPy."""
        return self._host.row_counts()

    def column_counts(self):
        """Return the number of entries in each column, as NumPy."""
        return self._host.column_counts()

    def select(self, chosen):
        """Return the entries where the boolean NumPy array `chosen` is true."""
        return GpuEntries(self._on_host().select(chosen), self._backend)

    def transposed(self):
        """Return the entries of the transposed matrix."""
        return GpuEntries(self._on_host().transposed(), self._backend)

    def column_means(self):
        """Return the weighted mean of each column; of an empty one, of all entries."""
        return self.asarray(self._on_host().column_means())

    def dense(self):
        """Return the matrix, zero where nothing is observed."""
        return self.asarray(self._on_host().dense())

    def row_maxima(self, values):
        """Return the largest of values that are positive in each row, zero without."""
        return self.asarray(self._host.row_maxima(self.to_numpy(values)))

    # -- what is done on the GPU ------------------------------------------------------

    def products(self, L, R):
        """Return L_i · R_j at the entries."""
        L, R = self._factors(L, R)
        out = self._backend.empty(len(self), L)
        arguments = self.rows, self.cols, L, R, out, L.shape[1]
        self._backend.launch_by_number("entries.products", out, *arguments)
        return out

    def by_column(self, values):
        """Return values at the entries in the order of columns and rows."""
        return self._backend.rows(values[self.column_order])

    def row_sums(self, values, R):
        """Return S @ R, S the sparse matrix of `values` at the entries."""
        return self._sums(self._by_row, values, R)

    def sums_by_column(self, values, L):
        """Return `column_sums` of values that are in the order of `by_column`."""
        return self._sums(self._by_column, values, L)

    def normal_row_sums(self, weight, L, R, columns):
        """Return S @ R[:, columns], S the sparse matrix of weight · (L_i · R_j)."""
        return self._normal_sums(self._by_row, weight, L, R, columns)

    def normal_column_sums(self, weight, L, R, columns):
        """Return S.T @ L[:, columns] of that S, with weights by column."""
        return self._normal_sums(self._by_column, weight, R, L, columns)

    def row_solves(self, V, penalty, weight):
        """Return z_i = argmin Σ_j weight_ij (value_ij − V_j · z)² + Σ penalty z²."""
        V, penalty = self._factors(V, penalty)
        k = V.shape[1]
        if self._has_short_rows(k):
            scaled = V / penalty
            return self.row_sums(self.dual_solves(scaled @ V.T, 1 / weight), scaled)
        out = self._backend.empty((self.shape[0], k), V)
        arrays = self._factors(weight, self.values, V, penalty, out)

        def solve(first, stop):
            room = self._backend.empty((stop - first) * (k * k + k), V)
            rest = room, _unit(V), k, first
            self._by_row.launch("row_solves", stop - first, *arrays, *rest)

        step = self._backend.block_rows(k * k + k, V)
        self._backend.for_each_block(solve, self.shape[0], step)
        return out

    def dual_solves(self, P, noise):
        """Return (P_ii + diag(noise_i))⁻¹ values_i for each row, at the entries.

        P_ii is the metric P (n, n) between the columns observed in the row i.
        """
        out = self._backend.empty(len(self), P)
        arrays = self._factors(self.values, noise, P, out)
        counts = self.row_counts().astype(np.uint64)
        ends = np.cumsum(counts * counts + counts)

        def solve(first, stop):
            start = ends[first - 1] if first else np.uint64(0)
            places = np.concatenate([[start], ends[first : stop - 1]]) - start
            room = self._backend.empty(int(ends[stop - 1] - start), P)
            where = self.asarray(places.astype(np.uint64)), _unit(P), P.shape[1]
            rest = *arrays, room, *where, first
            self._by_row.launch("dual_solves", stop - first, *rest)

        for first, stop in self._batches(ends, P):
            count = stop - first
            part = partial(_shifted, solve, first)
            self._backend.for_each_block(part, count, count)
        return out

    def _batches(self, ends, like):
        """Yield (first, stop) of rows whose systems fit in memory together."""
        most = self._backend.block_elements(like)
        first = 0
        while first < len(ends):
            before = ends[first - 1] if first else 0
            stop = int(np.searchsorted(ends, before + np.uint64(most), side="right"))
            stop = max(stop, first + 1)
            yield first, stop
            first = stop

    def _sums(self, layout, values, R):
        values, R = self._factors(values, R)
        k, n_rows = R.shape[1], len(layout)
        out = self._backend.empty((n_rows, k), R)
        layout.launch("row_sums", n_rows, values, R, out, k, n_rows)
        return out

    def _normal_sums(self, layout, weight, L, R, columns):
        first, stop, _ = columns.indices(R.shape[1])
        width, n_rows = stop - first, len(layout)
        weight, L, R = self._factors(weight, L, R)
        out = self._backend.empty((n_rows, width), L)
        numbers = L.shape[1], first, width, n_rows
        layout.launch("normal_rows", n_rows, weight, L, R, out, *numbers)
        return out

    def _factors(self, *arrays):
        """Return arrays in C order."""
        return [self._backend.rows(a) for a in arrays]


class _GpuLayout:
    """The entries of each row, on a GPU."""

    def __init__(self, layout, backend):
        self._backend, self._size = backend, len(layout)
        self.pointer = backend.asarray(layout.pointer.astype(np.uint64))
        self.indices = backend.asarray(layout.indices.astype(np.int32))

    def __len__(self):
        return self._size

    def launch(self, name, n_rows, first, *rest):
        """Run a kernel with a block for each row."""
        where = self.pointer, self.indices
        grid, block = (n_rows, 1), (_WIDTH, 1)
        self._backend.launch(
            f"entries.{name}", grid, block, *where, first, *rest, like=first
        )


def _shifted(function, first, start, stop):
    """Call a function of (start, stop), counted from `first` on."""
    function(first + start, first + stop)


def _unit(like):
    """Return the rounding unit of an array, as a number."""
    return float(np.finfo(like.dtype).eps)


def entries_at(placement, entries):
    """Return entries where a Placement computes."""
    return GpuEntries(entries, placement.backend) if placement.on_gpu else entries
