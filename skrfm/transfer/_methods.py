"""How outputs of a source model help a target model: one class for each way.

`Rows` hold inputs X, source outputs F as features, and source outputs S in the coding
of the target, where there are such.
"""

from dataclasses import dataclass

import numpy as np

from .._search import Calibration
from ._target import Labels, Values, fit_model, residual_regressor

METHODS = ("none", "projection", "concat", "translation", "both")
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

    def models(self):
        """Return the fitted estimators."""
        return [self.model]

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

        Classes need those for the calibration of probabilities in any case.
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
            part = one if weight is None else weight[judged]
            logs = _logs(raw[judged])
            self.calibration = Calibration.fit(logs, Y, part, softnesses=(np.inf,))
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

    def models(self):
        """Return the fitted estimators."""
        first = [] if self.first is None else self.first.models()
        return first if self.model is None else [*first, self.model]

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
        return self.calibration.probabilities(_logs(raw))


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
