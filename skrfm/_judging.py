"""The rows that judge: unseen rows of folds, all rows left out, or rows of the user.

`start` prepares the rows and returns the judges and the number of parts, each of which
learns a metric of its own; `step` fits a round and returns its outputs at the judges.
"""

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from ._recursion import Prepared, Workspace, fit_round, next_metric


@dataclass(frozen=True)
class Judges:
    """The rows that judge: targets and weights as NumPy float64, and which they are."""

    targets: np.ndarray
    weight: np.ndarray
    rows: np.ndarray | None = None

    @classmethod
    def of(cls, data, backend, rows=None):
        """Return the judges of some data; `rows` are their places in what is fitted."""
        return cls(*(_host(a, backend) for a in (data.Y, data.weight)), rows)


def _host(a, backend):
    return backend.to_numpy(a).astype(np.float64)


class HoldOut:
    """Judged out of fold: each (train, test) pair learns a metric of its own."""

    def __init__(self, folds, n_jobs=None):
        self.folds, self.n_jobs = folds, n_jobs

    def start(self, data, fit_intercept, backend):
        """Prepare the folds; return the judges and the number of parts."""
        self._parts = [
            (
                Prepared.of(
                    data.subset(train, backend), fit_intercept, backend, shared=True
                ),
                backend.take(data.X, test),
            )
            for train, test in self.folds
        ]
        self._workspace = Workspace()
        every = np.concatenate([test for _, test in self.folds])
        judges = Judges.of(data.subset(every, backend), backend, every)
        return judges, len(self.folds)

    def step(self, recipe, number, metrics, backend):
        """Return the pooled outputs of a round, the next metrics, and no model."""
        pairs = zip(self._parts, metrics, strict=True)
        if self.n_jobs in (None, 1):
            results = [
                _fold(*pair, recipe, number, backend, self._workspace) for pair in pairs
            ]
        else:
            results = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(_fold)(*pair, recipe, number, backend, Workspace())
                for pair in pairs
            )
        outputs, following = zip(*results, strict=True)
        return np.concatenate(outputs), list(following), None


def _fold(part, metric, recipe, number, backend, workspace):
    """Return the outputs of one fold on its test rows, and its next metric."""
    prepared, X = part
    result = fit_round(prepared, recipe, metric, number, backend, workspace)
    outputs = _host(result.predict(X, backend), backend)
    return outputs, next_metric(result, backend)


class _OnAllRows:
    """What judges a machine that is fitted on all rows, and so is the model itself."""

    def _prepare(self, data, fit_intercept, backend):
        self._prepared = Prepared.of(data, fit_intercept, backend, shared=True)
        self._workspace = Workspace()

    def _fit(self, recipe, number, metrics, backend, loo=False):
        # round 0 has an AGOP even if it is the last: importances come from it
        agop = number == 0 or None
        where = backend, self._workspace
        return fit_round(
            self._prepared, recipe, *metrics, number, *where, loo=loo, agop=agop
        )


class LeaveOneOut(_OnAllRows):
    """Judged by leave-one-out residuals in closed form; the metric has seen all rows.

    With `last_only` the recipes are compared by their last round.
    """

    def __init__(self, last_only=False):
        self.last_only = last_only

    def start(self, data, fit_intercept, backend):
        """Prepare the rows; return the judges and the number of parts."""
        self._data = data
        self._prepare(data, fit_intercept, backend)
        return Judges.of(data, backend, np.arange(data.X.shape[0])), 1

    def step(self, recipe, number, metrics, backend):
        """Return the leave-one-out outputs, the next metric, and the model."""
        loo = not self.last_only or number == recipe.max_iter
        result = self._fit(recipe, number, metrics, backend, loo)
        outputs = _host(self._data.Y - result.loo_residuals, backend) if loo else None
        return outputs, [next_metric(result, backend)], result


class LastRound(_OnAllRows):
    """Judged on unseen rows in the last round alone, by a machine of the other rows.

    The metric has seen all rows. It takes no factor, as leave-one-out does.
    """

    def __init__(self, fold):
        self.fold = fold

    def start(self, data, fit_intercept, backend):
        """Prepare the rows; return the judges and the number of parts."""
        self._prepare(data, fit_intercept, backend)
        train, test = self.fold
        part = data.subset(train, backend)
        self._part = Prepared.of(part, fit_intercept, backend, shared=True)
        self._unseen = backend.take(data.X, test)
        return Judges.of(data.subset(test, backend), backend, test), 1

    def step(self, recipe, number, metrics, backend):
        """Return the outputs on the unseen rows, the next metric, and the model."""
        result = self._fit(recipe, number, metrics, backend)
        following = [next_metric(result, backend)]
        if number < recipe.max_iter:
            return None, following, result
        other = fit_round(
            self._part, recipe, *metrics, number, backend, self._workspace, agop=False
        )
        outputs = _host(other.predict(self._unseen, backend), backend)
        return outputs, following, result


class ValidationSet(_OnAllRows):
    """Judged on rows that the user gave."""

    def __init__(self, data):
        self.data = data

    def start(self, data, fit_intercept, backend):
        """Prepare the rows; return the judges and the number of parts."""
        self._prepare(data, fit_intercept, backend)
        return Judges.of(self.data, backend), 1

    def step(self, recipe, number, metrics, backend):
        """Return the outputs on the user's rows, the next metric, and the model."""
        result = self._fit(recipe, number, metrics, backend)
        outputs = _host(result.predict(self.data.X, backend), backend)
        return outputs, [next_metric(result, backend)], result
