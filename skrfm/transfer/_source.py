"""The source: its scores as features of target rows, and its outputs for translation.

Scores may have any coding, for any set of labels. Outputs are in the coding of the
target: numbers, or probabilities of its classes.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, IntArray, Table
from .._sklearn import clone, warn
from .._tables import to_host
from ..exceptions import NumericalWarning
from ._rows import (
    as_numbers,
    count_shared_rows,
    float_dtype,
    labels_of,
    moments,
    reorder,
    take_rows,
    total_variance,
    with_scores,
)

RESPONSES = ("decision_function", "predict_proba", "predict_log_proba", "predict")
# The methods that response="auto" takes the first of.
AUTO_RESPONSES = ("decision_function", "predict_proba", "predict")
# Scores with a deviation below this share of their size are constant but for rounding.
_MIN_DEVIATION = 1e-12


@dataclass(frozen=True)
class TransferRows:
    """Target rows with what the source computes for them.

    Attributes
    ----------
    X : ndarray or data frame of shape (n, d)
    scores : ndarray of shape (n, n_scores)
        The scaled scores of the source; no columns without a source.
    source_outputs : ndarray of shape (n, c) or None
        The outputs of the source in the coding of the target; None where they do not
        match.
    """

    X: Table
    scores: FloatArray
    source_outputs: FloatArray | None

    def take(self, rows):
        """Return some of the rows."""
        outputs = self.source_outputs
        outputs = None if outputs is None else outputs[rows]
        return TransferRows(take_rows(self.X, rows), self.scores[rows], outputs)

    def inputs(self, method):
        """Return what the target model of a method is fitted to."""
        if method in ("projection", "both"):
            return self.scores
        if method == "concat":
            return with_scores(self.X, self.scores)
        return self.X


class SourceResponses:
    """Results of the source for some rows; each of its methods is called at most once.

    Parameters
    ----------
    source : estimator
    X : ndarray or data frame of shape (n, d)
        A source that was fitted without names of columns gets an array, if all columns
        are numbers.
    """

    def __init__(self, source, X):
        self.source = source
        self._rows = _rows_of_source(source, X)
        self._results = {}

    def get(self, method):
        """Return the results (n, c) of a method; labels become class indicators."""
        if method not in self._results:
            result = np.asarray(getattr(self.source, method)(self._rows))
            if method == "predict" and is_classifier(self.source):
                result = result[:, None] == self.source.classes_
            result = result.astype(np.float64)
            if np.isnan(result).any():
                raise ValueError(
                    f"The {method} of source_estimator, {type(self.source).__name__}, "
                    "is NaN for some rows of X: fill in missing values of X, or pass a "
                    "source that takes them."
                )
            self._results[method] = result.reshape(len(result), -1)
        return self._results[method]

    def scores(self, response):
        """Return the results (n, c) of the method that a parameter `response` names."""
        source = self.source
        if response == "auto":
            response = next(name for name in AUTO_RESPONSES if hasattr(source, name))
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
        mean, variance = moments(scores, weight)
        size = np.maximum(np.abs(scores).max(axis=0) ** 2, 1)
        kept, factor = np.flatnonzero(variance > _MIN_DEVIATION**2 * size), 1.0
        if balance and len(kept):
            total = total_variance(X, weight)
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

    def transform(self, X):
        """Return the TransferRows of a table."""
        responses = None
        if self.source is not None:
            responses = SourceResponses(self.source, X)
        return self.combine(X, responses)

    def combine(self, X, responses):
        """Return the TransferRows of a table and its SourceResponses, if any."""
        if responses is None or self.scaling is None:
            return TransferRows(X, np.zeros((len(X), 0)), None)
        scores = self.scaling.transform(responses.scores(self.response))
        outputs = responses.outputs(self.classes, self.n_outputs)
        return TransferRows(X, scores.astype(float_dtype(X)), outputs)


def fit_features(source, X, weight, *, response, feature_scale, classes, n_outputs):
    """Return the SourceFeatures of a source and the TransferRows of the target rows.

    Parameters
    ----------
    source : estimator or None
    X : ndarray or data frame of shape (n, d)
        The target rows.
    weight : ndarray of shape (n,) or None
    response, feature_scale : str or None
        The parameters of these names.
    classes, n_outputs : object
        As in SourceFeatures.
    """
    responses, scaling = None, None
    if source is not None:
        responses = SourceResponses(source, X)
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


def _rows_of_source(source, X):
    """Return rows as a fitted source takes them, matched by names if both have them."""
    names = getattr(source, "feature_names_in_", None)
    if isinstance(X, np.ndarray):
        return X if names is None else _named(X, names)
    if names is not None:
        return reorder(X, names, of="the source")
    numbers = as_numbers(X)
    return X if numbers is None else numbers


def _named(X, names):
    """Return an array as a data frame of pandas, or as it is without pandas."""
    try:
        from pandas import DataFrame
    except ImportError:
        return X
    return DataFrame(X, columns=list(names))


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
    X : ndarray or data frame of shape (n, d)
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
        if labels_of(X_source) is not None and labels_of(X) is not None:
            X_source = reorder(X_source, labels_of(X), of="X", name="X_source")
        source = clone(source).fit(X_source, y_source)
        _warn_of_shared_rows(X_source, X)
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
    if X_source is not None or hasattr(source, "feature_names_in_"):
        _warn_without_names(source, X_source, X)
    return source


def _warn_without_names(source, X_source, X):
    """Warn if only one of the tables of source and target has labels of columns."""
    named_source = hasattr(source, "feature_names_in_") or hasattr(X_source, "columns")
    if named_source == (labels_of(X) is not None):
        return
    what = "The source was fitted with column names and X has none"
    if not named_source:
        what = "X has column names and X_source has none"
    warn(f"{what}: columns are matched by position. Pass data frames for both.")


def _warn_of_shared_rows(X_source, X):
    """Warn of target rows that the source was fitted on."""
    if np.ndim(X_source) == 2 and np.shape(X_source)[1] != X.shape[1]:
        return
    n_shared = count_shared_rows(X, X_source)
    if n_shared:
        warn(
            f"{n_shared} of the {len(X)} target rows were also source rows: the source "
            "was fitted to their targets, and looks better there than on new rows. "
            "Leave them out of one of the two.",
            NumericalWarning,
        )
