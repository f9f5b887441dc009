"""The choice of round, ridge and kernel on rows that a fit has not seen.

All recipes are fitted side by side, round by round, on one or more parts of the
data, and their outputs on unseen rows are scored together. To go on with what has
no chance is spared: of the ridges of a kernel the two best at round 0 go on, and a
recipe ends after two rounds without a better score.
"""

from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
from joblib import Parallel, delayed

from ._recursion import FeatureMetric, Prepared, Workspace, fit_round, next_metric

_RIDGES_AFTER_ROUND_0 = 2
_PATIENCE = 2
# of many candidates the search halves them down to so many
_LEAST_RIVALS = 4


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


@dataclass
class Choice:
    """The chosen recipe (its `max_iter` is the chosen round) and why.

    `model` is the fitted Round where it was fitted on all rows, else None. `candidates`
    has the number of the recipe of each row of the history.
    """

    recipe: object
    outputs: np.ndarray
    judges: Judges
    model: object = None
    history: dict = field(default_factory=dict)
    candidates: np.ndarray | None = None

    def outputs_of_rows(self, n):
        """Return the outputs (n, c) of all rows: NaN of those that did not judge.

        None where rows that were not fitted to have judged.
        """
        if self.judges.rows is None:
            return None
        total, count = np.zeros((n, self.outputs.shape[1])), np.zeros(n)
        np.add.at(total, self.judges.rows, self.outputs)
        np.add.at(count, self.judges.rows, 1)
        count[count == 0] = np.nan
        return total / count[:, None]


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
                Prepared.of(data.subset(train, backend), fit_intercept, backend),
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
        self._prepared = Prepared.of(data, fit_intercept, backend)
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


class _Path:
    """One recipe on its way through the rounds."""

    def __init__(self, recipe, n_parts, task):
        self.recipe, self.task = recipe, task
        self.metrics = [FeatureMetric()] * n_parts
        self.scores = []
        self.alive = True

    def step(self, number, judging, backend):
        """Fit the next round; return its outputs and model."""
        with self.task.round() as task:
            outputs, self.metrics, model = judging.step(
                self.recipe, number, self.metrics, backend
            )
            task.result = model
        ended = number == self.recipe.max_iter or None in self.metrics
        self.alive = not (ended or task.stop)
        return outputs, model

    def score_now(self, number, model, judging, backend):
        """Fit a round again that turned out to be the last; return what is scored."""
        recipe = replace(self.recipe, max_iter=number)
        outputs, _, model = judging.step(recipe, number, [model.metric], backend)
        return outputs, model

    def record(self, score):
        """Note a score; give up after rounds without a better one."""
        self.scores.append(score)
        since_best = len(self.scores) - 1 - int(np.argmax(self.scores))
        self.alive = self.alive and since_best < _PATIENCE


def choose(data, recipes, judging, criterion, backend, progress, prune, deadline=None):
    """Return the Choice with the best score over recipes and rounds.

    Of equal scores the earlier round, and then the earlier recipe, wins. All recipes
    have the same intercept and the same number of rounds.

    Parameters
    ----------
    data : Data
    recipes : list of Recipe
    judging : HoldOut, LeaveOneOut or ValidationSet
    criterion : object
        Its ``score(outputs, targets, weight)`` is to be large.
    backend : backend
    progress : Progress
    prune : callable
        Of (paths, number of the round): ends paths that have no chance.
    deadline : float, default=None
        When to stop, by ``time.perf_counter``, once there is a score.
    """
    judges, n_parts = judging.start(data, recipes[0].fit_intercept, backend)
    paths = [
        _Path(recipe, n_parts, progress.open("candidate", recipe.max_iter + 1))
        for recipe in recipes
    ]
    best, best_score, history = None, -np.inf, []
    for number in range(recipes[0].max_iter + 1):
        for candidate, path in enumerate(paths):
            late = best is not None and deadline is not None
            if not path.alive or (late and perf_counter() > deadline):
                continue
            outputs, model = path.step(number, judging, backend)
            if outputs is None and not path.alive:
                outputs, model = path.score_now(number, model, judging, backend)
            if outputs is None:
                continue
            score = criterion.score(outputs, judges.targets, judges.weight)
            path.record(score)
            history.append((candidate, _row(path.recipe, number, score)))
            if best is None or score > best_score:
                best_score = score
                chosen = replace(path.recipe, max_iter=number)
                best = Choice(chosen, outputs, judges, model)
        prune(paths, number)
    for path in paths:
        path.task.close()
    candidates, rows = zip(*history, strict=True)
    best.history, best.candidates = _table(rows), np.array(candidates)
    return best


def drop_ridges(paths, number):
    """End all but the best ridges of each kernel after round 0."""
    if number > 0:
        return
    by_kernel = {}
    for path in paths:
        if path.scores:
            by_kernel.setdefault(id(path.recipe.kernel), []).append(path)
    for rivals in by_kernel.values():
        _keep(rivals, _RIDGES_AFTER_ROUND_0)


def halve(paths, number):
    """End the worse half of the paths that are still alive, down to a few.

    What a kernel does before any metric is learned says little, so all have a round.
    """
    if number == 0:
        return
    alive = [path for path in paths if path.alive and path.scores]
    _keep(alive, max(_LEAST_RIVALS, (len(alive) + 1) // 2))


def _keep(rivals, count):
    """End all but so many of the rivals with the best scores."""
    rivals = sorted(rivals, key=lambda path: -max(path.scores))
    for path in rivals[count:]:
        path.alive = False


def history_of(recipe, last):
    """Return the history of a recursion that nothing judged: scores are NaN."""
    return _table([_row(recipe, number, np.nan) for number in range(last + 1)])


def _row(recipe, number, score):
    return repr(recipe.kernel), recipe.alpha, number, score


def _table(rows):
    names = ("kernel", "alpha", "iter", "score")
    columns = zip(*rows, strict=True)
    return {name: np.array(c) for name, c in zip(names, columns, strict=True)}
