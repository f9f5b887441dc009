"""What the centres of a kernel machine are: random rows, rows of clusters, or given."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._backend import Array, IntArray
from ._prepared import sample_rows

# Rows that are clustered, for each centre and at least, and steps of Lloyd's algorithm.
# Their means as centres, clusters of rows that no metric has mapped, and clusters in
# early rounds predict no better: on a real table of 37 000 rows, 500 centres have R²
# .568 by the rows next to the means, .568 by the means, .566 by clusters without the
# metric, .564 with clusters in all rounds, and .544 by random rows.
_ROWS_OF_CLUSTER, _LEAST_ROWS, _STEPS = 20, 10_000, 10


@dataclass(frozen=True)
class Centers:
    """The centres of a kernel machine.

    Attributes
    ----------
    X : array of shape (p, d)
        Centred as the rows are, not mapped.
    weight : array of shape (p,)
    rows : ndarray of int of shape (p,)
        Which training rows they are, or which of the centres that the user gave.
    given : bool
        Whether the user gave them.
    """

    X: Array
    weight: Array
    rows: IntArray
    given: bool = False


def place_centers(prepared, candidate, metric, backend, *, n_centers, early=False):
    """Return the Centers of a round.

    Parameters
    ----------
    prepared : PreparedData
    candidate : Candidate
    metric : FeatureMetric
        By whose distances rows are clustered.
    backend : Backend
    n_centers : int
        How many there are at most.
    early : bool, default=False
        Whether only the metric of the next round matters, for which random rows serve.
    """
    given = prepared.centers
    if given is not None:
        rows = np.sort(_choose_centers(given.shape[0], n_centers, candidate.seed))
        X = backend.take(given, rows)
        return Centers(X, backend.xp.ones_like(X[:, 0]), rows, given=True)
    if candidate.centers == "kmeans" and not early:
        rows = _rows_of_clusters(prepared, candidate, metric, backend, n_centers)
    else:
        rows = _choose_centers(prepared.X.shape[0], n_centers, candidate.seed)
    X, weight = (backend.take(a, rows) for a in (prepared.X, prepared.weight))
    return Centers(X, weight, rows)


def _choose_centers(n, n_centers, seed):
    """Return random row indices: fewer centres are the first of more."""
    return np.random.default_rng(seed).permutation(n)[:n_centers]


def clustered_rows(n_rows, n_centers):
    """Return of how many rows clusters are made."""
    return min(n_rows, max(_ROWS_OF_CLUSTER * n_centers, _LEAST_ROWS))


def _rows_of_clusters(prepared, candidate, metric, backend, n_centers):
    """Return the indices of the rows next to the means of clusters of mapped rows."""
    size = clustered_rows(prepared.X.shape[0], n_centers)
    rows = sample_rows(prepared.X.shape[0], size, (candidate.seed, 3))
    X, weight = (backend.take(a, rows) for a in (prepared.X, prepared.weight))
    T = backend.to_numpy(metric.transform(X, backend)).astype(np.float64)
    weight = backend.to_numpy(weight).astype(np.float64)
    labels = _cluster(T, weight, n_centers, candidate.seed)
    return rows[_nearest_rows(T, labels, weight)]


def _cluster(T, weight, n_clusters, seed):
    """Return the number of the cluster of each row; every cluster has rows."""
    from sklearn.cluster import KMeans  # takes long to import, and is rarely needed

    kmeans: Any = KMeans  # whose stubs have n_init as a string only
    model = kmeans(
        n_clusters, init="random", n_init=1, max_iter=_STEPS, random_state=seed
    )
    with warnings.catch_warnings():
        # few steps, or fewer different rows than clusters, are no reason to warn
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = np.asarray(model.fit(T, sample_weight=weight).labels_)
    return np.unique(labels, return_inverse=True)[1]


def _nearest_rows(T, labels, weight):
    """Return the index of the row next to the mean of each cluster."""
    sums = np.zeros((labels.max() + 1, T.shape[1]))
    np.add.at(sums, labels, weight[:, None] * T)
    means = sums / np.bincount(labels, weight)[:, None]
    distances = ((T - means[labels]) ** 2).sum(axis=1)
    order = np.lexsort((distances, labels))
    return order[np.searchsorted(labels[order], np.arange(len(means)))]
