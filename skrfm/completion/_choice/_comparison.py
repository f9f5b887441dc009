"""Methods of completion, compared on the same hidden entries."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.stats import rankdata
from sklearn.model_selection import KFold

from ..._backend import FloatArray, IntArray
from ..._sklearn import FitTasks
from .._entries import ObservedEntries
from ._after import AfterLowRank
from ._means import ShrunkMeans
from ._methods import Method

AVERAGE = "average"
# Where low rank leaves a smaller share of the variance over, nothing is left to model.
_MATCHED = 1e-6
# Methods of less weight in an average are left out: each costs a fit.
_LEAST_WEIGHT = 0.01


@dataclass
class Comparison:
    """Predictions of hidden entries by every method, and the seconds of its fits.

    Attributes
    ----------
    entries : ObservedEntries
    fold_of : ndarray of int of shape (n_entries,)
        The fold in which each entry is hidden.
    predictions : dict of str to ndarray of shape (n_entries,)
        By the name of the method, the simplest first.
    seconds : dict of str to list of float
        Seconds of the fit of each fold.
    """

    entries: ObservedEntries
    fold_of: IntArray
    predictions: dict[str, FloatArray] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @cached_property
    def means(self) -> list[ShrunkMeans]:
        """The shrunk means of the entries without each fold."""
        folds = range(self.n_folds)
        return [ShrunkMeans.of(self.entries.select(self.fold_of != k)) for k in folds]

    @property
    def n_folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    def add(self, method: Method, tasks: FitTasks) -> None:
        """Fit a method to all folds but one in turn, and predict that one."""
        predicted = np.empty(len(self.entries))
        self.seconds[method.name] = []
        for fold, means in enumerate(self.means):
            hidden = self.fold_of == fold
            with tasks.open(f"{method.name}, fold {fold}"), self._timed(method.name):
                predicted[hidden] = self._predict(method, means, hidden)
        self.predictions[method.name] = predicted

    def add_after(
        self, first: Method, methods: list[AfterLowRank], tasks: FitTasks
    ) -> None:
        """Add methods that complete what a first one leaves over.

        The residuals of a fit are those of entries that a fit of the first method did
        not see, and neither did it see the hidden entries: for each pair of folds
        there is a fit without both. That needs three folds.
        """
        if not methods or self.n_folds < 3 or self._matched(first.name):
            return
        base, folds = self.predictions[first.name], range(self.n_folds)
        residuals = np.tile(self.entries.values - base, (self.n_folds, 1))
        for j, k in combinations(folds, 2):
            hidden = np.isin(self.fold_of, (j, k))
            with tasks.open(f"{first.name}, without folds {j} and {k}"):
                predicted = self._predict(first, self.means[j], hidden)
            of_pair = np.full(len(hidden), np.nan)
            of_pair[hidden] = self.entries.values[hidden] - predicted
            for fold, other in ((j, k), (k, j)):
                at = self.fold_of == other
                residuals[fold, at] = of_pair[at]
        for method in methods:
            self._add_left_over(method, first, residuals, tasks)

    def _add_left_over(self, method, first, residuals, tasks):
        """Add a method, given the residuals of the entries that each fold sees."""
        predicted = self.predictions[first.name].copy()
        self.seconds[method.name] = []
        for fold in range(self.n_folds):
            hidden = self.fold_of == fold
            left_over = self.entries.with_values(residuals[fold]).select(~hidden)
            with tasks.open(f"{method.name}, fold {fold}"), self._timed(method.name):
                model = method.left_over(left_over)
            at = self.entries.rows[hidden], self.entries.cols[hidden]
            predicted[hidden] += model.of_fit[at]
        before = self.seconds[first.name]
        self.seconds[method.name] = list(
            np.add(before, self.seconds[method.name]).tolist()
        )
        self.predictions[method.name] = predicted

    def _predict(self, method, means, hidden):
        entries = self.entries
        fitted = method.fit(entries.select(~hidden), means)
        return fitted.at(entries.rows[hidden], entries.cols[hidden])

    def _matched(self, name):
        return 1 - self.scores(self.predictions[name]).mean() < _MATCHED

    @contextmanager
    def _timed(self, name):
        begin = perf_counter()
        yield
        self.seconds[name].append(perf_counter() - begin)

    def residuals(self, weights: dict[str, float]) -> ObservedEntries:
        """Return the entries less their predictions by fits without them.

        Parameters
        ----------
        weights : dict of str to float
            Those of the methods.
        """
        predicted = sum(w * self.predictions[name] for name, w in weights.items())
        return self.entries.with_values(self.entries.values - predicted)

    # -- results --------------------------------------------------------------------

    def scores(self, predicted: FloatArray) -> FloatArray:
        """Return R² on the hidden entries of each fold.

        It is relative to the variance of all entries, so that folds of few entries
        have one, too.
        """
        values, weight = self.entries.values, self.entries.weight
        mean = np.average(values, weights=weight)
        variance = float(np.average((values - mean) ** 2, weights=weight))
        squares = weight * (values - predicted) ** 2
        sums = np.bincount(self.fold_of, squares) / np.bincount(self.fold_of, weight)
        return 1 - sums / (variance or 1.0)

    def _weights(self, chosen):
        """Return the weights of the least error of an average, on chosen entries."""
        values = self.entries.values[chosen]
        predictions = [p[chosen] for p in self.predictions.values()]
        errors = np.stack(predictions, axis=1) - values[:, None]
        return simplex_weights(errors, self.entries.weight[chosen])

    def choose(self, combine: str) -> "Choice":
        """Return the method, or the average of some, that is taken.

        Parameters
        ----------
        combine : {"auto", "average", "best"}
            "auto" takes an average only if its score is better than that of the best
            method by more than one standard error of their difference over folds.
        """
        names = list(self.predictions)
        stacked = np.stack(list(self.predictions.values()), axis=1)
        averaged = np.empty(len(self.entries))
        for fold in range(self.n_folds):  # each fold by the weights of the others
            hidden = self.fold_of == fold
            averaged[hidden] = stacked[hidden] @ self._weights(~hidden)
        scores = {name: self.scores(p) for name, p in self.predictions.items()}
        scores[AVERAGE] = self.scores(averaged)
        best = max(names, key=lambda name: scores[name].mean())
        gain = scores[AVERAGE] - scores[best]
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        weights = {best: 1.0}
        if combine == AVERAGE or (combine == "auto" and gain.mean() > error):
            best, found = AVERAGE, self._weights(slice(None))
            found = np.where(found >= _LEAST_WEIGHT, found, 0)
            found /= found.sum()
            weights = {n: float(w) for n, w in zip(names, found, strict=True) if w > 0}
        score = float(scores[best].mean())
        return Choice(best, weights, _results(scores, self.seconds), score)


def simplex_weights(errors: FloatArray, weight: FloatArray) -> FloatArray:
    """Return weights ≥ 0 with sum 1 for which the average has the least error.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        The errors of k predictions.
    weight : ndarray of shape (n,)
    """
    scaled = errors * np.sqrt(weight / weight.sum())[:, None]
    size = np.linalg.norm(scaled, axis=0).max()
    if size == 0:
        return np.full(scaled.shape[1], 1 / scaled.shape[1])
    # |E v|² + (1 − Σ v)² is least along the ray of the weights that are sought
    R = np.linalg.qr(scaled / size, mode="r")
    system = np.vstack([R, np.ones(scaled.shape[1])])
    target = np.zeros(len(system))
    target[-1] = 1
    found, _ = nnls(system, target)
    return found / found.sum()


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes
    ----------
    method : str
        The name of a method, or "average".
    weights : dict of str to float
        The weights of the methods that are used.
    results : dict of ndarray
        As `cv_results_` of scikit-learn.
    score : float
        The mean score of the method.
    """

    method: str
    weights: dict[str, float]
    results: dict[str, Any]
    score: float


def _results(scores, seconds):
    """Return the scores and the seconds of all methods in scikit-learn's form."""
    names = list(scores)
    seconds = seconds | {AVERAGE: np.sum(list(seconds.values()), axis=0)}
    times = np.array([seconds[name] for name in names])
    table = np.array([scores[name] for name in names])
    results: dict[str, Any] = {
        "mean_fit_time": times.mean(axis=1),
        "std_fit_time": times.std(axis=1),
        "param_method": np.ma.array(names, dtype=object),
        "params": [{"method": name} for name in names],
    }
    for fold in range(table.shape[1]):
        results[f"split{fold}_test_score"] = table[:, fold]
    results["mean_test_score"] = table.mean(axis=1)
    results["std_test_score"] = table.std(axis=1)
    ranks = rankdata(-table.mean(axis=1), method="min")
    results["rank_test_score"] = ranks.astype(np.int32)
    return results


def folds_of(entries: ObservedEntries, n_folds: int, seed: int) -> IntArray:
    """Return the fold in which each entry is hidden."""
    fold_of = np.zeros(len(entries), dtype=np.intp)
    folds = KFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, hidden) in enumerate(folds.split(fold_of)):
        fold_of[hidden] = fold
    return fold_of
