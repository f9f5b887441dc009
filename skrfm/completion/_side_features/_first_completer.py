"""A completer that is fitted first, and its residuals on held-out entries."""

from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from ..._backend import Array, BoolArray, FloatArray, IntArray
from ..._sklearn import clone
from .._entries import ObservedEntries
from .._input import quiet

# each fold costs a fit of the first completer
_N_FOLDS = 5


def fit_first_completer(
    completer: Any, entries: ObservedEntries, seed: int
) -> tuple[Any, ObservedEntries]:
    """Fit a completer, and compute its residuals by cross-validation.

    Each entry is predicted by a fit without it: residuals of the entries that the
    completer was fitted to are too small.

    Parameters
    ----------
    completer : estimator
        It is cloned.
    entries : ObservedEntries
    seed : int
        Determines the folds.

    Returns
    -------
    completer : estimator
        Fitted to all entries.
    residuals : ObservedEntries
        The entries less their predictions.
    """
    residuals = np.empty_like(entries.values)
    folds = KFold(min(_N_FOLDS, len(residuals)), shuffle=True, random_state=seed)
    for train, test in folds.split(residuals):
        X = dense(entries, train)
        # the gaps of a fold are not those of the user's matrix
        with quiet():
            predicted = predictions_of(_fitted(completer, X), X)
        at_test = entries.rows[test], entries.cols[test]
        residuals[test] = entries.values[test] - predicted[at_test]
    return _fitted(completer, dense(entries)), entries.with_values(residuals)


def _fitted(completer, X):
    """Return a fitted clone that predicts all entries, observed ones too, if it can."""
    completer = clone(completer)
    # it is there only where an estimator names its output features
    if hasattr(completer, "set_output"):
        completer.set_output(transform="default")
    # scikit-learn's imputers drop the columns that a fold leaves without entries
    wanted = {"keep_observed": False, "keep_empty_features": True}
    known = completer.get_params(deep=False).keys() & wanted.keys()
    return completer.set_params(**{name: wanted[name] for name in known}).fit(X)


def predictions_of(completer: Any, X: FloatArray) -> Array:
    """Return the predictions of a fitted first completer for all entries of X.

    Raises
    ------
    ValueError
        If it drops or adds columns.
    """
    predicted = np.asarray(completer.transform(X))
    if predicted.shape != X.shape:
        raise ValueError(
            f"first_completer turns a matrix of shape {X.shape} into one of shape "
            f"{predicted.shape}; pass one that keeps every column, also those without "
            "observed entries."
        )
    return predicted


def dense(
    entries: ObservedEntries, chosen: IntArray | BoolArray | slice = slice(None)
) -> FloatArray:
    """Return a matrix of the chosen entries, with NaN elsewhere."""
    X = np.full(entries.shape, np.nan, dtype=entries.values.dtype)
    X[entries.rows[chosen], entries.cols[chosen]] = entries.values[chosen]
    return X
