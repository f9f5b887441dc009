"""What a source model says of target rows."""

import warnings

import numpy as np
from sklearn.base import is_classifier

from ..exceptions import NumericalWarning

RESPONSES = ("decision_function", "predict_proba", "predict_log_proba", "predict")


class Responses:
    """What a source says of some rows, each of its methods called once at most."""

    def __init__(self, source, given, X):
        self.source = source
        # a source that knows the names of columns is given them
        self._rows = given if hasattr(source, "feature_names_in_") else X
        self._known = {}

    def of(self, method):
        """Return the results (n, c) of a method; classes become indicators."""
        if method not in self._known:
            found = np.asarray(getattr(self.source, method)(self._rows))
            if method == "predict" and is_classifier(self.source):
                found = found[:, None] == self.source.classes_
            found = found.astype(np.float64)
            self._known[method] = found.reshape(len(found), -1)
        return self._known[method]


def raw_scores(responses, method):
    """Return scores (n, c) as features: of any coding, for any label set.

    "auto" is the first of "decision_function", "predict_proba" and "predict" that the
    source has.
    """
    source = responses.source
    if method == "auto":
        ways = ("decision_function", "predict_proba", "predict")
        method = next(way for way in ways if hasattr(source, way))
    if not hasattr(source, method):
        known = ", ".join(way for way in RESPONSES if hasattr(source, way))
        raise ValueError(
            f'response="{method}", but the source, {type(source).__name__}, has no '
            f"such method. It has {known}."
        )
    return responses.of(method)


def coded_outputs(responses, classes, n_outputs):
    """Return outputs in the coding of the target, None where they do not match.

    Classes are matched by name. More of them than the target has are left out, and the
    others' probabilities scaled to sum to 1.
    """
    source = responses.source
    if is_classifier(source) != (classes is not None):
        return None
    if classes is None:
        outputs = responses.of("predict")
        return outputs if outputs.shape[1] == n_outputs else None
    known = np.asarray(source.classes_)
    if not np.isin(classes, known).all():
        return None
    proba = hasattr(source, "predict_proba")
    found = responses.of("predict_proba" if proba else "predict")
    order = np.argsort(known)
    columns = order[np.searchsorted(known, classes, sorter=order)]
    found = found[:, columns]
    total = found.sum(axis=1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1), 1 / len(classes))


class Balance:
    """Scales source scores to the total variance of the target's features.

    Scores that are constant on the target rows are left out.
    """

    def __init__(self, F, X, weight, feature_scale):
        self.mean, variance = _moments(F, weight)
        tiny = 1e-24 * np.maximum(np.abs(F).max(axis=0) ** 2, 1)
        self.kept, self.factor = np.flatnonzero(variance > tiny), 1.0
        if feature_scale == "balance" and len(self.kept):
            total = _moments(X, weight)[1].sum()
            self.factor = float(np.sqrt(total / variance[self.kept].sum())) or 1.0

    def __call__(self, F):
        """Return the scores as features."""
        return (F - self.mean)[:, self.kept] * self.factor


def _moments(A, weight):
    """Return the weighted mean and variance of each column."""
    mean = np.average(A, axis=0, weights=weight)
    return mean, np.average((A - mean) ** 2, axis=0, weights=weight)


def warn_of_constant(stacklevel):
    """Warn of a source that says the same of all rows."""
    warnings.warn(
        "The source says the same of all target rows: its scores are constant and do "
        "not help. Check that X has the columns, and the scale, that the source was "
        "fitted on.",
        NumericalWarning,
        stacklevel=stacklevel + 1,
    )


def warn_of_shared_rows(X_source, X, stacklevel):
    """Warn of target rows that the source was fitted on."""
    if X_source.shape[1] != X.shape[1]:
        return
    known = {row.tobytes() for row in np.ascontiguousarray(X_source, dtype=X.dtype)}
    shared = sum(row.tobytes() in known for row in np.ascontiguousarray(X))
    if shared:
        warnings.warn(
            f"{shared} of the {len(X)} target rows were also source rows: the source "
            "has seen their targets, and looks better there than on new rows. Leave "
            "them out of one of the two.",
            NumericalWarning,
            stacklevel=stacklevel + 1,
        )
