"""Rows of the fitted matrix, rows to predict, and how labels match them."""

from dataclasses import dataclass

import numpy as np

from ..._backend import FloatArray, IntArray, Table
from ._labels import (
    Labels,
    labels_of,
    look_up,
    match,
    named,
    positions_by_label,
    require_usable,
)


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
    labels : Labels or None
        Labels of the rows, None where the matrix has none.
    count : int
        Number of rows.
    """

    labels: Labels | None
    count: int

    def positions_of(self, X: Table, n_rows: int) -> IntArray:
        """Return the index in the fitted matrix of each row of X.

        Rows are matched by their labels where both matrices have some, and by their
        position otherwise.
        """
        labels = labels_of(X)
        if labels is not None and self.labels is not None:
            if labels.equals(self.labels):
                return np.arange(n_rows)
            require_usable(self.labels, labels, name="X", of="rows in fit")
        positions, unknown = match(labels, self.labels)
        if self._is_other_part(labels):
            unknown = labels.values
        if unknown:
            raise ValueError(
                f"X has rows that were not in fit ({named(unknown)}): pass "
                "row_features for them, or X with the index of the rows in fit."
            )
        if positions is not None:
            return positions
        if n_rows != self.count:
            raise ValueError(
                f"X has {n_rows} rows, but {self.count} were fitted: pass row_features "
                "for new rows, or pass data frames, whose rows are matched by their "
                "index unless it is the default one."
            )
        return np.arange(n_rows)

    def _is_other_part(self, labels):
        """Return whether integer labels are all different, as after a split of rows.

        The first rows of a data frame have the default index after a split, and are not
        the rows in `fit`, even if they are as many.
        """
        if labels is None or self.labels is None:
            return False
        integers = labels.are_integers and self.labels.are_integers
        return integers and set(labels.values).isdisjoint(self.labels.values)


def order_features(
    features: Table, name: str, *, labels: Labels | None, of: str
) -> Table:
    """Return the rows of features in the order of the labels of X.

    Parameters
    ----------
    features : array-like or data frame
    name : str
        The argument that the features were passed as.
    labels : Labels or None
        Labels of the rows or columns of X.
    of : str
        "rows of X" or "columns of X".
    """
    positions = positions_by_label(labels, labels_of(features), name=name, of=of)
    return features if positions is None else features.iloc[positions]


def order_kernel(K: Table, name: str, *, labels: Labels | None, of: str) -> Table:
    """Return a kernel with rows and columns in the order of the labels of X.

    The columns are matched with the rows by their own labels, so they may be in another
    order, and may be more than the rows. If only the rows or only the columns of a
    square kernel have labels, they are those of both.

    Parameters
    ----------
    K : array-like or data frame
    name, labels, of
        As in `order_features`.
    """
    columns = labels_of(K, axis=1)
    if columns is None:
        return K
    rows, columns = _shared_labels(
        labels_of(K), columns, square=K.shape[0] == K.shape[1]
    )
    positions = positions_by_label(labels, rows, name=name, of=of)
    if positions is not None and rows is not None:
        K, rows = _take(K, positions), rows.select(positions)
    if rows is None or rows.equals(columns):
        return K
    positions, unknown = look_up(rows.values, columns.values)
    if unknown or rows.problem or columns.problem:
        positions = positions_by_label(
            rows, columns, name=name, of=f"rows of {name}", axis="column"
        )
    return K if positions is None else _take(K, positions, axis=1)


def _shared_labels(rows, columns, *, square):
    """Return the labels of rows and columns of a kernel; one may stand for both."""
    if not square:
        return rows, columns
    if rows is None:
        return columns, columns
    if rows.default == columns.default or not look_up(rows.values, columns.values)[1]:
        return rows, columns
    shared = columns if rows.default else rows
    return shared, shared


def _take(table, positions, axis=0):
    if hasattr(table, "iloc"):
        return table.iloc[positions] if axis == 0 else table.iloc[:, positions]
    return np.take(np.asarray(table), positions, axis=axis)
