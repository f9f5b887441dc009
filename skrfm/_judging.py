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


class _Rows:
    """Rows to fit to and rows to judge, prepared once for each scaling of recipes."""

    def __init__(self, data, unseen, fit_intercept, backend):
        self._data, self._unseen, self._fit_intercept = data, unseen, fit_intercept
        self._backend, self._ready = backend, {}

    def of(self, recipe):
        """Return what is Prepared for a recipe, and the rows of the judges or None."""
        scaling, backend = recipe.scaling, self._backend
        if scaling not in self._ready:
            data, unseen = self._data.scaled(scaling, backend), self._unseen
            prepared = Prepared.of(data, self._fit_intercept, backend, shared=True)
            X = unseen and unseen.scaled(scaling, backend).X
            self._ready[scaling] = prepared, X
        return self._ready[scaling]


class HoldOut:
    """Judged out of fold: each (train, test) pair learns a metric of its own."""

    def __init__(self, folds, n_jobs=None):
        self.folds, self.n_jobs = folds, n_jobs

    def start(self, data, fit_intercept, backend):
        """Prepare the folds; return the judges and the number of parts."""
        self._parts = [
            _Rows(*(data.subset(p, backend) for p in fold), fit_intercept, backend)
            for fold in self.folds
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
    prepared, X = part.of(recipe)
    result = fit_round(prepared, recipe, metric, number, backend, workspace)
    outputs = _host(result.predict(X, backend), backend)
    return outputs, next_metric(result, backend)


class _OnAllRows:
    """What judges a machine that is fitted on all rows, and so is the model itself."""

    def _prepare(self, data, fit_intercept, backend, unseen=None):
        self._rows = _Rows(data, unseen, fit_intercept, backend)
        self._workspace = Workspace()

    def _fit(self, recipe, number, metrics, backend, loo=False):
        # round 0 has an AGOP even if it is the last: importances come from it
        agop = number == 0 or None
        where = backend, self._workspace
        prepared, _ = self._rows.of(recipe)
        return fit_round(prepared, recipe, *metrics, number, *where, loo=loo, agop=agop)


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
        unseen = data.subset(test, backend)
        part = data.subset(train, backend)
        self._part = _Rows(part, unseen, fit_intercept, backend)
        return Judges.of(unseen, backend, test), 1

    def step(self, recipe, number, metrics, backend):
        """Return the outputs on the unseen rows, the next metric, and the model."""
        result = self._fit(recipe, number, metrics, backend)
        following = [next_metric(result, backend)]
        if number < recipe.max_iter:
            return None, following, result
        part, X = self._part.of(recipe)
        where = backend, self._workspace
        other = fit_round(part, recipe, *metrics, number, *where, agop=False)
        outputs = _host(other.predict(X, backend), backend)
        return outputs, following, result


class ValidationSet(_OnAllRows):
    """Judged on rows that the user gave."""

    def __init__(self, data):
        self.data = data

    def start(self, data, fit_intercept, backend):
        """Prepare the rows; return the judges and the number of parts."""
        self._prepare(data, fit_intercept, backend, self.data)
        return Judges.of(self.data, backend), 1

    def step(self, recipe, number, metrics, backend):
        """Return the outputs on the user's rows, the next metric, and the model."""
        result = self._fit(recipe, number, metrics, backend)
        _, X = self._rows.of(recipe)
        outputs = _host(result.predict(X, backend), backend)
        return outputs, [next_metric(result, backend)], result
