"""The machines of the leaves of a tree, and of its nodes, which find directions."""

import numpy as np
from sklearn.base import clone

from .._backend import worker_threads
from .._recursion import Candidate, PreparedData, Workspace, fit_round
from .._tables import Coding, Data, placement_of
from ..agop import FeatureMetric
from ._tree import DIRECTIONS, Direction, principal_directions, split_rows

# Sides of fewer rows have no useful error; sides of a smaller share make many leaves.
_LEAST_SIDE, _LEAST_SHARE = 10, 0.25


class Constant:
    """The model of a leaf whose targets are all the same."""

    def __init__(self, target, d):
        self.target, self.feature_importances_ = target, np.zeros(d)


def fit_leaf(estimator, X, y, weight, *, seed, validation=None):
    """Return the model of a leaf.

    `validation` has validation rows, by the names of the arguments of `fit`.
    """
    if (y == y[0]).all():
        return Constant(y[0], X.shape[1])
    return (
        clone(estimator)
        .set_params(random_state=seed)
        .fit(X, y, weight, **validation or {})
    )


def find_directions(splitter, X, y, weight, *, seed):
    """Return Directions for a node, the best first.

    They are the eigenvectors of the metric of a machine fitted to the rows. Of the
    first few that one comes first whose sides are predicted best, each by a machine of
    its own: a table that is made of parts varies along what matters in each part, not
    across them. Where all targets are equal, they are the directions of most variance.
    """
    model = fit_leaf(splitter, X, y, weight, seed=seed)
    constant = isinstance(model, Constant)
    if constant:
        categories = splitter.categorical_features
        coding = Coding.of_scaled_rows(X, categories, weight)
        rows = coding.transform(X)
        centred = rows - rows.mean(axis=0)
        vectors = principal_directions(centred.T @ centred)
    else:
        coding = model._fitted.coding
        vectors = principal_directions(model.metric_)
    if splitter.categorical_features is None:
        coding = None
    directions = [Direction(vector, coding) for vector in vectors]
    if constant:
        return directions
    return _best_split_first(model, directions, X, y, weight)


def _best_split_first(model, directions, X, y, weight):
    """Return the directions, the first few of them sorted by how well they split."""
    placement, fitted = placement_of(model.device, X), model._fitted
    backend = placement.backend
    T = placement.to_backend(fitted.predictor.first.mapped_fit)
    Y, weight_of_targets = fitted.targets.code(y, weight)
    data = Data(
        T,
        backend.asarray(Y, T.dtype),
        backend.asarray(weight_of_targets, T.dtype),
    )
    candidate = Candidate(
        model.kernel_,
        model.alpha_,
        model.bandwidth_,
        max_iter=0,
        fit_intercept=model.fit_intercept,
    )
    first = directions[:DIRECTIONS]
    with worker_threads(len(X) if backend.threads else 0):
        costs = [
            _split_cost(split_rows(X, weight, direction), data, candidate, backend)
            for direction in first
        ]
    order = sorted(range(len(first)), key=costs.__getitem__)
    return [first[k] for k in order] + directions[len(first) :]


def _split_cost(split, data, candidate, backend):
    """Return what is small for a good split: leave-one-out error, then imbalance.

    The error is the sum of squares over both sides; infinite where a side is small.
    """
    if split is None:
        return np.inf, 0.0
    _, left = split
    smaller = min(left.sum(), (~left).sum())
    if smaller < max(_LEAST_SIDE, _LEAST_SHARE * len(left)):
        return np.inf, -smaller
    sides = (data.subset(np.flatnonzero(side), backend) for side in (left, ~left))
    return sum(_error(side, candidate, backend) for side in sides), -smaller


def _error(data, candidate, backend):
    """Return the weighted sum of squared leave-one-out residuals of a machine."""
    fitted = fit_round(
        PreparedData.from_data(data, candidate.fit_intercept, backend),
        candidate,
        FeatureMetric(),
        number=0,
        backend=backend,
        workspace=Workspace(),
        with_agop=False,
        leave_one_out=True,
    )
    return float(backend.xp.sum(data.weight[:, None] * fitted.loo_residuals**2))
