"""A kernel machine of fewer centres than rows, fitted to all rows.

Its coefficients a minimise Σ w_i ‖f(x_i) − y_i‖² + ridge aᵀK_zz a over the centres z,
which is kernel ridge regression where all rows are centres.
"""

from dataclasses import dataclass

import numpy as np

from .._backend import Array
from ..agop import FeatureMetric
from ..solvers import (
    CenterPreconditioner,
    SamplePreconditioner,
    Solution,
    sample_size,
    solve_centers,
)
from ._equations import CenterFunctions, EquationsInMemory, StreamedEquations
from ._placement import Centers, place_centers
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
    centers : Centers
    Z : array of shape (p, k)
        The mapped centres.
    metric : FeatureMetric
        What they are mapped by.
    bandwidth : float
    solution : Solution
    intercept : array of shape (c,)
    """

    centers: Centers
    Z: Array
    metric: FeatureMetric
    bandwidth: float
    solution: Solution
    intercept: Array

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
        n, p = prepared.X.shape[0], self.Z.shape[0]
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
        weight = backend.take(prepared.weight, chosen)
        weight = backend.xp.concat([self.centers.weight, weight])
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
    n_rows, n_centers, tolerance = size_of_round(
        prepared.n_rows, candidate.n_centers, early=early
    )
    centers = place_centers(
        prepared, candidate, metric, backend, n_centers=n_centers, early=early
    )
    Z = backend.rows(metric.transform(centers.X, backend))
    bandwidth = prepared.distances.bandwidth(
        candidate,
        Z,
        centers.weight,
        backend,
        mapped=metric.components is not None,
    )
    functions = CenterFunctions(candidate, metric, Z, bandwidth, backend)
    if prepared.blocks is None or early:
        equations = _equations_in_memory(prepared, functions, n_rows)
    else:
        equations = StreamedEquations(prepared.blocks, functions)
    right = equations.right()
    solution = solve_centers(
        equations.product,
        right,
        _precondition(prepared, functions, centers, equations, tolerance),
        backend,
        dtype=Z.dtype,
        tolerance=tolerance,
    )
    return FittedCenters(
        centers=centers,
        Z=Z,
        metric=metric,
        bandwidth=bandwidth,
        solution=solution,
        intercept=equations.mean,
    )


def size_of_round(n_rows, n_centers, *, early):
    """Return the rows and centres of a round at most, and the residual it stops at."""
    if not early:
        return n_rows, n_centers, _TOLERANCE
    few = min(n_rows, _EARLY_ROWS), min(n_centers, _EARLY_CENTERS)
    return *few, _EARLY_TOLERANCE


def _equations_in_memory(prepared, functions, n_rows):
    """Return the normal equations of the rows at hand, or of a sample of so many."""
    backend, candidate = functions.backend, functions.candidate
    X, Y, weight = prepared.X, prepared.Y, prepared.weight
    n = X.shape[0]
    if n > n_rows:
        rows = sample_rows(n, n_rows, (candidate.seed, 1))
        X, Y, weight = (backend.take(a, rows) for a in (X, Y, weight))
    return EquationsInMemory(functions.gram(X), Y, weight, prepared.intercept, backend)


def _precondition(prepared, functions, centers, equations, tolerance):
    """Return the preconditioner of equations, from a sample of the rows at hand."""
    candidate, backend = functions.candidate, functions.backend
    xp, p, total = backend.xp, centers.X.shape[0], equations.total_weight
    K = functions.kernel_values(functions.Z)
    size = sample_size(equations.n_rows, p, tolerance)
    order = np.random.default_rng(candidate.seed).permutation(prepared.X.shape[0])
    if centers.given:
        sample = order[:size]
    else:
        sample = np.setdiff1d(order[: size + p], centers.rows)[:size]
    others = backend.take(prepared.weight, sample)
    of_others = float(xp.sum(others)) if size else 0.0
    if of_others == 0:
        return CenterPreconditioner(K, candidate.ridge, total / p, backend)
    X, own = backend.take(prepared.X, sample), 0.0
    if not centers.given:
        # the centres stand for themselves, and the sample for all other rows
        X, own = xp.concat([centers.X, X]), float(xp.sum(centers.weight))
    weight = max(total - own, of_others) / of_others * others
    if not centers.given:
        weight = xp.concat([centers.weight, weight])
    H = functions.gram(X).normal_matrix(weight)
    return SamplePreconditioner(K, H, candidate.ridge, backend)
