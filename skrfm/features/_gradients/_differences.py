"""Jacobians of any function of rows by central differences.

The derivative of a tree is zero almost everywhere. What it has learned shows over steps
that cross several of its thresholds, so that differences over several steps are
averaged: this is the slope of the function after smoothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.svm import SVC, NuSVC
from sklearn.tree import BaseDecisionTree

from ..._backend import FloatArray
from ..._sklearn import KNeighborsMixin, RadiusNeighborsMixin

# Steps in standard deviations of the columns.
# The error of smooth functions is about the square of the step, and that of rounding in
# single precision 1e-7 over the step.
_SMOOTH = (1e-3,)
# On made-up linear targets (1000 rows, 10 columns) 0.3 alone was as good for forests
# and boosting as an average up to a whole deviation, and 0.1 or 1 worse for one of
# them; of neighbours the leading direction was a quarter as far off as with 0.1.
_TREES = (0.2, 0.4)
_NEIGHBOURS = (0.3, 0.6)
# A function of unknown kind is piecewise constant if over this share of the short steps
# that have a difference over long ones it has none. So many rows are tried.
_SHARE_OF_FLAT, _TRIED_ROWS = 0.5, 10
# Rows that are predicted in one call: a bound on what the estimator allocates.
_MOST_ROWS = 2**14

_TREE_TYPES = (
    BaseDecisionTree,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
# their estimator is a tree if it is None
_ENSEMBLES = AdaBoostClassifier, AdaBoostRegressor, BaggingClassifier, BaggingRegressor
_TREE_PACKAGES = ("lightgbm", "xgboost", "catboost")
_NEIGHBOUR_TYPES = (KNeighborsMixin, RadiusNeighborsMixin)
# estimators in attributes of estimators: so deep at most
_DEPTH = 6


@dataclass(frozen=True)
class Differences:
    """Central differences of a function of rows.

    Attributes
    ----------
    function : callable
        From m rows of a table to numbers (m, c).
    steps : ndarray of shape (s, k)
        Steps of each column, over which differences are averaged. Columns of steps 0
        have no derivative.
    """

    function: Callable[[Any], FloatArray]
    steps: FloatArray

    def jacobian(self, table):
        """Return the Jacobian (b, c, k) at the rows of an InspectedTable."""
        b, k = table.numbers.shape
        column = np.flatnonzero(self.steps.any(axis=0))
        # each of the changed rows: its row, its column, and its step
        step, column, row = np.meshgrid(
            np.arange(len(self.steps)), column, np.arange(b), indexing="ij"
        )
        step, column, row = (index.ravel() for index in (step, column, row))
        J: Any = None
        size = _rows_of_a_call(table.X.shape[1])
        for start in range(0, len(row), size):
            part = slice(start, start + size)
            found = self._differences(table, row[part], column[part], step[part])
            if J is None:
                J = np.zeros((b, k, found.shape[1]))
            np.add.at(J, (row[part], column[part]), found / len(self.steps))
        if J is None:  # all columns are constant
            J = np.zeros((b, k, self.function(table.X).shape[1]))
        return J.transpose(0, 2, 1)

    def _differences(self, table, row, column, step):
        """Return the difference quotients (m, c) of some rows, columns and steps."""
        h = self.steps[step, column]
        high = self.function(table.moved(row, column, h))
        low = self.function(table.moved(row, column, -h))
        return (high - low) / (2 * h[:, None])


def _rows_of_a_call(n_columns):
    """Return how many rows are predicted in one call."""
    most = get_config()["working_memory"] * 2**20 / (4 * 8 * n_columns)
    return int(max(1, min(_MOST_ROWS, most)))


def shares_of_steps(step, function, estimator, table, deviations):
    """Return the steps that a parameter `step` stands for, in standard deviations.

    Parameters
    ----------
    step : float, sequence of float or "auto"
    function : callable
    estimator : estimator
        What the function is a method of.
    table : InspectedTable
    deviations : ndarray of shape (k,)
    """
    if not isinstance(step, str):
        return np.atleast_1d(np.asarray(step, dtype=np.float64))
    if has_part(estimator, is_tree) or has_part(estimator, has_votes):
        return np.array(_TREES)
    if has_part(estimator, is_neighbours):
        return np.array(_NEIGHBOURS)
    few = table.take(np.arange(min(len(table.numbers), _TRIED_ROWS)))
    short, long = (
        Differences(function, np.outer(shares, deviations)).jacobian(few) != 0
        for shares in (_SMOOTH, _TREES)
    )
    flat = np.count_nonzero(long & ~short)
    is_flat = flat > _SHARE_OF_FLAT * np.count_nonzero(long) > 0
    return np.array(_TREES if is_flat else _SMOOTH)


def is_tree(estimator):
    """Return whether an estimator is a decision tree, or an ensemble of its own trees.

    Those of forests are found among their parameters.
    """
    if isinstance(estimator, _ENSEMBLES) and estimator.estimator is None:
        return True
    package = type(estimator).__module__.partition(".")[0]
    return isinstance(estimator, _TREE_TYPES) or package in _TREE_PACKAGES


def has_votes(estimator):
    """Return whether scores have votes, constant between the boundaries of classes."""
    kinds = (SVC, NuSVC)
    return isinstance(estimator, kinds) and len(getattr(estimator, "classes_", ())) > 2


def is_neighbours(estimator):
    """Return whether an estimator predicts by nearest neighbours."""
    return isinstance(estimator, _NEIGHBOUR_TYPES)


def has_part(estimator, condition, depth=_DEPTH):
    """Return whether an estimator, or one that it holds, meets a condition."""
    if condition(estimator):
        return True
    if depth == 0:
        return False
    return any(
        has_part(part, condition, depth - 1)
        for value in vars(estimator).values()
        for part in _estimators_in(value)
    )


def _estimators_in(value, depth=2):
    """Yield the estimators in a parameter or an attribute; one of each list."""
    if isinstance(value, BaseEstimator):
        yield value
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel()[:1].tolist()
    if isinstance(value, (list, tuple)) and depth > 0:
        # lists of fitted trees are long, and all alike; lists of steps are short
        for item in value[:_DEPTH]:
            yield from _estimators_in(item, depth - 1)
