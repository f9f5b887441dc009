"""A kernel machine of fewer centres than rows, fitted to all rows.

Its coefficients a minimise Σ w_i ‖f(x_i) − y_i‖² + ridge aᵀK_zz a over the centres z,
which is kernel ridge regression where all rows are centres.
"""

from dataclasses import dataclass

import numpy as np

from .._backend import Array
from ..agop import FeatureMetric
from ..solvers import CenterWhitening, Solution, solve_centers
from ._prepared import sample_rows

# Rounds before the last one of a recursion learn a metric from so many centres and
# rows at most, and to this residual; the last one to the other.
_EARLY_CENTERS, _EARLY_ROWS, _EARLY_TOLERANCE = 2000, 60_000, 1e-2
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class FittedCenters:
    """The kernel machine of one round.

    Attributes
    ----------
    centers : ndarray of int of shape (p,)
        Which rows the centres are.
    Z : array of shape (p, k)
        The mapped centres.
    metric : FeatureMetric
        What they are mapped by.
    bandwidth : float
    solution : Solution
    """

    centers: np.ndarray
    Z: Array
    metric: FeatureMetric
    bandwidth: float
    solution: Solution

    def gradients(self, prepared, candidate, most, backend):
        """Return what the AGOP over at most so many random rows is computed from.

        Returns
        -------
        gram : Gram
            Of the centres, then of the rows of the average.
        coef : array of shape (p + m, c)
            Zeros for the rows of the average.
        rows : ndarray of int of shape (m,)
            Where these are.
        weight : array of shape (p + m,)
        """
        n, p = prepared.X.shape[0], len(self.centers)
        chosen = sample_rows(n, most, candidate.seed)
        T = self.metric.transform(backend.take(prepared.X, chosen), backend)
        both = backend.rows(backend.xp.concat([self.Z, T]))
        make = backend.streamed_gram
        if candidate.kernel.of_inner_products:
            make = backend.gram
        gram = make(
            candidate.kernel,
            both,
            self.bandwidth,
            category_sizes=candidate.lookup_sizes,
        )
        zeros = backend.xp.zeros_like(prepared.Y[: len(chosen), :])
        coef = backend.xp.concat([self.solution.coef, zeros])
        of_both = np.concatenate([self.centers, chosen])
        weight = backend.take(prepared.weight, of_both)
        return gram, coef, np.arange(p, p + len(chosen)), weight


def fit_centers(prepared, candidate, metric, backend, *, early=False):
    """Return the FittedCenters of one round.

    Parameters
    ----------
    prepared : PreparedData
    candidate : Candidate
    metric : FeatureMetric
    backend : Backend
    early : bool, default=False
        Whether it only has to tell the metric of the next round, for which fewer rows
        and centres serve.
    """
    n, kernel, sizes = prepared.X.shape[0], candidate.kernel, candidate.lookup_sizes
    rows, n_centers = np.arange(n), candidate.n_centers
    if early:
        rows, n_centers = (
            sample_rows(n, _EARLY_ROWS, (candidate.seed, 1)),
            min(n_centers, _EARLY_CENTERS),
        )
    centers = _choose_centers(n, n_centers, candidate.seed)
    T = metric.transform(backend.take(prepared.X, rows), backend)
    Z = backend.rows(metric.transform(backend.take(prepared.X, centers), backend))
    bandwidth = prepared.distances.bandwidth(
        candidate,
        Z,
        backend.take(prepared.weight, centers),
        backend,
        mapped=metric.components is not None,
    )
    xp, dtype = backend.xp, T.dtype
    K = backend.cross(kernel, Z, Z, bandwidth, category_sizes=sizes)
    K = xp.astype(K, xp.float64)
    weight, Y = (backend.take(a, rows) for a in (prepared.weight, prepared.Y))
    gram = backend.cross_gram(kernel, T, Z, bandwidth, category_sizes=sizes)
    share = float(xp.sum(weight)) / n_centers
    solution = solve_centers(
        lambda V: gram.normal_product(weight, V),
        gram.adjoint_product(weight, Y),
        CenterWhitening((K + K.T) / 2, candidate.ridge, share, backend),
        backend,
        dtype=dtype,
        tolerance=_EARLY_TOLERANCE if early else _TOLERANCE,
    )
    return FittedCenters(
        centers=centers, Z=Z, metric=metric, bandwidth=bandwidth, solution=solution
    )


def _choose_centers(n, n_centers, seed):
    """Return random row indices: fewer centres are the first of more."""
    return np.random.default_rng(seed).permutation(n)[:n_centers]
