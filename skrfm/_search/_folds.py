"""Which rows candidates are fitted to and validated on: folds and samples."""

from math import ceil
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import (
    KFold,
    PredefinedSplit,
    StratifiedKFold,
    train_test_split,
)

_FIXED = (
    "Fixed splits fit one table only: inside GridSearchCV, cross_validate and the "
    "like, which fit to parts of a table, pass a splitter such as KFold(5)."
)


def make_folds(cv, strata, *, keep, seed, groups=None):
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
    groups : array of shape (len(keep),) or None, default=None
        Labels of the user's rows, for a splitter that keeps equal labels together.
    """
    if groups is not None:
        groups = _kept_groups(groups, cv, keep)
    if cv is None or isinstance(cv, Integral):
        splitter = _splitter(5 if cv is None else cv, strata, seed)
    elif isinstance(cv, PredefinedSplit):  # its folds are of all of the user's rows
        if len(cv.test_fold) != len(keep):
            raise ValueError(
                f"cv=PredefinedSplit has {len(cv.test_fold)} entries in test_fold, but "
                f"X has {len(keep)} rows: {_FIXED}"
            )
        return _given_folds(cv.split(), keep)
    elif hasattr(cv, "split"):
        splitter = cv
    else:
        return _given_folds(cv, keep)
    return _split(splitter, strata, groups)


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


def split_sample(rows, size, strata, seed):
    """Return a sample of rows and the others, sorted; stratified where possible."""
    classes = strata[rows]
    enough = min(size, len(rows) - size) >= len(np.unique(classes))
    sample, others = train_test_split(
        rows,
        train_size=size,
        stratify=classes if enough and can_stratify(classes) else None,
        random_state=seed,
    )
    return np.sort(sample), np.sort(others)


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


def _kept_groups(groups, cv, keep):
    """Return the groups of the rows of positive weight."""
    if not hasattr(cv, "split") or isinstance(cv, PredefinedSplit):
        raise ValueError(
            f"groups are given, but cv={_shown(cv)} does not use them: pass a splitter "
            "that does, such as GroupKFold(), or leave groups out."
        )
    groups = np.asarray(groups)
    if groups.shape != keep.shape:
        raise ValueError(
            f"groups must have one label for each of the {len(keep)} rows of X; its "
            f"shape is {groups.shape}."
        )
    return groups[keep]


def _split(splitter, strata, groups):
    """Return the folds of a splitter, checked."""
    n = len(strata)
    try:
        folds = list(splitter.split(np.zeros((n, 1)), strata, groups))
    except (TypeError, ValueError) as error:
        if groups is None and "groups" in str(error):
            raise ValueError(
                f"cv={_shown(splitter)} needs the groups of the rows: pass them to fit "
                "where it takes them (RFMRegressor, RFMClassifier and their CV "
                "variants: fit(X, y, groups=groups)), else pass the pairs of row "
                "numbers, cv=list(splitter.split(X, y, groups)). Meta-estimators pass "
                "groups on with sklearn.set_config(enable_metadata_routing=True)."
            ) from error
        raise ValueError(
            f"cv={_shown(splitter)} does not split the {n} rows of X: {error}"
        ) from error
    return _given_folds(folds, np.ones(n, dtype=bool))


def _given_folds(pairs, keep):
    """Return the user's pairs of row numbers, without the rows of weight 0."""
    position = np.where(keep, np.cumsum(keep) - 1, -1)
    folds = []
    for number, pair in enumerate(pairs):
        try:
            train, test = pair
        except (TypeError, ValueError) as error:
            raise ValueError(
                "cv must be a number of folds, a splitter or pairs of train and test "
                f"row numbers; its item {number} is no pair: {_shown(pair)}."
            ) from error
        found = [position[_row_numbers(rows, len(keep))] for rows in (train, test)]
        folds.append(tuple(rows[rows >= 0] for rows in found))
        if min(len(rows) for rows in folds[-1]) == 0:
            raise ValueError(
                "cv holds a split whose train or test part has no row of positive "
                "weight."
            )
    if not folds:
        raise ValueError("cv is an empty list of splits.")
    return folds


def _row_numbers(rows: Any, n):
    """Return one part of a user's split as row numbers of the n rows of X."""
    try:
        rows = np.asarray(rows)
    except (TypeError, ValueError):  # of unequal lengths
        rows = np.empty((0, 0))
    if rows.ndim == 1 and rows.dtype == bool and len(rows) == n:
        return np.flatnonzero(rows)
    if rows.ndim != 1:
        fault = f"an array of shape {rows.shape}"
    elif rows.dtype == bool:
        fault = f"a boolean mask of length {len(rows)}"
    elif len(rows) == 0:
        return np.zeros(0, dtype=int)
    elif rows.dtype.kind not in "iu":
        fault = f"values of dtype {rows.dtype}, for example {rows[0]!r}"
    elif rows.min() < 0 or rows.max() >= n:
        fault = f"row number {rows.min() if rows.min() < 0 else rows.max()}"
    else:
        return rows
    raise ValueError(
        f"cv does not fit X, which has {n} rows: it holds {fault}. Train and test "
        f"parts are row numbers from 0 to {n - 1}, or boolean masks of length {n}. "
        f"{_FIXED}"
    )


def _shown(value, width=60):
    """Return a value as an error message shows it."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."
