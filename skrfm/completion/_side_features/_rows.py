"""Rows of the fitted matrix, rows to predict, and how labels match them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._backend import FloatArray, IntArray, Table
from .._frames import index_of

# how many unknown labels a message names
_NAMED = 5


@dataclass(frozen=True)
class NewRows:
    """Rows to predict.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features)
        Features of the rows; without columns where rows have none.
    positions : ndarray of shape (n_rows,) or None
        Indices of the rows in the fitted matrix, None for rows that are new.
    entries : ndarray of shape (n_rows, n_columns) or None
        Observed entries less the means of the columns, zero where they are missing;
        None where the kernel does not depend on entries.
    """

    features: FloatArray
    positions: IntArray | None = None
    entries: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.features)

    def select(self, rows: slice) -> "NewRows":
        """Return some of the rows."""
        return NewRows(
            features=self.features[rows],
            positions=None if self.positions is None else self.positions[rows],
            entries=None if self.entries is None else self.entries[rows],
        )


@dataclass(frozen=True)
class FittedRows:
    """The rows of the matrix passed to `fit`.

    Attributes
    ----------
    labels : pandas Index or None
        Labels of the rows, None where the matrix has no unique ones.
    count : int
        Number of rows.
    """

    labels: Any
    count: int

    def positions_of(self, X: Table, n_rows: int) -> IntArray:
        """Return the index in the fitted matrix of each row of X.

        Rows are matched by their labels where both matrices have some, and by their
        order otherwise.
        """
        labels = index_of(X)
        if labels is not None and self.labels is not None:
            positions = self.labels.get_indexer(labels)
            if (positions < 0).any():
                raise ValueError(
                    f"X has rows that were not in fit ({_named(labels[positions < 0])}"
                    "): pass row_features for them, or X with the index of the rows "
                    "in fit."
                )
            return positions
        if n_rows != self.count:
            raise ValueError(
                f"X has {n_rows} rows, but {self.count} were fitted: pass row_features "
                "for new rows, or pass data frames, whose rows are matched by their "
                "index."
            )
        return np.arange(n_rows)


def reorder(table: Table, name: str, labels: Any) -> Table:
    """Return the rows of a data frame in the order of the labels of X.

    The order stays as it is where either has no labels, or where none of the labels of
    X is in the index of the table.

    Parameters
    ----------
    table : array-like or data frame
        Features or a kernel.
    name : str
        The name of the argument. The columns of a kernel are reordered as its rows
        are, where they have the same labels.
    labels : pandas Index or None
        Labels of the rows or columns of X.
    """
    index = index_of(table)
    if labels is None or index is None:
        return table
    positions = index.get_indexer(labels)
    known = positions >= 0
    if known.all():
        rows = table.iloc[positions]
        columns = index_of(table, axis=1)
        square = columns is not None and columns.equals(index)
        return rows.iloc[:, positions] if square and name.endswith("kernel") else rows
    if known.any():
        raise ValueError(
            f"{name} has no row {_named(labels[~known])}, but X does: its index must "
            "have all the labels of X."
        )
    return table


def _named(labels: Any) -> str:
    return ", ".join(repr(label) for label in labels[:_NAMED])
