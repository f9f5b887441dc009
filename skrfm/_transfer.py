"""How outputs of a source model help a target model: one class for each way.

A `Task` knows how targets are coded, a `Rows` holds inputs X, source outputs F as
features, and source outputs S in the coding of the target, where there are such.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from ._base import BaseRFM
from ._criteria import ClassificationCriterion, probabilities
from ._folds import hold_out, make_folds
from .rfm import RFMClassifier, RFMRegressor

METHODS = ("none", "projection", "concat", "translation", "both")
# with fewer rows for each fold than this, each row is left out by itself
_ROWS_PER_FOLD = 3
# an RFM that would hold rows out is judged on folds up to so many rows, as small
# differences need many rows that judge
_FOLDED_ROWS = 5000
# corrected probabilities are at least this
_LEAST_PROBABILITY = 1e-3


@dataclass(frozen=True)
class Rows:
    """Rows as the methods see them; S is None where outputs do not match."""

    X: np.ndarray
    F: np.ndarray
    S: np.ndarray | None

    @classmethod
    def without_source(cls, X):
        """Return rows of which no source says anything."""
        return cls(X, np.zeros((len(X), 0)), None)

    def take(self, which):
        """Return some of the rows."""
        S = None if self.S is None else self.S[which]
        return Rows(self.X[which], self.F[which], S)

    def inputs(self, method):
        """Return what the target model of a method is fitted on."""
        return {
            "projection": self.F,
            "both": self.F,
            "concat": np.hstack([self.X, self.F]),
        }.get(method, self.X)


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
            return make_folds(cv, labels, keep, self.seed)
        if self._judges_itself("auto") and n > _FOLDED_ROWS:
            share = self.target.validation_fraction
            return [hold_out(labels, share, self.seed)]
        cv = n if n <= _ROWS_PER_FOLD * cv else cv
        if np.bincount(labels.astype(int)).min() < cv:
            labels = np.zeros(n)
        return make_folds(cv, labels, keep, self.seed)

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
        return probabilities(model._unseen_outputs, model._temperature)

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
        return model._unseen_outputs

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
        if model._unseen_outputs is not None:  # there was something to choose
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


# -- the ways -------------------------------------------------------------------------


class Direct:
    """No transfer, projection or concat: the target model on some inputs."""

    def __init__(self, task, method):
        self.method = method
        self.kind = Values() if task.classes is None else Labels(task)

    def fit(self, task, rows, y, weight, *, leave_out):
        """Fit the target model; with `leave_out`, set the outputs `unseen`."""
        folds = task.folds(y) if leave_out else None
        inputs = rows.inputs(self.method)
        self.model, self.unseen = fit_model(
            task, self.kind, task.target, inputs, y, weight, folds
        )
        return self

    def outputs(self, rows):
        """Return outputs in the coding of the task."""
        return self.kind.read(self.model, rows.inputs(self.method))

    def decision_function(self, rows):
        """Return the scores of the target model."""
        return self.model.decision_function(rows.inputs(self.method))


class Translation:
    """What a first model says, and a correction fitted to its residuals.

    The first model is the source, or for "both" a projection, whose residuals are those
    of its outputs on rows it has not seen: those at its own rows are nearly zero.
    """

    def __init__(self, task, method):
        self.classifies = task.classes is not None
        self.first = Direct(task, "projection") if method == "both" else None

    def fit(self, task, rows, y, weight, *, leave_out):
        """Fit the correction; with `leave_out`, set the outputs `unseen`.

        Classes need those for the temperature of probabilities in any case.
        """
        first, leave_out = rows.S, leave_out or self.classifies
        known = np.ones(len(y), dtype=bool)
        if self.first is not None:
            if not hasattr(self.first, "unseen"):
                self.first.fit(task, rows, y, weight, leave_out=True)
            first = self.first.unseen
            known = np.isfinite(first).all(axis=1)
        raw = self._correct(task, rows.X, y, weight, first, known, leave_out)
        self.unseen = raw
        if self.classifies:
            judged = np.isfinite(raw).all(axis=1)
            Y, one = task.code(y)[judged], np.ones(judged.sum())
            self.temperature = ClassificationCriterion().temperature(
                _logs(raw[judged]), Y, one if weight is None else weight[judged]
            )
            self.unseen = self._probabilities(raw)
        return self

    def _correct(self, task, X, y, weight, first, known, leave_out):
        """Fit the correction where `known`; return the sum on unseen rows, or None."""
        residuals, self.model = task.code(y) - first, None
        if not residuals[known].any():  # nothing is left over
            return first
        residuals = residuals[:, 0] if residuals.shape[1] == 1 else residuals
        self.model, rest = fit_model(
            task,
            Values(),
            residual_regressor(task.target),
            X[known],
            residuals[known],
            None if weight is None else weight[known],
            task.folds(y[known], known) if leave_out else None,
        )
        if rest is None:
            return None
        raw = np.full_like(first, np.nan)
        raw[known] = first[known] + rest
        return raw

    def raw(self, rows):
        """Return the sum of the two."""
        first = rows.S if self.first is None else self.first.outputs(rows)
        if self.model is None:
            return first
        return first + Values().read(self.model, rows.X)

    def decision_function(self, rows):
        """Return the sums, or of two classes their difference."""
        raw = self.raw(rows)
        return raw[:, 1] - raw[:, 0] if raw.shape[1] == 2 else raw

    def outputs(self, rows):
        """Return outputs in the coding of the task."""
        raw = self.raw(rows)
        return self._probabilities(raw) if self.classifies else raw

    def _probabilities(self, raw):
        return probabilities(_logs(raw), self.temperature)


def _logs(raw):
    """Return the logarithms of sums that are probabilities but for the correction."""
    return np.log(np.clip(raw, _LEAST_PROBABILITY, None))


def make_model(task, method):
    """Return the unfitted model of a method."""
    kind = Translation if method in ("translation", "both") else Direct
    return kind(task, method)


def fit_models(task, methods, rows, y, weight):
    """Return fitted models of all methods, with outputs on rows they have not seen."""
    models = {}
    for method in methods:
        model = make_model(task, method)
        if method == "both":  # no need to fit the projection again
            model.first = models["projection"]
        models[method] = model.fit(task, rows, y, weight, leave_out=True)
    return list(models.values())


# -- the choice -----------------------------------------------------------------------


def compare(losses, weight, methods, fair):
    """Return the number of the model to take, and figures of them all.

    A method takes the place of no transfer if it is better by more than a standard
    error of the difference. Translation has the first chance, for it alone is as good
    as the source where there is nothing to correct; others must be that much better.

    Parameters
    ----------
    losses : ndarray of shape (n_models, n)
        Losses of each model on rows that it has not seen.
    weight : ndarray of shape (n,)
    methods : list of str
        Their methods; the first is "none".
    fair : boolean ndarray of shape (n,)
        Rows that can tell methods other than translation from none.
    """
    gain, error = _gains(losses, weight, 0)
    results = {"mean_loss": losses @ weight / weight.sum()}
    results |= {"mean_gain": gain, "gain_error": error}
    first = {i for i, method in enumerate(methods) if method == "translation"}
    best = _better(losses, weight, 0, first)
    if fair.sum() > 1:
        others = set(range(len(methods))) - first
        best = _better(losses[:, fair], weight[fair], best, others)
    return best, results


def _better(losses, weight, base, rivals):
    """Return the best of the rivals that are clearly better than a model, or it."""
    gain, error = _gains(losses, weight, base)
    clear = [i for i in rivals if gain[i] > error[i]]
    return max(clear, key=lambda i: gain[i], default=base)


def _gains(losses, weight, base):
    """Return mean gains over one of the models, and their standard errors."""
    share = weight / weight.sum()
    gains = losses[base] - losses
    mean = gains @ share
    spread = ((gains - mean[:, None]) ** 2) @ share
    return mean, np.sqrt(spread / weight.sum())
