"""Entries of a matrix in compressed rows, as in SciPy's CSR format."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from .._backend import Array, IntArray, for_each

# The loops are always cut into the same parts: results do not depend on the threads.
_PARTS = 16


class CompressedRows:
    """The columns of the entries of each row, as in the CSR format.

    Row i has the `indices` from `pointer[i]` to `pointer[i + 1]`.
    """

    def __init__(self, pointer: IntArray, indices: IntArray):
        self.pointer, self.indices = pointer, indices
        targets = np.linspace(0, pointer[-1], _PARTS + 1)
        cuts = np.searchsorted(pointer, targets[1:-1])
        edges = np.unique([0, *cuts, len(pointer) - 1])
        self.parts = list(pairwise(edges.tolist()))

    def for_each_part(self, loop: Callable, *arrays: Array, indices=None) -> None:
        """Call a compiled loop on parts with about equal numbers of entries.

        The loop gets the columns of the entries, or other `indices`.
        """
        indices = self.indices if indices is None else indices
        for_each(lambda part: loop(*part, self.pointer, indices, *arrays), self.parts)

    def __len__(self) -> int:
        return len(self.pointer) - 1


def sorted_by_row(
    rows: IntArray, cols: IntArray, shape: tuple[int, int]
) -> tuple[Any, IntArray | slice]:
    """Return positions in CSR format, and the order that sorts the entries by row.

    Entries that are sorted, as those of a CSR matrix, are not copied.
    """
    count = len(rows)
    positions = np.arange(count, dtype=_index_type(max(count, *shape)))
    if _is_sorted(rows, cols):
        counts = np.bincount(rows, minlength=shape[0])
        pointer = np.concatenate([[0], np.cumsum(counts)]).astype(positions.dtype)
        indices = cols.astype(positions.dtype, copy=False)
        return csr_array((positions, indices, pointer), shape=shape), slice(None)
    # SciPy sorts the positions in linear time, and adds up those of duplicates
    by_row: Any = coo_array((positions, (rows, cols)), shape=shape).tocsr()
    if by_row.nnz < count:
        raise ValueError(
            f"{count - by_row.nnz} of the entries are given more than once: each pair "
            "of row and column may occur once. Average or drop duplicates first."
        )
    by_row.sort_indices()
    order, by_row.data = by_row.data, positions
    return by_row, order


def _is_sorted(rows: IntArray, cols: IntArray) -> bool:
    """Return whether entries are sorted by row and column, without duplicates."""
    same_row = rows[1:] == rows[:-1]
    if np.any((cols[1:] <= cols[:-1]) & same_row):
        return False
    return bool(np.all((rows[1:] > rows[:-1]) | same_row))


def repeated_rows(layout: CompressedRows) -> IntArray:
    """Return the row of each entry of a layout."""
    rows = np.arange(len(layout), dtype=layout.indices.dtype)
    return np.repeat(rows, np.diff(layout.pointer))


def _index_type(size: int) -> Any:
    """Return the integer type for so many positions."""
    return np.int32 if size < np.iinfo(np.int32).max else np.int64
