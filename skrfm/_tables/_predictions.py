"""Predictions for tables that are read in batches, and their scores."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from ._device import to_host
from ._sources import ArrowSource, PolarsSource, is_a, is_iterable_of_batches, slices
from ._stream import find_source, rows_of_block

_Method = TypeVar("_Method", bound=Callable)


def in_batches(method: _Method) -> _Method:
    """Let a method of a fitted estimator take a table that is read in batches.

    What it returns for the batches, one array or a tuple of arrays, is put together in
    the order of the rows.
    """

    @wraps(method)
    def of_batches(self, X, *args, **kwargs):
        check_is_fitted(self)
        batches = _batches_of(self, X)
        if batches is None:
            return method(self, X, *args, **kwargs)
        parts = [method(self, rows, *args, **kwargs) for rows in batches]
        if not parts:
            raise ValueError("X has no rows: there are no batches.")
        if isinstance(parts[0], tuple):
            return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
        return np.concatenate(parts)

    return cast(_Method, of_batches)


def _batches_of(estimator, X) -> Iterable[Any] | None:
    """Return the tables of features that X is read as; None for one in memory."""
    names, size = _features(estimator), rows_of_block(estimator.n_features_in_)
    if is_a(X, "pyarrow.dataset", "Dataset"):
        source = ArrowSource(X, [], None, names)
        return (batch.X for batch in source.batches(size))
    if is_a(X, "polars", "LazyFrame"):
        source = PolarsSource(X, [], None, names)
        return (batch.X for batch in source.batches(size))
    for module, name in (("dask.dataframe", "DataFrame"), ("dask.array", "Array")):
        if is_a(X, module, name):
            from ._dask import batches_of_rows

            return (batch.X for batch in batches_of_rows(X, names, size))
    if hasattr(X, "shape"):
        if len(X.shape) == 2 and X.shape[0] > size and _is_on_disk(X):
            return (batch.X for batch in slices(X, None, None, size))
        return None
    if is_iterable_of_batches(X):
        return _rows_of_items(X, size)
    return None


def _features(estimator):
    """Return the names of the features, or None."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else names.tolist()


def _is_on_disk(X):
    """Return whether X is a memory map, or an array that is read by slices."""
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap)
    others = "columns", "iloc", "device", "__array_namespace__", "tocsr"
    return not any(hasattr(X, name) for name in others)


def _rows_of_items(X, size):
    """Yield the rows of batches, which may have targets and weights beside them."""
    for item in X:
        rows = item[0] if isinstance(item, tuple) else item
        rows = rows if hasattr(rows, "shape") else np.asarray(rows)
        yield from (batch.X for batch in slices(rows, None, None, size))


class HostScoreMixin:
    """Mixin of estimators whose `score` takes predictions on any device."""

    predict: Callable

    def score(self, X, y=None, sample_weight=None):
        """Return the accuracy of a classifier, or R² of a regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or what `fit` reads in batches, with y and the weights as `fit` takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        score = accuracy_score if is_classifier(self) else r2_score
        source = find_source(X, y, sample_weight, features=_features(self))
        if source is None:
            if y is None:
                raise ValueError("score needs y: the targets of the rows of X.")
            found, y, weight = map(to_host, (self.predict(X), y, sample_weight))
            return score(y, found, sample_weight=weight)
        size = rows_of_block(getattr(self, "n_features_in_", 1))
        parts = [
            (self.predict(batch.X), np.asarray(batch.y), batch.weight)
            for batch in source.batches(size)
        ]
        if not parts:
            raise ValueError("X has no rows: there are no batches.")
        found, y, weight = zip(*parts, strict=True)
        weight = None if weight[0] is None else np.concatenate(weight)
        return score(np.concatenate(y), np.concatenate(found), sample_weight=weight)
