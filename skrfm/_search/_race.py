"""The choice of round, ridge and kernel on validation rows: a race of candidates.

All candidates are fitted side by side, round by round, on one or more parts of the
data, and their outputs on the validation rows are scored together. Candidates that have
no chance end early.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from .._recursion import Candidate, Round, Start
from ._criteria import Criterion
from ._judging import ValidationRows
from ._trials import Trial, TrialResult

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
        The number of candidates in all batches.
    next_batch : callable
        Maps the candidates so far, the best first, to the next batch; an empty one
        ends the search.
    neighbours : callable
        Maps a candidate to others that differ from it in one parameter that is open.
    most_neighbours : int
        How many of them there are at most.
    """

    first: list[Candidate]
    count: int
    next_batch: Callable[[list[Candidate]], list[Candidate]] = lambda candidates: []
    neighbours: Callable[[Candidate], list[Candidate]] = lambda candidate: []
    most_neighbours: int = 0


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
    start : Start
        Where the recursion of the chosen candidate begins with all rows.
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
    start: Start = Start()
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
            trial = Trial(candidate, start, self.n_parts, progress, warm=self.warm)
            self.trials.append(trial)
        batch = self.trials[first:]
        for number in range(max(candidate.max_iter for candidate, _ in entrants) + 1):
            for index, trial in enumerate(batch, first):
                begun = number >= trial.start.number
                if begun and trial.active and not self.is_over():
                    self._fit_round(index, number)
            self.rules.prune(batch, number, self.validation_rows.weight)
        for trial in batch:
            trial.progress.close()
        for trial in self.scored_trials()[_KEPT_TRIALS:]:
            trial.best = None  # frees its outputs, as large as the validation rows

    def scored_trials(self):
        """Return the trials that have a score, the best first."""
        return sorted((trial for trial in self.trials if trial.best), key=_result_order)

    @property
    def best_trial(self):
        """The trial of the best score."""
        return self.scored_trials()[0]

    def is_over(self):
        """Return whether the deadline has passed and there is a score."""
        deadline = self.rules.deadline
        late = deadline is not None and perf_counter() > deadline
        return late and self.best is not None

    def _fit_round(self, index, number):
        """Fit the next round of the trial with some index, and record its score."""
        trial, rows = self.trials[index], self.validation_rows
        outputs, model, seconds = trial.fit_round(number, self.judging, self.backend)
        if outputs is None:
            return
        score, losses = self.rules.criterion.score(outputs, rows.targets, rows.weight)
        trial.record(score, losses, number, outputs)
        entry = history_entry(
            trial.candidate,
            number,
            score,
            rows=self.judging.n_rows,
            seconds=seconds,
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
    deadline : float or None
        When to stop, by ``time.perf_counter``, once there is a score.
    """

    criterion: Criterion
    prune: Callable[[list, int, np.ndarray], None]
    deadline: float | None = None


def _result_order(trial):
    """Sort by the score, then by its round: the best first."""
    return -trial.best.score, trial.best.candidate.max_iter


_COLUMNS = (
    "kernel",
    "metric_type",
    "scaling",
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
    kernel = repr(candidate.kernel)
    scaling, alpha = candidate.scaling, candidate.alpha
    return kernel, kind, scaling, alpha, number, rows, seconds, score


def history_table(entries):
    """Return entries as a dict of columns."""
    columns = zip(*entries, strict=True)
    return {name: np.array(c) for name, c in zip(_COLUMNS, columns, strict=True)}
