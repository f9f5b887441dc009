"""The machines of the leaves of a tree, and of its nodes, which tell directions."""

import numpy as np
from sklearn.base import clone

from ._backend import own_threads
from ._device import place_of
from ._recursion import Data, Prepared, Recipe, Workspace, fit_round
from ._table import Coding
from ._tree import DIRECTIONS, Direction, principal_directions, split_rows
from .agop import FeatureMetric

# sides of fewer rows tell nothing, and of a smaller share make too many leaves
_LEAST_SIDE, _LEAST_SHARE = 10, 0.25


class Constant:
    """The model of a leaf whose targets are all the same."""

    def __init__(self, target, d):
        self.target, self.feature_importances_ = target, np.zeros(d)


def fit_leaf(estimator, X, y, weight, seed, **judges):
    """Return the model of a leaf."""
    if (y == y[0]).all():
        return Constant(y[0], X.shape[1])
    return clone(estimator).set_params(random_state=seed).fit(X, y, weight, **judges)


def find_directions(splitter, X, y, weight, seed):
    """Return Directions for a node, the best first; of most variance for equal targets.

    They are those that the predictor of the splitter varies most along. Of the first of
    them, that comes first whose sides are predicted best by a machine of their own: a
    table that is made of parts varies along what matters in each, not across them.
    """
    model = fit_leaf(splitter, X, y, weight, seed)
    constant = isinstance(model, Constant)
    if constant:
        coding = Coding.of(X, splitter.categorical_features, weight)
        rows = coding.transform(X)
        centred = rows - rows.mean(axis=0)
        vectors = principal_directions(centred.T @ centred)
    else:
        coding = Coding(model._reader, model._encoder)
        vectors = principal_directions(model.metric_)
    if splitter.categorical_features is None:
        coding = None
    directions = [Direction(vector, coding) for vector in vectors]
    return directions if constant else _by_their_sides(model, directions, X, y, weight)


def _by_their_sides(model, directions, X, y, weight):
    """Return the directions, the first of them by what their sides leave open."""
    place = place_of(model.device, X)
    backend, T = place.backend, place.bring(model._mapped_fit)
    coded = (backend.asarray(a, T.dtype) for a in model._encode_more(y, weight))
    data = Data(T, *coded)
    recipe = Recipe(
        model.kernel_,
        model.alpha_,
        model.bandwidth_,
        max_iter=0,
        fit_intercept=model.fit_intercept,
    )
    first = directions[:DIRECTIONS]
    with own_threads(len(X) if backend.threads else 0):
        ranks = [
            _rank(split_rows(X, weight, direction), data, recipe, backend)
            for direction in first
        ]
    order = sorted(range(len(first)), key=ranks.__getitem__)
    return [first[k] for k in order] + directions[len(first) :]


def _rank(split, data, recipe, backend):
    """Return what is small for a good split: squared residuals, then imbalance.

    Residuals are those of both sides, of rows left out; infinite where a side is small.
    """
    if split is None:
        return np.inf, 0.0
    left = split[1]
    smaller = min(left.sum(), (~left).sum())
    if smaller < max(_LEAST_SIDE, _LEAST_SHARE * len(left)):
        return np.inf, -smaller
    sides = (data.subset(np.flatnonzero(side), backend) for side in (left, ~left))
    return sum(_error(side, recipe, backend) for side in sides), -smaller


def _error(data, recipe, backend):
    prepared = Prepared.of(data, recipe.fit_intercept, backend)
    start = FeatureMetric(), 0, backend, Workspace()
    result = fit_round(prepared, recipe, *start, loo=True, agop=False)
    return float(backend.xp.sum(data.weight[:, None] * result.loo_residuals**2))
