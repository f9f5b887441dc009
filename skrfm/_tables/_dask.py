"""Collections of Dask, whose partitions are read, and computed with, where they lie."""

from functools import partial
from typing import Any

import numpy as np
from dask.base import compute, is_dask_collection
from dask.delayed import delayed

from .._backend import own_threads
from ._sources import require_name, slices

# Parts whose tasks are in the graph at the same time: for each of them there is a sum.
_AHEAD = 64


class DaskSource:
    """Partitions of a data frame or an array of Dask.

    With a client of a cluster, functions of partitions run on its workers, and their
    results come back. What a worker that is lost has held is computed anew by others:
    the tasks of each pass, with all that they need, are in its graph.

    Parameters
    ----------
    X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)
    y : dask Series or Array, str or list of str
        Targets in the same partitions, or the names of their columns.
    weight : dask Series or Array, str or None
    features : list of str, default=None
        The names of the features of a data frame; None are all other columns.
    """

    def __init__(self, X, y, weight, features=None):
        if hasattr(X, "columns"):
            self._parts, self._split = _parts_of_frame(X, y, weight, features)
        else:
            self._parts, self._split = _parts_of_array(X, y, weight), _same
        self.n_parts = len(self._parts)

    def map(self, function, size):
        """Yield function(batches, number) of each partition, in their order."""
        client = _client()
        task = delayed(partial(_apply, split=self._split, size=size), pure=False)
        shared = delayed(function, pure=False, traverse=False)
        for start in range(0, len(self._parts), _AHEAD):
            parts = enumerate(self._parts[start : start + _AHEAD], start)
            tasks = [task(shared, number, *part) for number, part in parts]
            if client is None:
                for one in tasks:
                    yield compute(one, scheduler="synchronous")[0]
            else:
                yield from client.gather(client.compute(tasks))

    def batches(self, size):
        """Yield the rows, at most so many at a time; they come to this process."""
        for part in self._parts:
            values = compute(*part, scheduler=_client() or "synchronous")
            yield from slices(*self._split(*values), size)


def batches_of_rows(X, features, size):
    """Yield the rows of a data frame or an array, without targets, in Batches.

    They come to this process, one partition after the other.
    """
    if hasattr(X, "columns"):
        for name in features or ():
            require_name(name, X.columns.tolist(), X)
        parts = (X if features is None else X[features]).to_delayed()
    else:
        parts = _partitions(X, X, "X")
    for part in parts:
        (rows,) = compute(part, scheduler=_client() or "synchronous")
        yield from slices(rows, None, None, size)


def _client() -> Any:
    """Return the client of a cluster, or None."""
    try:
        from distributed import get_client

        return get_client()
    except (ImportError, ValueError):
        return None


def _apply(function, number, *values, split, size):
    """Return what a function makes of a partition; runs on a worker."""
    X, y, weight = split(*values)
    with own_threads(len(y)):
        return function(slices(X, y, weight, size), number)


def _same(X, y, weight):
    """Return what there is in a partition of arrays."""
    return X, y, weight


def _columns(frame, *, features, targets, weight):
    """Return the features, targets and weights of a partition of a frame."""
    y = frame[targets] if isinstance(targets, str) else frame[targets].to_numpy()
    return frame[features], y, None if weight is None else frame[weight]


def _parts_of_frame(X, y, weight, features):
    """Return the partitions of a frame, and what divides their columns.

    All columns are in one frame: which files are read together depends on the columns
    that are read, so those of two frames need not be partitions of the same rows.
    """
    columns = X.columns.tolist()
    names = {}
    for argument, values in (("y", y), ("sample_weight", weight)):
        if is_dask_collection(values):
            if getattr(values, "ndim", 1) != 1 or not hasattr(values, "divisions"):
                raise TypeError(
                    f"X is a data frame of Dask, so {argument} must be a series of "
                    f"Dask, or name columns of X; got {type(values).__name__}."
                )
            names[argument] = f"{argument} of skrfm"
            X = X.assign(**{names[argument]: values})
        elif values is not None:
            for name in values if isinstance(values, list) else [values]:
                require_name(name, columns, X)
            names[argument] = values
    targets = names["y"]
    used = [*(targets if isinstance(targets, list) else [targets])]
    used.append(names.get("sample_weight"))
    if features is None:
        features = [name for name in columns if name not in used]
    split = partial(
        _columns,
        features=features,
        targets=targets,
        weight=names.get("sample_weight"),
    )
    return [(part,) for part in X.to_delayed()], split


def _parts_of_array(X, y, weight):
    """Return tuples of the same rows of X, y and the weights."""
    rows, targets = _partitions(X, X, "X"), _partitions(y, X, "y")
    weights: list[Any] = [None] * len(rows)
    if weight is not None:
        weights = _partitions(weight, X, "sample_weight")
    return list(zip(rows, targets, weights, strict=True))


def _partitions(values, X, name):
    """Return blocks of rows of an array as delayed objects, one for each of X."""
    if not hasattr(values, "chunks"):
        raise TypeError(
            f"X is an array of Dask, so {name} must be one as well; got "
            f"{type(values).__name__}."
        )
    if values.ndim == 2 and len(values.chunks[1]) > 1:
        values = values.rechunk({1: -1})
    if values.shape[0] == X.shape[0] and values.chunks[0] != X.chunks[0]:
        values = values.rechunk({0: X.chunks[0]})
    parts = np.ravel(values.to_delayed()).tolist()
    if len(parts) != len(X.chunks[0]):
        raise ValueError(
            f"X has {len(X.chunks[0])} blocks of rows, {name} has {len(parts)}."
        )
    return parts
