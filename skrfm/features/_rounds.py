"""The rounds: fit an estimator, take its AGOP, map the rows, fit again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from .._backend import FloatArray, IntArray
from .._sklearn import check_method_params, clone
from ._gradients import GradientOptions, average_outer_product
from ._maps import FeatureMap, MapRule


@dataclass(frozen=True)
class Rows:
    """Training rows, with what `fit` of an estimator takes beside them.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or (n, n_outputs)
    weight : ndarray of shape (n,)
    params : dict
        What is passed to `fit`, by name.
    """

    X: FloatArray
    y: np.ndarray
    weight: FloatArray
    params: dict[str, Any]

    def take(self, rows):
        """Return some of the rows."""
        params = check_method_params(self.X, self.params, indices=rows)
        return Rows(self.X[rows], self.y[rows], self.weight[rows], params)

    def covariance(self):
        """Return the weighted covariance of the columns."""
        share = (self.weight / self.weight.sum())[:, None]
        X = self.X.astype(np.float64)
        X = X - (share * X).sum(axis=0)
        found: FloatArray = (share * X).T @ X
        # a column that is constant but for rounding errors has no variance
        rounding = len(X) * np.finfo(self.X.dtype).eps * np.abs(self.X).max(axis=0)
        constant = np.diagonal(found) <= rounding**2
        found[constant], found[:, constant] = 0.0, 0.0
        return found


@dataclass(frozen=True, kw_only=True)
class Round:
    """A fitted round.

    Attributes
    ----------
    number : int
    metric_type : str
        "none" of round 0, which has no metric.
    map : FeatureMap
        What the estimator takes the rows by.
    estimator : estimator
        Fitted to mapped rows.
    """

    number: int
    metric_type: str
    map: FeatureMap
    estimator: Any


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """How rounds are fitted.

    Attributes
    ----------
    estimator : estimator
        The unfitted estimator.
    rules : tuple of MapRule
        The kinds of metric.
    max_iter : int
        The number of metrics of each kind.
    options : GradientOptions
    seed : int
        Seeds the rows of averages.
    """

    estimator: Any
    rules: tuple[MapRule, ...]
    max_iter: int
    options: GradientOptions
    seed: int

    def only(self, metric_type, max_iter):
        """Return the recursion of one kind of metric, and as many rounds."""
        rules = tuple(rule for rule in self.rules if rule.metric_type == metric_type)
        return replace(self, rules=rules, max_iter=max_iter)

    def agop(self, fitted: Round, rows: Rows) -> FloatArray:
        """Return the AGOP of a round with respect to the columns of the table."""
        found = fitted.map
        return average_outer_product(
            fitted.estimator,
            rows.X.astype(np.float64),
            options=self.options,
            sample_weight=rows.weight,
            matrix=None if found.is_identity else found.matrix,
            random_state=self.seed,
        )

    def run(self, rows: Rows) -> Iterator[Round]:
        """Yield round 0, then the rounds of each kind of metric.

        Those of a kind end where the predictor is constant.
        """
        identity = FeatureMap.identity(rows.X.shape[1])
        first = self._fit(rows, identity, 0, "none")
        yield first
        if self.max_iter == 0 or not self.rules:
            return
        covariance, G = rows.covariance(), self.agop(first, rows)
        for rule in self.rules:
            found, fitted = rule(G, covariance), first
            for number in range(1, self.max_iter + 1):
                if number > 1:
                    found = rule(self.agop(fitted, rows), covariance)
                if found is None:
                    break
                fitted = self._fit(rows, found, number, rule.metric_type)
                yield fitted

    def _fit(self, rows, found, number, metric_type):
        estimator = clone(self.estimator)
        estimator.fit(found.transform(rows.X), rows.y, **rows.params)
        return Round(
            number=number, metric_type=metric_type, map=found, estimator=estimator
        )

    @property
    def candidates(self):
        """The (metric_type, number) of all rounds, the simplest first."""
        kinds = sorted(rule.metric_type for rule in self.rules)
        numbers = range(1, self.max_iter + 1)
        return [("none", 0), *((kind, k) for k in numbers for kind in kinds)]

    def fold_losses(
        self, rows: Rows, train: IntArray, test: IntArray, scale: float
    ) -> FloatArray:
        """Return the losses (n_candidates, n_test) of rounds fitted to other rows.

        A kind of metric that has ended goes on with the losses of its last round.
        """
        found = {
            (fitted.metric_type, fitted.number): losses(fitted, rows.take(test), scale)
            for fitted in self.run(rows.take(train))
        }
        table = []
        for kind, number in self.candidates:
            while (kind, number) not in found:
                kind, number = (kind, number - 1) if number > 1 else ("none", 0)
            table.append(found[kind, number])
        return np.array(table)


def losses(fitted: Round, rows: Rows, scale: float) -> FloatArray:
    """Return the loss of a round at each row.

    It is the squared error, in units of the variance of the targets; of a classifier
    the squared error of its probabilities, or without them whether it errs.
    """
    estimator, y = fitted.estimator, rows.y
    X = fitted.map.transform(rows.X)
    if not is_classifier(estimator):
        # estimators differ in the shape of predictions of a single column
        found = np.asarray(estimator.predict(X), np.float64).reshape(len(y), -1)
        return ((found - y.reshape(len(y), -1)) ** 2).sum(axis=1) / scale
    if y.ndim > 1 or not hasattr(estimator, "predict_proba"):
        found = np.asarray(estimator.predict(X)).reshape(len(y), -1)
        return (found != y.reshape(len(y), -1)).mean(axis=1)
    proba = np.asarray(estimator.predict_proba(X), np.float64)
    own = y[:, None] == estimator.classes_
    # a class that was not there to be fitted has the probability 0
    missing = 1.0 - own.sum(axis=1)
    return ((proba - own) ** 2).sum(axis=1) + missing


def simplest_of_best(table: FloatArray, weight: FloatArray, mean_excess) -> int:
    """Return the first candidate within a standard error of the best.

    Parameters
    ----------
    table : ndarray of shape (n_candidates, n)
        Losses of the candidates, the simplest first.
    weight : ndarray of shape (n,)
    mean_excess : callable
        From two rows of losses and the weights to the mean difference and its standard
        error.
    """
    best = int(np.argmin(table @ weight))
    for candidate in range(best):
        excess, error = mean_excess(table[candidate], table[best], weight)
        if excess <= error:
            return candidate
    return best
