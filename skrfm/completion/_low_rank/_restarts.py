"""The search for a match from random starts, where few entries are observed.

The two-sided solver finds the matrix from about twice as many entries as the matrix has
degrees of freedom. With fewer, variational Bayes is started at random with several
ranks, from the largest on, and the two-sided solver ends what comes near a match.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ..._sklearn import Progress
from .._entries import Entries, degrees_of_freedom
from ._gauss_newton import gauss_newton, is_cheap
from ._iterates import Iterate, Smoothing, Spectrum
from ._problem import Problem, Solver
from ._stages import Completion, HistoryRow, Stage
from ._stopping import FallingRule
from ._two_sided import two_sided
from ._variational import STEPS, variational

# Starts for each rank: of 200 x 200, rank 5 and 1.2 times as many entries as degrees of
# freedom, one start with the rank 6 in fifty fails, with the rank 5 every third.
_N_STARTS = 3
# Ratio of successive ranks: a start with a third more directions than needed drops
# them.
_RANK_RATIO = 0.75
# Beyond so many entries per degree of freedom the first stage is reliable.
_FEW_ENTRIES = 3.0
# The relative residual that is near a match: Gauss-Newton does the rest faster.
_NEAR_MATCH = 1e-2
# Singular values below so many deviations of an entry times √(mn) are of errors.
_ERRORS_ONLY = 10.0
# The relative distance below which two starts agree.
_AGREEMENT = 0.3
# With so many entries per degree of freedom a match is unique, unless a row of U or V
# has a squared length near 1, its largest value; unique matches had .07 to .30.
_UNIQUE_FROM, _OWN_DIRECTION = 1.8, 0.5
# A match of lower rank is refused if its norm is larger by this factor. It was .9 to
# 1.1 where there is such a matrix, and 9 to 200 where ever larger values at entries not
# observed only come ever nearer to the others, as with few ones among zeros.
_LARGEST_GROWTH = 3.0
# The most multiplications of all starts, about 4 CPU seconds.
_MOST_WORK = 1e9
# Steps that a start takes until it is given up.
_LEAST_STEPS = 80
# ε of the two-sided solver relative to the smallest singular value, and its decay.
_FIRST_EPS, _DECAY = 1e-2, 0.5
# Iterates whose residual falls by less than the share: patience of both solvers.
_START_PATIENCE, _START_SHARE = 3, 0.03
_REFINE_PATIENCE, _REFINE_SHARE = 3, 0.1


def match_from_few_entries(
    entries: Entries, problem: Problem, progress: Progress, history: list[HistoryRow]
) -> Completion | None:
    """Return a low-rank matrix that matches the entries, None if none is found.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    progress : Progress
    history : list of HistoryRow
        Gets a row for each iterate, whether or not a match is found.
    """
    stalled: Iterate | None = None
    for number, rank in enumerate(_ranks(entries, problem)):
        start = random_start(
            entries, problem, progress, rank=rank, number=number, target=_NEAR_MATCH
        )
        history += start.history
        if start.exact:
            rank = _rank_above_errors(start.iterate)
            match = _refine(entries, problem, progress, start.iterate, rank=rank)
            if match.exact:
                match = reduced(entries, problem, progress, match)
            history += match.history
            if match.exact:
                return match
        # what two starts agree on is all that the entries tell: the rest is noise
        elif stalled is not None and start.iterate.distance(stalled) < _AGREEMENT:
            return None
        else:
            stalled = start.iterate
    return None


def reduced(
    entries: Entries, problem: Problem, progress: Progress, match: Completion
) -> Completion:
    """Return a match of the least rank that is found from another match.

    At the cost of one rank, a row may be changed wherever it is not observed: such a
    match is one of many, and has a lower rank where the row is right.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    progress : Progress
    match : Completion
        A match. Its history is extended.
    """
    while match.iterate.rank > 1 and _may_be_one_of_many(match.iterate):
        rank = match.iterate.rank - 1
        lower = _refine(entries, problem, progress, match.iterate, rank=rank)
        lower.history = [*match.history, *lower.history]
        if not lower.exact or _grows(lower.iterate, match.iterate):
            match.history = lower.history
            break
        match = lower
    return match


def _grows(lower: Iterate, match: Iterate) -> bool:
    """Return whether a match of lower rank is far larger than the one it came from."""
    norms = (float((iterate.s**2).sum() ** 0.5) for iterate in (lower, match))
    return next(norms) > _LARGEST_GROWTH * next(norms)


def _may_be_one_of_many(iterate: Iterate) -> bool:
    """Return whether other matrices of the same rank may match the entries as well.

    So it is with few entries, or if a row or column has a direction for itself.
    """
    entries = iterate.entries
    freedom = degrees_of_freedom(iterate.rank, entries.shape)
    longest = max(float((side**2).sum(axis=1).max()) for side in (iterate.U, iterate.V))
    return len(entries) < _UNIQUE_FROM * freedom or longest > _OWN_DIRECTION


def _ranks(entries: Entries, problem: Problem) -> Iterator[int]:
    """Yield the ranks of the starts, as far as the work allows.

    They have fewer degrees of freedom than entries: others match anything.
    """
    ranks, rank = [], min(problem.max_rank, *entries.shape)
    while rank >= 1:
        freedom = degrees_of_freedom(rank, entries.shape)
        if freedom * _FEW_ENTRIES <= len(entries):
            break
        if freedom < len(entries):
            ranks.append(rank)
        rank = min(rank - 1, round(_RANK_RATIO * rank))
    work = 0.0
    for rank in ranks * _N_STARTS:
        work += _LEAST_STEPS * step_work(rank, entries)
        if work > _MOST_WORK:
            return
        yield rank


def step_work(rank: int, entries: Entries) -> float:
    """Return the multiplications of one step of variational Bayes."""
    return 4.0 * len(entries) * rank**2 + sum(entries.shape) * rank**3


def random_start(
    entries: Entries,
    problem: Problem,
    progress: Progress,
    *,
    rank: int,
    number: int,
    target: float,
) -> Completion:
    """Return where variational Bayes ends from one random start.

    Parameters
    ----------
    entries : Entries
    problem : Problem
    progress : Progress
    rank : int
        The number of directions to begin with.
    number : int
        Determines the start, with the seed of the problem.
    target : float
        The relative residual to end at.
    """
    problem = replace(
        problem, solver=variational, max_rank=rank, seed=(problem.seed + number) % 2**31
    )
    rule = FallingRule(
        entries,
        problem,
        target=target,
        patience=_START_PATIENCE,
        share=_START_SHARE,
        first=_LEAST_STEPS // STEPS - 1,
    )
    return Stage(
        name="start",
        entries=entries,
        problem=problem,
        smoothing=problem.smoothing(Smoothing()),
        rule=rule,
    ).run(progress)


def _rank_above_errors(iterate: Iterate) -> int:
    """Return how many singular values are larger than errors of the entries make."""
    size = np.sqrt(np.mean(iterate.residuals**2) * np.prod(iterate.entries.shape))
    return max(1, int(np.count_nonzero(iterate.s > _ERRORS_ONLY * size)))


def _refine(
    entries: Entries,
    problem: Problem,
    progress: Progress,
    start: Iterate,
    *,
    rank: int,
) -> Completion:
    """Return where Gauss-Newton ends from a matrix near a match.

    Where its systems are too large, the two-sided solver goes on instead.
    """
    problem = replace(problem, max_rank=rank, solver=_solver_from(start, entries, rank))
    return Stage(
        name="refine",
        entries=entries,
        problem=problem,
        smoothing=problem.smoothing(Smoothing(decay=_DECAY)),
        rule=FallingRule(
            entries,
            problem,
            target=problem.tol,
            patience=_REFINE_PATIENCE,
            share=_REFINE_SHARE,
        ),
    ).run(progress)


def _solver_from(start: Iterate, entries: Entries, rank: int) -> Solver:
    """Return a Solver of a rank that begins with the directions of an iterate."""
    if is_cheap(entries, rank):
        return lambda entries, smoothing, **options: gauss_newton(entries, start, rank)
    s = start.s[:rank]
    spectrum = Spectrum.of(start.U[:, :rank], s, start.V[:, :rank])
    return partial(two_sided, start=(spectrum, float(_FIRST_EPS * s[-1])))
