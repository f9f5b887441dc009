"""How candidates are judged: out of fold, by leave-one-out, or on given rows.

Every way of judging implements `Judging`: `prepare` makes the rows ready, once for all
candidates, and `fit_round` fits one round of one candidate and returns its outputs on
the validation rows.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from joblib import Parallel, delayed

from .._backend import Backend
from .._recursion import (
    Candidate,
    PreparedData,
    Round,
    Workspace,
    fit_round,
    next_metric,
)
from .._tables import Data
from ..agop import FeatureMetric
from ._calibration import Calibration

# Out of fold, up to so many rows are all centres: that takes less time than fewer
# centres, for which the ridge means the same.
MOST_CENTERS = 10_000


@dataclass(frozen=True)
class ValidationRows:
    """Targets and weights of the validation rows, as NumPy float64.

    `rows` are their indices among the rows that are fitted; None where they are other
    rows.
    """

    targets: np.ndarray
    weight: np.ndarray
    rows: np.ndarray | None = None

    @classmethod
    def from_data(cls, data, backend, rows=None):
        """Return the validation rows of a Data."""
        targets, weight = (_to_float64(a, backend) for a in (data.Y, data.weight))
        return cls(targets, weight, rows)


def _to_float64(a, backend):
    return backend.to_numpy(a).astype(np.float64)


class Judging(Protocol):
    """How the rounds of candidates get outputs on validation rows."""

    #: the number of rows that a candidate is fitted to, in the largest part
    n_rows: int

    def prepare(
        self, data: Data, fit_intercept: bool, backend: Backend
    ) -> tuple[ValidationRows, int]:
        """Prepare the rows; return the validation rows and the number of parts.

        Each part of the data learns a metric of its own.
        """
        ...

    def fit_round(
        self,
        candidate: Candidate,
        number: int,
        metrics: list[FeatureMetric],
        backend: Backend,
    ) -> tuple[np.ndarray | None, list[FeatureMetric | None], Round | None]:
        """Fit a round of a candidate, with one metric for each part.

        Returns
        -------
        outputs : ndarray of shape (m, c) or None
            Outputs on the validation rows; None where this round is not scored.
        metrics : list of FeatureMetric
            The metrics of the next round; None where the AGOP is zero or not wanted.
        model : Round or None
            The fitted round, if it was fitted to all rows.
        """
        ...


class _PreparedParts:
    """Rows to fit to and rows to predict, prepared once for each representation."""

    def __init__(self, data, unseen, fit_intercept, backend):
        self._data, self._unseen, self._fit_intercept = data, unseen, fit_intercept
        self._backend = backend
        self._prepared: dict[tuple, tuple] = {}

    def for_candidate(self, candidate):
        """Return the PreparedData for a candidate, and the rows to predict or None."""
        scaling, backend, unseen = candidate.scaling, self._backend, self._unseen
        key = scaling, candidate.level_statistics
        if key not in self._prepared:
            data, statistics = self._data.represented(candidate, backend)
            prepared = PreparedData.from_data(
                data, self._fit_intercept, backend, shared=True
            )
            X = None if unseen is None else unseen.scaled(scaling, backend).X
            if X is not None and statistics is not None:
                X = backend.asarray(statistics.append(backend.to_numpy(X)))
            self._prepared[key] = prepared, X
        return self._prepared[key]

    def fit_round(
        self,
        candidate,
        number,
        metric,
        workspace,
        *,
        kept=False,
        leave_one_out=False,
        early=False,
    ):
        """Fit a round; return it, its outputs or None, and the next metric or None.

        Outputs are those on the rows to predict. `kept` says whether the Round may be
        the final model; if not, None is returned in its place. `early` says whether
        only the metric of the next round matters.
        """
        prepared, X = self.for_candidate(candidate)
        # importances come from the AGOP of round 0, even if it is the last round
        first_and_kept = kept and number == 0
        fitted = fit_round(
            prepared,
            candidate,
            metric,
            number=number,
            backend=self._backend,
            workspace=workspace,
            with_agop=first_and_kept or number < candidate.max_iter,
            leave_one_out=leave_one_out,
            early=early,
        )
        outputs = None
        if X is not None:
            outputs = _to_float64(fitted.predict(X, self._backend), self._backend)
        following = next_metric(fitted, self._backend)
        return fitted if kept else None, outputs, following


class HoldOut:
    """Out of fold: each (train, test) pair learns a metric of its own."""

    def __init__(self, folds, n_jobs=None):
        self.folds, self.n_jobs = folds, n_jobs
        self.n_rows = max(len(train) for train, _ in folds)

    def prepare(self, data, fit_intercept, backend):
        """Prepare the folds; return the validation rows and the number of folds."""
        self._parts = []
        for train, test in self.folds:
            fitted, unseen = data.subset(train, backend), data.subset(test, backend)
            self._parts.append(_PreparedParts(fitted, unseen, fit_intercept, backend))
        self._workspace = Workspace()
        tests = np.concatenate([test for _, test in self.folds])
        rows = ValidationRows.from_data(data.subset(tests, backend), backend, tests)
        return rows, len(self.folds)

    def fit_round(self, candidate, number, metrics, backend):
        """Return the pooled outputs of a round, the next metrics, and no model."""
        if candidate.n_centers is not None and self.n_rows <= MOST_CENTERS:
            candidate = replace(candidate, n_centers=None)
        parts = list(zip(self._parts, metrics, strict=True))
        if self.n_jobs in (None, 1):
            results = []
            for part, metric in parts:
                fitted = part.fit_round(candidate, number, metric, self._workspace)
                results.append(fitted)
        else:
            results = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(part.fit_round)(candidate, number, metric, Workspace())
                for part, metric in parts
            )
        _, outputs, next_metrics = zip(*results, strict=True)
        return np.concatenate(outputs), list(next_metrics), None


class _OnAllRows:
    """Judging of models that are fitted to all rows, and so can be the final one."""

    def _prepare(self, data, fit_intercept, backend, unseen=None):
        self.n_rows = data.X.shape[0]
        self._rows = _PreparedParts(data, unseen, fit_intercept, backend)
        self._workspace = Workspace()

    def _fit(self, candidate, number, metric, *, leave_one_out=False, early=False):
        return self._rows.fit_round(
            candidate,
            number,
            metric,
            self._workspace,
            kept=True,
            leave_one_out=leave_one_out,
            early=early,
        )


class LeaveOneOut(_OnAllRows):
    """Leave-one-out residuals in closed form; the metric has seen all rows.

    With `last_only` the candidates are compared by their last round.
    """

    def __init__(self, last_only=False):
        self.last_only = last_only

    def prepare(self, data, fit_intercept, backend):
        """Prepare the rows; return the validation rows, which are all, and 1."""
        self._data = data
        self._prepare(data, fit_intercept, backend)
        rows = np.arange(data.X.shape[0])
        return ValidationRows.from_data(data, backend, rows), 1

    def fit_round(self, candidate, number, metrics, backend):
        """Return the leave-one-out outputs, the next metric, and the model."""
        scored = not self.last_only or number == candidate.max_iter
        fitted, outputs, following = self._fit(
            candidate, number, metrics[0], leave_one_out=scored, early=not scored
        )
        if scored:
            assert fitted is not None
            outputs = _to_float64(self._data.Y - fitted.loo_residuals, backend)
        return outputs, [following], fitted


class LastRound(_OnAllRows):
    """A hold-out in the last round alone, predicted by a fit to the other rows.

    The metric has seen all rows. No matrix is factorised, as leave-one-out needs.
    """

    def __init__(self, fold):
        self.fold = fold

    def prepare(self, data, fit_intercept, backend):
        """Prepare the rows; return the validation rows and 1."""
        self._prepare(data, fit_intercept, backend)
        train, test = self.fold
        unseen = data.subset(test, backend)
        fitted = data.subset(train, backend)
        self._part = _PreparedParts(fitted, unseen, fit_intercept, backend)
        return ValidationRows.from_data(unseen, backend, test), 1

    def fit_round(self, candidate, number, metrics, backend):
        """Return the outputs on the validation rows, the next metric, and the model."""
        (metric,) = metrics
        scored = number == candidate.max_iter
        fitted, outputs, following = self._fit(
            candidate, number, metric, early=not scored
        )
        if scored:
            _, outputs, _ = self._part.fit_round(
                candidate, number, metric, self._workspace
            )
        return outputs, [following], fitted


class ValidationSet(_OnAllRows):
    """Validation rows that the user gave."""

    def __init__(self, data):
        self.data = data

    def prepare(self, data, fit_intercept, backend):
        """Prepare the rows; return the validation rows and 1."""
        self._prepare(data, fit_intercept, backend, self.data)
        return ValidationRows.from_data(self.data, backend), 1

    def fit_round(self, candidate, number, metrics, backend):
        """Return the outputs on the validation rows, the next metric, and the model."""
        fitted, outputs, following = self._fit(candidate, number, metrics[0])
        return outputs, [following], fitted


# -- scores ---------------------------------------------------------------------------


class Criterion(Protocol):
    """Scores of outputs on validation rows; larger is better."""

    def score(
        self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray
    ) -> tuple[float, np.ndarray | None]:
        """Return the score of outputs (m, c) against coded targets (m, c).

        And the losses of the rows, of shape (m,): the larger the score, the smaller
        their weighted mean. None where there are no such losses.
        """
        ...


class PartCriterion(Criterion, Protocol):
    """A criterion that scores parts of the validation rows, such as folds, as well."""

    def part_scores(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weight: np.ndarray,
        parts: list[slice],
    ) -> list[float]:
        """Return the scores of slices of the rows."""
        ...


class RegressionCriterion:
    """The weighted R², averaged over the outputs.

    An output that is constant on the rows scores minus its mean squared error.
    """

    name = "r2"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c), and squared errors by the variance."""
        weight = weight[:, None] / weight.sum()
        mean = (weight * targets).sum(0)
        variance = (weight * (targets - mean) ** 2).sum(0)
        constant = variance <= 1e-24 * (1 + mean**2)
        errors = (targets - outputs) ** 2 / np.where(constant, 1.0, variance)
        scores = np.where(constant, 0.0, 1.0) - (weight * errors).sum(0)
        return float(scores.mean()), errors.mean(1)

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows."""
        return [self.score(outputs[p], targets[p], weight[p])[0] for p in parts]


class ClassificationCriterion:
    """Minus the weighted log-loss of the best calibrated probabilities."""

    name = "neg_log_loss"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c), and the log-losses of the rows."""
        calibration = Calibration.fit(outputs, targets, weight)
        losses = -calibration.log_likelihood(outputs, targets)
        return -float(weight @ losses / weight.sum()), losses

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows, with one calibration of all rows."""
        calibration = Calibration.fit(outputs, targets, weight)
        likelihood = calibration.log_likelihood(outputs, targets)
        return [float(weight[p] @ likelihood[p] / weight[p].sum()) for p in parts]


# An average consists of at most so many shares, which machines may have several of.
_SHARES = 12


def select(trials, score, max_count):
    """Return the trials of the best average on validation rows, and their weights.

    The average starts from the best trial. The trial that improves its score most is
    added to it, whether it is in the average already or not, until none improves it.

    Parameters
    ----------
    trials : list of TrialResult
        The best first.
    score : callable
        Maps outputs on the validation rows to a score; larger is better.
    max_count : int
        The largest number of different trials.

    Returns
    -------
    trials : list of TrialResult
        Those of the average, the best first.
    weights : list of float
        Their shares, which sum to 1.
    """
    counts = np.zeros(len(trials), dtype=int)
    counts[0] = 1
    total, best = trials[0].outputs, trials[0].score
    for number in range(2, _SHARES + 1):
        full = np.count_nonzero(counts) >= max_count
        allowed = np.flatnonzero(counts) if full else range(len(trials))
        scores = {k: score((total + trials[k].outputs) / number) for k in allowed}
        added = max(scores, key=lambda k: scores[k])
        if not scores[added] > best:
            break
        best, total = scores[added], total + trials[added].outputs
        counts[added] += 1
    chosen = np.flatnonzero(counts)
    return [trials[k] for k in chosen], (counts[chosen] / counts.sum()).tolist()


def weighted_sum(weights, arrays):
    """Return the sum of arrays times their weights."""
    return sum(weight * a for weight, a in zip(weights, arrays, strict=True))
