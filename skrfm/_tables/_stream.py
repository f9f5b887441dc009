"""A training table that is read in batches: one pass for a sample, then blocks."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._sklearn import check_array, clone, safe_indexing
from ._blocks import RowBlocks
from ._data import ClassTargets, NumericTargets, validate_weight, weight_unit_of_totals
from ._device import Placement, to_host
from ._limits import SAMPLE_ROWS, centers_at_most, resolve_centers, rows_of_sample
from ._reader import TableReader, refuse_dates
from ._sources import (
    ArrowSource,
    IterableSource,
    PolarsSource,
    SlicedSource,
    concatenate,
    is_a,
    is_iterable_of_batches,
    refuse_names,
    required,
)
from ._table import TableEncoder
from ._validation import (
    count_centers,
    encoded,
    make_data,
    make_training_set,
    place_and_read,
    read_rows,
    validate_training,
    with_given_centers,
)

# Rows that are read at a time, at most, and numbers: their copies in float64, of which
# the encoding makes a few, take 32 megabytes each.
_BLOCK_ROWS, _BLOCK_NUMBERS = 1 << 16, 1 << 22
# rows of a batch of the first pass, when the number of columns is not known
_FIRST_ROWS = 1 << 14


@dataclass(frozen=True)
class _ToData:
    """From a Batch to encoded Data: what every pass begins with.

    `estimator` is a clone, for messages and the number and names of the features.
    """

    estimator: object
    reader: TableReader
    encoder: TableEncoder
    targets: NumericTargets | ClassTargets
    placement: Placement
    weight_unit: float
    dtype: object

    def __call__(self, batch):
        y = np.asarray(batch.y)
        weight = validate_weight(batch.weight, y, may_be_zero=True)
        Y, weight = self.targets.code(y, weight)
        weight = weight / self.weight_unit
        backend = self.placement.input_backend
        X = read_rows(self.estimator, self.reader, to_host(batch.X))
        data = make_data(backend.asarray(X, self.dtype), Y, weight, backend)
        keep = weight > 0
        if not keep.all():
            data = data.subset(np.flatnonzero(keep), backend)
        return encoded(data, self.encoder, self.placement)


@dataclass(frozen=True)
class SampleSize:
    """How many rows a sample of a table has."""

    n_centers: int
    memory_budget: float | None
    most: int

    def __call__(self, X):
        itemsize = getattr(getattr(X, "dtype", None), "itemsize", 8)
        return rows_of_sample(
            self.n_centers, X.shape[1], itemsize, self.memory_budget, self.most
        )


class _Sample:
    """A sample of rows of positive weight, all with the same chance.

    Each row has a random key, and those of the smallest keys stay: however the rows
    are divided into batches, the sample is the same.

    Parameters
    ----------
    size_of : callable
        Maps the first X to the number of rows.
    seed : int or tuple of int
    share : float, default=1.0
        The share of the rows that is enough, almost surely.
    """

    def __init__(self, size_of, seed, share=1.0):
        self.size, self._size_of = 0, size_of
        self._rng = np.random.default_rng(seed)
        self._most = share
        self._parts = []

    def add(self, X, y, weight):
        """Take a batch of rows into account."""
        self.size = self.size or self._size_of(X)
        keys = self._rng.random(len(y))
        rows = np.flatnonzero((weight > 0) & (keys < self._most))
        if not rows.size:
            return
        self._parts.append((_take(X, rows), y[rows], weight[rows], keys[rows]))
        if sum(len(keys) for *_, keys in self._parts) > 2 * self.size:
            self._parts = [self._smallest()]
            self._most = self._parts[0][-1].max()

    def _smallest(self):
        """Return the rows of the smallest keys, in the order of the table."""
        *arrays, keys = (concatenate(part) for part in zip(*self._parts, strict=True))
        if len(keys) <= self.size:
            return *arrays, keys
        rows = np.sort(np.argpartition(keys, self.size)[: self.size])
        return *(_take(a, rows) for a in arrays), keys[rows]

    @classmethod
    def of(cls, samples):
        """Return the sample of the rows of several parts, one after the other."""
        sizes = [sample.size for sample in samples]
        found = cls(lambda X: max(sizes), 0)
        found.size = max(sizes)
        for sample in samples:
            found._parts += sample._parts
        return found

    def rows(self):
        """Return X, y and the weights of the sample."""
        return self._smallest()[:3]


def _take(values, rows):
    return safe_indexing(values, rows)


class _Totals:
    """The weights of all rows: by label for a classifier, else in one sum."""

    def __init__(self):
        self.weights, self.n_rows, self.whole = {}, 0, True

    def add(self, y, weight, *, by_label):
        """Take a batch of rows into account."""
        self.n_rows += int(np.count_nonzero(weight > 0))
        self.whole = self.whole and np.array_equal(weight, np.round(weight))
        labels, numbers = np.zeros(1), np.zeros(len(y), dtype=int)
        if by_label:
            labels, numbers = np.unique(y, return_inverse=True)
        totals = np.bincount(numbers, weight, len(labels))
        for label, total in zip(labels.tolist(), totals, strict=True):
            self.weights[label] = self.weights.get(label, 0.0) + total

    @classmethod
    def of(cls, parts):
        """Return the totals of several parts of the rows."""
        found = cls()
        for part in parts:
            found.n_rows += part.n_rows
            found.whole = found.whole and part.whole
            for label, weight in part.weights.items():
                found.weights[label] = found.weights.get(label, 0.0) + weight
        return found

    def arrays(self):
        """Return the labels and the weights of their rows."""
        return np.array(list(self.weights)), np.array(list(self.weights.values()))


def find_source(X, y, sample_weight, most_rows=None, features=None):
    """Return the Source of what was passed to `fit`, or None for a table in memory.

    Parameters
    ----------
    X, y, sample_weight : objects
    most_rows : int, default=None
        Arrays and frames of more rows are read in batches as well.
    features : list of str, default=None
        The names of the features in a table of named columns; None are all that are
        neither targets nor weights.

    Raises
    ------
    TypeError
        For what can be read only once.
    """
    if is_a(X, "pyarrow.dataset", "Dataset"):
        return ArrowSource(X, y, sample_weight, features)
    if is_a(X, "polars", "LazyFrame"):
        return PolarsSource(X, y, sample_weight, features)
    for module, name in (("dask.dataframe", "DataFrame"), ("dask.array", "Array")):
        if is_a(X, module, name):
            from ._dask import DaskSource

            return DaskSource(X, required(y), sample_weight, features)
    refuse_names(X, y, sample_weight)
    if hasattr(X, "shape"):
        large = most_rows is not None and len(X.shape) == 2 and X.shape[0] > most_rows
        # arrays of a GPU, and of other libraries, stay where they are; sparse ones are
        # refused as ever
        large = large and (isinstance(X, np.ndarray) or not hasattr(X, "device"))
        large = large and not issparse(X)
        return SlicedSource(X, required(y), sample_weight) if large else None
    if not is_iterable_of_batches(X):
        return None
    return IterableSource(X, y, sample_weight)


def in_memory(X, y, sample_weight):
    """Return X, y and the weights; what is read in batches is read whole.

    Arrays of Dask and other collections come to this process.
    """
    source = find_source(X, y, sample_weight)
    if source is None:
        return X, y, sample_weight
    batches = list(source.batches(_BLOCK_ROWS))
    if not batches:
        raise ValueError("X has no rows: there are no batches.")
    rows = concatenate([batch.X for batch in batches])
    targets = concatenate([np.asarray(batch.y) for batch in batches])
    if batches[0].weight is None:
        return rows, targets, None
    return rows, targets, concatenate([np.asarray(one.weight) for one in batches])


def validate_or_stream(estimator, X, y, sample_weight, *, fit_targets):
    """Return the TrainingSet of what `fit` was given.

    A table that is read in batches, as files and large arrays are where there are fewer
    centres than rows, has a sample as its data, and all rows as blocks of the data. One
    that is no larger than the sample is in memory, as any other.

    Parameters
    ----------
    estimator : BaseRFM
        The estimator, for its parameters.
    X, y, sample_weight : objects
        What the user passed.
    fit_targets : callable
        Maps (y, weight) to the coding of the targets.
    """
    given, budget = count_centers(estimator), getattr(estimator, "memory_budget", None)
    n_centers = centers_at_most(given)
    most = None if n_centers is None else max(SAMPLE_ROWS, n_centers)
    if n_centers is None:
        X, y, sample_weight = in_memory(X, y, sample_weight)
    source = find_source(X, y, sample_weight, most_rows=most)
    if source is None:
        training = validate_training(
            estimator, X, y, sample_weight, fit_targets=fit_targets
        )
    else:
        training = _stream(estimator, source, n_centers, budget, fit_targets)
    centers = getattr(estimator, "centers", "random")
    if isinstance(centers, str):
        n_centers = resolve_centers(given, training.data.n_rows, budget)
        return replace(training, n_centers=n_centers, centers=centers)
    training = with_given_centers(estimator, training)
    n_centers = resolve_centers(given, np.inf, budget)
    return replace(training, n_centers=n_centers, centers="given")


def _stream(estimator, source, n_centers, memory_budget, fit_targets):
    """Return the TrainingSet of a Source."""
    size_of = SampleSize(n_centers, memory_budget, SAMPLE_ROWS)
    sample, totals = first_pass(estimator, source, size_of)
    if totals.n_rows <= sample.size:
        X, y, weight = sample.rows()
        return validate_training(estimator, X, y, weight, fit_targets=fit_targets)
    training, to_data = _training_of_sample(
        estimator, sample, totals, fit_targets=fit_targets
    )
    rows = rows_of_block(training.data.X.shape[1])
    blocks = RowBlocks(source, totals.n_rows, rows, (to_data,))
    return replace(training, data=replace(training.data, blocks=blocks))


def _training_of_sample(estimator, sample, totals, *, fit_targets):
    """Return the TrainingSet of a sample, and what makes Data of batches."""
    X, y, weight = sample.rows()
    placement, table = place_and_read(estimator, X, y, weight)
    labels, label_weights = totals.arrays()
    if is_classifier(estimator):
        targets = fit_targets(labels, label_weights)
        _, factored = targets.code(labels, label_weights)
    else:
        targets, factored = fit_targets(table.y, table.weight), label_weights
    unit = weight_unit_of_totals(factored, label_weights, totals.n_rows, totals.whole)
    training = make_training_set(estimator, table, targets, placement, unit)
    to_data = _ToData(
        checker_of(estimator),
        table.reader,
        training.coding.encoder,
        targets,
        placement,
        unit,
        table.X.dtype,
    )
    return training, to_data


def rows_of_block(n_columns):
    """Return how many rows of so many columns are read at a time."""
    return int(np.clip(_BLOCK_NUMBERS // n_columns, 1, _BLOCK_ROWS))


def checker_of(estimator):
    """Return a clone that checks further rows as an estimator would that was fitted."""
    checker = clone(estimator)
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            setattr(checker, name, getattr(estimator, name))
    return checker


def first_pass(estimator, source, size_of):
    """Return a _Sample of a source, and the _Totals of its weights.

    `size_of` maps the first X to the size of the sample. A source of several parts is
    read twice: how many rows a part gives depends on the number of all.
    """
    checker = clone(estimator)
    # a copy, so that a generator of the user is not changed by the sample
    state = check_random_state(copy(estimator.random_state))
    seed = state.randint(np.iinfo(np.int32).max)
    first = _FirstPass(checker, seed, size_of, share=float(source.n_parts == 1))
    found = list(source.map(first, _FIRST_ROWS))
    totals = _Totals.of([totals for totals, _ in found])
    if totals.n_rows < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least 2 rows of positive "
            f"sample_weight, got {totals.n_rows}."
        )
    if source.n_parts == 1:
        return found[0][1], totals
    size = max(sample.size for _, sample in found)
    second = _FirstPass(checker, seed, lambda X: size, _share_of(size, totals.n_rows))
    return _Sample.of([part for _, part in source.map(second, _FIRST_ROWS)]), totals


def _share_of(size, n_rows):
    """Return a share of the rows that has `size` of them almost surely."""
    return min(1.0, (size + 6 * size**0.5) / n_rows) if size < n_rows else 1.0


@dataclass(frozen=True)
class _FirstPass:
    """The _Totals of one part of the rows, and its _Sample of a share of them."""

    estimator: Any
    seed: int
    size_of: Callable
    share: float

    def __call__(self, batches, number):
        totals = _Totals()
        sample = _Sample(self.size_of, (self.seed, number), self.share)
        for batch in batches:
            y = check_targets(self.estimator, batch.y)
            weight = validate_weight(batch.weight, y, may_be_zero=True)
            if batch.X.shape[0] != len(y):
                raise ValueError(f"X has {batch.X.shape[0]} rows, y has {len(y)}.")
            sample.add(batch.X, y, weight)
            totals.add(y, weight, by_label=is_classifier(self.estimator))
        return totals, sample


def check_targets(estimator, y):
    """Return the targets of a batch as an array, after the usual checks."""
    y = to_host(y)
    if is_classifier(estimator):
        y = column_or_1d(y, input_name="y")
        check_classification_targets(y)
        return y
    refuse_dates(y, "y")
    return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
