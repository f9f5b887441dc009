"""From the input of a completer to observed entries, with its errors and warnings."""

import math
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import column_or_1d

from .._backend import Array, BoolArray, FloatArray, IntArray, Table
from .._sklearn import check_array, check_sample_weight, warn
from .._tables import refuse_dates, validate_numbers
from ..exceptions import NumericalWarning
from ._entries import ObservedEntries, degrees_of_freedom
from ._observed import ObservedIndices, ObservedMatrix, Triplets

_DTYPES = [np.float64, np.float32]
# The most rows or columns that a message names.
_MOST_NAMES = 5
# The largest rank where max_rank is None: bounds time and memory.
_LARGEST_RANK = 100
# With fewer entries than so many times the degrees of freedom, many matrices fit them.
_LEAST_OVERSAMPLING = 1.2


def entries_of(estimator: Any, X: Table, *, reset: bool) -> ObservedEntries:
    """Return the observed entries of a dense or sparse matrix; see `triplets_of`."""
    return triplets_of(estimator, X, reset=reset).entries()


def triplets_of(estimator: Any, X: Table, *, reset: bool) -> Triplets:
    """Return the observed entries of a dense or sparse matrix, as triplets.

    In a dense matrix the entries equal to `missing_values` are missing, in a sparse
    one those that are not stored.

    Parameters
    ----------
    estimator : completer
    X : array-like, sparse matrix or data frame of shape (m, n)
    reset : bool
        Whether to set `n_features_in_` and `feature_names_in_`, or to check X against
        them.
    """
    nan_is_missing = is_nan(estimator.missing_values)
    X = validate_numbers(
        estimator,
        X,
        reset=reset,
        accept_sparse=["csr", "csc", "coo"],
        dtype=_DTYPES,
        ensure_all_finite="allow-nan",
    )
    if issparse(X):
        stored = X.tocoo()
        if np.isnan(stored.data).any():
            raise ValueError(
                "X is sparse and stores NaN. The stored entries of a sparse X are the "
                "observed ones: leave out missing entries."
            )
        return Triplets(stored.row, stored.col, stored.data, shape=X.shape)
    if not nan_is_missing and np.isnan(X).any():
        raise ValueError(
            f"X has NaN, but missing_values={estimator.missing_values!r} is what marks "
            "its missing entries: pass missing_values=np.nan, or replace one by the "
            "other so that X has one of them only."
        )
    rows, cols = np.nonzero(observed_mask(X, estimator.missing_values))
    return Triplets(rows, cols, X[rows, cols], shape=X.shape)


def is_nan(value: float) -> bool:
    """Return whether a value is NaN."""
    return isinstance(value, float) and math.isnan(value)


def observed_mask(X: FloatArray, missing_values: float) -> BoolArray:
    """Return the mask of the observed entries of a dense X."""
    return ~np.isnan(X) if is_nan(missing_values) else X != missing_values


def check_triplets(
    rows: Array,
    cols: Array,
    values: Array,
    *,
    shape: tuple[int, int],
    sample_weight: Array | None,
) -> Triplets:
    """Return entries given as index arrays; weight 0 leaves an entry out."""
    refuse_dates(values, "values")
    values = _check_values(values)
    shape = check_shape(shape)
    rows, cols = check_indices(rows, cols, shape)
    if len(rows) != len(values):
        raise ValueError(
            f"rows, cols and values must have one element for each entry; they have "
            f"{len(rows)}, {len(cols)} and {len(values)}."
        )
    if sample_weight is None:
        return Triplets(rows, cols, values, shape=shape)
    weight = check_sample_weight(
        sample_weight, values, dtype=np.float64, ensure_non_negative=True
    )
    kept = weight > 0
    rows, cols, values, weight = rows[kept], cols[kept], values[kept], weight[kept]
    return Triplets(rows, cols, values, shape=shape, weight=weight)


def _check_values(values: Array) -> FloatArray:
    """Return the values of entries as an array of finite numbers."""
    checked = check_array(
        values,
        ensure_2d=False,
        dtype=_DTYPES,
        ensure_min_samples=0,
        ensure_all_finite="allow-nan",
        input_name="values",
    )
    checked = _one_dimension(checked, "values")
    if len(checked) == 0:
        raise ValueError("values has no entries: at least one has to be observed.")
    if np.isnan(checked).any():
        raise ValueError(
            "values has NaN: leave out missing entries, with their rows and cols."
        )
    return checked


def _one_dimension(a: Array, name: str) -> Array:
    """Return an argument of `fit_entries` or `predict_entries` as an array (n,)."""
    if a.ndim != 1 and a.shape != (len(a) if a.ndim else 0, 1):
        raise ValueError(
            f"{name} must be one-dimensional, an element for each entry; its shape is "
            f"{a.shape}."
        )
    return column_or_1d(a)


def check_shape(shape: tuple[int, int]) -> tuple[int, int]:
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


def check_indices(
    rows: Array, cols: Array, shape: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """Return row and column indices as integer arrays within the shape."""
    rows = _check_index(rows, "rows", shape[0])
    cols = _check_index(cols, "cols", shape[1])
    if len(rows) != len(cols):
        raise ValueError(
            f"rows and cols must be as long as each other; they have {len(rows)} and "
            f"{len(cols)} elements."
        )
    return rows, cols


def _check_index(index: Array, name: str, size: int) -> IntArray:
    """Return an argument as an array of indices below `size`."""
    index = _one_dimension(np.asarray(index), name)
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
    return index


def require_entries(entries: Sized) -> None:
    """Raise ValueError if no entry is observed."""
    if len(entries) == 0:
        raise ValueError(
            "All entries of X are missing: at least one has to be observed. In a dense "
            "X those equal to `missing_values` are missing, in a sparse one those that "
            "are not stored."
        )


def warn_of_empty(entries: ObservedEntries) -> None:
    """Warn of rows and columns without an observed entry, which 0 or means fill."""
    for name, counts in (
        ("row", entries.row_counts()),
        ("column", entries.column_counts()),
    ):
        empty = np.flatnonzero(counts == 0)
        if len(empty) > 0:
            named = _without_entries(name, len(empty), empty[:_MOST_NAMES])
            warn(
                f"{named}: 0, or with center=True the mean of the column, is filled "
                "in.",
                NumericalWarning,
            )


def warn_of_gaps(rows: ObservedIndices, columns: ObservedIndices) -> None:
    """Warn of rows and columns without an observed entry, which means fill."""
    sentences = []
    for name, observed, means in (
        ("row", rows, "the weighted means of the columns"),
        ("column", columns, "the weighted mean of all entries"),
    ):
        count = observed.size - len(observed)
        if count > 0:
            named = _without_entries(name, count, observed.first_empty(_MOST_NAMES))
            sentences.append(f"{named}: filled with {means}.")
    if sentences:
        warn(" ".join(sentences), NumericalWarning)


@contextmanager
def quiet(*, completely: bool = False) -> Iterator[None]:
    """Ignore warnings of inner completers about gaps and ridges, or all of them."""
    with warnings.catch_warnings():
        if completely:
            warnings.simplefilter("ignore")
        warnings.filterwarnings("ignore", category=NumericalWarning)
        warnings.filterwarnings("ignore", message="The best ridge")
        yield


def _without_entries(name: str, count: int, first: IntArray) -> str:
    """Return a description of rows or columns without entries, the first by index."""
    plural = "s" if count > 1 else ""
    names = ", ".join(map(str, first))
    more = ", …" if count > len(first) else ""
    return f"{count} {name}{plural} of X without any observed entry ({names}{more})"


def largest_rank(max_rank: int | None, matrix: ObservedMatrix) -> int:
    """Return `max_rank`, checked; if it is None, the largest that entries determine.

    That rank has at most as many degrees of freedom as entries are observed. No rank
    is more than the rows or columns that have entries.
    """
    entries, smaller = matrix.entries, min(matrix.entries.shape)
    if max_rank is None:
        ranks = range(1, min(smaller, _LARGEST_RANK) + 1)
        freedoms = (degrees_of_freedom(rank, entries.shape) for rank in ranks)
        return max(1, sum(freedom <= len(entries) for freedom in freedoms))
    if max_rank > min(matrix.shape):
        raise ValueError(
            f"max_rank={max_rank} is more than {min(matrix.shape)}, the smaller side "
            "of X and the largest rank that it can have."
        )
    return min(max_rank, smaller)


def warn_of_iterations(n_iter: int) -> None:
    """Warn of a completion that did not converge."""
    warn(
        f"The completion did not converge in {n_iter} iterations: raise max_iter or "
        "tol.",
        ConvergenceWarning,
    )


def warn_of_outliers(rows: IntArray) -> None:
    """Warn of wrong entries that stay in the completed matrix, given their rows."""
    if len(rows) > 0:
        warn(
            f"{len(rows)} of the entries look wrong and were left out of the fit, but "
            "keep_observed=True keeps them in the result of transform: pass "
            "keep_observed=False.",
            NumericalWarning,
        )


def warn_of_few_entries(entries: ObservedEntries, rank: int) -> None:
    """Warn if the entries hardly determine a matrix of this rank."""
    freedom = degrees_of_freedom(rank, entries.shape)
    if len(entries) < min(_LEAST_OVERSAMPLING * freedom, np.prod(entries.shape)):
        warn(
            f"A matrix of rank {rank} has {freedom} degrees of freedom, and only "
            f"{len(entries)} entries are observed: many matrices fit them about as "
            "well. Lower max_rank, or observe more.",
            NumericalWarning,
        )
