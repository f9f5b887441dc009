"""Candidates on their way through the rounds, and what is kept of them."""

from dataclasses import dataclass, field, replace

import numpy as np

from .._recursion import Candidate, Round, Start
from ._judging import ValidationRows

# Rounds without a gain after which a candidate ends: one that begins with round 0, and
# one that goes on from its best rounds on other rows.
_PATIENCE, _PATIENCE_WARM = 2, 1
# The share of its loss by which a candidate has to fall below its last gain for another
# one. On the choosing half of the tables the scores were those of 0, at .84 of the CPU
# seconds: noisy tables took all rounds for gains far below the noise of a score
# (benchmarks/variants.py).
_LEAST_GAIN = 0.004


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
