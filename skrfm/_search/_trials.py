"""One candidate on its way through the rounds, and which candidates end early."""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from .._recursion import Candidate, Start

# rounds without a better score after which a candidate ends
_PATIENCE = 2
# `halve` leaves at least so many candidates
_LEAST_HALVED = 4
# Standard errors of the paired difference by which a candidate must lose to end: to
# one that differs in the ridge, and to any other, which a learned metric may overtake.
_RIDGE_ERRORS, _OTHER_ERRORS = 2.0, 4.0


@dataclass(frozen=True)
class TrialResult:
    """A candidate at its best round, which is its `max_iter`.

    Attributes
    ----------
    score : float
    candidate : Candidate
    outputs : ndarray of shape (m, c)
        Outputs on the validation rows.
    losses : ndarray of shape (m,) or None
        Losses of these rows.
    start : Start
        Where to begin with all rows: the best round, with its metric, if the trial has
        one part only; else round 0.
    before : Start
        Where to begin with more rows, to go on: the round before.
    """

    score: float
    candidate: Candidate
    outputs: np.ndarray
    losses: np.ndarray | None = None
    start: Start = Start()
    before: Start = Start()


class Trial:
    """One candidate on its way through the rounds.

    Parameters
    ----------
    candidate : Candidate
    start : Start
    n_parts : int
        Number of parts of the data, which have metrics of their own.
    progress : progress of one run
    warm : bool
        Whether fits to other rows may go on from its metrics.
    """

    def __init__(self, candidate, start, n_parts, progress, *, warm):
        self.candidate, self.start, self.progress = candidate, start, progress
        self.metrics = [start.metric] * n_parts
        self.scores: list[float] = []
        self.best: TrialResult | None = None
        self.active = True
        self._starts, self._warm = {}, warm

    def fit_round(self, number, judging, backend):
        """Fit the next round; return its outputs, its model and the seconds it took.

        Outputs are None where the round is not scored. A round that turns out to be
        the last, where only last rounds are scored, is fitted again as such.
        """
        began = perf_counter()
        if self._warm:
            self._starts[number] = Start(number, self.metrics[0])
        with self.progress.round() as task:
            outputs, self.metrics, model = judging.fit_round(
                self.candidate, number, self.metrics, backend
            )
            task.result = model
        ended = number == self.candidate.max_iter or None in self.metrics
        self.active = not (ended or task.stop)
        if outputs is None and not self.active:
            last = replace(self.candidate, max_iter=number)
            metrics = [model.metric]
            outputs, _, model = judging.fit_round(last, number, metrics, backend)
        return outputs, model, perf_counter() - began

    def record(self, score, losses, number, outputs):
        """Record a score; end after rounds without a better one."""
        self.scores.append(score)
        if self.best is None or score > self.best.score:
            at_round = replace(self.candidate, max_iter=number)
            start = self._starts.get(number, Start())
            before = self._starts.get(number - 1, start)
            self.best = TrialResult(
                score, at_round, outputs, losses, start=start, before=before
            )
        since_best = len(self.scores) - 1 - int(np.argmax(self.scores))
        self.active = self.active and since_best < _PATIENCE


def path_of(candidate):
    """Return what a candidate shares with those that differ in the ridge only."""
    kernel = candidate.kernel
    norm = repr(kernel) if kernel.of_inner_products else kernel.norm_order
    return norm, kernel.coordinatewise, candidate.diagonal, candidate.scaling


# -- which trials end -----------------------------------------------------------------


def relative_loss(trial, best, weight):
    """Return the mean loss of a trial divided by that of another."""
    own, other = weight @ trial.best.losses, weight @ best.best.losses
    return float(own / other) if other > 0 else np.inf


def drop_worse(trials, number, weight):
    """End trials that lose clearly, by the paired differences of their losses.

    Round 0 ends none: its scores, before any metric, say little about later rounds.
    """
    scored = [trial for trial in trials if trial.best is not None]
    if number == 0 or not scored:
        return
    best = max(scored, key=_best_score)
    for trials_of_path in by_path(scored).values():
        best_of_path = max(trials_of_path, key=_best_score)
        for trial in trials_of_path:
            errors = standard_errors(trial, best_of_path, weight)
            lost = errors > _RIDGE_ERRORS
            lost = lost or standard_errors(trial, best, weight) > _OTHER_ERRORS
            trial.active = trial.active and not lost


def standard_errors(trial, best, weight):
    """Return by how many standard errors the losses of a trial exceed others.

    A row of weight k counts as k rows.
    """
    excess, total = trial.best.losses - best.best.losses, weight.sum()
    mean = weight @ excess / total
    error = np.sqrt(weight @ (excess - mean) ** 2) / total
    if mean <= 0:
        return 0.0
    return float(mean / error) if error > 0 else np.inf


def by_path(trials):
    """Return ``{path: trials}``: those that differ in the ridge only are together."""
    paths = {}
    for trial in trials:
        paths.setdefault(path_of(trial.candidate), []).append(trial)
    return paths


def halve(trials, number, weight=None):
    """End the worse half of the trials that are still active, down to a few.

    Round 0 ends none: its scores, before any metric, say little about later rounds.
    """
    if number == 0:
        return
    active = [trial for trial in trials if trial.active and trial.scores]
    count = max(_LEAST_HALVED, (len(active) + 1) // 2)
    for trial in sorted(active, key=_best_score, reverse=True)[count:]:
        trial.active = False


def _best_score(trial):
    return max(trial.scores)
