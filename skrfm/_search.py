"""The choice of round, ridge and kernel on rows that a fit has not seen.

Each way of judging yields, for one recipe and round after round, the outputs on
the judging rows. `choose` scores them all and returns the best.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from joblib import Parallel, delayed

from ._recursion import run


@dataclass(frozen=True)
class Judges:
    """The rows that judge: targets and weights as NumPy float64."""

    targets: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, data, backend):
        """Return the judges of some data."""
        return cls(*(_host(a, backend) for a in (data.Y, data.weight)))


@dataclass
class Choice:
    """The chosen recipe (its `max_iter` is the chosen round) and why."""

    recipe: object
    outputs: np.ndarray
    judges: Judges
    model: object = None
    history: dict = field(default_factory=dict)


def _host(a, backend):
    return backend.to_numpy(a).astype(np.float64)


class HoldOut:
    """Judged out of fold: each (train, test) pair learns a metric of its own."""

    def __init__(self, folds, n_jobs=None):
        self.folds, self.n_jobs = folds, n_jobs
        self.n_runs = len(folds)

    def judges(self, data, backend):
        """Return the pooled test rows of the folds."""
        every = np.concatenate([test for _, test in self.folds])
        return Judges.of(data.subset(every, backend), backend)

    def rounds(self, data, recipe, backend, progress):
        """Yield the pooled outputs of each round, and no model."""

        def fold(number, train, test):
            X = backend.take(data.X, test)
            outputs = []
            part = data.subset(train, backend)
            with progress.run(f"fold {number}", recipe.max_iter + 1) as task:
                for result in task.watch(run(part, recipe, backend)):
                    outputs.append(_host(result.predict(X, backend), backend))
            return outputs

        results = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(fold)(number, *pair) for number, pair in enumerate(self.folds)
        )
        for outputs in zip(*results, strict=False):
            yield np.concatenate(outputs), None


class LeaveOneOut:
    """Judged by leave-one-out residuals in closed form; the metric has seen all rows.

    With `last_only` the recipes are compared by their last round.
    """

    n_runs = 1

    def __init__(self, last_only=False):
        self.last_only = last_only

    def judges(self, data, backend):
        """Return the training rows."""
        return Judges.of(data, backend)

    def rounds(self, data, recipe, backend, progress):
        """Yield the leave-one-out outputs of each round, and its model."""
        with progress.run("leave one out", recipe.max_iter + 1) as task:
            which = "last" if self.last_only else "all"
            rounds = run(data, recipe, backend, loo=which, importances=True)
            for result in task.watch(rounds):
                if result.loo_residuals is not None:
                    yield _host(data.Y - result.loo_residuals, backend), result


class ValidationSet:
    """Judged on rows that the user gave."""

    n_runs = 1

    def __init__(self, data):
        self.data = data

    def judges(self, data, backend):
        """Return the user's rows."""
        return Judges.of(self.data, backend)

    def rounds(self, data, recipe, backend, progress):
        """Yield the outputs of each round on the user's rows, and its model."""
        with progress.run("fit", recipe.max_iter + 1, final=True) as task:
            rounds = run(data, recipe, backend, importances=True)
            for result in task.watch(rounds):
                yield _host(result.predict(self.data.X, backend), backend), result


def choose(data, recipes, judging, criterion, backend, progress):
    """Return the Choice with the best score over recipes and rounds.

    Of equal scores the earlier round, and then the earlier recipe, wins.
    """
    judges = judging.judges(data, backend)
    best, best_score = None, -np.inf
    history = []
    for recipe in recipes:
        numbered = enumerate(judging.rounds(data, recipe, backend, progress))
        for number, (outputs, model) in numbered:
            number = number if model is None else model.number
            score = criterion.score(outputs, judges.targets, judges.weight)
            history.append((repr(recipe.kernel), recipe.alpha, number, score))
            if best is None or score > best_score:
                best_score = score
                chosen = replace(recipe, max_iter=number)
                best = Choice(chosen, outputs, judges, model)
    best.history = _table(history)
    return best


def history_of(recipe):
    """Return the history of a recursion that nothing judged: scores are NaN."""
    name = repr(recipe.kernel)
    rounds = range(recipe.max_iter + 1)
    return _table([(name, recipe.alpha, number, np.nan) for number in rounds])


def _table(rows):
    names = ("kernel", "alpha", "iter", "score")
    columns = zip(*rows, strict=True)
    return {name: np.array(c) for name, c in zip(names, columns, strict=True)}
