"""Folds of the rows of positive weight."""

from math import ceil
from numbers import Integral

import numpy as np
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    train_test_split,
)


def make_folds(cv, strata, *, keep, seed):
    """Return (train, test) positions of every fold.

    Parameters
    ----------
    cv : int, splitter or iterable
        Number of shuffled folds, or what else scikit-learn takes.
    strata : ndarray of shape (n,)
        Classes to stratify by; all equal for a regressor.
    keep : boolean ndarray
        Which rows of the table that the user gave have positive weight: the n rows.
    seed : int
        Seed of the splits.
    """
    if cv is None or isinstance(cv, Integral):
        splitter = _splitter(5 if cv is None else cv, strata, seed)
    elif hasattr(cv, "split"):
        splitter = cv
    else:
        return _given_folds(cv, keep)
    return list(splitter.split(np.zeros((len(strata), 1)), strata))


def hold_out(strata, fraction, seed):
    """Return (train, test) positions, stratified where each class has two rows."""
    n = len(strata)
    n_test = ceil(fraction * n)
    if n_test >= n:
        raise ValueError(
            f"validation_fraction={fraction} sets aside all of the {n} rows: "
            "pass a smaller one."
        )
    enough = min(n_test, n - n_test) >= len(np.unique(strata))
    return train_test_split(
        np.arange(n),
        test_size=n_test,
        stratify=strata if enough and can_stratify(strata) else None,
        random_state=seed,
    )


def can_stratify(strata):
    """Return whether each class has two rows."""
    return np.unique(strata, return_counts=True)[1].min() >= 2


def _splitter(cv, strata, seed):
    """Return a shuffled splitter, stratified where each class has two rows."""
    if cv < 2:
        raise ValueError(f"cv must be at least 2 folds, got {cv}.")
    if not can_stratify(strata):
        return KFold(min(cv, len(strata)), shuffle=True, random_state=seed)
    smallest = np.unique(strata, return_counts=True)[1].min()
    return StratifiedKFold(min(cv, smallest), shuffle=True, random_state=seed)


def _given_folds(pairs, keep):
    """Return the user's pairs of row numbers, without the rows of weight 0."""
    position = np.where(keep, np.cumsum(keep) - 1, -1)
    folds = []
    for pair in pairs:
        found = [position[np.asarray(rows)] for rows in pair]
        folds.append(tuple(rows[rows >= 0] for rows in found))
        if min(len(rows) for rows in folds[-1]) == 0:
            raise ValueError(
                "cv holds a split whose train or test part has no row of positive "
                "weight."
            )
    if not folds:
        raise ValueError("cv is an empty list of splits.")
    return folds
