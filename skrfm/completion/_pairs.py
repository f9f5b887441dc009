"""Pairs (row, column) of entries, from arrays and from tables read in batches."""

from typing import Any

import numpy as np

from .._backend import Array, FloatArray, IntArray
from .._sklearn import validate_data
from .._tables import refuse_dates, to_host, values_of_column

# What a message advises where X has other values.
INDEX_ADVICE = (
    "X must hold integers, the row and the column of each entry, and no other columns. "
    "Encode labels first, for example by OrdinalEncoder."
)
# Entries that are read at a time.
_BLOCK = 1 << 20


def pairs_of(X: Array) -> tuple[IntArray, IntArray]:
    """Return the two columns of X as integers."""
    require_two_columns(X.shape[1])
    return as_indices(X[:, 0]), as_indices(X[:, 1])


def require_two_columns(count: int) -> None:
    """Raise ValueError for another number of columns than two."""
    if count != 2:
        raise ValueError(
            "X must have two columns, the row and the column of each entry; it has "
            f"{count}."
        )


def as_indices(values: Array) -> IntArray:
    """Return an array of whole numbers as integers."""
    kind = values.dtype.kind
    if kind not in "iuf" or (kind == "f" and not np.all(values == np.floor(values))):
        raise ValueError(INDEX_ADVICE)
    return values.astype(np.int64)


def read_pairs(
    estimator: Any, source: Any
) -> tuple[IntArray, IntArray, FloatArray, FloatArray | None]:
    """Return rows, columns, values and weights of a Source, read once.

    Indices take 4 bytes where they can, and values of single precision too.

    Parameters
    ----------
    estimator : estimator
        Gets the number and the names of the features.
    source : Source
    """
    parts: tuple[list, list, list, list] = [], [], [], []
    for batch in source.batches(_BLOCK):
        refuse_dates(batch.y, "y")
        X: Any = to_host(batch.X)
        y = np.asarray(to_host(batch.y))
        require_two_columns(X.shape[1])
        validate_data(estimator, X, skip_check_array=True, reset=not parts[0])
        for part, column in zip(parts, (0, 1), strict=False):
            part.append(_small(as_indices(_column(X, column))))
        parts[2].append(y if y.dtype == np.float32 else y.astype(np.float64))
        if batch.weight is not None:
            parts[3].append(np.asarray(batch.weight, dtype=np.float64))
    if not parts[0]:
        raise ValueError("X has no rows: there are no batches.")
    rows, cols, values, weights = parts
    return (
        _joined(rows),
        _joined(cols),
        _joined(values),
        _joined(weights) if weights else None,
    )


def _column(X: Any, number: int) -> Array:
    """Return a column of an array or a data frame."""
    if isinstance(X, np.ndarray):
        return X[:, number]
    return np.asarray(values_of_column(X, number))


def _small(index: IntArray) -> IntArray:
    """Return indices as 4-byte integers if they fit; out of range, as they are."""
    limits = np.iinfo(np.int32)
    fits = not index.size or (index.min() >= 0 and index.max() <= limits.max)
    return index.astype(np.int32) if fits else index


def _joined(parts: list) -> Array:
    """Return arrays in one; the list is emptied, so that they are not kept."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined
