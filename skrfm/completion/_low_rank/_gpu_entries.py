"""The observed entries of a matrix on a GPU."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..._backend import Array, BoolArray, CudaBackend, FloatArray, IntArray
from ..._tables import Placement
from .._entries import Entries, ObservedEntries

# The threads of a block, the same number as WIDTH in the CUDA source.
_WIDTH = 64


class GpuEntries(ObservedEntries):
    """Entries whose values, factors and sums are arrays of a GPU.

    Parameters
    ----------
    host_entries : ObservedEntries
        The same entries in the memory of the CPU.
    backend : CudaBackend
    """

    def __init__(self, host_entries: ObservedEntries, backend: CudaBackend):
        self._host_entries, self._backend = host_entries, backend
        self.shape = host_entries.shape
        self.values = backend.asarray(host_entries.values)
        self.weight = backend.asarray(host_entries.weight)
        self.rows = backend.asarray(host_entries.rows.astype(np.int32))
        self.column_order = backend.asarray(host_entries.column_order)
        self._by_row = _GpuRows(host_entries._by_row, backend)
        self._by_column = _GpuRows(host_entries._by_column, backend)

    def on_host(self) -> ObservedEntries:
        """Return the entries in the memory of the CPU, with the current values."""
        other = self._host_entries.with_values(self.to_numpy(self.values))
        other.weight = self.to_numpy(self.weight)
        return other

    # -- computed on the CPU ----------------------------------------------------------

    def asarray(self, a: np.ndarray) -> Array:
        """Return a NumPy array on the GPU."""
        return self._backend.asarray(a)

    def to_numpy(self, a: Array) -> FloatArray:
        """Return an array of the GPU as a NumPy array."""
        return self._backend.to_numpy(a)

    def row_counts(self) -> IntArray:
        """Return the number of entries in each row, as a NumPy array."""
        return self._host_entries.row_counts()

    def column_counts(self) -> IntArray:
        """Return the number of entries in each column, as a NumPy array."""
        return self._host_entries.column_counts()

    def select(self, mask: BoolArray) -> "GpuEntries":
        """Return the entries where a boolean NumPy mask is True."""
        return GpuEntries(self.on_host().select(mask), self._backend)

    def transposed(self) -> "GpuEntries":
        """Return the entries of the transposed matrix."""
        return GpuEntries(self.on_host().transposed(), self._backend)

    def column_means(self) -> Array:
        """Return the weighted mean of each column; of all entries for empty columns."""
        return self.asarray(self.on_host().column_means())

    def dense(self) -> Array:
        """Return the matrix, with zeros where no entry is observed."""
        return self.asarray(self.on_host().dense())

    def row_maxima(self, values: Array) -> Array:
        """Return the largest of positive values in each row, 0 for empty rows."""
        return self.asarray(self._host_entries.row_maxima(self.to_numpy(values)))

    # -- computed on the GPU ----------------------------------------------------------

    def products(self, L: Array, R: Array) -> Array:
        """Return L_i · R_j at the entries (i, j)."""
        L, R = self._c_order(L, R)
        out = self._backend.empty(len(self), L)
        k = L.shape[1]
        self._backend.launch_by_number(
            "entries.products", out, self.rows, self.cols, L, R, out, k
        )
        return out

    def by_column(self, values: Array) -> Array:
        """Return values of the entries in the order of columns, then rows."""
        return self._backend.rows(values[self.column_order])

    def row_sums(self, values: Array, R: Array) -> Array:
        """Return S @ R, S the sparse matrix of `values` at the entries."""
        return self._sums(self._by_row, values, R)

    def sums_by_column(self, values: Array, L: Array) -> Array:
        """Return `column_sums` of values in the order of `by_column`."""
        return self._sums(self._by_column, values, L)

    def normal_row_sums(
        self, weight: Array, L: Array, R: Array, columns: slice
    ) -> Array:
        """Return S @ R[:, columns], S the sparse matrix of weight · (L_i · R_j)."""
        return self._normal_sums(self._by_row, weight, L, R, columns=columns)

    def normal_column_sums(
        self, weight: Array, L: Array, R: Array, columns: slice
    ) -> Array:
        """Return S.T @ L[:, columns] for that S, with weights by column."""
        return self._normal_sums(self._by_column, weight, R, L, columns=columns)

    def row_solves(self, V: Array, penalty: Array, weight: Array) -> Array:
        """Return z_i = argmin Σ_j weight_ij (value_ij − V_j · z)² + Σ penalty z²."""
        V, penalty = self._c_order(V, penalty)
        k = V.shape[1]
        if self._has_short_rows(k):
            scaled = V / penalty
            return self.row_sums(self.dual_solves(scaled @ V.T, 1 / weight), scaled)
        out = self._backend.empty((self.shape[0], k), V)
        arrays = self._c_order(weight, self.values, V, penalty, out)
        size = k * k + k  # the system of a row

        def solve(first, stop):
            workspace = self._backend.empty((stop - first) * size, V)
            self._by_row.launch(
                "row_solves", stop - first, *arrays, workspace, _unit(V), k, first
            )

        step = self._backend.block_rows(size, V)
        self._backend.for_each_block(solve, self.shape[0], step)
        return out

    def dual_solves(self, P: Array, noise: Array) -> Array:
        """Return (P_ii + diag(noise_i))⁻¹ values_i of each row, at the entries.

        P_ii is the metric P (n, n) between the columns observed in row i.
        """
        out = self._backend.empty(len(self), P)
        arrays = self._c_order(self.values, noise, P, out)
        counts = self.row_counts().astype(np.uint64)
        ends = np.cumsum(counts * counts + counts)

        def solve(first, stop):
            start = ends[first - 1] if first > 0 else np.uint64(0)
            offsets = np.concatenate([[start], ends[first : stop - 1]]) - start
            offsets = self.asarray(offsets.astype(np.uint64))
            workspace = self._backend.empty(int(ends[stop - 1] - start), P)
            n, n_rows, unit = P.shape[1], stop - first, _unit(P)
            self._by_row.launch(
                "dual_solves", n_rows, *arrays, workspace, offsets, unit, n, first
            )

        for first, stop in self._batches(ends, P):
            n_rows = stop - first
            self._backend.for_each_block(
                partial(_shifted, solve, first), n_rows, n_rows
            )
        return out

    def _batches(self, ends: IntArray, like: Array) -> Iterator[tuple[int, int]]:
        """Yield (first, stop) of rows whose systems fit in memory together.

        Parameters
        ----------
        ends : ndarray of uint64 of shape (n_rows,)
            The cumulative numbers of elements of the systems.
        like : array
            An array with the type of the systems.
        """
        most = self._backend.block_elements(like)
        first = 0
        while first < len(ends):
            before = ends[first - 1] if first > 0 else 0
            stop = int(np.searchsorted(ends, before + np.uint64(most), side="right"))
            stop = max(stop, first + 1)
            yield first, stop
            first = stop

    def _sums(self, layout: "_GpuRows", values: Array, R: Array) -> Array:
        """Return S @ R, S the sparse matrix of values in the order of a layout."""
        values, R = self._c_order(values, R)
        k, n_rows = R.shape[1], len(layout)
        out = self._backend.empty((n_rows, k), R)
        layout.launch("row_sums", n_rows, values, R, out, k, n_rows)
        return out

    def _normal_sums(
        self, layout: "_GpuRows", weight: Array, L: Array, R: Array, *, columns: slice
    ) -> Array:
        """Return S @ R[:, columns], S the sparse matrix of weight · (L_i · R_j)."""
        first, stop, _ = columns.indices(R.shape[1])
        width, n_rows = stop - first, len(layout)
        weight, L, R = self._c_order(weight, L, R)
        out = self._backend.empty((n_rows, width), L)
        k = L.shape[1]
        layout.launch("normal_rows", n_rows, weight, L, R, out, k, first, width, n_rows)
        return out

    def _c_order(self, *arrays: Array) -> list[Array]:
        """Return arrays in C order."""
        return [self._backend.rows(a) for a in arrays]


class _GpuRows:
    """The columns of the entries of each row, as in the CSR format, on a GPU."""

    def __init__(self, layout, backend: CudaBackend):
        self._backend, self._n_rows = backend, len(layout)
        self.pointer = backend.asarray(layout.pointer.astype(np.uint64))
        self.indices = backend.asarray(layout.indices.astype(np.int32))

    def __len__(self) -> int:
        return self._n_rows

    def launch(self, name: str, n_rows: int, *arguments) -> None:
        """Run a kernel with a block for each row, in the precision of its first array.

        The layout comes before the arguments.
        """
        self._backend.launch(
            f"entries.{name}",
            (n_rows, 1),
            (_WIDTH, 1),
            self.pointer,
            self.indices,
            *arguments,
            like=arguments[0],
        )


def _shifted(function, first, start, stop):
    """Call a function of (start, stop) with both numbers increased by `first`."""
    function(first + start, first + stop)


def _unit(like: Array) -> float:
    """Return the rounding unit of the type of an array."""
    return float(np.finfo(like.dtype).eps)


def entries_at(placement: Placement, entries: ObservedEntries) -> Entries:
    """Return entries in the memory where a Placement computes."""
    if isinstance(placement.backend, CudaBackend):
        return GpuEntries(entries, placement.backend)
    return entries
