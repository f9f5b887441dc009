"""The stages of a search: few rows for many candidates, many rows for few.

Successive halving over rows: each stage is a race of the candidates that the stage
before has left.
"""

from dataclasses import dataclass

import numpy as np

from ._folds import split_sample

Fold = tuple[np.ndarray, np.ndarray]

# Rows of the first stages, and rows that candidates are validated on there at most.
# With 1000 rows in place of 2500 as the last sample, small tables lost log-loss.
_SMALL, _MEDIUM, _MOST_UNSEEN = 1000, 2500, 4000
# Rows of the last stage at most.
_MOST_ROWS = 10_000
# A stage is left out where the next one has fewer than so many times its rows.
_LEAST_GROWTH = 1.5
# Fewer rows than these are too few to choose among all candidates.
_LEAST_SMALL = 200
# Trials that go on from a small sample, and from a larger one.
_KEPT_OF_SMALL, _KEPT_OF_MEDIUM = 4, 2


@dataclass(frozen=True)
class Stage:
    """One race of a search.

    Attributes
    ----------
    folds : list of (ndarray of int, ndarray of int)
        Rows that candidates are fitted to, and rows that they are validated on.
    n_kept : int
        The number of trials that go on to the next stage.
    warm : bool
        Whether the next stage, or the fit to all rows, may go on from the metrics of
        this one: its rows are never validated on.
    climbs : bool
        Whether candidates near the best are added.
    """

    folds: list[Fold]
    n_kept: int = 1
    warm: bool = False
    climbs: bool = False


@dataclass(frozen=True)
class Stages:
    """The stages of a search, and how many folds are fitted at the same time."""

    stages: list[Stage]
    n_jobs: int | None = None


def sample_stages(strata, *, seed):
    """Return stages on samples that grow, the last one in two folds of all rows.

    The largest sample is fitted to in both folds and validated on in none, so that
    metrics which were learned on it have seen no validation row.

    Parameters
    ----------
    strata : ndarray of shape (n,)
        Classes to stratify by; all equal for a regressor.
    seed : int
    """
    n = len(strata)
    sizes = [(min(_SMALL, n // 2), _KEPT_OF_SMALL), (_MEDIUM, _KEPT_OF_MEDIUM)]
    sizes = [(size, kept) for size, kept in sizes if size * _LEAST_GROWTH <= n]
    sample, rest = split_sample(np.arange(n), sizes[-1][0], strata, seed)
    samples = [sample]
    for size, _ in sizes[-2::-1]:
        samples.append(split_sample(samples[-1], size, strata, seed)[0])
    rest = _at_most(rest, _MOST_ROWS - len(sample), strata, seed)
    unseen = _at_most(rest, _MOST_UNSEEN, strata, seed)
    stages = [
        Stage([(rows, unseen)], kept, warm=True, climbs=True)
        for rows, (_, kept) in zip(samples[::-1], sizes, strict=True)
    ]
    first, second = split_sample(rest, len(rest) // 2, strata, seed)
    folds = [
        (np.sort(np.concatenate([sample, fitted])), test)
        for fitted, test in ((first, second), (second, first))
    ]
    return [*stages, Stage(folds, warm=True)]


def fold_stages(folds, *, seed, shuffled):
    """Return stages that end with all folds of a cross-validation.

    Parameters
    ----------
    folds : list of (ndarray of int, ndarray of int)
    seed : int
    shuffled : bool
        Whether any row may be validated on, whatever rows are fitted to; if not, the
        first stage takes parts of the first fold.
    """
    (train, test), *_ = folds
    size = min(_SMALL, (len(train) + len(test)) // 2)
    if size < _LEAST_SMALL or size * _LEAST_GROWTH > len(train):
        return [Stage(folds, climbs=True)]
    order = np.random.default_rng(seed).permutation(train)
    unseen = np.concatenate([test, order[size:]]) if shuffled else test
    few = np.sort(order[:size]), np.sort(unseen[:_MOST_UNSEEN])
    return [Stage([few], _KEPT_OF_SMALL, climbs=True), Stage(folds)]


def _at_most(rows, size, strata, seed):
    """Return the rows, or a sample of them where they are more than `size`."""
    return rows if len(rows) <= size else split_sample(rows, size, strata, seed)[0]
