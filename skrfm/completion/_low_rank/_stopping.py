"""Stopping rules: when the iterates of a stage end, from observed entries only.

A rule maps an iterate to its score, and to whether the stage ends with it.
"""

import numpy as np
from sklearn.metrics import r2_score

from ..._backend import Array
from .._entries import Entries, degrees_of_freedom
from ._iterates import Iterate
from ._loss import mean_square, robust_deviation
from ._problem import Problem

# Iterates without a better score before a stage ends: more of them take time, fewer may
# end it at a plateau.
_PATIENCE = {"squared": 10, "huber": 30}
# The same with a full spectrum, whose scores are smooth and whose iterates cost more.
_FULL_SPECTRUM_PATIENCE = 3
# No match is expected once the rank is `max_rank` and ε is below this share of the
# first ε.
_NO_MATCH_BELOW = {"squared": 0.1, "huber": 1e-3}
# With Huber's loss a few entries may be matched too early, so that a match also needs ε
# below this share of the first ε.
_HUBER_MATCH_BELOW = 1e-4
# Scores that differ by less than this share are equal: the least rank is then kept.
_EQUAL = 1e-3
# Iterates of averages of draws, whose number doubles: 80 draws. On ratings 160 draws
# lower the error by .002 to .004.
_N_AVERAGES = 4
# Averages that differ by less than this share of the noise are equal.
_EQUAL_AVERAGES = 0.01
# The largest ratio of successive changes that is extrapolated: bounds the estimate.
_MAX_RATE = 0.999


class StoppingRule:
    """The base of the rules.

    Parameters
    ----------
    entries : Entries
        The entries that iterates are compared with.
    problem : Problem

    Attributes
    ----------
    converged : bool
        Whether the last iterate is what the stage was looking for.
    exact : bool
        Whether the last iterate matches the entries.
    """

    def __init__(self, entries: Entries, problem: Problem):
        self.entries, self.problem = entries, problem
        self.converged = self.exact = False
        # half of the entries may be zero, whose median is no unit
        bulk = problem.loss == "absolute" and robust_deviation(entries.values) > 0
        loss = "absolute" if bulk else "squared"
        self._mean_square = mean_square(entries.weight, entries.values, loss)

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the score of an iterate, and whether the stage ends with it."""
        raise NotImplementedError

    def _relative_residual(self, iterate: Iterate) -> float:
        """Return the root mean square of the residuals over that of the values."""
        square = mean_square(iterate.weight, iterate.residuals, self.problem.loss)
        return float(np.sqrt(square / self._mean_square))


class ConvergenceRule(StoppingRule):
    """Stops where the iterates have converged at the least ε, or match the entries.

    The distance to the limit is extrapolated from the last two changes, as in Aitken's
    method: small steps of a slow sequence do not count as convergence.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    floor : float
        The least ε relative to σ_1.
    """

    def __init__(self, entries: Entries, problem: Problem, floor: float):
        super().__init__(entries, problem)
        self._floor = floor
        self._previous: Iterate | None = None
        self._change = np.inf

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the relative residual, and whether the stage ends."""
        residual = self._relative_residual(iterate)
        self.exact = residual <= self.problem.tol
        at_floor = iterate.eps <= 1.01 * self._floor * iterate.s[0]
        near_limit = self._distance_to_limit(iterate) <= self.problem.tol
        self.converged = self.exact or (at_floor and near_limit)
        return residual, self.converged

    def _distance_to_limit(self, iterate: Iterate) -> float:
        """Return the estimated relative distance of an iterate to the limit."""
        previous, self._previous = self._previous, iterate
        if previous is None:
            return np.inf
        before, self._change = self._change, iterate.distance(previous)
        rate = min(self._change / before, _MAX_RATE) if before > 0 else 0.0
        return self._change * max(1.0, rate / (1 - rate))


class CrossValidationRule(StoppingRule):
    """Stops at a match of the entries, or where generalised cross-validation is worse.

    The score is the mean square of the residuals over (1 − degrees of freedom per
    entry)².
    """

    def __init__(self, entries: Entries, problem: Problem):
        super().__init__(entries, problem)
        self._best_score, self._best_number = np.inf, 0
        self._first_square = self._first_eps = 0.0

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the cross-validation score, and whether the stage ends."""
        residual = self._relative_residual(iterate)
        if self._first_square == 0:
            self._first_square = residual**2
        if iterate.number == 0:
            self._first_eps = iterate.eps
        freedom = degrees_of_freedom(iterate.rank, self.entries.shape)
        share_left = 1 - freedom / len(self.entries)
        score = residual**2 / share_left**2 if share_left > 0 else np.inf
        if score < (1 - _EQUAL) * self._best_score:
            self._best_score, self._best_number = score, iterate.number
        matched = self._matches(residual, iterate)
        self.exact = self.converged = matched and share_left > 0
        stop = matched or self._no_match(iterate) or self._is_past_best(iterate)
        return score, stop

    def _matches(self, residual: float, iterate: Iterate) -> bool:
        """Return whether an iterate matches the entries."""
        matched = residual <= self.problem.tol
        if self.problem.loss == "huber":
            matched &= iterate.eps <= _HUBER_MATCH_BELOW * self._first_eps
        return matched

    def _no_match(self, iterate: Iterate) -> bool:
        """Return whether the rank is as large as allowed and ε already small."""
        largest = min(self.problem.max_rank, *self.entries.shape)
        small = iterate.eps < _NO_MATCH_BELOW[self.problem.loss] * self._first_eps
        return iterate.rank >= largest and small

    def _is_past_best(self, iterate: Iterate) -> bool:
        """Return whether patience ends, after a score well below the first."""
        since = iterate.number - self._best_number
        improved = self._best_score < 0.5 * self._first_square
        return since >= _PATIENCE[self.problem.loss] and improved


class FallingRule(StoppingRule):
    """Stops at a match up to a target, or where the residual no longer falls.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    target : float
        The relative residual of a match.
    patience : int
        The number of iterates in which the residual has to fall.
    share : float
        The share of itself by which it has to fall.
    first : int, default=0
        Iterates that never end the stage.
    """

    def __init__(
        self,
        entries: Entries,
        problem: Problem,
        *,
        target: float,
        patience: int,
        share: float,
        first: int = 0,
    ):
        super().__init__(entries, problem)
        self._target, self._patience = target, patience
        self._factor, self._first = 1 - share, first
        self._residuals: list[float] = []

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the relative residual, and whether the stage ends."""
        residual = self._relative_residual(iterate)
        self._residuals.append(residual)
        freedom = degrees_of_freedom(iterate.rank, self.entries.shape)
        determined = freedom < len(self.entries)
        self.exact = self.converged = residual <= self._target and determined
        stalled = iterate.number >= max(self._first, self._patience) and (
            residual > self._factor * self._residuals[-1 - self._patience]
        )
        return residual, self.exact or stalled


class HoldOutRule(StoppingRule):
    """Stops where hidden entries are no longer predicted better.

    Parameters
    ----------
    entries : Entries
        The hidden entries.
    problem : Problem

    Attributes
    ----------
    best : Iterate
        The iterate that predicts them best.
    """

    best: Iterate

    def __init__(self, entries: Entries, problem: Problem):
        super().__init__(entries, problem)
        self._best_score = np.inf

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the error on the hidden entries, and whether the stage ends."""
        score = self._score(self.entries.values - iterate.products(self.entries))
        if score < (1 - _EQUAL) * self._best_score:
            self._best_score, self.best = score, iterate
        patience = _PATIENCE[self.problem.loss]
        if iterate.full_spectrum:
            patience = _FULL_SPECTRUM_PATIENCE
        self.converged = iterate.number - self.best.number >= patience
        return score, self.converged

    def _score(self, errors: Array) -> float:
        """Return the root mean square of errors; for Huber's loss, their mean size."""
        if self.problem.loss == "huber":
            return float(np.average(np.abs(errors), weights=self.entries.weight))
        return float(np.average(errors**2, weights=self.entries.weight) ** 0.5)

    def rank(self) -> int:
        """Return the least rank at which the best iterate predicts as well."""
        best, entries = self.best, self.entries
        if best.full_spectrum:
            return best.rank
        errors, scores = entries.values.copy(), []
        for j in range(best.rank):
            left, right = best.U[:, j, None] * best.s[j], best.V[:, j, None]
            errors -= entries.products(left, right)
            scores.append(self._score(errors))
        return 1 + int(np.argmax(np.array(scores) <= (1 + _EQUAL) * min(scores)))

    def error(self, predicted: Array) -> float:
        """Return the score of predictions, to be compared with other solvers.

        Those of a full spectrum have to be clearly better than those of a low rank.
        """
        error = self._score(self.entries.values - predicted)
        return error * (1 + _EQUAL) if self.best.full_spectrum else error

    def r2(self, predicted: Array) -> float:
        """Return R² of predictions of the hidden entries, NaN if all are equal."""
        values = self.entries.to_numpy(self.entries.values)
        if np.ptp(values) == 0:
            return np.nan
        weight = self.entries.to_numpy(self.entries.weight)
        return r2_score(values, self.entries.to_numpy(predicted), sample_weight=weight)


class AverageRule(StoppingRule):
    """Stops where averages of draws no longer change, or after a number of iterates."""

    _previous: Iterate | None = None

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the relative residual, and whether the stage ends."""
        previous, self._previous = self._previous, iterate
        same = False
        if previous is not None and iterate.averages is not None:
            change = iterate.distance(previous) * np.linalg.norm(iterate.s)
            least = iterate.averages.noise * np.prod(iterate.entries.shape, dtype=float)
            same = change <= _EQUAL_AVERAGES * np.sqrt(least)
        self.converged = bool(same or iterate.number + 1 >= _N_AVERAGES)
        return self._relative_residual(iterate), self.converged


class FixedStepsRule(StoppingRule):
    """Stops after a given number of iterates.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    n_steps : int
        The number of iterates.
    converged : bool
        Whether the search that chose this number had converged.
    """

    def __init__(
        self, entries: Entries, problem: Problem, *, n_steps: int, converged: bool
    ):
        super().__init__(entries, problem)
        self._n_steps, self._search_converged = n_steps, converged

    def __call__(self, iterate: Iterate) -> tuple[float, bool]:
        """Return the relative residual, and whether the stage ends."""
        done = iterate.number + 1 >= self._n_steps
        self.converged = done and self._search_converged
        return self._relative_residual(iterate), done
