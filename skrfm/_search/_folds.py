"""Which rows candidates are fitted to and validated on: folds, samples and stages."""

from dataclasses import dataclass, replace
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

from ._judging import HoldOut, Judging

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


# -- the stages of a search ------------------------------------------------------------

# Rows of the first stages, and rows that candidates are validated on there at most.
# With 1000 rows in place of 2500 as the last sample, small tables lost log-loss.
_SMALL, _MEDIUM, _MOST_UNSEEN = 1000, 2500, 4000
# Rows of the last stage at most.
_MOST_ROWS = 10_000
# A stage is left out where the next one has fewer than so many times its rows.
_LEAST_GROWTH = 1.5
# Where the next stage has more than so many times the rows, it learns metrics anew. In
# regression, where one fold at the end is as good as two, that took the R² of kin40k
# from .980 to .988 and that of houses from .849 to .852, while metrics from half of the
# rows were as good. In classification, with two folds, it cost 1.4 times the seconds
# and gained nothing (benchmarks/variants.py).
_MOST_GROWTH = 2.2
# Fewer rows than these are too few to choose among all candidates.
_LEAST_SMALL = 200
# Rows that finalists are fitted to where all rows are at least so many times as many.
# On protein, 36 600 rows, metrics from 6250 rows have R² .767 (the mean of a full and a
# diagonal one), and those of the full one, from 12 500, .774 for no more seconds.
_FINALIST_ROWS, _GROWTH_OF_FIT = 12_500, 2
# Trials that go on from a small sample, and from a larger one. In classification, with
# two folds and averages of up to three machines, (6, 3) in place of (4, 2) lowered the
# mean log-loss on the choosing half from .3349 to .3345, for 1.2 times the CPU seconds;
# (6, 4) took 1.3 times for .3344. In regression R² was the same
# (benchmarks/variants.py).
_KEPT = {1: (4, 2), 2: (6, 3)}


@dataclass(frozen=True)
class Stage:
    """One race of a search.

    Attributes
    ----------
    judging : Judging
        How its candidates are judged.
    n_kept : int
        The number of trials that go on to the next stage.
    warm : bool
        Whether the next stage, or the fit to all rows, may go on from the metrics of
        this one: its rows are never validated on.
    climbs : bool
        Whether candidates near the best are added.
    anew : bool
        Whether the next stage begins with round 0 again, although this one is warm.
    lifts_limit : bool
        Whether candidates that few rows limited to a few rounds go on with all rounds,
        if they have different kernels, kinds of metric or scalings.
    between_paths : bool
        Whether the stage is left out where those that go on to it have one kernel, kind
        of metric and scaling.
    """

    judging: Judging
    n_kept: int = 1
    warm: bool = False
    climbs: bool = False
    anew: bool = False
    lifts_limit: bool = False
    between_paths: bool = False


def sample_stages(
    strata, *, seed, n_folds=1, n_jobs=None, most_rows=None, with_finalists=False
):
    """Return stages on samples that grow, the last one in one or two folds of all rows.

    The largest sample is fitted to in both folds and validated on in none, so that
    metrics which were learned on it have seen no validation row.

    Parameters
    ----------
    strata : ndarray of shape (n,)
        Classes to stratify by; all equal for a regressor.
    seed : int
    n_folds : {1, 2}, default=1
        With two folds, all rows but the largest sample are validated on.
    n_jobs : int or None, default=None
        The number of folds that are fitted at the same time.
    most_rows : int or None, default=None
        Rows of a stage at most, beside `_MOST_ROWS`.
    with_finalists : bool, default=False
        Whether one more stage, of more rows, decides between what is left of different
        kernels, kinds of metric or scalings, where there are many rows.
    """
    n = len(strata)
    most = min(_MOST_ROWS, n if most_rows is None else max(most_rows, 2 * _LEAST_SMALL))
    sizes = list(zip((min(_SMALL, most // 2), _MEDIUM), _KEPT[n_folds], strict=True))
    sizes = [
        (size, kept) for size, kept in sizes if size * _LEAST_GROWTH <= min(n, most)
    ]
    sample, rest = split_sample(np.arange(n), sizes[-1][0], strata, seed)
    samples = [sample]
    for size, _ in sizes[-2::-1]:
        samples.append(split_sample(samples[-1], size, strata, seed)[0])
    rest = _at_most(rest, most - len(sample), strata, seed)
    unseen = _at_most(rest, _MOST_UNSEEN, strata, seed)
    first, second = split_sample(rest, len(rest) // 2, strata, seed)
    folds = [
        (np.sort(np.concatenate([sample, fitted])), test)
        for fitted, test in ((first, second), (second, first))
    ]
    last = Stage(HoldOut(folds[:n_folds], n_jobs), warm=True)
    n_rows = [*map(len, samples[::-1]), last.judging.n_rows]
    stages = [
        Stage(
            HoldOut([(rows, unseen)]),
            kept,
            warm=True,
            climbs=True,
            anew=n_folds == 1 and n_next > _MOST_GROWTH * len(rows),
        )
        for rows, (_, kept), n_next in zip(
            samples[::-1], sizes, n_rows[1:], strict=True
        )
    ]
    if not with_finalists or n < _GROWTH_OF_FIT * _FINALIST_ROWS or most < _MOST_ROWS:
        return [*stages, last]
    last = replace(last, n_kept=_KEPT[n_folds][1], lifts_limit=True)
    return [
        *(replace(stage, lifts_limit=True) for stage in stages),
        last,
        _stage_of_finalists(folds[0][0], strata, seed),
    ]


def _stage_of_finalists(fitted, strata, seed):
    """Return a stage of the rows fitted before and more, validated on others."""
    others = np.setdiff1d(np.arange(len(strata)), fitted)
    added, unseen = split_sample(others, _FINALIST_ROWS - len(fitted), strata, seed)
    fold = (
        np.sort(np.concatenate([fitted, added])),
        _at_most(unseen, _MOST_UNSEEN, strata, seed),
    )
    return Stage(HoldOut([fold]), warm=True, between_paths=True)


def fold_stages(folds, *, seed, shuffled, n_jobs=None):
    """Return stages that end with all folds of a cross-validation.

    Parameters
    ----------
    folds : list of (ndarray of int, ndarray of int)
    seed : int
    shuffled : bool
        Whether any row may be validated on, whatever rows are fitted to; if not, the
        first stage takes parts of the first fold.
    n_jobs : int or None, default=None
        The number of folds that are fitted at the same time.
    """
    (train, test), *_ = folds
    size = min(_SMALL, (len(train) + len(test)) // 2)
    if size < _LEAST_SMALL or size * _LEAST_GROWTH > len(train):
        return [Stage(HoldOut(folds, n_jobs), climbs=True)]
    order = np.random.default_rng(seed).permutation(train)
    unseen = np.concatenate([test, order[size:]]) if shuffled else test
    few = np.sort(order[:size]), np.sort(unseen[:_MOST_UNSEEN])
    first = Stage(HoldOut([few]), _KEPT[1][0], climbs=True)
    return [first, Stage(HoldOut(folds, n_jobs))]


def _at_most(rows, size, strata, seed):
    """Return the rows, or a sample of them where they are more than `size`."""
    return rows if len(rows) <= size else split_sample(rows, size, strata, seed)[0]
