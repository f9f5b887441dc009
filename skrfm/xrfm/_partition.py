"""The division of the rows of a table among the leaves of a tree.

Of a table that memory does not hold, nodes are split on the sample. The medians of a
sample are not those of the table, so leaves are counted while the rows are routed:
those that are too large, or that the sample had too few rows to divide, are divided
further on their own rows.
"""

from collections.abc import Callable
from itertools import count
from math import ceil
from typing import Any

from ._rows import (
    Cell,
    CellWriter,
    FiledCell,
    HeldCell,
    HeldRows,
    LeafData,
    StreamedRows,
    subsample,
)
from ._tree import Leaf, Node, grow, route

# How many times its limit the rows of a leaf may be where a sample has placed the
# thresholds: a leaf that is one percent too large is not worth two leaves of half the
# size. The standard deviation of its rows is about the root of those in the sample.
TOLERANCE = 1.1
# Rows of a leaf in the sample, at least, which has 3 % for that standard deviation.
_LEAST_ROWS = 1000


def divide(
    table: HeldRows | StreamedRows,
    *,
    max_rows: int,
    find_directions: Callable,
    least_rows: int = 0,
) -> tuple[Node | Leaf, list[Cell]]:
    """Grow a tree, and return its root and the rows of each leaf.

    Parameters
    ----------
    table : HeldRows or StreamedRows
    max_rows : int
        The largest number of rows of a leaf; of a table that is read in batches, but
        for `TOLERANCE`.
    find_directions : callable
        Maps data, and a list of the row indices of some nodes, to a list with the
        Directions of each node.
    least_rows : int, default=0
        The sample of a node that is split has twice as many rows at least.
    """
    if isinstance(table, StreamedRows):
        least_rows = max(least_rows, _LEAST_ROWS)
        return _Division(table, find_directions, least_rows).run(max_rows)
    data = table.sample
    root, leaves = _grow(data, max_rows, find_directions)
    return root, [HeldCell(data, rows) for rows in leaves]


def _grow(data, max_rows, find_directions) -> tuple[Any, list]:
    """Return the root of a tree, and the row indices of each leaf."""
    return grow(
        data.X,
        data.weight,
        max_rows=max_rows,
        find_directions=lambda nodes: find_directions(data, nodes),
    )


class _Division:
    """The division of a table that is read in batches."""

    def __init__(self, table, find_directions, least_rows):
        self._table, self._find_directions = table, find_directions
        self._least_rows, self._numbers = least_rows, count()

    def run(self, max_rows):
        """Return the root and the rows of each leaf."""
        table = self._table
        root, cells = self._divide(table.sample, table.n_rows, table.batches, max_rows)
        for number, (leaf, _) in enumerate(cells):
            leaf.number = number
        return root, [cell for _, cell in cells]

    def _divide(self, sample: LeafData, n_rows, batches, max_rows):
        """Return the root, and each leaf with its rows, of some part of the table."""
        root, leaves = _grow(
            sample,
            self._rows_of_leaf_in(sample, n_rows, max_rows),
            self._find_directions,
        )
        cells = self._route(root, len(leaves), batches())
        divided, found = {}, []
        for number, cell in enumerate(cells):
            n_leaves = ceil(len(cell) / (TOLERANCE * max_rows))
            if n_leaves <= 1 or len(cells) == 1:
                divided[number] = leaf = Leaf(number)
                found.append((leaf, cell))
                continue
            part, most = self._sample_of(cell), max_rows
            if len(part) == len(cell):  # whose medians are exact
                most = max(max_rows, ceil(len(cell) / n_leaves))
            divided[number], others = self._divide(part, len(cell), cell.batches, most)
            cell.remove()
            found += others
        return _with_leaves(root, divided), found

    def _rows_of_leaf_in(self, sample, n_rows, max_rows):
        """Return the largest number of rows of a leaf in a sample.

        Where the sample is too small for all leaves, its leaves stand for 2, 4, ... of
        them.
        """
        n_leaves, together = ceil(n_rows / max_rows), 1
        share = len(sample) / n_rows
        while (
            share < 1
            and share * max_rows * together < self._least_rows
            and 4 * together <= n_leaves
        ):
            together *= 2
        return ceil(share * max_rows * together)

    def _route(self, root, n_leaves, batches) -> list[FiledCell]:
        """Write rows to the files of the leaves that they reach."""
        writers = [
            CellWriter(
                self._table.folder / f"{next(self._numbers):06d}", self._table.most_held
            )
            for _ in range(n_leaves)
        ]
        for data in batches:
            for reached in route(root, data.X, temperature=0.0):
                writers[reached.number].append(data.subset(reached.rows))
        return [writer.cell() for writer in writers]

    def _sample_of(self, cell):
        """Return the rows of a cell, or a sample if they are too many."""
        most = self._table.most_held
        if len(cell) <= most:
            return cell.load()
        return cell.subset(subsample(len(cell), most, seed=len(cell)))


def _with_leaves(root: Any, divided):
    """Return a tree with others in place of its leaves, by number."""
    if isinstance(root, Leaf):
        return divided[root.number]
    root.left = _with_leaves(root.left, divided)
    root.right = _with_leaves(root.right, divided)
    return root
