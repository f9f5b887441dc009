"""The choice of round, ridge and kernel on validation rows: a race of candidates.

All candidates are fitted side by side, round by round, on one or more parts of the
data, and their outputs on the validation rows are scored together. Candidates that have
no chance end early.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from .._recursion import Candidate, Start
from ._budget import Budget
from ._judging import Criterion
from ._pruning import by_path
from ._trials import Choice, Trial

# how many candidates of different kernels or metrics get the other scalings, too
RESCALED = 2
# how many of the best trials keep their outputs, for an average of models
_KEPT_TRIALS = 12


@dataclass(frozen=True)
class Candidates:
    """The candidates of a search, in batches.

    Attributes
    ----------
    first : list of Candidate
        The first batch.
    count : int
        The number of candidates in all batches, and of the other scalings.
    next_batch : callable
        Maps the candidates so far, the best first, to the next batch; after an empty
        one there are no more.
    rescaled : callable
        Maps a candidate to those of the other scalings.
    neighbours : callable
        Maps a candidate to others that differ from it in one parameter that is open.
    most_neighbours : int
        How many of them there are at most.
    given_alphas : list of float
        Ridges that the user gave to choose from, in increasing order.
    """

    first: list[Candidate]
    count: int
    next_batch: Callable[[list[Candidate]], list[Candidate]] = lambda candidates: []
    rescaled: Callable[[Candidate], list[Candidate]] = lambda candidate: []
    neighbours: Callable[[Candidate], list[Candidate]] = lambda candidate: []
    most_neighbours: int = 0
    given_alphas: list[float] = field(default_factory=list)


class Race:
    """Trials fitted side by side in one or more batches, and the best so far.

    Parameters
    ----------
    judging : Judging
    rules : SearchRules
    backend : Backend
    progress : Progress
    warm : bool, default=False
        Whether fits to other rows may go on from the metrics that trials have learned.
    """

    def __init__(self, judging, rules, *, backend, progress, warm=False):
        self.judging, self.rules = judging, rules
        self.backend, self.progress, self.warm = backend, progress, warm
        self.trials: list[Trial] = []
        self.best: Choice | None = None
        self.best_score = -np.inf
        self.history: list[tuple[int, tuple]] = []

    def prepare(self, data, fit_intercept):
        """Prepare the rows that are fitted and the validation rows."""
        prepared = self.judging.prepare(data, fit_intercept, self.backend)
        self.validation_rows, self.n_parts = prepared

    def run_batch(self, entrants):
        """Fit a batch of candidates, each from its Start, round by round."""
        first = len(self.trials)
        for candidate, start in entrants:
            n_rounds = candidate.max_iter + 1 - start.number
            progress = self.progress.open("candidate", n_rounds)
            self.trials.append(Trial(candidate, start, self.n_parts, progress))
        batch = self.trials[first:]
        last = max((candidate.max_iter for candidate, _ in entrants), default=-1)
        for number in range(last + 1):
            for index, trial in enumerate(batch, first):
                begun = number >= trial.start.number
                if begun and trial.active and not self.is_over():
                    self._fit_round(index, number)
            self.rules.prune(self.trials, number, self.validation_rows.weight)
        for trial in batch:
            trial.progress.close()
        scored = self.scored_trials()
        kept = scored[:_KEPT_TRIALS] + [best[0] for best in by_path(scored).values()]
        for trial in scored:
            if trial not in kept:
                trial.best = None  # frees its outputs, as large as the validation rows

    def scored_trials(self):
        """Return the trials that have a score, the best first."""
        return sorted((trial for trial in self.trials if trial.best), key=_result_order)

    @property
    def best_trial(self):
        """The trial of the best score."""
        return self.scored_trials()[0]

    def is_over(self):
        """Return whether there is a score, and no time for another round."""
        return self.best is not None and not self.allows(self.judging.n_rows)

    def allows(self, rows):
        """Return whether there is time for a round on so many rows, then the fit."""
        budget, best = self.rules.budget, self.best
        if budget is None or best is None:
            return True
        seconds = 0.0
        if best.model is None:
            seconds = budget.seconds_of_fit(best.candidate, best.start)
        return budget.allows(seconds, rows=rows)

    def _fit_round(self, index, number):
        """Fit the next round of the trial with some index, and record its score.

        A round that turns out to be the last, where only last rounds are scored, is
        fitted again as such.
        """
        began, trial = perf_counter(), self.trials[index]
        candidate = trial.candidate
        if self.warm:
            trial.starts[number] = Start(number, trial.metrics[0])
        with trial.progress.round() as task:
            outputs, trial.metrics, model = self.judging.fit_round(
                candidate, number, trial.metrics, self.backend
            )
            task.result = model
        ended = number == candidate.max_iter or None in trial.metrics
        trial.active = not (ended or task.stop)
        if outputs is None and not trial.active:
            last = replace(candidate, max_iter=number)
            metrics = [model.metric]
            outputs, _, model = self.judging.fit_round(
                last, number, metrics, self.backend
            )
        if outputs is not None:
            self._score(index, number, outputs, model, seconds=perf_counter() - began)

    def _score(self, index, number, outputs, model, *, seconds):
        """Score a round of the trial with some index, and record it."""
        trial, rows = self.trials[index], self.validation_rows
        score, losses = self.rules.criterion.score(outputs, rows.targets, rows.weight)
        trial.record(score, losses, number, outputs, rows.weight)
        n_rows = self.judging.n_rows
        entry = history_entry(
            trial.candidate, number, score, rows=n_rows, seconds=seconds
        )
        if self.rules.budget is not None:
            self.rules.budget.record(
                trial.candidate, rows=n_rows, seconds=seconds, n_parts=self.n_parts
            )
        self.history.append((index, entry))
        if self.best is None or score > self.best_score:
            self.best_score, found = score, trial.best
            self.best = Choice(
                found.candidate, outputs, rows, model=model, start=found.start
            )

    def ranked_candidates(self):
        """Return all candidates that have a score, the best first."""
        scored = [trial for trial in self.trials if trial.scores]
        order = sorted(scored, key=lambda trial: -max(trial.scores))
        return [trial.candidate for trial in order]

    def choice(self):
        """Return the Choice."""
        assert self.best is not None, "the first candidate is always scored"
        numbers, entries = zip(*self.history, strict=True)
        return replace(
            self.best,
            history=history_table(entries),
            candidates=[trial.candidate for trial in self.trials],
            candidate_numbers=np.array(numbers),
            best_trials=[trial.best for trial in self.scored_trials()[:_KEPT_TRIALS]],
        )


@dataclass(frozen=True)
class SearchRules:
    """How candidates are scored, and when they end.

    Attributes
    ----------
    criterion : Criterion
    prune : callable
        Called with the trials of a batch, the number of a round and the weights of the
        validation rows; it ends trials that have no chance.
    budget : Budget or None
        The seconds of the search and of the fit that follows it.
    """

    criterion: Criterion
    prune: Callable[[list, int, np.ndarray], None]
    budget: Budget | None = None


def _result_order(trial):
    """Sort by the score, then by its round: the best first."""
    return -trial.best.score, trial.best.candidate.max_iter


_COLUMNS = (
    "kernel",
    "metric_type",
    "scaling",
    "level_statistics",
    "alpha",
    "iter",
    "rows",
    "seconds",
    "score",
)


def unscored_history(candidate, last, *, rows):
    """Return the history of a recursion without validation: scores are NaN."""
    entries = [
        history_entry(candidate, number, np.nan, rows=rows, seconds=np.nan)
        for number in range(last + 1)
    ]
    return history_table(entries)


def history_entry(candidate, number, score, *, rows, seconds):
    """Return one entry of a history, in the order of its columns."""
    kind = "diag" if candidate.diagonal else "full"
    columns = candidate.scaling, candidate.level_statistics
    settings = candidate.kernel_name, kind, *columns, candidate.alpha
    return *settings, number, rows, seconds, score


def history_table(entries):
    """Return entries as a dict of columns."""
    columns = zip(*entries, strict=True)
    return {name: np.array(c) for name, c in zip(_COLUMNS, columns, strict=True)}
