"""Tables that are read in batches, each time anew: files, lazy frames, large arrays.

A source yields the same rows in the same order whenever it is read. What is optional,
such as pyarrow, polars and Dask, is found among the modules that are loaded: nobody can
pass an object of a library that is not.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .._sklearn import safe_indexing


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a table, as they were read.

    Attributes
    ----------
    X : array or data frame of shape (m, n_features)
    y : array-like of shape (m,) or (m, n_outputs), or None
        None where only the features are read.
    weight : array-like of shape (m,) or None
    """

    X: Any
    y: Any = None
    weight: Any = None


class Source(Protocol):
    """A table that is read in batches."""

    #: the number of parts that `map` goes to
    n_parts: int

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the rows, about so many at a time, from the first row on."""
        ...

    def map(self, function: Callable, size: int) -> Iterator[Any]:
        """Yield function(batches, number) of each part of the rows, in their order.

        What is read in one process is one part. Those of a cluster are where they lie:
        the function goes there, and what it returns comes back.
        """
        ...


class _OnePart:
    """Mixin of sources that one process reads."""

    batches: Callable
    n_parts = 1

    def map(self, function, size):
        """Yield the value of the only part."""
        yield function(self.batches(size), 0)


def is_a(X, module, name):
    """Return whether X is of a class of a module, which is not imported for that."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(X, getattr(loaded, name))


def is_iterable_of_batches(X):
    """Return whether X yields batches, and is neither a table nor a sequence of rows.

    A list is one of batches if its first item is a tuple that begins with a table.
    """
    if isinstance(X, (list, tuple)):
        first = X[0] if len(X) else None
        if not isinstance(first, tuple) or len(first) not in (2, 3):
            return False
        return len(getattr(first[0], "shape", ())) == 2
    is_table = any(hasattr(X, name) for name in ("shape", "__array__", "__getitem__"))
    return isinstance(X, Iterable) and not is_table


def refuse_names(X, y, sample_weight):
    """Raise TypeError for a path, and for names of columns of a table in memory."""
    if isinstance(X, (str, os.PathLike)):
        raise TypeError(
            f"X is a string or a path, {str(X)!r}: read the file first, for example by "
            "pandas.read_csv, or pass pyarrow.dataset.dataset of it."
        )
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        if isinstance(values, str):
            raise TypeError(
                f"{name} is a string, {values!r}: columns have names where X is a data "
                "set of pyarrow, a lazy frame of polars or a data frame of Dask. Pass "
                "the values, and X without their column."
            )


class SlicedSource(_OnePart):
    """Arrays and frames of which slices are read: in memory, memory-mapped, HDF5.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
    weight : array-like of shape (n_samples,) or None
    """

    def __init__(self, X, y, weight):
        self.X, self.y, self.weight = X, y, weight
        _require_rows(y, X.shape[0], "y")
        _require_rows(weight, X.shape[0], "sample_weight")

    def batches(self, size):
        """Yield the rows, so many at a time."""
        yield from slices(self.X, self.y, self.weight, size)


def slices(X, y, weight, size):
    """Yield arrays or frames in Batches of so many rows; the weights may be None."""
    for start in range(0, X.shape[0], size):
        rows = slice(start, start + size)
        yield Batch(*(_slice(a, rows) for a in (X, y, weight)))


@dataclass(frozen=True)
class FrameSource(_OnePart):
    """Frames that hold the targets, and weights, in columns beside the features.

    Parameters
    ----------
    table : object
        What the frames are read from.
    y : str, or list of str
        The names of the columns of targets; none are read with an empty list.
    weight : str or None
        The name of the column of weights.
    features : sequence of str or None
        The names of the features; None takes all other columns.
    """

    table: Any
    y: Any
    weight: Any
    features: Any = None

    def __post_init__(self):
        kind = type(self.table).__name__
        if self.y is None:
            raise ValueError(
                "y must name the column of the targets in X, or be a list of names, "
                f"where X is a {kind}; got None."
            )
        weights = [] if self.weight is None else [self.weight]
        for name in [*self._targets, *weights, *(self.features or ())]:
            require_name(name, self._columns(), self.table)

    @property
    def _targets(self):
        return self.y if isinstance(self.y, list) else [self.y]

    def _columns(self):
        """Return the names of all columns."""
        raise NotImplementedError

    def _frames(self, size):
        """Yield frames of about so many rows."""
        raise NotImplementedError

    def batches(self, size):
        """Yield the rows, about so many at a time."""
        others = {*self._targets, self.weight}
        features = self.features
        if features is None:
            features = [name for name in self._columns() if name not in others]
        for frame in self._frames(size):
            weight = None if self.weight is None else _column(frame, self.weight)
            columns = [_column(frame, name) for name in self._targets]
            y = None
            if columns:
                y = np.column_stack(columns) if isinstance(self.y, list) else columns[0]
            yield Batch(frame.select(features), y, weight)


class ArrowSource(FrameSource):
    """A data set of pyarrow: files of Parquet and others, in row groups."""

    def _columns(self):
        return self.table.schema.names

    def _frames(self, size):
        from pyarrow import Table

        # few batches ahead: by default some dozens of row groups are held
        batches = self.table.to_batches(
            batch_size=size, batch_readahead=1, fragment_readahead=1
        )
        for batch in batches:
            if batch.num_rows:
                yield Table.from_batches([batch])


class PolarsSource(FrameSource):
    """A lazy frame of polars, which its streaming engine collects in batches."""

    def _columns(self):
        return self.table.collect_schema().names()

    def _frames(self, size):
        return self.table.collect_batches(chunk_size=size, maintain_order=True)


class IterableSource(_OnePart):
    """Batches (X, y) or (X, y, sample_weight) from an iterable.

    Parameters
    ----------
    X : iterable
        Each call of ``iter`` starts with the first batch again.
    y, weight : None
    """

    def __init__(self, X, y, weight):
        if y is not None or weight is not None:
            raise TypeError(
                "X is an iterable of batches: its items are (X, y) or (X, y, "
                "sample_weight), so leave y and sample_weight out."
            )
        if iter(X) is X:
            raise TypeError(
                f"X is of type {type(X).__name__}, which can be iterated only once. "
                "Pass an object whose __iter__ starts again with the first batch."
            )
        self._iterable = X

    def batches(self, size):
        """Yield the rows, at most so many at a time."""
        for item in self._iterable:
            if not isinstance(item, tuple) or len(item) not in (2, 3):
                found = type(item).__name__
                found += f" of length {len(item)}" if isinstance(item, tuple) else ""
                raise TypeError(
                    "X is an iterable, so its items must be tuples (X, y) or (X, y, "
                    f"sample_weight); got {found}."
                )
            X = item[0] if hasattr(item[0], "shape") else np.asarray(item[0])
            yield from SlicedSource(X, *item[1:], *[None] * (3 - len(item))).batches(
                size
            )


def require_name(name, columns, X):
    """Raise an error for what is not the name of a column of X."""
    if not isinstance(name, str):
        raise TypeError(
            "y and sample_weight must name columns of X where X is a "
            f"{type(X).__name__}; got {type(name).__name__}."
        )
    if name not in columns:
        raise ValueError(f"X has no column {name!r}; it has {columns!r}.")


def required(y):
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None.")
    return y


def _require_rows(values, n_rows, name):
    """Raise ValueError for targets or weights of another number of rows."""
    n_values = n_rows if values is None else len(values)
    if n_values != n_rows:
        raise ValueError(f"X has {n_rows} rows, {name} has {n_values}.")


def _slice(values, rows):
    """Return some consecutive rows of an array, series or frame; None of None."""
    if values is None:
        return None
    sliced = values[rows] if _is_indexed(values) else safe_indexing(values, rows)
    return np.asarray(sliced) if isinstance(sliced, np.memmap) else unmasked(sliced)


def unmasked(X):
    """Return an array with NaN where it is masked; what has no mask as it is."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    dtype = np.float64 if X.dtype.kind in "biu" else X.dtype
    return np.ma.filled(X.astype(dtype), np.nan)


def _is_indexed(values):
    """Return whether slices of rows are taken by brackets, as arrays have it."""
    return not (hasattr(values, "columns") or hasattr(values, "iloc"))


def _column(frame, name):
    """Return a column of a frame of polars or pyarrow as an array."""
    column = frame[name]
    if is_a(column, "polars", "Series"):
        return column.to_numpy()
    return from_arrow(column)


def from_arrow(column):
    """Return a column of pyarrow as an array: NaN or None where it has nulls."""
    if is_a(column.type, "pyarrow", "DictionaryType"):
        column = column.cast(column.type.value_type)
    return column.to_numpy()


def concatenate(parts):
    """Return the rows of arrays or frames of one kind, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if is_a(first, "pyarrow", "Table"):
        return sys.modules["pyarrow"].concat_tables(parts, promote_options="permissive")
    if is_a(first, "polars", "DataFrame"):
        return sys.modules["polars"].concat(parts, how="vertical_relaxed")
    if is_a(first, "pandas", "DataFrame"):
        return _concatenate_pandas(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def _concatenate_pandas(frames):
    """Return data frames of pandas in one, whose categories are those of all."""
    import pandas as pd

    columns = {}
    for name in frames[0].columns:
        series = [frame[name] for frame in frames]
        if all(isinstance(one.dtype, pd.CategoricalDtype) for one in series):
            columns[name] = pd.Series(pd.api.types.union_categoricals(series))
        else:
            columns[name] = pd.concat(series, ignore_index=True)
    return pd.DataFrame(columns)
