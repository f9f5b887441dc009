"""What a first completer leaves over, for a second one to complete."""

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold

_FOLDS = 5


def first_and_rest(completer, entries, seed):
    """Return a fitted first completer, and the entries less what it says of them.

    What it says of an entry comes from a fit without it: at entries that it has seen
    it leaves too little over.
    """
    rest = np.empty_like(entries.values)
    folds = KFold(min(_FOLDS, len(rest)), shuffle=True, random_state=seed)
    for shown, hidden in folds.split(rest):
        part = fitted(completer, dense(entries, shown))
        said = said_by(part, dense(entries, shown))
        places = entries.rows[hidden], entries.cols[hidden]
        rest[hidden] = entries.values[hidden] - said[places]
    return fitted(completer, dense(entries)), entries.with_values(rest)


def fitted(completer, X):
    """Return a fitted clone, which predicts observed entries as well where it can."""
    completer = clone(completer).set_output(transform="default")
    if "keep_observed" in completer.get_params(deep=False):
        completer.set_params(keep_observed=False)
    return completer.fit(X)


def said_by(completer, X):
    """Return what a fitted first completer says of all entries."""
    return np.asarray(completer.transform(X))


def dense(entries, chosen=slice(None)):
    """Return a matrix of some of the entries, NaN where there are none."""
    X = np.full(entries.shape, np.nan, dtype=entries.values.dtype)
    X[entries.rows[chosen], entries.cols[chosen]] = entries.values[chosen]
    return X
