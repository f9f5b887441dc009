"""When a completion is done, by what is observed only.

With a given ridge the iterates go on until they stop changing. Without one, two
questions are asked of the entries: can a low-rank matrix match them exactly? If not,
they are noisy, and a hidden part of them tells how far to go.
"""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.metrics import r2_score

from .._entries import degrees_of_freedom
from ._iterates import Schedule, Smoothing, zero_iterate
from ._loss import mean_square
from ._rows import fitted_rows, row_model

# iterates without a better score before a search gives up
_PATIENCE = {"squared": 10, "huber": 30}
# a search for an exact fit that keeps all of `max_rank` gives up once ε fell so far
_HOPELESS = {"squared": 0.1, "huber": 1e-3}
# the share of the first ε below which Huber's loss may end at a match
_SETTLED = 1e-4
# scores within this share of the best are equal
_EQUAL = 1e-3
# λ over ε^(4 power) while a match is looked for, and in the search with noise
_MATCH_COUPLING = {"squared": 0.0, "huber": 0.5}
_DECAY = {"squared": 0.95, "huber": 0.9}
# of the search with noise, which begins at the second singular value
_HIDE = {
    "squared": {"coupling": 0.5, "decay": 0.7, "first": 1},
    "huber": {"coupling": 1.0, "decay": 0.9, "first": None},
}
# the same for graded iterates, whose scores are smooth and which cost more
_GRADED = {"coupling": 0.25, "decay": 0.8, "first": 1}
_GRADED_PATIENCE = 3
# with fewer entries none are hidden
_FEW = 10
# with a ridge, ε falls faster, and ends where its square is this share of λ
_FLOOR_OF_RIDGE = 1e-2
_RIDGE_DECAY = 0.8


@dataclass(frozen=True)
class Problem:
    """What is to be solved, and how.

    `graded` is a solver whose iterates are graded, or None to leave them out.
    """

    solver: object
    graded: object
    power: float
    alpha: object
    max_rank: int
    loss: str
    max_iter: int
    tol: float
    floor: float
    validation_fraction: float
    seed: int

    def smoothing(self, **options):
        """Return the Smoothing of this problem."""
        options = {"decay": _DECAY[self.loss], "floor": self.floor} | options
        return Smoothing(power=self.power, **options)

    def iterates(self, entries, smoothing):
        """Yield Iterates without end."""
        random_state = np.random.RandomState(self.seed)
        rank = min(self.max_rank, *entries.shape)
        return self.solver(entries, smoothing, rank, self.loss, random_state)


@dataclass
class Completion:
    """The last iterate and what is known of it.

    `converged` says that it is what was looked for, `exact` that it matches the
    entries; `validation_score` is R² on hidden entries, NaN where none were hidden.
    """

    iterate: object
    smoothing: Smoothing
    converged: bool
    exact: bool = False
    validation_score: float = np.nan
    history: list = field(default_factory=list)


def complete(entries, problem, progress):
    """Return the Completion of the entries."""
    if not entries.values.any():
        history = [("match", 0, 0.0, 0, 0.0)]
        nothing = zero_iterate(entries), problem.smoothing(), True, True
        return Completion(*nothing, history=history)
    if problem.alpha != "auto":
        return _with_ridge(entries, problem, progress)
    found = _match(entries, problem, progress)
    if found.exact or len(entries) < _FEW:
        return found
    searches = _far_enough(entries, problem, progress)
    final = _follow(entries, min(searches, key=lambda hidden: hidden.error), progress)
    tried = (row for hidden in searches for row in hidden.history)
    final.history = found.history + list(tried) + final.history
    return final


def _run(name, entries, problem, smoothing, judge, progress):
    """Iterate until the judge, or a callback, says stop; return a Completion.

    The judge maps an Iterate to (score, whether to stop); its `converged` and `exact`
    say how it ended.
    """
    history = []

    def judged():
        for iterate in problem.iterates(entries, smoothing):
            score, stop = judge(iterate)
            history.append((name, iterate.number, iterate.eps, iterate.rank, score))
            iterate.last = stop or iterate.number + 1 >= problem.max_iter
            iterate.entries = entries
            yield iterate

    watched = progress.open(name, problem.max_iter).watch(judged())
    iterate = deque(watched, maxlen=1).pop()
    return Completion(iterate, smoothing, judge.converged, judge.exact, history=history)


def _with_ridge(entries, problem, progress):
    """Iterate at a given ridge until the matrix no longer changes."""
    end = (_FLOOR_OF_RIDGE * problem.alpha) ** (1 / (4 * problem.power))
    floor = max(end, problem.floor)
    smoothing = problem.smoothing(ridge=problem.alpha, floor=floor, decay=_RIDGE_DECAY)
    judge = _AtRest(entries, problem, smoothing.floor)
    return _run("fit", entries, problem, smoothing, judge, progress)


def _match(entries, problem, progress):
    """Look for a matrix of low rank that matches the entries."""
    judge = _Matching(entries, problem)
    smoothing = problem.smoothing(coupling=_MATCH_COUPLING[problem.loss])
    return _run("match", entries, problem, smoothing, judge, progress)


def _far_enough(entries, problem, progress):
    """Hide some of the entries, and find the ε at which they are predicted best.

    Return a _Search of low rank, and if the problem has them one of graded iterates.
    """
    random_state = np.random.RandomState(problem.seed)
    mask = entries.hide(problem.validation_fraction, random_state)
    parts = entries.select(~mask), entries.select(mask)
    searches = [_Search.run("hide", *parts, problem, _HIDE[problem.loss], progress)]
    shown = parts[0]
    if problem.graded is not None and shown.less(shown.column_means()).values.any():
        full = replace(problem, solver=problem.graded, max_rank=min(entries.shape))
        searches.append(_Search.run("graded", *parts, full, _GRADED, progress))
    return searches


@dataclass
class _Search:
    """How far to go, as hidden entries tell, and the least error on them."""

    problem: Problem
    smoothing: Schedule
    error: float
    r2: float
    converged: bool
    history: list

    @classmethod
    def run(cls, name, shown, hidden, problem, smoothing, progress):
        """Iterate until hidden entries are no longer predicted better."""
        judge = _Predicting(hidden, problem)
        smoothing = problem.smoothing(**smoothing)
        found = _run(name, shown, problem, smoothing, judge, progress)
        predicted = judge.predicted()
        values = tuple(row[2] for row in found.history[: judge.iterate.number + 1])
        return cls(
            replace(problem, max_rank=judge.rank()),
            Schedule(**vars(smoothing), values=values),
            judge.error(predicted),
            judge.r2(predicted),
            found.converged,
            found.history,
        )


def _follow(entries, search, progress):
    """Go as far with all entries as was best with some of them hidden."""
    steps = len(search.smoothing.values)
    judge = _Following(entries, search.problem, steps, search.converged)
    final = _run("fit", entries, search.problem, search.smoothing, judge, progress)
    final.validation_score = search.r2
    return final


class _Judge:
    """Says how good an iterate is and whether to stop."""

    def __init__(self, entries, problem):
        self.entries, self.problem = entries, problem
        self.converged = self.exact = False
        self._variance = np.average(entries.values**2, weights=entries.weight)

    def _rest(self, iterate):
        """Return the root mean square of the residuals over that of the values."""
        square = mean_square(iterate.weight, iterate.residuals, self.problem.loss)
        return float(np.sqrt(square / self._variance))


class _AtRest(_Judge):
    """Stops where iterates have come to rest at the least ε, or match the entries.

    The distance still to go is estimated from the last two changes, as Aitken does:
    small steps of a slow sequence do not count as rest.
    """

    def __init__(self, entries, problem, floor):
        super().__init__(entries, problem)
        self._floor, self._last, self._change = floor, None, np.inf

    def __call__(self, iterate):
        rest = self._rest(iterate)
        self.exact = rest <= self.problem.tol
        settled = iterate.eps <= 1.01 * self._floor * iterate.s[0]
        still = self._to_go(iterate) <= self.problem.tol
        self.converged = self.exact or (settled and still)
        return rest, self.converged

    def _to_go(self, iterate):
        if self._last is None:
            self._last = iterate
            return np.inf
        before, self._change = self._change, iterate.distance(self._last)
        self._last = iterate
        rate = min(self._change / before, 0.999) if before > 0 else 0.0
        return self._change * max(1.0, rate / (1 - rate))


class _Matching(_Judge):
    """Stops at a match of the entries, or where generalised cross-validation gives up.

    The score is the mean square of the residuals over (1 − degrees of freedom per
    entry)².
    """

    def __init__(self, entries, problem):
        super().__init__(entries, problem)
        self._best, self._first, self._first_eps = (np.inf, 0), None, None

    def __call__(self, iterate):
        rest, rank, count = self._rest(iterate), iterate.rank, len(self.entries)
        self._first_eps = self._first_eps or iterate.eps
        free = 1 - degrees_of_freedom(rank, self.entries.shape) / count
        score = rest**2 / free**2 if free > 0 else np.inf
        matched = rest <= self.problem.tol
        if self.problem.loss == "huber":  # a few entries may be matched too early
            matched &= iterate.eps <= _SETTLED * self._first_eps
        self.exact = self.converged = matched and free > 0
        self._first = self._first or rest**2
        if score < (1 - _EQUAL) * self._best[0]:
            self._best = score, iterate.number
        saturated = rank >= min(self.problem.max_rank, *self.entries.shape)
        hopeless = (
            saturated and iterate.eps < _HOPELESS[self.problem.loss] * self._first_eps
        )
        since = iterate.number - self._best[1]
        stale = since >= _PATIENCE[self.problem.loss] and (
            self._best[0] < 0.5 * self._first
        )
        return score, matched or hopeless or stale


class _Predicting(_Judge):
    """Stops where hidden entries are no longer predicted better."""

    def __init__(self, entries, problem):
        super().__init__(entries, problem)
        self._best, self.iterate = np.inf, None

    def __call__(self, iterate):
        score = self._score(self.entries.values - iterate.products(self.entries))
        if score < (1 - _EQUAL) * self._best:
            self._best, self.iterate = score, iterate
        since = iterate.number - self.iterate.number
        graded = iterate.graded
        patience = _GRADED_PATIENCE if graded else _PATIENCE[self.problem.loss]
        self.converged = since >= patience
        return score, self.converged

    def _score(self, errors):
        """Return the root mean square of errors; for Huber's loss, their mean size."""
        if self.problem.loss == "huber":
            return float(np.average(np.abs(errors), weights=self.entries.weight))
        return float(np.average(errors**2, weights=self.entries.weight) ** 0.5)

    def rank(self):
        """Return the least rank at which the best iterate is about as good."""
        best, entries = self.iterate, self.entries
        if best.graded:
            return best.rank
        errors, scores = entries.values.copy(), []
        for j in range(best.rank):
            errors -= entries.products(
                best.U[:, j, None] * best.s[j], best.V[:, j, None]
            )
            scores.append(self._score(errors))
        return 1 + int(np.argmax(np.array(scores) <= (1 + _EQUAL) * min(scores)))

    def predicted(self):
        """Return the hidden entries as a fit that ended here would predict them.

        Its rows are solved for with the metric of the best iterate.
        """
        iterate, exponent = self.iterate, 2 * self.problem.power
        model = row_model(iterate, exponent, self.problem.loss)
        rows = fitted_rows(iterate, exponent, model)
        return iterate.add_mean(self.entries, self.entries.products(rows, model[0]))

    def error(self, predicted):
        """Return the score of predictions; graded ones have to be clearly better."""
        error = self._score(self.entries.values - predicted)
        return error * (1 + _EQUAL * self.iterate.graded)

    def r2(self, predicted):
        """Return R² of predictions of the hidden entries."""
        arrays = self.entries.values, predicted, self.entries.weight
        values, predicted, weight = map(self.entries.to_numpy, arrays)
        if np.ptp(values) == 0:
            return np.nan
        return r2_score(values, predicted, sample_weight=weight)


class _Following(_Judge):
    """Stops after as many iterates as are scheduled."""

    def __init__(self, entries, problem, steps, converged):
        super().__init__(entries, problem)
        self._steps, self._converged = steps, converged

    def __call__(self, iterate):
        done = iterate.number + 1 >= self._steps
        self.converged = done and self._converged
        return self._rest(iterate), done
