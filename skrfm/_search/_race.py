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
from ._budget import Budget
from ._judging import Criterion, ValidationRows

# Rounds without a gain after which a candidate ends: one that begins with round 0, and
# one that goes on from its best rounds on other rows.
_PATIENCE, _PATIENCE_WARM = 2, 1
# The share of its loss by which a candidate has to fall below its last gain for another
# one. On the choosing half of the tables the scores were those of 0, at .84 of the CPU
# seconds: noisy tables took all rounds for gains far below the noise of a score
# (benchmarks/variants.py).
_LEAST_GAIN = 0.004
# `halve` leaves at least so many candidates
_LEAST_HALVED = 4
# Standard errors of the paired difference by which a candidate must lose to end: to
# one of another ridge or exponent, and to any other, which a learned metric may
# overtake.
RIDGE_ERRORS, _OTHER_ERRORS = 2.0, 4.0
# how many candidates of different kernels or metrics get the other scalings, too
RESCALED = 2
# how many of the best trials keep their outputs, for an average of models
_KEPT_TRIALS = 12


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
        Where to begin with all rows: the best round, with its metric, if fits to other
        rows may go on from it; else round 0.
    before : Start
        Where to begin with more rows, to go on: the round before.
    """

    score: float
    candidate: Candidate
    outputs: np.ndarray
    losses: np.ndarray | None = None
    start: Start = Start()
    before: Start = Start()


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
        All candidates; of a search in stages, those of the last stage.
    candidate_numbers : ndarray of int
        For each entry of the history, the index of its candidate; of a search in
        stages, for those of the last stage.
    best_trials : list of TrialResult
        The best trials, the chosen one first.
    rivals : list of Candidate
        Candidates of other kernels or kinds of metric that were nearly as good in the
        last race they were in, the best first.
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
    rivals: list[Candidate] = field(default_factory=list)

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


class Trial:
    """One candidate on its way through the rounds.

    Parameters
    ----------
    candidate : Candidate
    start : Start
    n_parts : int
        Number of parts of the data, which have metrics of their own.
    progress : progress of one run

    Attributes
    ----------
    starts : dict of Start
        By round, where fits to other rows may go on.
    """

    def __init__(self, candidate, start, n_parts, progress):
        self.candidate, self.start, self.progress = candidate, start, progress
        self.metrics = [start.metric] * n_parts
        self.scores: list[float] = []
        self.best: TrialResult | None = None
        self.active = True
        self._loss_of_gain, self._since_gain = np.inf, 0
        self.starts: dict[int, Start] = {}

    def record(self, score, losses, number, outputs, weight):
        """Record a score; end after rounds without a gain."""
        self.scores.append(score)
        if self.best is None or score > self.best.score:
            at_round = replace(self.candidate, max_iter=number)
            start = self.starts.get(number, Start())
            before = self.starts.get(number - 1, start)
            self.best = TrialResult(
                score, at_round, outputs, losses, start=start, before=before
            )
        self._since_gain += 1
        loss = -score if losses is None else weight @ losses / weight.sum()
        least = 0.0 if losses is None else _LEAST_GAIN * loss
        if loss < self._loss_of_gain - least:
            self._loss_of_gain, self._since_gain = loss, 0
        patience = _PATIENCE if self.start.number == 0 else _PATIENCE_WARM
        self.active = self.active and self._since_gain < patience


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
            seconds = budget.seconds_to_keep(best.candidate, best.start)
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


# -- what is compared, and which trials end -----------------------------------------


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
            losses = trial.best.losses
            errors = standard_errors(losses, best_of_path.best.losses, weight)
            lost = errors > RIDGE_ERRORS
            errors = standard_errors(losses, best.best.losses, weight)
            lost = lost or errors > _OTHER_ERRORS
            trial.active = trial.active and not lost


def standard_errors(losses, others, weight):
    """Return by how many standard errors losses exceed others; weights are counts."""
    mean, error = mean_excess(losses, others, weight)
    if mean <= 0:
        return 0.0
    return float(mean / error) if error > 0 else np.inf


def mean_excess(losses, others, weight):
    """Return by how much losses exceed others in the mean, and its standard error."""
    excess, total = losses - others, weight.sum()
    mean = weight @ excess / total
    return mean, np.sqrt(weight @ (excess - mean) ** 2) / total


def by_path(trials):
    """Return ``{path: trials}``: other ridges and exponents are together."""
    paths = {}
    for trial in trials:
        paths.setdefault(trial.candidate.path, []).append(trial)
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
