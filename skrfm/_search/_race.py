"""The choice of round, ridge and kernel on validation rows: a race of candidates.

All candidates are fitted side by side, round by round, on one or more parts of the
data, and their outputs on the validation rows are scored together. Candidates that have
no chance end early: of the ridges of a kernel the two best at round 0 continue, and a
candidate ends after two rounds without a better score.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from .._recursion import Candidate, Round
from ..agop import FeatureMetric
from ._criteria import Criterion
from ._judging import ValidationRows

# of the ridges and scalings of a kernel, how many continue after round 0
_RIDGES_AFTER_ROUND_0 = 2
# rounds without a better score after which a candidate ends
_PATIENCE = 2
# how many of the best trials keep their outputs, for an average of models
_KEPT_TRIALS = 12
# `halve` leaves at least so many candidates
_LEAST_HALVED = 4


@dataclass(frozen=True)
class Candidates:
    """The candidates of a search, in batches.

    Attributes
    ----------
    first : list of Candidate
        The first batch.
    count : int
        The number of candidates in all batches.
    next_batch : callable
        Maps the candidates so far, the best first, to the next batch; an empty one
        ends the search.
    """

    first: list[Candidate]
    count: int
    next_batch: Callable[[list[Candidate]], list[Candidate]] = lambda candidates: []


@dataclass(frozen=True)
class TrialResult:
    """A candidate at its best round, which is its `max_iter`: score and outputs."""

    score: float
    candidate: Candidate
    outputs: np.ndarray


@dataclass
class Choice:
    """The chosen candidate and what it was compared with.

    Attributes
    ----------
    candidate : Candidate
        The chosen candidate; its `max_iter` is the chosen round.
    outputs : ndarray of shape (m, c)
        Its outputs on the validation rows.
    validation_rows : ValidationRows
    model : Round or None
        The fitted round, if it was fitted to all rows.
    history : dict of ndarrays
        One entry per score.
    candidates : list of Candidate
        All candidates.
    candidate_numbers : ndarray of int
        For each entry of the history, the index of its candidate.
    best_trials : list of TrialResult
        The best trials, the chosen one first.
    """

    candidate: Candidate
    outputs: np.ndarray
    validation_rows: ValidationRows
    model: Round | None = None
    history: dict[str, np.ndarray] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    candidate_numbers: np.ndarray | None = None
    best_trials: list[TrialResult] = field(default_factory=list)

    def outputs_of_rows(self, n):
        """Return the outputs (n, c) of all rows: NaN for those not validated on.

        None where the validation rows are not among the rows that are fitted.
        """
        rows = self.validation_rows.rows
        if rows is None:
            return None
        total, count = np.zeros((n, self.outputs.shape[1])), np.zeros(n)
        np.add.at(total, rows, self.outputs)
        np.add.at(count, rows, 1)
        count[count == 0] = np.nan
        return total / count[:, None]


class _Trial:
    """One candidate on its way through the rounds."""

    def __init__(self, candidate, n_parts, progress):
        self.candidate, self.progress = candidate, progress
        self.metrics: list[FeatureMetric | None] = [FeatureMetric()] * n_parts
        self.scores: list[float] = []
        self.best: TrialResult | None = None
        self.active = True

    def fit_round(self, number, judging, backend):
        """Fit the next round; return its outputs, None if not scored, and its model.

        A round that turns out to be the last, where only last rounds are scored, is
        fitted again as such.
        """
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
        return outputs, model

    def record(self, score, number, outputs):
        """Record a score; end after rounds without a better one."""
        self.scores.append(score)
        if self.best is None or score > self.best.score:
            at_round = replace(self.candidate, max_iter=number)
            self.best = TrialResult(score, at_round, outputs)
        since_best = len(self.scores) - 1 - int(np.argmax(self.scores))
        self.active = self.active and since_best < _PATIENCE


class _Race:
    """Trials fitted side by side in one or more batches, and the best so far."""

    def __init__(self, judging, rules, *, backend, progress):
        self.judging, self.rules = judging, rules
        self.backend, self.progress = backend, progress
        self.trials: list[_Trial] = []
        self.best: Choice | None = None
        self.best_score = -np.inf
        self.history: list[tuple[int, tuple]] = []

    def prepare(self, data, fit_intercept):
        """Prepare the rows that are fitted and the validation rows."""
        prepared = self.judging.prepare(data, fit_intercept, self.backend)
        self.validation_rows, self.n_parts = prepared

    def run_batch(self, candidates):
        """Fit a batch of candidates round by round."""
        first, n_rounds = len(self.trials), candidates[0].max_iter + 1
        for candidate in candidates:
            progress = self.progress.open("candidate", n_rounds)
            self.trials.append(_Trial(candidate, self.n_parts, progress))
        batch = self.trials[first:]
        for number in range(n_rounds):
            for index, trial in enumerate(batch, first):
                if trial.active and not self.is_over():
                    outputs, model = trial.fit_round(number, self.judging, self.backend)
                    if outputs is not None:
                        self._score(index, number, outputs, model)
            self.rules.prune(batch, number)
        for trial in batch:
            trial.progress.close()
        for trial in self._scored_trials()[_KEPT_TRIALS:]:
            trial.best = None  # frees its outputs, as large as the validation rows

    def _scored_trials(self):
        return sorted((trial for trial in self.trials if trial.best), key=_result_order)

    def is_over(self):
        """Return whether the deadline has passed and there is a score."""
        deadline = self.rules.deadline
        late = deadline is not None and perf_counter() > deadline
        return late and self.best is not None

    def _score(self, index, number, outputs, model):
        """Score a round of the trial with some index, and record it."""
        trial, rows = self.trials[index], self.validation_rows
        score = self.rules.criterion.score(outputs, rows.targets, rows.weight)
        trial.record(score, number, outputs)
        self.history.append((index, _history_entry(trial.candidate, number, score)))
        if self.best is None or score > self.best_score:
            self.best_score = score
            chosen = replace(trial.candidate, max_iter=number)
            self.best = Choice(chosen, outputs, rows, model=model)

    def ranked_candidates(self):
        """Return all candidates that have a score, the best first."""
        scored = [trial for trial in self.trials if trial.scores]
        return [trial.candidate for trial in sorted(scored, key=_negative_best_score)]

    def choice(self):
        """Return the Choice."""
        assert self.best is not None, "the first candidate is always scored"
        numbers, entries = zip(*self.history, strict=True)
        kept = self._scored_trials()[:_KEPT_TRIALS]
        return replace(
            self.best,
            history=_table(entries),
            candidates=[trial.candidate for trial in self.trials],
            candidate_numbers=np.array(numbers),
            best_trials=[trial.best for trial in kept],
        )


@dataclass(frozen=True)
class SearchRules:
    """How candidates are scored, and when they end.

    Attributes
    ----------
    criterion : Criterion
    prune : callable
        Called with the trials of a batch and the number of a round; it ends trials
        that have no chance.
    deadline : float or None
        When to stop, by ``time.perf_counter``, once there is a score.
    """

    criterion: Criterion
    prune: Callable[[list, int], None]
    deadline: float | None = None


def choose(data, candidates, judging, rules, *, backend, progress):
    """Return the Choice with the best score over candidates and rounds.

    Of equal scores the earlier round, and then the earlier candidate, wins. All
    candidates have the same intercept and the same number of rounds.

    Parameters
    ----------
    data : Data
    candidates : Candidates or RandomCandidates
    judging : Judging
    rules : SearchRules
    backend : Backend
    progress : Progress
    """
    batch = candidates.first
    race = _Race(judging, rules, backend=backend, progress=progress)
    race.prepare(data, batch[0].fit_intercept)
    while batch and not race.is_over():
        race.run_batch(batch)
        batch = candidates.next_batch(race.ranked_candidates())
    return race.choice()


def drop_ridges(trials, number):
    """End all but the best ridges and scalings of each kernel after round 0."""
    if number > 0:
        return
    by_kernel: dict[int, list[Any]] = {}
    for trial in trials:
        if trial.scores:
            by_kernel.setdefault(id(trial.candidate.kernel), []).append(trial)
    for trials_of_kernel in by_kernel.values():
        _keep_best(trials_of_kernel, _RIDGES_AFTER_ROUND_0)


def halve(trials, number):
    """End the worse half of the trials that are still active, down to a few.

    Round 0 ends none: its scores, before any metric, say little about later rounds.
    """
    if number == 0:
        return
    active = [trial for trial in trials if trial.active and trial.scores]
    _keep_best(active, max(_LEAST_HALVED, (len(active) + 1) // 2))


def _keep_best(trials, count):
    """End all but `count` of the trials, those with the best scores."""
    for trial in sorted(trials, key=_negative_best_score)[count:]:
        trial.active = False


def _negative_best_score(trial):
    return -max(trial.scores)


def _result_order(trial):
    """Sort by the score, then by its round: the best first."""
    return -trial.best.score, trial.best.candidate.max_iter


def unscored_history(candidate, last):
    """Return the history of a recursion without validation: scores are NaN."""
    rounds = range(last + 1)
    return _table([_history_entry(candidate, number, np.nan) for number in rounds])


def _history_entry(candidate, number, score):
    kernel = repr(candidate.kernel)
    return kernel, candidate.scaling, candidate.alpha, number, score


def _table(entries):
    names = ("kernel", "scaling", "alpha", "iter", "score")
    columns = zip(*entries, strict=True)
    return {name: np.array(c) for name, c in zip(names, columns, strict=True)}
