"""From a table to one matrix of floats: numbers, and codes of categories."""

from datetime import date, time, timedelta

import numpy as np

from .._sklearn import check_array, is_missing, safe_indexing
from ._sources import from_arrow

# Beyond so many levels of a category, the rarest are one level: each is a column.
MAX_LEVELS = 1000
# the kinds of NumPy dtypes that hold numbers
_NUMBERS = "biuf"
# how the dtypes of dates and durations begin, in NumPy, pandas, polars and Arrow
_DATES = ("date", "time", "duration", "period", "interval")
# and their types in columns of objects, those of pandas included
_DATE_TYPES = (date, time, timedelta, np.datetime64, np.timedelta64)
# what a message advises for dates and durations, and for a column of them
_DATES_ADVICE = "Encode them as numbers, for example days since a fixed date."
_COLUMN_ADVICE = _DATES_ADVICE.rstrip(".") + ", or drop the column."
# what a message advises for a column that holds no numbers
_CATEGORIES_ADVICE = (
    "A column of categories must have a categorical dtype (in pandas: "
    "astype('category')), or be named in categorical_features."
)
_NUMBERS_ADVICE = (
    "Only numbers are taken: drop the column, or encode it, for example by "
    "sklearn.preprocessing.OneHotEncoder."
)


class TableReader:
    """From a table to one matrix of floats, with categories as codes in their columns.

    A code counts the sorted levels from 0. It is -1 for a level that was not there
    when the reader was fitted, NaN for a missing value. Levels are compared by value,
    whatever the dtype of their column is. None, NaN, NaT, ``pandas.NA`` and nulls of
    polars and Arrow are missing values.

    Parameters
    ----------
    is_categorical : boolean ndarray of shape (n_features,) or None
        None where there are no categories, and nothing to read but numbers.
    """

    def __init__(self, is_categorical=None):
        self.is_categorical = is_categorical

    def fit(self, X, weight):
        """Learn the levels of the categories of some rows.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        weight : ndarray of shape (n_samples,)
            Weights, by which the rarest of many levels are found.
        """
        self._codes = {
            column: _codes_of_levels(*_factorize(X, column), weight)
            for column in self._categories
        }
        return self

    @property
    def _categories(self):
        if self.is_categorical is None:
            return []
        return np.flatnonzero(self.is_categorical).tolist()

    def transform(self, X):
        """Return the matrix of some rows."""
        if self.is_categorical is None and not needs_reading(X):
            return X
        columns = [
            self._read_category(X, column)
            if column in self._categories
            else _read_column(X, column)
            for column in range(X.shape[1])
        ]
        numbers = [c.dtype for j, c in enumerate(columns) if j not in self._categories]
        dtype = np.result_type(*numbers) if numbers else np.dtype(np.float64)
        out = np.empty((X.shape[0], len(columns)), dtype=dtype)
        for number, values in enumerate(columns):
            out[:, number] = values
        return out

    def names_of_levels(self, column):
        """Return the names of the levels of a category, in the order of their codes.

        Levels that share a code, the rarest of many, are one "other".
        """
        by_code = {}
        for level, code in self._codes[column].items():
            by_code.setdefault(code, []).append(level)
        return [
            str(levels[0]) if len(levels) == 1 else "other"
            for _, levels in sorted(by_code.items())
        ]

    def _read_category(self, X, column):
        """Return the codes of a category."""
        levels, inverse = _factorize(X, column)
        known = self._codes[column]
        codes = np.array([known.get(level, -1) for level in levels] + [np.nan])
        return codes[inverse]  # the last one is that of missing values, -1


def needs_reading(X):
    """Return whether X has columns of more than numbers: a data frame, or objects."""
    return hasattr(X, "columns") or getattr(X.dtype, "kind", "f") in "OMmUS"


def _codes_of_levels(levels, inverse, weight):
    """Return the code of each level; the rarest share one where there are too many."""
    known = inverse >= 0
    total = np.bincount(inverse[known], weight[known], len(levels))
    present = [level for level, w in zip(levels, total, strict=True) if w > 0]
    order = _sorted(present)
    if len(order) <= MAX_LEVELS:
        return {level: code for code, level in enumerate(order)}
    weight_of = dict(zip(levels, total, strict=True))
    by_weight = sorted(order, key=lambda level: -weight_of[level])
    frequent = set(by_weight[: MAX_LEVELS - 1])
    codes = {}
    for level in order:
        codes[level] = len(codes) if level in frequent else MAX_LEVELS - 1
    kept = [level for level in order if level in frequent]
    return codes | {level: code for code, level in enumerate(kept)}


def _sorted(levels):
    """Return levels in an order that depends on their values only."""
    try:
        return sorted(levels)
    except TypeError:  # of several types
        return sorted(levels, key=lambda level: (type(level).__name__, repr(level)))


def _factorize(X, column):
    """Return the levels of a column, and for each row the index of its level.

    The index of a missing value is -1.
    """
    values = values_of_column(X, column)
    if hasattr(values, "cat") and hasattr(values.cat, "codes"):  # of pandas
        levels, inverse = _factorize_objects(values.cat.categories, name_of(X, column))
        return levels, np.append(inverse, -1)[np.asarray(values.cat.codes)]
    if isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS:
        levels, inverse = np.unique(values, return_inverse=True)
        missing = levels != levels  # NaN, which is the last of the sorted values
        return levels[~missing].tolist(), np.where(missing[inverse], -1, inverse)
    return _factorize_objects(values, name_of(X, column))


def _factorize_objects(values, name):
    """Return the levels among Python objects, and the index of each, -1 if missing."""
    index_of = {}
    inverse = np.empty(len(values), dtype=np.intp)
    for row, value in enumerate(values):
        try:
            missing = is_missing(value)
            inverse[row] = -1 if missing else index_of.setdefault(value, len(index_of))
        except TypeError as error:
            raise ValueError(
                f"Column {name} of X is a category and holds a value of type "
                f"{type(value).__name__}, which cannot be compared: {error}. Pass "
                "strings, numbers or tuples of them."
            ) from error
    return list(index_of), inverse


def read_numbers(X, input_name="X"):
    """Return a table of numbers as an array; NaN where a number is missing.

    What has a shape but neither columns with names nor objects is returned as it is.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
    input_name : str, default="X"
        The argument, as a message names it.
    """
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None, ensure_all_finite=False, input_name=input_name)
    if not needs_reading(X) or len(X.shape) != 2:
        return X
    columns = [
        _read_column(X, column, input_name=input_name, advice=_NUMBERS_ADVICE)
        for column in range(X.shape[1])
    ]
    return np.column_stack(columns) if columns else np.empty(X.shape)


def _read_column(X, column, *, input_name="X", advice=_CATEGORIES_ADVICE):
    """Return a column of numbers, as float32 if it is that, else as float64."""
    values = values_of_column(X, column)
    dtype, name = str(values.dtype), f"{name_of(X, column)} of {input_name}"
    if dtype.lower().startswith(_DATES):
        raise _error_of_dates(f"Column {name}", dtype, _COLUMN_ADVICE)
    array = np.asarray(values)
    if array.dtype.kind in _NUMBERS:
        narrow = array.dtype in (np.float32, np.float16)
        return array.astype(np.float32 if narrow else np.float64)
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        if is_missing(value):
            numbers[row] = np.nan
            continue
        if isinstance(value, _DATE_TYPES):
            kind = type(value).__name__
            raise _error_of_dates(f"Column {name}", kind, _COLUMN_ADVICE)
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"Column {name}: {error}. {advice}") from error
    return numbers


def refuse_dates(a, input_name, advice=_DATES_ADVICE):
    """Raise ValueError if an array-like or a data frame holds dates or durations.

    NumPy converts them to numbers of an arbitrary unit, without a word.

    Parameters
    ----------
    a : array-like or data frame
    input_name : str
        The argument, as the message names it.
    advice : str
        What the message advises.
    """
    if names_of(a) is None:
        columns = {input_name: a}
    else:
        columns = {
            f"Column {name_of(a, column)} of {input_name}": values_of_column(a, column)
            for column in range(a.shape[1])
        }
    for name, values in columns.items():
        dtype = str(getattr(values, "dtype", "object"))
        if dtype.lower().startswith(_DATES):
            raise _error_of_dates(name, dtype, advice)
        objects = np.asarray(values, dtype=object).flat if dtype == "object" else ()
        for value in objects:
            if isinstance(value, _DATE_TYPES):
                raise _error_of_dates(name, type(value).__name__, advice)


def _error_of_dates(name, kind, advice):
    """Return the error of what holds dates or durations, whose type is `kind`."""
    return ValueError(f"{name} holds dates or durations ({kind}). {advice}")


def values_of_column(X, column):
    """Return a column as an array or series."""
    values = safe_indexing(X, column, axis=1)
    return from_arrow(values) if hasattr(values, "combine_chunks") else values


def name_of(X, column):
    """Return a column as a message names it."""
    names = names_of(X)
    return str(column) if names is None else repr(names[column])


def names_of(X):
    """Return the names of the columns of a data frame; None of an array."""
    # `columns` of a table of pyarrow are the values
    return getattr(X, "column_names", getattr(X, "columns", None))
