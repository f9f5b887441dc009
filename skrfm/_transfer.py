"""How outputs of a source model help a target model: one class for each way.

A `Task` knows how targets are coded, a `Rows` holds inputs X, source outputs F as
features, and source outputs S in the coding of the target, where there are such.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from ._criteria import ClassificationCriterion, probabilities
from ._folds import make_folds
from .rfm import RFMClassifier, RFMRegressor

METHODS = ("none", "projection", "concat", "translation", "both")
# with fewer rows for each fold than this, each row is left out by itself
_ROWS_PER_FOLD = 3


@dataclass(frozen=True)
class Rows:
    """Rows as the methods see them; S is None where outputs do not match."""

    X: np.ndarray
    F: np.ndarray
    S: np.ndarray | None

    def take(self, rows):
        """Return some of the rows."""
        S = None if self.S is None else self.S[rows]
        return Rows(self.X[rows], self.F[rows], S)

    def inputs(self, method):
        """Return what the target model of a method is fitted on."""
        return {
            "projection": self.F,
            "both": self.F,
            "concat": np.hstack([self.X, self.F]),
        }.get(method, self.X)


@dataclass(frozen=True)
class Task:
    """Targets: their classes, or None for regression, and the model to fit."""

    target: object
    classes: np.ndarray | None
    cv: object
    seed: int

    def within(self, number):
        """Return the task on the training part of a fold; given folds end here."""
        cv = self.cv if isinstance(self.cv, int) else 5
        target = self.target
        if isinstance(getattr(target, "cv", None), list | tuple):
            target = clone(target).set_params(cv=cv)
        return replace(self, target=target, cv=cv, seed=self.seed + 1 + number)

    def code(self, y):
        """Return targets as an array (n, c): one-hot for classes."""
        if self.classes is None:
            return np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return (np.asarray(y)[:, None] == self.classes).astype(np.float64)

    def folds(self, y):
        """Return (train, test) positions: stratified where each class fills them."""
        n = len(y)
        if self.classes is None or not isinstance(self.cv, int):
            return make_folds(self.cv, np.zeros(n), np.ones(n, dtype=bool), self.seed)
        labels = np.searchsorted(self.classes, y)
        if np.bincount(labels).min() < self.cv:
            labels = np.zeros(n)
        cv = n if n <= _ROWS_PER_FOLD * self.cv else self.cv
        labels = np.zeros(n) if cv == n else labels
        return make_folds(cv, labels, np.ones(n, dtype=bool), self.seed)

    def outputs(self, model, inputs):
        """Return what a target model says, in the coding of `code`."""
        if self.classes is None:
            return model.predict(inputs).reshape(len(inputs), -1)
        if hasattr(model, "predict_proba"):
            found = model.predict_proba(inputs)
        else:
            found = (model.predict(inputs)[:, None] == model.classes_).astype(float)
        out = np.zeros((len(inputs), len(self.classes)))
        out[:, np.searchsorted(self.classes, model.classes_)] = found
        return out

    def losses(self, outputs, y):
        """Return the squared error of each row: of probabilities, the Brier score."""
        Y = self.code(y)
        scale = Y.var(axis=0).sum() if self.classes is None else 1.0
        return np.sum((Y - outputs) ** 2, axis=1) / (scale or 1.0)


def fit_target(model, inputs, y, weight):
    """Return a clone fitted with weights, where there are any."""
    options = {} if weight is None else {"sample_weight": weight}
    return clone(model).fit(inputs, y, **options)


def residual_regressor(target):
    """Return the regressor of residuals that goes with a target, or None."""
    if not is_classifier(target):
        return target
    if not isinstance(target, RFMClassifier):
        return None
    shared = RFMRegressor().get_params(deep=False)
    parameters = target.get_params(deep=False)
    return RFMRegressor(**{k: v for k, v in parameters.items() if k in shared})


class Direct:
    """No transfer, projection or concat: the target model on some inputs."""

    def __init__(self, task, method):
        self.task, self.method = task, method

    def fit(self, rows, y, weight):
        """Fit the target model."""
        inputs = rows.inputs(self.method)
        self.constant = None
        if self.task.classes is not None and len(np.unique(y)) == 1:
            self.constant = self.task.code(y)[0]  # a fold may hold one class only
        else:
            self.model = fit_target(self.task.target, inputs, y, weight)
        return self

    def outputs(self, rows):
        """Return outputs in the coding of the task."""
        if self.constant is not None:
            return np.tile(self.constant, (len(rows.X), 1))
        return self.task.outputs(self.model, rows.inputs(self.method))

    def decision_function(self, rows):
        """Return the scores of the target model."""
        return self.model.decision_function(rows.inputs(self.method))


class Translation:
    """What a first model says, and a correction fitted to its residuals.

    The first model is the source, or for "both" a projection, whose residuals are those
    of its out-of-fold outputs: those at its own rows are nearly zero.
    """

    def __init__(self, task, method):
        self.task, self.method = task, method

    def fit(self, rows, y, weight):
        """Fit the correction."""
        first = rows.S
        if self.method == "both":
            self.first = Direct(self.task, "projection").fit(rows, y, weight)
            first = out_of_fold(self.task, "projection", rows, y, weight)
        residuals = self.task.code(y) - first
        regressor = residual_regressor(self.task.target)
        self.model = self.temperature = None
        if residuals.any():
            single = residuals.shape[1] == 1
            residuals = residuals[:, 0] if single else residuals
            self.model = fit_target(regressor, rows.X, residuals, weight)
        return self

    def raw(self, rows):
        """Return the sum of the two."""
        first = self.first.outputs(rows) if self.method == "both" else rows.S
        if self.model is None:  # nothing was left over
            return first
        return first + self.model.predict(rows.X).reshape(len(rows.X), -1)

    def decision_function(self, rows):
        """Return the sums, or of two classes their difference."""
        raw = self.raw(rows)
        return raw[:, 1] - raw[:, 0] if raw.shape[1] == 2 else raw

    def calibrate(self, raw, y):
        """Set the temperature of probabilities by raw outputs on unseen rows."""
        Y, weight = self.task.code(y), np.ones(len(y))
        self.temperature = ClassificationCriterion().temperature(raw, Y, weight)

    def outputs(self, rows):
        """Return outputs in the coding of the task."""
        raw = self.raw(rows)
        if self.task.classes is None:
            return raw
        if self.temperature is None:  # for the choice: scores as shares
            raw = np.clip(raw, 0, None) + 1e-12
            return raw / raw.sum(axis=1, keepdims=True)
        return probabilities(raw, self.temperature)


def make_model(task, method):
    """Return the unfitted model of a method."""
    kind = Translation if method in ("translation", "both") else Direct
    return kind(task, method)


def fit_model(task, method, rows, y, weight):
    """Return the fitted model of a method, its probabilities calibrated."""
    model = make_model(task, method).fit(rows, y, weight)
    if isinstance(model, Translation) and task.classes is not None:
        model.calibrate(out_of_fold(task, method, rows, y, weight, raw=True), y)
    return model


def out_of_fold(task, method, rows, y, weight, raw=False):
    """Return outputs on rows that a fit has not seen."""
    total = np.zeros((len(y), task.code(y[:1]).shape[1]))
    count = np.zeros(len(y))
    for number, (train, test) in enumerate(task.folds(y)):
        inner = task.within(number)
        part = None if weight is None else weight[train]
        model = make_model(inner, method).fit(rows.take(train), y[train], part)
        unseen = rows.take(test)
        total[test] += model.raw(unseen) if raw else model.outputs(unseen)
        count[test] += 1
    return total / np.maximum(count, 1)[:, None]


def supports_weights(estimator):
    """Return whether an estimator's fit takes weights."""
    return has_fit_parameter(estimator, "sample_weight")
