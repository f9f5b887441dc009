"""The stages of a search: on what rows its races are, and what goes on from each."""

from dataclasses import dataclass, replace

import numpy as np

from ._folds import split_sample
from ._judging import HoldOut, Judging

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
# Trials that go on from a small sample, and from a larger one.
_KEPT_OF_SMALL, _KEPT_OF_MEDIUM = 4, 2


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
    sizes = [(min(_SMALL, most // 2), _KEPT_OF_SMALL), (_MEDIUM, _KEPT_OF_MEDIUM)]
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
    last = replace(last, n_kept=_KEPT_OF_MEDIUM, lifts_limit=True)
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
    first = Stage(HoldOut([few]), _KEPT_OF_SMALL, climbs=True)
    return [first, Stage(HoldOut(folds, n_jobs))]


def _at_most(rows, size, strata, seed):
    """Return the rows, or a sample of them where they are more than `size`."""
    return rows if len(rows) <= size else split_sample(rows, size, strata, seed)[0]
