"""Which entries are grossly wrong, by variational Bayes with contaminated errors.

Entries are right or wrong, and wrong ones have a larger variance. Both variances, the
share of the wrong entries and their probabilities are learned while the matrix takes
shape. Those that are not wrong are then fitted by squares.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..._backend import BoolArray, FloatArray
from ..._sklearn import Progress
from .._entries import Entries
from ._iterates import Iterate
from ._loss import robust_deviation
from ._problem import Problem
from ._restarts import random_start, step_work
from ._rows import annealed_rows, error_model
from ._stages import Completion, HistoryRow

# Ranks of the starts. Directions that the entries do not support vanish, but each costs
# time, and more of them make failures likelier.
_RANKS = (8, 16, 32)
# Random starts of each rank.
_N_STARTS = 2
# The most multiplications of all starts, about 5 CPU seconds.
_MOST_WORK = 1e9
# Steps that a start needs to match 200 x 200 with a third of the entries wrong.
_STEPS = 60
# The least residual of a match relative to the entries: a start is not polished.
_TARGET = 1e-6
# The relative residual that is near a match: directions more than needed match wrong
# entries of single rows then, and slow the start down.
_NEAR_MATCH = 1e-2
# Ratio of the noise of two starts above which the second is no better.
_NO_BETTER = 0.9
# Errors below so many deviations of the entries are not gross: a start that ends at a
# match has such errors itself.
_LEAST_ERROR = 1e-4
# Entries are trusted up to so many robust deviations of all residuals: one in 16 000 of
# normal errors is beyond.
_TRUSTED = 4.0


def trusted_entries(
    entries: Entries, problem: Problem, progress: Progress, history: list[HistoryRow]
) -> BoolArray:
    """Return the mask of the entries that are not grossly wrong.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    progress : Progress
    history : list of HistoryRow
        Gets a row for each iterate.
    """
    values = entries.to_numpy(entries.values)
    # the size of the bulk of the entries, which wrong ones do not change
    scale = robust_deviation(values) or float(np.sqrt(np.mean(values**2)))
    scaled = entries.with_values(entries.values / values.dtype.type(scale))
    best = _best_start(scaled, problem, progress, history)
    sizes = np.abs(_revised_residuals(best))
    return sizes <= max(_LEAST_ERROR, _TRUSTED * robust_deviation(sizes))


def _best_start(
    entries: Entries, problem: Problem, progress: Progress, history: list[HistoryRow]
) -> Iterate:
    """Return the start of the least noise, of the least rank that matches."""
    start = partial(
        random_start,
        entries,
        problem,
        progress,
        target=max(_TARGET, problem.tol),
    )
    number, best, near = 0, None, False
    for number, rank in enumerate(_ranks(entries, problem)):
        found = start(rank=rank, number=number)
        history += found.history
        before, exact = best, found.exact
        if best is None or exact or found.iterate.eps < best.eps:
            best, near = found.iterate, _is_near(found)
        # more directions or another start found no less noise
        if exact or (
            before is not None and found.iterate.eps > _NO_BETTER * before.eps
        ):
            break
    assert best is not None
    # a direction more than needed may match the wrong entries of a row or column
    rank = best.count_above_eps() - 1
    while near and rank >= 1:
        found = start(rank=rank, number=number)
        history += found.history
        near = _is_near(found)
        if found.exact or found.iterate.eps < best.eps:
            best = found.iterate
        rank = min(rank, found.iterate.count_above_eps()) - 1
    return best


def _is_near(start: Completion) -> bool:
    """Return whether a start is near a match."""
    return start.exact or start.history[-1].score <= _NEAR_MATCH


def _revised_residuals(iterate: Iterate) -> FloatArray:
    """Return residuals after all rows and columns are found again.

    A row of few entries may have come to match wrong ones: with columns that are right
    it is found from the size of the entries down, as new rows are.
    """
    to_numpy, host = iterate.entries.to_numpy, iterate.entries.on_host()
    noise = robust_deviation(to_numpy(iterate.residuals))
    rank = iterate.count_above_eps()
    factors, sides = to_numpy(iterate.V)[:, :rank], [host, host.transposed()]
    for side in (sides[0], sides[1], sides[0]):
        factors = np.linalg.qr(factors)[0]
        s = to_numpy(iterate.s)[:rank].astype(np.float64)
        mean_square = float(np.sum(s**2)) / rank / side.shape[0]
        errors = error_model(np.full(rank, mean_square), size=1.0, noise=noise)
        other, (factors, _) = factors, annealed_rows(side, factors, errors)
    return host.values - host.products(factors, other)


def _ranks(entries: Entries, problem: Problem) -> Iterator[int]:
    """Yield the ranks of the starts, at least one, as far as the work allows."""
    largest = min(problem.max_rank, *entries.shape)
    ranks = sorted({min(rank, largest) for rank in _RANKS})
    work = 0.0
    for number, rank in enumerate(ranks * _N_STARTS):
        work += _STEPS * step_work(rank, entries)
        if work > _MOST_WORK and number > 0:
            return
        yield rank
