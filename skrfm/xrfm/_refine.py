"""Splits that the machines of their two sides refine.

The eigenvectors of a metric are directions along which a function varies, which may be
all at an angle to the boundary between two parts of a table. Machines of both sides
tell more: rows that the machine of the other side predicts better belong there. A
logistic regression of which machine errs less gives the next direction.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression

from .._backend import FloatArray
from .._sklearn import clone
from ..rfm import RFMRegressor
from ._leaves import (
    ConstantModel,
    find_directions,
    first_directions,
    fit_leaf,
    leaf_outputs,
)
from ._tree import DIRECTIONS, Direction, split_rows, weighted_quantiles

#: Rows of a node that its split is refined on, half of them to fit machines to. With
#: the constants below the direction of the table of benchmarks/scale.py at 200 000 rows
#: has a cosine of more than .99 with the true one after two steps.
REFINE_ROWS = 60_000
# Centres and rounds of the machine whose metric gives the first directions.
_FIRST_CENTERS, _FIRST_ROUNDS = 1000, 3
# Centres of the machines of the sides, and rows of a side, where directions are
# compared and where one of them is refined; all learn a metric in one round.
_COMPARED_CENTERS, _COMPARED_ROWS = 700, 10_000
_REFINED_CENTERS, _REFINED_ROWS = 1000, 15_000
# Refined directions at most, each of which takes machines for both sides.
_STEPS = 4
#: The fewest and the most rows of a node that is refined where that clearly helps. On
#: the table of benchmarks/scale.py R² of 30 000 rows rises from .762 to .872, and of
#: 100 000 from .831 to .878; protein has .7578 in place of .7562 and kin40k .9942 with
#: and without, both for 4 CPU seconds.
CORRECTED_ROWS = 8000, 16_000
# Centres of the machines of its sides, and their rows. By how much the first step has
# to lower the error: in a trial with 700 centres it lowered that of 30 000 rows of the
# table above by 18 %, and that of a start at a right angle to the boundary by 2 %.
_CORRECTED_CENTERS, _CORRECTED_ROWS, _LEAST_GAIN = 500, 4000, 0.03
# Differences of errors weigh at most as much as this quantile of them: the largest are
# those of outliers.
_MOST_WEIGHT = 0.95
# The weight of all rows in the logistic regression, against a penalty on its
# coefficients of scaled columns, and the most steps.
_WEIGHT, _MOST_STEPS = 1e5, 500

# Refined directions to expect: several where that helps, and else one.
_EXPECTED_STEPS, _EXPECTED_CORRECTED_STEPS = 3, 2


class Machines(NamedTuple):
    """Machines that are fitted to find a direction: how many, and what each takes."""

    count: int
    n_rows: int
    n_centers: int
    max_iter: int
    n_predicted: int


def machines_of_split(n_rows: int, *, corrected: bool) -> list[Machines]:
    """Return the Machines to expect where a node with so many rows is split.

    Those of `find_corrected_directions`, in which the first directions are found
    without fewer centres than rows, or of `find_refined_directions`.
    """

    def sides(n_directions, n_centers, max_rows):
        rows, unseen = min(n_rows // 4, max_rows), min(n_rows // 2, 2 * max_rows)
        return Machines(2 * n_directions, rows, n_centers, 1, unseen)

    if corrected:
        tried = DIRECTIONS + _EXPECTED_CORRECTED_STEPS
        return [sides(tried, _CORRECTED_CENTERS, _CORRECTED_ROWS)]
    return [
        Machines(1, n_rows, _FIRST_CENTERS, _FIRST_ROUNDS, 0),
        sides(DIRECTIONS, _COMPARED_CENTERS, _COMPARED_ROWS),
        sides(1 + _EXPECTED_STEPS, _REFINED_CENTERS, _REFINED_ROWS),
    ]


@dataclass(frozen=True)
class OutputPair:
    """Outputs of the machines of both sides, and targets, of some rows.

    Attributes
    ----------
    left, right, targets : ndarray of shape (m, c)
    weight : ndarray of shape (m,)
    """

    left: FloatArray
    right: FloatArray
    targets: FloatArray
    weight: FloatArray

    def error(self, share):
        """Return the mean error where the right machine has so large a share."""
        outputs = self.left + share[:, None] * (self.right - self.left)
        return np.average(_errors(outputs, self.targets), weights=self.weight)

    @property
    def gain(self):
        """By how much the error of the left machine is larger, for each row."""
        return _errors(self.left, self.targets) - _errors(self.right, self.targets)

    def is_sharp(self, offset, temperature):
        """Whether one machine for each row is better than shares of both."""
        if temperature == 0:
            return True
        hard, soft = (offset > 0).astype(float), expit(offset / temperature)
        return bool(self.error(hard) <= self.error(soft))

    def subset(self, rows):
        """Return the outputs of some of the rows."""
        arrays = self.left, self.right, self.targets, self.weight
        return OutputPair(*(a[rows] for a in arrays))


def _errors(outputs, targets):
    """Return the squared errors of rows, the mean over the outputs."""
    return ((outputs - targets) ** 2).mean(axis=1)


def as_columns(y, classes):
    """Return targets (n, c) as the outputs of leaves: numbers, or class indicators."""
    if classes is not None:
        return (y[:, None] == classes).astype(np.float64)
    return y.reshape(len(y), -1)


def scale_of(y, weight, classes):
    """Return the scale of each output, in which errors count."""
    if classes is not None:
        return np.ones(len(classes))
    y = y.reshape(len(y), -1)
    mean = np.average(y, axis=0, weights=weight)
    spread = np.average((y - mean) ** 2, axis=0, weights=weight) ** 0.5
    return np.where(spread > 0, spread, 1.0)


def find_refined_directions(splitter, data, *, seed, temperature):
    """Return the Directions of a node, the first one refined.

    Parameters
    ----------
    splitter : RFMRegressor or RFMClassifier
        The unfitted machine that finds directions.
    data : LeafData
        Rows of the node.
    seed : int
    temperature : float
        How far both sides contribute beyond the threshold, where that is better.
    """
    data, machine = _with_columns(splitter, data), _machine(splitter)
    model, directions = first_directions(
        clone(machine).set_params(n_centers=_FIRST_CENTERS, max_iter=_FIRST_ROUNDS),
        data,
        seed=seed,
    )
    if isinstance(model, ConstantModel):
        return directions
    sides = _Sides.of(machine, data, seed)
    best = sides.best_of(directions, _COMPARED_CENTERS, _COMPARED_ROWS)
    if best is None:
        return directions
    tried = sides.try_split(best.direction, _REFINED_CENTERS, _REFINED_ROWS)
    return [sides.refine(tried).rule(temperature), *directions]


def find_corrected_directions(splitter, data, *, seed, temperature, max_split_samples):
    """Return the Directions of a node, the first one refined where that clearly helps.

    Parameters
    ----------
    splitter, data, seed, temperature
        As in `find_refined_directions`.
    max_split_samples : int
        The most rows that directions are found from; all are for their refinement.
    """
    directions, _, refined_split = _corrected(splitter, data, seed, max_split_samples)
    if refined_split is None:
        return directions
    return [refined_split.rule(temperature), *directions]


def find_halving_directions(splitter, data, *, seed, temperature, max_split_samples):
    """Return the Directions of a table that might be one leaf; None if it should be.

    The first one is refined, and machines of its sides err clearly less than one of all
    rows with as many centres as both.

    Parameters
    ----------
    splitter, data, seed, temperature, max_split_samples
        As in `find_corrected_directions`.
    """
    directions, sides, refined_split = _corrected(
        splitter, data, seed, max_split_samples
    )
    if refined_split is None:
        return None
    undivided = sides.error_of_one(2 * _CORRECTED_CENTERS, 2 * _CORRECTED_ROWS)
    if refined_split.error >= (1 - _LEAST_GAIN) * undivided:
        return None
    return [refined_split.rule(temperature), *directions]


def _corrected(splitter, data, seed, max_split_samples):
    """Return directions, the _Sides of rows, and a _Tried if it clearly helps."""
    order = np.random.default_rng(seed).permutation(len(data))
    few = data.subset(np.sort(order[:max_split_samples]))
    directions = find_directions(splitter, few, seed=seed)
    sides = _Sides.of(_machine(splitter), _with_columns(splitter, data), seed)
    best = sides.best_of(directions, _CORRECTED_CENTERS, _CORRECTED_ROWS)
    found = best and sides.refine(best, least_gain=_LEAST_GAIN)
    return directions, sides, None if found is best else found


def _with_columns(splitter, data):
    """Return data whose targets are columns of the scale in which errors count."""
    classes = np.unique(data.y) if is_classifier(splitter) else None
    scale = scale_of(data.y, data.weight, classes)
    return replace(data, y=as_columns(data.y, classes) / scale)


def _machine(splitter):
    """Return the unfitted machine of coded targets with the parameters of a splitter.

    It learns the metric of one round.
    """
    names = RFMRegressor().get_params(deep=False)
    params = splitter.get_params(deep=False)
    return RFMRegressor(**{name: params[name] for name in names}).set_params(max_iter=1)


@dataclass(frozen=True)
class _Tried:
    """A direction whose sides have machines.

    Attributes
    ----------
    direction : Direction
    n_centers, max_rows : int
        The centres of a machine, and its rows at most.
    pair : OutputPair
        Their outputs on rows that they have not seen.
    offset : ndarray of shape (m,)
        The distances of these rows to the right of the threshold, in widths.
    error : float
        The error where one machine predicts each row.
    """

    direction: Direction
    n_centers: int
    max_rows: int
    pair: OutputPair
    offset: FloatArray
    error: float

    def rule(self, temperature):
        """Return the direction, sharp where one machine for each row is better."""
        sharp = self.pair.is_sharp(self.offset, temperature)
        return replace(self.direction, sharp=sharp)


class _Sides:
    """Fits machines to the two sides of a split, and judges it on unseen rows."""

    def __init__(self, machine, fitted, unseen, seed):
        self._machine, self._seed = machine, seed
        self._fitted, self._unseen = fitted, unseen

    @classmethod
    def of(cls, machine, data, seed):
        """Return the sides of data, half of whose rows are fitted, at random."""
        order = np.random.default_rng(seed).permutation(len(data))
        fitted, unseen = np.array_split(order, 2)
        return cls(machine, data.subset(fitted), data.subset(unseen), seed)

    def best_of(self, directions, n_centers, max_rows):
        """Return the _Tried of the first few directions that errs least, or None."""
        tried = (
            self.try_split(each, n_centers, max_rows)
            for each in directions[:DIRECTIONS]
        )
        possible = [each for each in tried if each is not None]
        return min(possible, key=lambda each: each.error, default=None)

    def try_split(self, direction, n_centers, max_rows):
        """Return the _Tried of the median along a direction, or None.

        Machines have so many centres, and are fitted to so many rows at most; as many
        unseen rows are predicted in all.
        """
        fitted, unseen = self._fitted, self._unseen_of(max_rows)
        split = split_rows(fitted.X, fitted.weight, direction)
        if split is None:
            return None
        node, left = split
        machine = clone(self._machine).set_params(n_centers=n_centers)
        outputs = []
        for side in (left, ~left):
            rows = np.flatnonzero(side)[:max_rows]  # their order is random
            model = fit_leaf(machine, fitted.subset(rows), seed=self._seed)
            outputs.append(leaf_outputs(model, unseen.X, None))
        left_outputs, right_outputs = outputs
        pair = OutputPair(left_outputs, right_outputs, unseen.y, unseen.weight)
        offset = node.offset(unseen.X)
        error = pair.error((offset > 0).astype(float))
        return _Tried(direction, n_centers, max_rows, pair, offset, error)

    def _unseen_of(self, max_rows):
        """Return the unseen rows that machines of sides with so many rows predict."""
        return self._unseen.subset(slice(2 * max_rows))

    def error_of_one(self, n_centers, max_rows):
        """Return the error of one machine of rows of both sides, on the unseen rows."""
        machine = clone(self._machine).set_params(n_centers=n_centers)
        rows = self._fitted.subset(slice(max_rows))  # their order is random
        model = fit_leaf(machine, rows, seed=self._seed)
        unseen = self._unseen_of(max_rows // 2)
        errors = _errors(leaf_outputs(model, unseen.X, None), unseen.y)
        return np.average(errors, weights=unseen.weight)

    def refine(self, found, *, least_gain=0.0):
        """Return the best of a _Tried and those that are refined from it.

        The first step has to lower the error by a share of `least_gain`.
        """
        for _ in range(_STEPS):
            X = self._unseen.X[: len(found.offset)]
            direction = refined(found.direction, X, found.pair)
            tried = self.try_split(direction, found.n_centers, found.max_rows)
            if tried is None or tried.error >= (1 - least_gain) * found.error:
                break
            found, least_gain = tried, 0.0
        return found


def refined(direction, X, pair):
    """Return the Direction from the rows of the left machine to those of the right.

    The normal of a logistic regression of which machine errs less, with the
    differences of their errors as weights. Its intercept drifts, and is left out: the
    threshold is a quantile of the rows.
    """
    weight = np.abs(pair.gain)
    (most,) = weighted_quantiles(weight, pair.weight, (_MOST_WEIGHT,))
    weight = np.minimum(weight, most) * pair.weight
    right = pair.gain > 0
    if not (0 < weight[right].sum() < weight.sum()):
        return direction
    rows = direction.encoded(X)
    scale = scale_of(rows, pair.weight, None).astype(rows.dtype)
    model = LogisticRegression(C=_WEIGHT, max_iter=_MOST_STEPS)
    model.fit(rows / scale, right, sample_weight=weight / weight.sum())
    vector = model.coef_[0] / scale
    return Direction(vector / np.linalg.norm(vector), direction.coding)
