"""The target of a transfer: its coding, and models with outputs on unseen rows."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from .._search import hold_out, make_folds
from ..rfm import RFMClassifier, RFMRegressor
from ..rfm._base import BaseRFM

# with fewer rows for each fold than this, each row is left out by itself
_ROWS_PER_FOLD = 3
# an RFM that would hold rows out is judged on folds up to so many rows, as small
# differences need many rows that judge
_FOLDED_ROWS = 5000


@dataclass(frozen=True)
class Task:
    """Targets: their classes, or None for regression, and the model to fit.

    Of the rows that the user gave those to `keep` have a weight, and a part here.
    """

    target: object
    classes: np.ndarray | None
    cv: object
    seed: int
    keep: np.ndarray

    def code(self, y):
        """Return targets as an array (n, c): one-hot for classes."""
        if self.classes is None:
            return np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return (np.asarray(y)[:, None] == self.classes).astype(np.float64)

    def folds(self, y, known=True):
        """Return (train, test) positions: stratified where each class fills them.

        The targets y are those of the rows that are `known`.
        """
        n, keep = len(y), self.keep.copy()
        keep[keep] = known
        labels = np.zeros(n)
        if self.classes is not None:
            labels = np.searchsorted(self.classes, y)
        cv = 5 if self.cv is None else self.cv
        if not isinstance(cv, Integral):
            return make_folds(cv, labels, keep=keep, seed=self.seed)
        if self._judges_itself("auto") and n > _FOLDED_ROWS:
            share = self.target.validation_fraction
            return [hold_out(labels, share, self.seed)]
        cv = n if n <= _ROWS_PER_FOLD * cv else cv
        if np.bincount(labels.astype(int)).min() < cv:
            labels = np.zeros(n)
        return make_folds(cv, labels, keep=keep, seed=self.seed)

    def fair(self, y):
        """Return the rows whose class is among those that their folds are fitted to.

        What is learned from the target alone can say nothing of the others.
        """
        fair = np.ones(len(y), dtype=bool)
        if self.classes is not None:
            for train, test in self.folds(y):
                fair[test] &= np.isin(y[test], y[train])
        return fair

    def _judges_itself(self, *ways):
        """Return whether the target finds its parameters by folds."""
        return isinstance(self.target, BaseRFM) and self.target.validation in ways

    def on_folds(self, estimator, folds):
        """Return an RFM that is judged on the folds, or None for what has no part."""
        if not self._judges_itself("auto", "cv"):
            return None
        return clone(estimator).set_params(cv=folds, validation="cv")

    def losses(self, outputs, y):
        """Return the squared error of each row, in shares of the variance of y.

        Of classes it is the log-loss, of probabilities as if one more row of each class
        had been seen: n rows cannot tell that one is impossible.
        """
        Y = self.code(y)
        if self.classes is None:
            scale = Y.var(axis=0).sum()
            return np.sum((Y - outputs) ** 2, axis=1) / (scale or 1.0)
        n, n_classes = Y.shape
        likelihood = np.sum(Y * outputs, axis=1)
        return np.log((n + n_classes) / (n * likelihood + 1))


def supports_weights(estimator):
    """Return whether an estimator's fit takes weights."""
    return has_fit_parameter(estimator, "sample_weight")


def residual_regressor(target):
    """Return the regressor of residuals that goes with a target, or None."""
    if not is_classifier(target):
        return target
    if not isinstance(target, RFMClassifier):
        return None
    shared = RFMRegressor().get_params(deep=False)
    parameters = target.get_params(deep=False)
    return RFMRegressor(**{k: v for k, v in parameters.items() if k in shared})


# -- models with what they say of unseen rows -----------------------------------------


class Labels:
    """What is fitted are classes, and outputs are probabilities."""

    def __init__(self, task):
        self.classes = task.classes

    def read(self, model, inputs):
        """Return what a fitted model says."""
        if hasattr(model, "predict_proba"):
            found = model.predict_proba(inputs)
        else:
            found = (model.predict(inputs)[:, None] == model.classes_).astype(float)
        out = np.zeros((len(inputs), len(self.classes)))
        out[:, np.searchsorted(self.classes, model.classes_)] = found
        return out

    def unseen(self, model):
        """Return what an RFM has said of the rows of its folds."""
        return model._fitted.calibration.probabilities(model._fitted.unseen_outputs)

    def constant(self, y):
        """Return the outputs of a fold with one class, or None."""
        same = (y == y[0]).all()
        return (self.classes == y[0]).astype(np.float64) if same else None


class Values:
    """What is fitted are numbers."""

    def read(self, model, inputs):
        """Return what a fitted model says."""
        return np.asarray(model.predict(inputs)).reshape(len(inputs), -1)

    def unseen(self, model):
        """Return what an RFM has said of the rows of its folds."""
        return model._fitted.unseen_outputs.astype(np.float64)

    def constant(self, y):
        """Return None: any numbers can be fitted."""
        return None


def fit_model(task, kind, estimator, inputs, y, weight, folds=None):
    """Return a fitted clone, and with folds its outputs on rows it has not seen.

    An RFM has those from the choice of its own round and ridge; others are fitted once
    more for each fold. Rows that no fold leaves out have NaN.
    """
    if folds is None:
        return _fit(estimator, inputs, y, weight), None
    own = task.on_folds(estimator, folds)
    if own is not None:
        model = _fit(own, inputs, y, weight)
        if model._fitted.unseen_outputs is not None:  # there was something to choose
            return model, kind.unseen(model)
    model = _fit(estimator, inputs, y, weight)
    return model, _left_out(kind, estimator, inputs, y, weight, folds)


def _fit(estimator, inputs, y, weight):
    options = {} if weight is None else {"sample_weight": weight}
    return clone(estimator).fit(inputs, y, **options)


def _left_out(kind, estimator, inputs, y, weight, folds):
    """Return outputs on rows that a fit has not seen."""
    total, count = 0.0, np.zeros(len(y))
    for train, test in folds:
        part = None if weight is None else weight[train]
        outputs = kind.constant(y[train])
        if outputs is None:
            model = _fit(estimator, inputs[train], y[train], part)
            outputs = kind.read(model, inputs[test])
        more = np.zeros((len(y), outputs.shape[-1]))
        more[test] = outputs
        total = total + more
        count[test] += 1
    count[count == 0] = np.nan
    return total / count[:, None]
