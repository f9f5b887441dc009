"""Tables of the user, and the columns of them that are differentiated."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._backend import FloatArray, IntArray
from ..._sklearn import check_array, safe_indexing
from ..._tables import to_host

_FLOATS = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}


@dataclass(frozen=True)
class InspectedTable:
    """Rows of a table, an array or a data frame, with some columns of numbers.

    Attributes
    ----------
    X : ndarray or data frame of shape (n, d)
    numbers : ndarray of shape (n, k)
        The columns that are differentiated.
    columns : ndarray of int of shape (k,)
        Their indices.
    """

    X: Any
    numbers: FloatArray
    columns: IntArray

    @classmethod
    def read(cls, X, features=None):
        """Return the table of X with the columns that a parameter `features` names.

        Raises
        ------
        ValueError
            For columns that are not there, or no numbers.
        """
        if not hasattr(X, "columns"):
            X = check_array(to_host(X), dtype=None, ensure_all_finite="allow-nan")
        labels = list(X.columns) if hasattr(X, "columns") else list(range(X.shape[1]))
        columns = _indices(features, labels)
        numbers, others = [], []
        for column in columns:
            try:
                values = np.asarray(safe_indexing(X, column, axis=1)).reshape(-1, 1)
                numbers.append(check_array(values, **_FLOATS))
            except (TypeError, ValueError):
                others.append(labels[column])
        if others:
            raise ValueError(
                f"The columns {', '.join(map(repr, others))} of X are no numbers, so "
                "there are no gradients along them: pass features=[...] with the "
                "columns of numbers."
            )
        if not hasattr(X, "columns") and X.dtype.kind in "biuf":
            X = X.astype(np.float64, copy=False)
        return cls(X, np.hstack(numbers), columns)

    @property
    def is_array(self):
        """Whether the rows are an array of numbers."""
        return isinstance(self.X, np.ndarray) and self.X.dtype.kind == "f"

    def take(self, rows):
        """Return some of the rows."""
        return InspectedTable(
            safe_indexing(self.X, rows), self.numbers[rows], self.columns
        )

    def as_array(self) -> FloatArray | None:
        """Return all columns as numbers, or None if some are not."""
        if self.is_array:
            return self.X
        try:
            return check_array(self.X, **_FLOATS)
        except (TypeError, ValueError):
            return None

    def moved(self, row, column, step):
        """Return rows of the table with one number changed in each.

        Parameters
        ----------
        row : ndarray of int of shape (m,)
            The rows, of which there may be several copies.
        column : ndarray of int of shape (m,)
            Which of the differentiated columns is changed.
        step : ndarray of shape (m,)
            What is added to it.
        """
        if self.is_array:
            moved = self.X[row]
            moved[np.arange(len(row)), self.columns[column]] += step
            return moved
        numbers = self.numbers[row]
        numbers[np.arange(len(row)), column] += step
        rows = safe_indexing(self.X, row)
        if isinstance(rows, np.ndarray):  # of objects
            rows[:, self.columns] = numbers
            return rows
        labels = [list(rows.columns)[k] for k in np.unique(self.columns[column])]
        position = {list(rows.columns)[k]: n for n, k in enumerate(self.columns)}
        changed = {label: numbers[:, position[label]] for label in labels}
        if hasattr(rows, "with_columns"):  # of polars
            return rows.with_columns(type(rows)(changed).get_columns())
        rows = rows.copy()
        for label, values in changed.items():
            rows[label] = values
        return rows


def _indices(features, labels):
    """Return the indices of the columns that a parameter `features` names."""
    if features is None:
        return np.arange(len(labels))
    features = np.asarray(features)
    if features.dtype == bool and features.shape == (len(labels),):
        return np.flatnonzero(features)
    found = []
    for feature in features.ravel().tolist():
        if feature in labels:
            found.append(labels.index(feature))
        elif isinstance(feature, int) and -len(labels) <= feature < len(labels):
            found.append(feature % len(labels))
        else:
            raise ValueError(
                f"features has {feature!r}, which is no column of X: pass names or "
                f"indices of its {len(labels)} columns, or a boolean mask."
            )
    if len(found) == 0 or len(set(found)) < len(found):
        raise ValueError("features must name at least one column, and none twice.")
    return np.array(found)
