"""The models of leaves, and the directions that nodes are split along."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from .._backend import Array, FloatArray, IntArray, own_threads
from .._recursion import Candidate, PreparedData, Workspace, fit_round
from .._search import split_sample
from .._sklearn import clone
from .._tables import Coding, Data, TableEncoder, TableReader, placement_of, to_host
from ..agop import FeatureMetric
from ._tree import DIRECTIONS, Direction, principal_directions, split_rows

# The rounds of a leaf that learn its metric are fitted to so many of its rows at most,
# the last round to all of them. On protein, two leaves of 18 300 rows and two rounds,
# R² is .754, .761 and .763 with 5000, 10 000 and 15 000 of them, for 28, 31 and 38 CPU
# seconds; half of them in the first round take it from .761 to .758.
EARLY_ROWS = 10_000
# Sides of fewer rows than this have no useful leave-one-out error.
_MIN_SIDE_ROWS = 10
# The share of the rows of a leaf that estimators are fitted to where they are compared.
_FITTED_SHARE = 0.75
# of a class that the fitted rows do not have
_LEAST_PROBABILITY = 1e-6
# Splits that send a smaller share of the rows to one side come last: they make too many
# leaves.
_MIN_SIDE_SHARE = 0.25


@dataclass(frozen=True)
class LeafCoding:
    """From a table to the rows that leaves are fitted to.

    The numbers of the whole table are scaled together; categories stay codes, because
    each leaf encodes the levels that occur in it.

    Attributes
    ----------
    reader : TableReader
    encoder : TableEncoder
    """

    reader: TableReader
    encoder: TableEncoder

    @classmethod
    def fit(cls, table, *, scaling):
        """Learn from a TrainingTable of rows of positive weight."""
        encoder = TableEncoder.fit(
            table.X,
            table.reader.is_categorical,
            table.weight.astype(table.X.dtype),
            scaling=scaling,
            xp=np,
        )
        return cls(table.reader, encoder)

    def encode(self, X: Array) -> FloatArray:
        """Return rows of leaves from a matrix of numbers and codes that was read."""
        numbers = self.encoder.encode_numbers(X, np)
        if self.encoder.categories.size == 0:
            return numbers
        return np.concatenate([numbers, X[:, self.encoder.categories]], axis=1)

    @property
    def categorical_columns(self) -> IntArray | None:
        """The columns of the rows that hold codes; None if there are none."""
        if self.encoder.categories.size == 0:
            return None
        start = len(self.encoder.number_origins)
        return np.arange(start, start + self.encoder.categories.size)

    @property
    def origins(self) -> IntArray:
        """The column of the table that each column of the rows comes from."""
        encoder = self.encoder
        return np.concatenate([encoder.number_origins, encoder.categories])


class ConstantModel:
    """The model of a leaf whose targets are all the same."""

    def __init__(self, target, n_columns):
        self.target = target
        self.feature_importances_ = np.zeros(n_columns)


def fit_leaf(estimator, data, *, seed, deadline=None, share=1.0, tasks=None):
    """Return the model of a leaf.

    Parameters
    ----------
    estimator : RFMRegressor or RFMClassifier
    data : LeafData
    seed : int
        The random state of the model.
    deadline : Deadline or None
    share : float, default=1.0
        The share of the seconds until the deadline that the model may take.
    tasks : FitTasks or None
        The fit that this fit is a task of.
    """
    if (data.y == data.y[0]).all():
        return ConstantModel(data.y[0], data.X.shape[1])
    model = clone(estimator).set_params(random_state=seed)
    model._early_rows = EARLY_ROWS
    if deadline is not None:
        deadline.limit(model, share)
    fit = model.fit if tasks is None else tasks.fit_of(model, "search")
    return fit(data.X, data.y, data.weight)


def leaf_outputs(model, X, classes, n_rows=None):
    """Return the outputs (m, c) of the model of a leaf: numbers, or probabilities.

    Parameters
    ----------
    model : RFMRegressor, RFMClassifier or ConstantModel
    X : ndarray of shape (m, n_columns)
    classes : ndarray or None
        The numbers of all classes.
    n_rows : int, default=None
        The training rows of the leaf, by which classes without a row there have a
        probability; None leaves it at 0.
    """
    if classes is None:
        if isinstance(model, ConstantModel):
            target = np.atleast_1d(model.target)
            return np.broadcast_to(target, (len(X), len(target)))
        return np.asarray(to_host(model.predict(X))).reshape(len(X), -1)
    unseen, factor = share_of_unseen(model, classes, n_rows)
    outputs = np.full((len(X), len(classes)), unseen)
    if isinstance(model, ConstantModel):
        outputs[:, model.target] = factor
    else:
        proba: Any = to_host(model.predict_proba(X))
        outputs[:, model.classes_] = factor * proba
    return outputs


def share_of_unseen(model, classes, n_rows):
    """Return the probability of each class without a row in a leaf.

    With it comes the factor on the probabilities of the others. It is as if the leaf
    had one more row, which belongs to each class in equal parts, as in `Calibration`:
    a probability of 0 would have an infinite log-loss.

    Parameters
    ----------
    model : RFMClassifier or ConstantModel
    classes : ndarray
        The numbers of all classes.
    n_rows : int or None
        The rows of the leaf.
    """
    known = 1 if isinstance(model, ConstantModel) else len(model.classes_)
    unseen = 0.0 if n_rows is None else 1 / (len(classes) * (n_rows + 1))
    return unseen, 1 - unseen * (len(classes) - known)


def held_out_losses(estimator, data, *, seed, deadline, share):
    """Return the losses of held-out rows of a leaf, and their weights: (2, m).

    Squared errors, or log-losses of the probabilities.
    """
    strata = data.y if is_classifier(estimator) else np.zeros(len(data))
    size = int(_FITTED_SHARE * len(data))
    fitted, others = split_sample(np.arange(len(data)), size, strata, seed)
    model = fit_leaf(
        estimator, data.subset(fitted), seed=seed, deadline=deadline, share=share
    )
    unseen = data.subset(others)
    return np.stack([losses_of_rows(model, unseen), unseen.weight])


def losses_of_rows(model, data):
    """Return the losses of a model on rows."""
    if isinstance(model, ConstantModel):
        return np.zeros(len(data))  # so for all estimators
    if not is_classifier(model):
        errors = (to_host(model.predict(data.X)) - data.y).reshape(len(data), -1)
        spread = data.y.reshape(len(data), -1).std(axis=0)
        return ((errors / np.where(spread > 0, spread, 1.0)) ** 2).mean(axis=1)
    proba: Any = to_host(model.predict_proba(data.X))
    classes = model.classes_
    of_class = np.searchsorted(classes, data.y).clip(max=len(classes) - 1)
    likelihood = proba[np.arange(len(data)), of_class]
    likelihood = np.where(classes[of_class] == data.y, likelihood, 0.0)
    return -np.log(likelihood.clip(min=_LEAST_PROBABILITY))


def make_splitter(leaf, alpha):
    """Return the unfitted machine that finds the directions of nodes."""
    return clone(leaf).set_params(
        kernel="laplace",
        alpha=alpha,
        max_iter=1,
        validation=None,
        metric_type="full",
        level_statistics=None,  # directions are of the encoded columns
        n_centers=None,
        time_budget=None,
        memory_budget=None,
    )


def find_directions(splitter, data, *, seed):
    """Return the Directions of a node, the best first.

    They are the eigenvectors of the metric of a machine that is fitted to the rows, or
    principal components of the rows where all targets are equal. Of the first few, the
    direction comes first whose two sides are predicted best by machines of their own: a
    table that consists of several functions on different regions varies along the
    features of each function, not across the boundary of the regions.

    Parameters
    ----------
    splitter : RFMRegressor or RFMClassifier
        The unfitted machine, of one round.
    data : LeafData
        Rows of the node.
    seed : int
        The random state of the machine.
    """
    model, directions = first_directions(splitter, data, seed=seed)
    if isinstance(model, ConstantModel):
        return directions
    return _best_split_first(model, directions, data)


def first_directions(splitter, data, *, seed):
    """Return the machine that finds directions, and these, not compared yet."""
    model = fit_leaf(splitter, data, seed=seed)
    if isinstance(model, ConstantModel):
        coding = Coding.of_scaled_rows(
            data.X, splitter.categorical_features, data.weight
        )
        rows = coding.transform(data.X)
        centred = rows - rows.mean(axis=0)
        vectors = principal_directions(centred)
    else:
        coding = model._fitted.coding
        metric = model._fitted.predictor.first.metric.map_arrays(to_host)
        vectors = principal_directions(metric.components, metric.weights)
    if splitter.categorical_features is None:
        coding = None  # encoded rows are the rows themselves
    return model, [Direction(vector, coding) for vector in vectors]


def _best_split_first(model, directions, data):
    """Return the directions, the first few of them sorted by how well they split."""
    encoded, backend = _encoded_data(model, data)
    candidate = Candidate(
        model.kernel_,
        model.alpha_,
        model.bandwidth_,
        max_iter=0,
        fit_intercept=model.fit_intercept,
    )
    first = directions[:DIRECTIONS]
    with own_threads(len(data) if backend.threads else 0):
        costs = [
            _split_cost(
                split_rows(data.X, data.weight, direction), encoded, candidate, backend
            )
            for direction in first
        ]
    order = sorted(range(len(first)), key=costs.__getitem__)
    return [first[k] for k in order] + directions[len(first) :]


def _encoded_data(model, data):
    """Return the Data with rows mapped by the metric of a model, and its backend."""
    placement, fitted = placement_of(model.device, data.X), model._fitted
    backend = placement.backend
    T = placement.to_backend(fitted.predictor.first.mapped_fit)
    Y, weight = fitted.targets.code(data.y, data.weight)
    arrays = (backend.asarray(a, T.dtype) for a in (Y, weight))
    return Data(T, *arrays), backend


def _split_cost(split, data, candidate, backend):
    """Return a pair that is small for a good split: leave-one-out error, imbalance.

    The error is the sum of squares over both sides; infinite where a side is small.
    """
    if split is None:
        return np.inf, 0.0
    _, left = split
    smaller = min(left.sum(), (~left).sum())
    if smaller < max(_MIN_SIDE_ROWS, _MIN_SIDE_SHARE * len(left)):
        return np.inf, -smaller
    sides = (data.subset(np.flatnonzero(side), backend) for side in (left, ~left))
    error = sum(_leave_one_out_error(side, candidate, backend) for side in sides)
    return error, -smaller


def _leave_one_out_error(data, candidate, backend):
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
    residuals: Any = fitted.loo_residuals
    squares = residuals * residuals
    return float(backend.xp.sum(data.weight[:, None] * squares))
