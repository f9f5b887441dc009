"""A table that is too large to hold: a sample of its rows, and all of them in batches.

Trees learn what they can from the sample, and read the other rows once for each pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from .._backend import FloatArray
from ._data import validate_weight
from ._device import to_host
from ._limits import SAMPLE_ROWS, rows_in_memory
from ._sources import Source
from ._stream import (
    SampleSize,
    check_targets,
    checker_of,
    find_source,
    first_pass,
    rows_of_block,
)
from ._validation import read_rows

# Fewer rows than these are no sample to split a tree on, whatever the memory.
_LEAST_ROWS = 1000


@dataclass(frozen=True)
class SampledTable:
    """A sample of a table that is read in batches, and how it is read.

    Attributes
    ----------
    source : Source
    X, y, weight : array-like of shape (m, ...)
        The sample, of rows of positive weight, in the order of the table.
    n_rows : int
        The number of rows of positive weight of the whole table.
    labels, label_weights : ndarray of shape (n_labels,) or None
        For a classifier all labels of the table, and the weights of their rows.
    """

    source: Source
    X: Any
    y: Any
    weight: FloatArray
    n_rows: int
    labels: np.ndarray | None = None
    label_weights: FloatArray | None = None

    def read(self, estimator, reader, dtype) -> Iterator[tuple[Any, Any, FloatArray]]:
        """Yield X, y and weights of all rows of positive weight, batch by batch.

        Parameters
        ----------
        estimator : estimator
            It has read the sample, and is what messages name.
        reader : TableReader
        dtype : dtype
            Of X, which has numbers and codes.
        """
        checker = checker_of(estimator)
        for batch in self.source.batches(rows_of_block(self.X.shape[1])):
            y = check_targets(checker, batch.y)
            weight = validate_weight(batch.weight, y, may_be_zero=True)
            X = read_rows(checker, reader, to_host(batch.X)).astype(dtype, copy=False)
            keep = weight > 0
            if keep.all():
                yield X, y, weight
            elif keep.any():
                yield X[keep], y[keep], weight[keep]


def sample_large_table(estimator, X, y, sample_weight, memory_budget):
    """Return the SampledTable of what `fit` was given, or None for memory to hold it.

    Without a budget, or where the table has a small share of it, it is to be held.

    Parameters
    ----------
    estimator : estimator
    X, y, sample_weight : objects
        What the user passed.
    memory_budget : float or None
        Gigabytes.
    """
    if memory_budget is None:
        return None
    source = find_source(X, y, sample_weight, most_rows=SAMPLE_ROWS)
    if source is None:
        return None
    size_of = SampleSize(_LEAST_ROWS, memory_budget, SAMPLE_ROWS)
    sample, totals = first_pass(estimator, source, size_of)
    if totals.n_rows <= sample.size:
        return None
    X, y, weight = sample.rows()
    itemsize = getattr(getattr(X, "dtype", None), "itemsize", 8)
    if totals.n_rows <= rows_in_memory(X.shape[1], itemsize, memory_budget):
        return None
    labels = totals.arrays() if is_classifier(estimator) else (None, None)
    weight = np.asarray(weight)
    return SampledTable(source, X, y, weight, totals.n_rows, *labels)
