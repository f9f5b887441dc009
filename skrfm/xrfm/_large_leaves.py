"""Whether few large leaves predict better than many small ones, on the same rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._leaves import fit_leaf, losses_of_rows
from ._rows import HeldRows, StreamedRows, subsample
from ._tree import Node, first_split

#: Rows of a large leaf, at most.
MOST_LARGE_ROWS = 500_000
# Rows that a large leaf is tried on, and rows that are predicted there. Tried on 60 000
# rows, large leaves looked worse at a million rows.
_LARGE_ROWS, _UNSEEN_ROWS = 200_000, 4000


@dataclass(frozen=True)
class SmallAndLarge:
    """A cell of a tree with small leaves, and a side of a split with two large ones.

    Attributes
    ----------
    path : list of Node
        The cell is on the left of all of these.
    split : Node
        The split between the large leaves.
    right : bool
        Whether the side is the right one, where most of the cell is.
    """

    path: list[Node]
    split: Node
    right: bool

    def __call__(self, X):
        """Return which rows are in the cell, and which are on the side."""
        cell = np.ones(len(X), dtype=bool)
        for node in self.path:
            cell[cell] = node.offset(X[cell]) <= 0
        return cell, (self.split.offset(X) > 0) == self.right


def small_and_large(
    sample, path: list[Node] | None, directions
) -> SmallAndLarge | None:
    """Return what is to be compared, on a sample; None where there are no two sides."""
    split = first_split(sample.X, sample.weight, directions, 2)
    if path is None or split is None:
        return None
    node, left = split
    cell, _ = SmallAndLarge(path, node, right=False)(sample.X)
    right = 2 * np.count_nonzero(left & cell) < np.count_nonzero(cell)
    return SmallAndLarge(path, node, bool(right))


def large_leaves_are_better(
    table: HeldRows | StreamedRows,
    where: SmallAndLarge,
    *,
    small: Any,
    large: list[Any],
    seed: int,
    seeds: list[int],
) -> bool:
    """Return whether one of some large leaves predicts unseen rows best.

    A small leaf is fitted to the rows of a cell, a large one to a sample of one side;
    they predict the same rows, which are in both.

    Parameters
    ----------
    table : HeldRows or StreamedRows
    where : SmallAndLarge
    small : RFMRegressor or RFMClassifier
    large : list of RFMRegressor or RFMClassifier
        They are tried in turn, until one is better.
    seed : int
    seeds : list of int
        Of the unseen rows, and of those on the side.
    """
    drawn = table.draw(where, _LARGE_ROWS, seeds[1])
    data, cell = drawn.data, drawn.cell
    unseen = _some(
        np.intersect1d(drawn.side, cell), min(len(cell) // 4, _UNSEEN_ROWS), seeds[0]
    )
    others = _some(np.setdiff1d(drawn.sample, unseen), _LARGE_ROWS, seeds[1])

    def loss(leaf, rows):
        model, rest = fit_leaf(leaf, data.subset(rows), seed=seed), data.subset(unseen)
        return np.average(losses_of_rows(model, rest), weights=rest.weight)

    of_small = loss(small, np.setdiff1d(cell, unseen))
    return any(loss(leaf, others) < of_small for leaf in large)


def _some(rows, size, seed):
    """Return at most so many of the row indices."""
    return rows[subsample(len(rows), size, seed=seed)]
