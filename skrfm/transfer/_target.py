"""The target of a transfer: its coding, and fits with outputs on unseen rows."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils.validation import has_fit_parameter

from .._backend import BoolArray, FloatArray
from .._search import hold_out, make_folds
from .._sklearn import clone
from ..rfm import RFMClassifier, RFMRegressor
from ..rfm._base import BaseRFM
from ._rows import take_rows

# With fewer rows for each fold than this, every row is a fold of its own.
_MIN_FOLD_ROWS = 3
# Up to so many rows, an RFM that would hold rows out is compared by folds instead:
# small differences between methods need many validation rows.
_MAX_FOLDED_ROWS = 5000


@dataclass(frozen=True, kw_only=True)
class Task:
    """The target task.

    Attributes
    ----------
    estimator : estimator
        The unfitted model of the target.
    classes : ndarray of shape (n_classes,) or None
        None for regression.
    cv : int, splitter, iterable or None
        The parameter of that name.
    seed : int
        The seed of the folds.
    keep : boolean ndarray
        Which rows that the user passed have positive weight. The task consists of them;
        folds that the user passed refer to all rows.
    """

    estimator: Any
    classes: np.ndarray | None
    cv: Any
    seed: int
    keep: BoolArray

    def code(self, y):
        """Return targets as an array (n, c): class indicators, or numbers."""
        if self.classes is None:
            return np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return (np.asarray(y)[:, None] == self.classes).astype(np.float64)

    def folds(self, y, mask=None):
        """Return pairs of train and test indices, stratified where classes allow.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_outputs)
            The targets to split.
        mask : boolean ndarray or None, default=None
            Which rows of the task these are; None for all.
        """
        n, keep = len(y), self.keep.copy()
        if mask is not None:
            keep[keep] = mask
        labels = np.zeros(n)
        if self.classes is not None:
            labels = np.searchsorted(self.classes, y)
        cv = 5 if self.cv is None else self.cv
        if not isinstance(cv, Integral):
            return make_folds(cv, labels, keep=keep, seed=self.seed)
        if n > _MAX_FOLDED_ROWS and self._is_rfm_validated_by("auto"):
            fraction = self.estimator.validation_fraction
            return [hold_out(labels, fraction, self.seed)]
        n_folds = n if n <= _MIN_FOLD_ROWS * int(cv) else int(cv)
        if np.bincount(labels.astype(int)).min() < n_folds:
            labels = np.zeros(n)
        return make_folds(n_folds, labels, keep=keep, seed=self.seed)

    def has_fitted_class(self, y):
        """Return which rows have a class of the training rows of their folds.

        A model of the target alone cannot predict the other rows.
        """
        fitted = np.ones(len(y), dtype=bool)
        if self.classes is not None:
            for train, test in self.folds(y):
                fitted[test] &= np.isin(y[test], y[train])
        return fitted

    def _is_rfm_validated_by(self, *names):
        """Return whether the model is an RFM with one of these values of validation."""
        estimator = self.estimator
        return isinstance(estimator, BaseRFM) and estimator.validation in names

    def with_folds(self, estimator, folds):
        """Return an RFM that is validated on the folds, or None for other models."""
        if not self._is_rfm_validated_by("auto", "cv"):
            return None
        return clone(estimator).set_params(cv=folds, validation="cv")

    def losses(self, outputs, y):
        """Return the loss of each row.

        For regression it is the squared error, divided by the variance of y. For
        classes it is the log-loss of the probabilities as if one more row of each class
        had been seen: n rows cannot show that a class is impossible.
        """
        Y = self.code(y)
        if self.classes is None:
            scale = Y.var(axis=0).sum()
            return np.sum((Y - outputs) ** 2, axis=1) / (scale or 1.0)
        n, n_classes = Y.shape
        likelihood = np.sum(Y * outputs, axis=1)
        return np.log((n + n_classes) / (n * likelihood + 1))


def supports_weights(estimator):
    """Return whether the fit of an estimator takes weights."""
    return has_fit_parameter(estimator, "sample_weight")


def residual_regressor(estimator):
    """Return the regressor of residuals for a target model, or None."""
    if not is_classifier(estimator):
        return estimator
    if not isinstance(estimator, RFMClassifier):
        return None
    names = RFMRegressor().get_params(deep=False)
    parameters = estimator.get_params(deep=False)
    return RFMRegressor(**{k: v for k, v in parameters.items() if k in names})


def estimator_of_inputs(estimator, method, *, n_features, n_scores):
    """Return the target model for the inputs of "none", "projection" or "concat".

    Its parameters `categorical_features`, also those of estimators in it, refer to the
    features: scores alone have no categories, and masks have no entries for scores.
    """
    changed = {}
    for name, value in estimator.get_params().items():
        if name.split("__")[-1] != "categorical_features":
            continue
        if value is None or isinstance(value, str):
            continue
        is_mask = np.asarray(value).dtype == bool and len(value) == n_features
        if method == "projection":
            changed[name] = None
        elif method == "concat" and is_mask:
            changed[name] = [*value, *[False] * n_scores]
    return clone(estimator).set_params(**changed) if changed else estimator


# -- models and their outputs on unseen rows ------------------------------------------


class OutputKind(Protocol):
    """What targets and outputs are, and how they are read from a fitted estimator."""

    def predict(self, model: BaseEstimator, inputs: FloatArray) -> FloatArray:
        """Return the outputs (m, c) of a fitted model."""
        ...

    def unseen(self, model: BaseRFM) -> FloatArray:
        """Return the outputs (n, c) of an RFM on the validation rows of its folds."""
        ...

    def constant(self, y: np.ndarray) -> FloatArray | None:
        """Return the outputs (c,) where targets y cannot be fitted, else None."""
        ...


class ClassOutputs:
    """Targets are labels, outputs are the probabilities of the classes."""

    def __init__(self, classes):
        self.classes = classes

    def predict(self, model, inputs):
        """Return the outputs (m, c) of a fitted model."""
        if hasattr(model, "predict_proba"):
            proba = model.predict_proba(inputs)
        else:
            proba = (model.predict(inputs)[:, None] == model.classes_).astype(float)
        outputs = np.zeros((len(inputs), len(self.classes)))
        outputs[:, np.searchsorted(self.classes, model.classes_)] = proba
        return outputs

    def unseen(self, model):
        """Return the outputs (n, c) of an RFM on the validation rows of its folds."""
        return model._fitted.calibration.probabilities(model._fitted.unseen_outputs)

    def constant(self, y):
        """Return the indicator (c,) of the class if there is only one, else None."""
        if not (y == y[0]).all():
            return None
        return (self.classes == y[0]).astype(np.float64)


class NumericOutputs:
    """Targets and outputs are numbers."""

    def predict(self, model, inputs):
        """Return the outputs (m, c) of a fitted model."""
        return np.asarray(model.predict(inputs)).reshape(len(inputs), -1)

    def unseen(self, model):
        """Return the outputs (n, c) of an RFM on the validation rows of its folds."""
        return model._fitted.unseen_outputs.astype(np.float64)

    def constant(self, y):
        """Return None: a regressor can be fitted to any numbers."""
        return None


def fit_model(estimator, inputs, y, weight, *, task, kind, folds=None):
    """Return a fitted clone, and with folds its outputs (n, c) on unseen rows.

    An RFM has these outputs from the choice of its round and ridge; other models are
    fitted once more for each fold.

    Parameters
    ----------
    estimator : estimator
    inputs : ndarray or data frame of shape (n, k)
    y : ndarray of shape (n,) or (n, c)
    weight : ndarray of shape (n,) or None
    task : Task
    kind : OutputKind
    folds : list of pairs of ndarray, or None

    Returns
    -------
    model : estimator
    unseen : ndarray of shape (n, c) or None
        NaN for rows that are in no test fold; None without folds.
    """
    if folds is None:
        return _fit(estimator, inputs, y, weight), None
    validated = task.with_folds(estimator, folds)
    if validated is not None:
        model = _fit(validated, inputs, y, weight)
        if model._fitted.unseen_outputs is not None:  # None: nothing was chosen
            return model, kind.unseen(model)
    model = _fit(estimator, inputs, y, weight)
    unseen = _unseen_outputs(estimator, inputs, y, weight, kind=kind, folds=folds)
    return model, unseen


def _fit(estimator, inputs, y, weight):
    """Return a fitted clone."""
    options = {} if weight is None else {"sample_weight": weight}
    return clone(estimator).fit(inputs, y, **options)


def _unseen_outputs(estimator, inputs, y, weight, *, kind, folds):
    """Return the mean outputs of each row over the fits that did not include it."""
    total, count = 0.0, np.zeros(len(y))
    for train, test in folds:
        predicted = kind.constant(y[train])
        if predicted is None:
            train_weight = None if weight is None else weight[train]
            model = _fit(estimator, take_rows(inputs, train), y[train], train_weight)
            predicted = kind.predict(model, take_rows(inputs, test))
        of_fold = np.zeros((len(y), predicted.shape[-1]))
        of_fold[test] = predicted
        total = total + of_fold
        count[test] += 1
    count[count == 0] = np.nan
    return total / count[:, None]
