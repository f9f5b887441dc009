"""The source: its scores as features of target rows, and its outputs for translation.

Scores may have any coding, for any set of labels. Outputs are in the coding of the
target: numbers, or probabilities of its classes.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, IntArray
from .._sklearn import warn
from .._tables import to_host
from ..exceptions import NumericalWarning

RESPONSES = ("decision_function", "predict_proba", "predict_log_proba", "predict")
# The methods that response="auto" takes the first of.
_AUTO_RESPONSES = ("decision_function", "predict_proba", "predict")
# Scores with a deviation below this share of their size are constant but for rounding.
_MIN_DEVIATION = 1e-12


@dataclass(frozen=True)
class TransferRows:
    """Target rows with what the source computes for them.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    scores : ndarray of shape (n, n_scores)
        The scaled scores of the source; no columns without a source.
    source_outputs : ndarray of shape (n, c) or None
        The outputs of the source in the coding of the target; None where they do not
        match.
    """

    X: FloatArray
    scores: FloatArray
    source_outputs: FloatArray | None

    def take(self, rows):
        """Return some of the rows."""
        outputs = self.source_outputs
        outputs = None if outputs is None else outputs[rows]
        return TransferRows(self.X[rows], self.scores[rows], outputs)

    def inputs(self, method):
        """Return what the target model of a method is fitted to."""
        if method in ("projection", "both"):
            return self.scores
        if method == "concat":
            return np.hstack([self.X, self.scores])
        return self.X


class SourceResponses:
    """Results of the source for some rows; each of its methods is called at most once.

    Parameters
    ----------
    source : estimator
    given : table
        The rows as the user passed them, for a source that was fitted with the names of
        columns.
    X : ndarray of shape (n, d)
        The same rows as an array, for other sources.
    """

    def __init__(self, source, given, X):
        self.source = source
        self._rows = given if hasattr(source, "feature_names_in_") else X
        self._results = {}

    def get(self, method):
        """Return the results (n, c) of a method; labels become class indicators."""
        if method not in self._results:
            result = np.asarray(getattr(self.source, method)(self._rows))
            if method == "predict" and is_classifier(self.source):
                result = result[:, None] == self.source.classes_
            result = result.astype(np.float64)
            self._results[method] = result.reshape(len(result), -1)
        return self._results[method]

    def scores(self, response):
        """Return the results (n, c) of the method that a parameter `response` names."""
        source = self.source
        if response == "auto":
            response = next(name for name in _AUTO_RESPONSES if hasattr(source, name))
        if not hasattr(source, response):
            methods = ", ".join(name for name in RESPONSES if hasattr(source, name))
            raise ValueError(
                f'response="{response}", but the source, {type(source).__name__}, has '
                f"no such method. It has {methods}."
            )
        return self.get(response)

    def outputs(self, classes, n_outputs):
        """Return outputs in the coding of the target, or None if they do not match.

        Classes are matched by name. Those that the target does not have are left out,
        and the probabilities of the others are scaled to sum to 1.
        """
        source = self.source
        if is_classifier(source) != (classes is not None):
            return None
        if classes is None:
            outputs = self.get("predict")
            return outputs if outputs.shape[1] == n_outputs else None
        source_classes = np.asarray(source.classes_)
        if not np.isin(classes, source_classes).all():
            return None
        has_proba = hasattr(source, "predict_proba")
        proba = self.get("predict_proba" if has_proba else "predict")
        order = np.argsort(source_classes)
        columns = order[np.searchsorted(source_classes, classes, sorter=order)]
        proba = proba[:, columns]
        total = proba.sum(axis=1, keepdims=True)
        positive = total > 0
        total = np.where(positive, total, 1)
        return np.where(positive, proba / total, 1 / len(classes))


@dataclass(frozen=True, kw_only=True)
class ScoreScaling:
    """The scaling of the scores of the source to features of the target.

    Attributes
    ----------
    mean : ndarray of shape (c,)
        The mean of the scores, which is subtracted.
    kept : ndarray of int
        The columns of the scores that are not constant on the target rows.
    factor : float
        What the kept scores are multiplied by.
    """

    mean: FloatArray
    kept: IntArray
    factor: float

    @classmethod
    def fit(cls, scores, X, weight, *, balance):
        """Learn from scores (n, c); `balance` gives them the total variance of X."""
        mean, variance = _moments(scores, weight)
        size = np.maximum(np.abs(scores).max(axis=0) ** 2, 1)
        kept, factor = np.flatnonzero(variance > _MIN_DEVIATION**2 * size), 1.0
        if balance and len(kept):
            total = _moments(X, weight)[1].sum()
            factor = float(np.sqrt(total / variance[kept].sum())) or 1.0
        return cls(mean=mean, kept=kept, factor=factor)

    def transform(self, scores):
        """Return the scores as features."""
        return (scores - self.mean)[:, self.kept] * self.factor


@dataclass(frozen=True, kw_only=True)
class SourceFeatures:
    """From target rows to TransferRows.

    Attributes
    ----------
    source : estimator or None
        The fitted source.
    response : str
        The parameter of that name.
    scaling : ScoreScaling or None
        None where there is no source.
    classes : ndarray of shape (n_classes,) or None
        The classes of the target; None for regression.
    n_outputs : int
        The number of outputs of the target.
    """

    source: BaseEstimator | None
    response: str
    scaling: ScoreScaling | None
    classes: np.ndarray | None
    n_outputs: int

    def transform(self, given, X):
        """Return the TransferRows of a table as the user passed it, and as an array."""
        responses = None
        if self.source is not None:
            responses = SourceResponses(self.source, given, X)
        return self.combine(X, responses)

    def combine(self, X, responses):
        """Return the TransferRows of an array and its SourceResponses, if any."""
        if responses is None:
            return TransferRows(X, np.zeros((len(X), 0)), None)
        scores = self.scaling.transform(responses.scores(self.response))
        outputs = responses.outputs(self.classes, self.n_outputs)
        return TransferRows(X, scores.astype(X.dtype), outputs)


def fit_features(
    source, given, X, weight, *, response, feature_scale, classes, n_outputs
):
    """Return the SourceFeatures of a source and the TransferRows of the target rows.

    Parameters
    ----------
    source : estimator or None
    given : table
        The target rows as the user passed them.
    X : ndarray of shape (n, d)
        The same as an array.
    weight : ndarray of shape (n,) or None
    response, feature_scale : str or None
        The parameters of these names.
    classes, n_outputs : object
        As in SourceFeatures.
    """
    responses, scaling = None, None
    if source is not None:
        responses = SourceResponses(source, given, X)
        scores = responses.scores(response)
        balance = feature_scale == "balance"
        scaling = ScoreScaling.fit(scores, X, weight, balance=balance)
        if len(scaling.kept) == 0:
            warn(
                "The source gives the same scores for all target rows, so they do not "
                "help. Check that X has the columns, and the scale, that the source "
                "was fitted on.",
                NumericalWarning,
            )
    features = SourceFeatures(
        source=source,
        response=response,
        scaling=scaling,
        classes=classes,
        n_outputs=n_outputs,
    )
    return features, features.combine(X, responses)


def _moments(A, weight):
    """Return the weighted mean and variance of each column."""
    mean = np.average(A, axis=0, weights=weight)
    return mean, np.average((A - mean) ** 2, axis=0, weights=weight)


def is_fitted(estimator):
    """Return whether an estimator is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def fit_source(source, X_source, y_source, X):
    """Return the fitted source, or None.

    Parameters
    ----------
    source : estimator or None
        Fitted, or to be fitted to source rows.
    X_source, y_source : array-like or None
        Source rows and their targets, both or neither.
    X : ndarray of shape (n, d)
        Target rows.
    """
    if (X_source is None) != (y_source is None):
        raise ValueError("Pass X_source and y_source together, or neither.")
    if X_source is not None:
        if isinstance(source, FrozenEstimator):
            raise ValueError(
                "source_estimator is frozen: leave X_source and y_source out."
            )
        X_source, y_source = to_host(X_source), to_host(y_source)
        source = clone(source).fit(X_source, y_source)
        _warn_of_shared_rows(np.asarray(X_source), X)
    elif source is not None and not is_fitted(source):
        raise ValueError(
            "source_estimator is not fitted: fit it on the source task before, or pass "
            "X_source and y_source to fit."
        )
    n_columns = getattr(source, "n_features_in_", X.shape[1])
    if n_columns != X.shape[1]:
        raise ValueError(
            f"The source was fitted on {n_columns} columns and X has {X.shape[1]}: "
            "both tasks need the same columns."
        )
    return source


def _warn_of_shared_rows(X_source, X):
    """Warn of target rows that the source was fitted on."""
    if X_source.shape[1] != X.shape[1]:
        return
    source = {row.tobytes() for row in np.ascontiguousarray(X_source, dtype=X.dtype)}
    n_shared = sum(row.tobytes() in source for row in np.ascontiguousarray(X))
    if n_shared:
        warn(
            f"{n_shared} of the {len(X)} target rows were also source rows: the source "
            "was fitted to their targets, and looks better there than on new rows. "
            "Leave them out of one of the two.",
            NumericalWarning,
        )
