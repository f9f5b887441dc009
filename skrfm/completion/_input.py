"""From what a user passes to observed entries, and what is wrong with them."""

import math
import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from .._sklearn import check_sample_weight
from ..exceptions import NumericalWarning
from ._entries import ObservedEntries, degrees_of_freedom

_DTYPES = [np.float64, np.float32]
# how many rows or columns a message names
_NAMED = 5
# the most singular vectors that are looked for where max_rank is None
_MAX_RANK = 100
# with fewer entries than so many times the degrees of freedom, completion is a guess
_OVERSAMPLING = 1.2


def entries_of(estimator, X, *, reset):
    """Return the observed entries of a dense or sparse matrix.

    In a dense one the entries equal to `missing_values` are missing, in a sparse one
    those that are not stored.
    """
    nan_is_missing = is_nan(estimator.missing_values)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse=["csr", "csc", "coo"],
        dtype=_DTYPES,
        ensure_all_finite="allow-nan" if nan_is_missing else True,
    )
    if issparse(X):
        stored = X.tocoo()
        if np.isnan(stored.data).any():
            raise ValueError(
                "X is sparse and stores NaN. Of a sparse X the stored entries are the "
                "observed ones: leave out what is missing."
            )
        return ObservedEntries(stored.row, stored.col, stored.data, X.shape)
    rows, cols = np.nonzero(observed_mask(X, estimator.missing_values))
    return ObservedEntries(rows, cols, X[rows, cols], X.shape)


def is_nan(value):
    """Return whether a value is NaN."""
    return isinstance(value, float) and math.isnan(value)


def observed_mask(X, missing_values):
    """Return where a dense X is observed."""
    return ~np.isnan(X) if is_nan(missing_values) else X != missing_values


def entries_from_triplets(rows, cols, values, shape, sample_weight):
    """Return the entries given as index arrays; weight 0 leaves an entry out."""
    values = column_or_1d(check_array(values, ensure_2d=False, dtype=_DTYPES))
    shape = check_shape(shape)
    rows, cols = check_indices(rows, cols, shape)
    if not len(rows) == len(values):
        raise ValueError(
            f"rows, cols and values must have one element for each entry; they have "
            f"{len(rows)}, {len(cols)} and {len(values)}."
        )
    if sample_weight is None:
        return ObservedEntries(rows, cols, values, shape)
    weight = check_sample_weight(
        sample_weight, values, dtype=np.float64, ensure_non_negative=True
    )
    kept = weight > 0
    return ObservedEntries(rows[kept], cols[kept], values[kept], shape, weight[kept])


def check_shape(shape):
    """Return a shape (m, n) of two positive integers."""
    try:
        m, n = (int(size) for size in shape)
    except (TypeError, ValueError):
        m = n = 0
    if m < 1 or n < 1:
        raise ValueError(
            f"shape must be (n_rows, n_columns), two positive integers; got {shape!r}."
        )
    return m, n


def check_indices(rows, cols, shape):
    """Return row and column indices as integer arrays within the shape."""
    checked = []
    for name, index, size in zip(("rows", "cols"), (rows, cols), shape, strict=True):
        index = column_or_1d(np.asarray(index))
        index = index if index.size else index.astype(np.intp)
        if not np.issubdtype(index.dtype, np.integer):
            raise ValueError(
                f"{name} must hold integers, the indices of entries; its dtype is "
                f"{index.dtype}."
            )
        if index.size and (index.min() < 0 or index.max() >= size):
            raise ValueError(
                f"{name} must lie in 0 … {size - 1}; it reaches from {index.min()} to "
                f"{index.max()}."
            )
        checked.append(index)
    if len(checked[0]) != len(checked[1]):
        raise ValueError(
            f"rows and cols must be as long as each other; they have "
            f"{len(checked[0])} and {len(checked[1])} elements."
        )
    return checked


def require_entries(entries):
    """Raise ValueError where nothing is observed."""
    if len(entries) == 0:
        raise ValueError(
            "All entries of X are missing: at least one has to be observed. In a dense "
            "X those equal to `missing_values` are missing, in a sparse one those that "
            "are not stored."
        )


def warn_of_empty(entries, stacklevel):
    """Warn of rows and columns of which nothing is observed."""
    parts = (("row", entries.row_counts()), ("column", entries.column_counts()))
    for name, counts in parts:
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            named = ", ".join(map(str, empty[:_NAMED]))
            more = ", …" if len(empty) > _NAMED else ""
            warnings.warn(
                f"{len(empty)} {name}{'s' * (len(empty) > 1)} of X without any "
                f"observed entry ({named}{more}): nothing tells what belongs there, "
                "and 0, or with center=True the mean of the column, is filled in.",
                NumericalWarning,
                stacklevel=stacklevel + 1,
            )


def largest_rank(max_rank, entries):
    """Return `max_rank`, checked, or what the entries could tell of a matrix."""
    smaller = min(entries.shape)
    if max_rank is None:
        ranks = range(1, min(smaller, _MAX_RANK) + 1)
        free = (degrees_of_freedom(rank, entries.shape) for rank in ranks)
        return max(1, sum(count <= len(entries) for count in free))
    if max_rank > smaller:
        raise ValueError(
            f"max_rank={max_rank} is more than {smaller}, the smaller side of X and "
            "the largest rank that it can have."
        )
    return max_rank


def warn_of_trouble(found, entries, stacklevel):
    """Warn where a completion is not to be trusted."""
    if not found.converged:
        warnings.warn(
            f"The completion had not come to an end after {len(found.history)} "
            "iterations: raise max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
    free = degrees_of_freedom(found.iterate.rank, entries.shape)
    graded = found.iterate.graded  # shrunk in all directions: no rank is claimed
    if not graded and len(entries) < min(_OVERSAMPLING * free, np.prod(entries.shape)):
        warnings.warn(
            f"A matrix of rank {found.iterate.rank} has {free} degrees of freedom, and "
            f"only {len(entries)} entries are observed: many matrices fit them about "
            "as well. Lower max_rank, or observe more.",
            NumericalWarning,
            stacklevel=stacklevel + 1,
        )
