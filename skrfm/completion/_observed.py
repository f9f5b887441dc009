"""The rows and columns of a matrix that have entries, apart from those that do not.

Solvers get a matrix without empty rows and columns, so that these have no effect on a
fit, nor on its time and memory, however far apart the indices of the others are.
"""

from dataclasses import dataclass, field

import numpy as np

from .._backend import Array, BoolArray, FloatArray, IntArray
from ._entries import ObservedEntries


@dataclass(frozen=True)
class ObservedIndices:
    """The indices of the rows, or of the columns, of a matrix that have entries.

    Attributes
    ----------
    indices : ndarray of int of shape (n_observed,) or None
        The indices in increasing order; None if all rows have entries.
    size : int
        The number of rows of the matrix, empty ones included.
    """

    indices: IntArray | None
    size: int

    @classmethod
    def of(cls, index: IntArray, size: int) -> tuple["ObservedIndices", IntArray]:
        """Return the observed indices, and the position of each entry among them.

        Parameters
        ----------
        index : ndarray of int of shape (n_entries,)
            The row of each entry.
        size : int
            The number of rows of the matrix.
        """
        if size > len(index):  # no array of a size that gaps may make huge
            observed = cls(np.unique(index).astype(np.int64), size)
        else:
            mask = np.zeros(size, dtype=bool)
            mask[index] = True
            if mask.all():
                return cls(None, size), index
            observed = cls(np.flatnonzero(mask), size)
        return observed, observed.positions(index)[0]

    def __len__(self) -> int:
        return self.size if self.indices is None else len(self.indices)

    def positions(self, index: IntArray) -> tuple[IntArray, BoolArray]:
        """Return positions among the observed indices, and a mask of those in them."""
        if self.indices is None:
            return index, np.ones(len(index), dtype=bool)
        index = index.astype(np.int64, copy=False)
        positions = np.searchsorted(self.indices, index)
        return positions, np.append(self.indices, -1)[positions] == index

    def original(self, positions: IntArray) -> IntArray:
        """Return the indices in the matrix of positions among the observed ones."""
        return positions if self.indices is None else self.indices[positions]

    def expand(self, compact: Array, fill: float | np.floating) -> Array:
        """Return rows for all indices, with `fill` where nothing is observed."""
        if self.indices is None:
            return compact
        shape = self.size, *compact.shape[1:]
        # the system hands out zeros on demand: huge arrays of them take no memory
        out = np.zeros(shape, dtype=compact.dtype)
        if fill != 0:
            out[...] = fill
        out[self.indices] = compact
        return out

    def first_empty(self, count: int) -> IntArray:
        """Return the first `count` indices without entries, or all of them."""
        if self.indices is None:
            return np.zeros(0, dtype=np.int64)
        candidates = np.arange(min(self.size, len(self.indices) + count))
        return np.setdiff1d(candidates, self.indices, assume_unique=True)[:count]


@dataclass(frozen=True)
class Triplets:
    """Entries of a matrix in any order, as rows, columns and values.

    Attributes
    ----------
    rows, cols, values : ndarray of shape (n_entries,)
    shape : tuple of (int, int)
        The shape of the matrix.
    weight : ndarray of shape (n_entries,) or None
        The weights of the entries; None if all are 1.
    """

    rows: IntArray
    cols: IntArray
    values: FloatArray
    shape: tuple[int, int] = field(kw_only=True)
    weight: FloatArray | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.values)

    def entries(self) -> ObservedEntries:
        """Return the entries of the matrix, with its empty rows and columns."""
        return ObservedEntries(
            self.rows, self.cols, self.values, shape=self.shape, weight=self.weight
        )

    def without_gaps(self) -> "ObservedMatrix":
        """Return the matrix without empty rows and columns."""
        columns, positions = ObservedIndices.of(self.cols, self.shape[1])
        return self._in_columns(columns, positions)

    def in_columns(self, columns: ObservedIndices) -> "ObservedMatrix":
        """Return given columns of the matrix, without rows that are empty in them."""
        positions, known = columns.positions(self.cols)
        if known.all():
            return self._in_columns(columns, positions)
        self.without_gaps()  # raises an error if entries of other columns are repeated
        chosen = Triplets(
            self.rows[known],
            self.cols[known],
            self.values[known],
            shape=self.shape,
            weight=None if self.weight is None else self.weight[known],
        )
        return chosen._in_columns(columns, positions[known])

    def _in_columns(
        self, columns: ObservedIndices, positions: IntArray
    ) -> "ObservedMatrix":
        """Return the matrix, given the position of each entry among the columns."""
        rows, row_positions = ObservedIndices.of(self.rows, self.shape[0])
        entries = ObservedEntries(
            row_positions,
            positions,
            self.values,
            shape=(len(rows), len(columns)),
            weight=self.weight,
        )
        return ObservedMatrix(entries, rows, columns)


@dataclass(frozen=True)
class ObservedMatrix:
    """A matrix without the rows and columns that have no entries.

    Attributes
    ----------
    entries : ObservedEntries
        The entries, whose rows and columns are counted without the empty ones.
    rows, columns : ObservedIndices
        The indices of the rows and columns in the whole matrix.
    """

    entries: ObservedEntries
    rows: ObservedIndices
    columns: ObservedIndices

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the whole matrix."""
        return self.rows.size, self.columns.size

    def stored(self) -> "StoredEntries":
        """Return the entries in a form that takes less memory."""
        entries, shape = self.entries, self.entries.shape
        size = max(len(entries), *shape)
        kind = np.int32 if size < np.iinfo(np.int32).max else np.int64
        counts = entries.row_counts().astype(kind)
        uniform = bool(np.all(entries.weight == 1))
        return StoredEntries(
            counts=counts,
            cols=entries.cols.astype(kind, copy=False),
            values=entries.values,
            shape=shape,
            weight=None if uniform else entries.weight,
        )

    def triplets(self, mask: BoolArray) -> Triplets:
        """Return the entries where a mask is True, as triplets of the whole matrix."""
        entries = self.entries
        return Triplets(
            self.rows.original(entries.rows[mask]),
            self.columns.original(entries.cols[mask]),
            entries.values[mask],
            shape=self.shape,
            weight=entries.weight[mask],
        )


@dataclass(frozen=True, kw_only=True)
class StoredEntries:
    """Entries in the order of rows alone, with indices as small as they can be.

    Attributes
    ----------
    counts : ndarray of int of shape (m,)
        The number of entries in each row.
    cols, values : ndarray of shape (n_entries,)
    shape : tuple of (int, int)
    weight : ndarray of shape (n_entries,) or None
        None if all are 1.
    """

    counts: IntArray
    cols: IntArray
    values: FloatArray
    shape: tuple[int, int]
    weight: FloatArray | None

    def __len__(self) -> int:
        return len(self.values)

    def entries(self) -> ObservedEntries:
        """Return the entries."""
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        return ObservedEntries(
            rows, self.cols, self.values, shape=self.shape, weight=self.weight
        )
