"""Rows as the source and the target take them: arrays of numbers, or tables.

A data frame reaches both estimators as it is, with its labels, categories and missing
values; an array becomes one of numbers where it can.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from .._backend import Array
from .._sklearn import check_array, check_X_y, is_missing, validate_data
from .._tables import refuse_dates

# NaN is passed on: whether it can be fitted is up to the source and the target.
_FLOATS = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
# what entries of an array of objects may be, beside missing values
_LEVELS = (str, bytes, Number, np.generic, tuple)
# how the dtypes of categories begin, in pandas and polars
_CATEGORIES = ("category", "categorical", "enum")


@dataclass(frozen=True)
class TableForm:
    """The form that rows had in `fit`, which later rows are brought to.

    Attributes
    ----------
    frame_type : type or None
        The class of the data frame; None for arrays.
    labels : list or None
        The labels of its columns.
    dtype : dtype
        That of an array.
    """

    frame_type: Any
    labels: Any
    dtype: np.dtype

    @classmethod
    def of(cls, X):
        """Return the form of a table."""
        if isinstance(X, np.ndarray):
            return cls(None, None, X.dtype)
        return cls(type(X), labels_of(X), np.dtype(object))

    def apply(self, X):
        """Return a data frame or an array in this form."""
        if isinstance(X, np.ndarray):
            return X if self.frame_type is None else make_frame(self, X)
        if self.frame_type is not None:
            require_labels(X, self.labels, of="the table passed to fit")
            return X
        if self.dtype == object:
            return np.asarray(X, dtype=object)
        return check_array(X, **_FLOATS)


def read_training(estimator, X, y, *, classifies):
    """Return the table and the targets that `fit` was given, after the usual checks."""
    options = {
        "multi_output": not classifies,
        "y_numeric": not classifies,
        "ensure_min_samples": 2,
    }
    if not classifies:
        refuse_dates(y, "y")
    X = _readable(X)
    if not _is_table(X):
        return validate_data(estimator, X, y, **_FLOATS, **options)
    _require_unique(X, "X")
    validate_data(estimator, X, y, skip_check_array=True)
    y = check_X_y(np.zeros((X.shape[0], 1)), y, **options)[1]
    return X, y


def read_rows(estimator, X, form):
    """Return new rows in the form of those that were fitted, after the usual checks."""
    X = _readable(X)
    if _is_table(X):
        _require_unique(X, "X")
        validate_data(estimator, X, reset=False, skip_check_array=True)
        return form.apply(X)
    return form.apply(validate_data(estimator, X, reset=False, **_FLOATS))


def _readable(X):
    """Return a data frame as it is, anything else as an array, of numbers if it can."""
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None, ensure_all_finite=False)
    if not hasattr(X, "columns") and X.dtype.kind in "OUS" and X.ndim == 2:
        try:
            return check_array(X, **_FLOATS)
        except (TypeError, ValueError):
            if not all(is_missing(v) or isinstance(v, _LEVELS) for v in X.flat):
                raise
    return X


def _is_table(X):
    """Return whether X, if readable, has more than numbers."""
    is_array = not hasattr(X, "columns")
    return not is_array or (X.dtype.kind in "OUSMm" and X.ndim == 2)


def as_numbers(X):
    """Return a table as an array of floats, NaN where they are missing, or None."""
    try:
        return check_array(X, **_FLOATS)
    except (TypeError, ValueError):
        return None


def take_rows(X, rows):
    """Return some rows, by index or mask, of a table."""
    if isinstance(X, np.ndarray):
        return X[rows]
    rows = np.asarray(rows)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    return _safe_indexing(X, rows)


def float_dtype(X):
    """Return the precision of the numbers of a table."""
    if isinstance(X, np.ndarray):
        return X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
    narrow = {str(dtype).lower() for dtype in X.dtypes} == {"float32"}
    return np.dtype(np.float32 if narrow else np.float64)


def with_scores(X, scores):
    """Return a table with further columns, the scores (n, k) of the source."""
    if isinstance(X, np.ndarray):
        return np.hstack([X, scores])
    labels, columns = labels_of(X), scores.T
    if not all(isinstance(label, str) for label in labels):
        # labels that scikit-learn does not check: all become numbers, to be of one type
        X = X.set_axis(range(len(labels)), axis=1)
        for number, column in enumerate(columns, len(labels)):
            X[number] = column
        return X
    prefix = "source_score_"
    while any(label.startswith(prefix) for label in labels):
        prefix = f"_{prefix}"
    added = {f"{prefix}{k}": column for k, column in enumerate(columns)}
    if hasattr(X, "assign"):  # of pandas
        return X.assign(**added)
    return X.hstack(type(X)(added))


# -- labels of columns ----------------------------------------------------------------


def labels_of(X) -> Any:
    """Return the labels of the columns of a data frame, None for an array."""
    return list(X.columns) if hasattr(X, "columns") else None


def make_frame(form, X):
    """Return an array as a data frame of the type and with the labels of a form."""
    columns = [column.tolist() if X.dtype == object else column for column in X.T]
    return form.frame_type(dict(zip(form.labels, columns, strict=True)))


def _require_unique(X, name):
    """Raise ValueError for repeated labels of columns."""
    labels = labels_of(X) or []
    repeated = [label for k, label in enumerate(labels) if label in labels[:k]]
    if repeated:
        raise ValueError(
            f"{name} has repeated column labels, so its columns cannot be matched: "
            f"{_listed(repeated)}. Rename or drop them."
        )


def require_labels(X, labels, *, of, name="X"):
    """Raise ValueError if a data frame has other labels, or the same in another order.

    `of` describes the table that had the `labels`.
    """
    _require_unique(X, name)
    found = labels_of(X)
    if found == labels:
        return
    if sorted(map(repr, found)) == sorted(map(repr, labels)):
        fault = f"has the columns of {of} in another order"
    else:
        missing = [label for label in labels if label not in found]
        extra = [label for label in found if label not in labels]
        fault = f"has other columns than {of}: "
        fault += "; ".join(
            f"{kind} {_listed(some)}"
            for kind, some in (("missing are", missing), ("new are", extra))
            if some
        )
    raise ValueError(f"{name} {fault}. Pass the columns {_listed(labels)}.")


def reorder(X, labels, *, of, name="X"):
    """Return a data frame with its columns in the order of labels, which it must have.

    Labels that are no strings must be in order already: scikit-learn has no names for
    them.
    """
    _require_unique(X, name)
    labels, found = list(labels), labels_of(X)
    strings = all(isinstance(label, str) for label in [*labels, *found])
    if strings and sorted(labels) == sorted(found):
        return X if labels == found else X[labels]
    require_labels(X, labels, of=of, name=name)
    return X


def _listed(labels, most=5):
    """Return labels as an error message shows them."""
    text = ", ".join(map(repr, labels[:most]))
    return text + (", ..." if len(labels) > most else "")


@contextmanager
def columns_named_on_error(X):
    """Name the columns that are no numbers if an estimator cannot convert them."""
    try:
        yield
    except (TypeError, ValueError) as error:
        labels = _labels_of_text(X) if "convert" in str(error) else []
        if not labels:
            raise
        raise type(error)(
            f"source_estimator or target_estimator does not take the columns "
            f"{_listed(labels)} of X, which are no numbers: {error}. Encode them, or "
            "pass estimators that take categories."
        ) from error


def _labels_of_text(X):
    """Return the labels of the columns of a table that are no numbers."""
    columns = [_safe_indexing(X, j, axis=1) for j in range(X.shape[1])]
    labels = labels_of(X) or range(len(columns))
    return [
        label
        for label, column in zip(labels, columns, strict=True)
        if as_numbers(np.asarray(column, dtype=object)[:, None]) is None
    ]


# -- numbers that describe the rows ---------------------------------------------------


def moments(A, weight):
    """Return the weighted mean and variance of each column."""
    mean = np.average(A, axis=0, weights=weight)
    return mean, np.average((A - mean) ** 2, axis=0, weights=weight)


def total_variance(X, weight):
    """Return the sum of the variances of the columns of a table.

    Missing numbers are left out; a category has the variances of the indicators of its
    levels.
    """
    numbers = None if _has_categories(X) else as_numbers(X)
    if numbers is not None and not np.isnan(numbers).any():
        return moments(numbers, weight)[1].sum()
    weight = np.ones(len(X)) if weight is None else weight
    columns = (_safe_indexing(X, j, axis=1) for j in range(X.shape[1]))
    return sum(_variance(column, weight) for column in columns)


def _has_categories(X):
    """Return whether a data frame has columns of a categorical dtype."""
    if isinstance(X, np.ndarray):
        return False
    return any(str(dtype).lower().startswith(_CATEGORIES) for dtype in X.dtypes)


def _variance(column, weight):
    """Return the variance of a column of numbers or of a category."""
    is_category = str(column.dtype).lower().startswith(_CATEGORIES)
    values = list(column)
    present = np.array([not is_missing(value) for value in values])
    values = [value for value, kept in zip(values, present, strict=True) if kept]
    weight = weight[present]
    if weight.sum() == 0:
        return 0.0
    if not is_category:
        try:
            return float(moments(np.array(values, dtype=np.float64), weight)[1])
        except (TypeError, ValueError):  # no numbers
            pass
    index_of = {}
    codes = [index_of.setdefault(repr(value), len(index_of)) for value in values]
    share = np.bincount(codes, weight) / weight.sum()
    return float((share * (1 - share)).sum())


def count_shared_rows(X, X_source):
    """Return how many rows of a table are also rows of another."""
    A, B = as_numbers(X), as_numbers(X_source)
    if A is None or B is None:
        keys, known = _row_texts(X), set(_row_texts(X_source))
    else:
        known = {row.tobytes() for row in np.ascontiguousarray(B, dtype=A.dtype)}
        keys = [row.tobytes() for row in np.ascontiguousarray(A)]
    return sum(key in known for key in keys)


def _row_texts(X: Array):
    """Return a text for each row of a table, equal for equal rows."""
    return [repr(row) for row in np.asarray(X, dtype=object).tolist()]
