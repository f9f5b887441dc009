"""A completion problem: the objective, the solver, and the limits of the iterations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from sklearn.utils import check_random_state

from .._entries import Entries, ObservedEntries
from .._input import largest_rank
from .._observed import ObservedMatrix
from ._alternating import alternating
from ._exact import exact, full_spectrum
from ._gibbs import gibbs
from ._iterates import Iterate, Smoothing
from ._two_sided import two_sided

# `tol` is at least so many rounding units: a smaller residual is rounding.
_LEAST_TOL = 100
# The same for the dense solver, in square roots of one: its systems hold squares.
_LEAST_DENSE_TOL = 10
# ε ends at so many rounding units of the largest singular value.
_LEAST_SMOOTHING = 10
# The most operations of an iterate with a full spectrum, about those of 1000 by 300:
# bounds the time of the comparison.
_DENSE_WORK = 2e9
# The rank of drawn matrices where max_rank is None. On ratings, averages of 80 draws
# of ranks 10 and 20 have errors of .863 and .861; those of 40 are no better.
_RANK_OF_DRAWS = 20
# The power whose penalty is closest to the rank.
_RANK_POWER = 0.5
# The only values of parameters that averages of draws take.
_OF_AVERAGES = (("alpha", "auto"), ("loss", "squared"), ("power", _RANK_POWER))


class Solver(Protocol):
    """A function that yields iterates of one objective without end."""

    def __call__(
        self,
        entries: Entries,
        smoothing: Smoothing,
        *,
        max_rank: int,
        loss: str,
        random_state: np.random.RandomState,
    ) -> Iterator[Iterate]:
        """Yield iterates.

        Parameters
        ----------
        entries : Entries
            The entries that are fitted.
        smoothing : Smoothing
            How ε and λ change.
        max_rank : int
            The largest rank of an iterate.
        loss : {"squared", "huber", "absolute"}
        random_state : RandomState
            Determines where the search for singular vectors starts.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A completion problem, apart from the entries.

    Attributes
    ----------
    solver : Solver
    full_spectrum_solver : Solver or None
        A solver whose iterates keep all singular directions, to be compared with
        `solver` on hidden entries; None if it is not tried.
    restarts : bool
        Whether a match is also looked for from random starts.
    power : float
        The power of the AGOP.
    ridge : float or None
        The ridge relative to the spectrum; None if it is chosen.
    max_rank : int
        The largest rank of an iterate.
    loss : {"squared", "huber", "absolute"}
    max_iter : int
        The largest number of iterates of each stage.
    tol : float
        The relative residual below which entries count as matched.
    floor : float
        The least ε relative to σ_1.
    validation_fraction : float
        The share of the entries that is hidden.
    seed : int
        Determines the hidden entries, and the start of the solver.
    averages : bool, default=False
        Whether iterates are averages of draws, for which no rank is chosen.
    rank_of_draws : int or None, default=None
        The rank of draws whose average is compared with `solver` on hidden entries;
        None if it is not tried.
    """

    solver: Solver
    full_spectrum_solver: Solver | None
    restarts: bool
    power: float
    ridge: float | None
    max_rank: int
    loss: str
    max_iter: int
    tol: float
    floor: float
    validation_fraction: float
    seed: int
    averages: bool = False
    rank_of_draws: int | None = None

    def smoothing(self, template: Smoothing) -> Smoothing:
        """Return a Smoothing with the power and the floor of this problem."""
        return replace(template, power=self.power, floor=self.floor)

    def of_draws(self) -> "Problem":
        """Return the problem with averages of draws as iterates."""
        rank = self.max_rank if self.rank_of_draws is None else self.rank_of_draws
        return replace(self, solver=gibbs, averages=True, max_rank=rank)

    def iterates(self, entries: Entries, smoothing: Smoothing) -> Iterator[Iterate]:
        """Yield iterates without end."""
        return self.solver(
            entries,
            smoothing,
            max_rank=min(self.max_rank, *entries.shape),
            loss=self.loss,
            random_state=np.random.RandomState(self.seed),
        )


SOLVERS: dict[str, Solver] = {
    "two-sided": two_sided,
    "alternating": alternating,
    "exact": exact,
    "gibbs": gibbs,
}


def problem_of(completer: Any, matrix: ObservedMatrix) -> Problem:
    """Return the Problem that the parameters of a LinRFMCompleter describe."""
    entries = matrix.entries
    if completer.loss == "huber" and completer.alpha == 0:
        raise ValueError(
            "loss='huber' with alpha=0 would match wrong entries too: pass "
            "alpha='auto', an alpha above 0, or loss='absolute'."
        )
    averages = completer.solver == "gibbs"
    if averages:
        _check_averages(completer)
    seed = check_random_state(completer.random_state).randint(np.iinfo(np.int32).max)
    eps = float(np.finfo(entries.values.dtype).eps)
    least_tol = _LEAST_TOL * eps
    if completer.solver == "exact":
        least_tol = _LEAST_DENSE_TOL * eps**0.5
    tries_full_spectrum = _tries_full_spectrum(completer, entries)
    return Problem(
        solver=SOLVERS[_solver_name(completer)],
        full_spectrum_solver=full_spectrum if tries_full_spectrum else None,
        restarts=_has_restarts(completer),
        power=completer.power,
        ridge=None if completer.alpha == "auto" else completer.alpha,
        max_rank=_rank_of_draws(completer.max_rank, matrix)
        if averages
        else largest_rank(completer.max_rank, matrix),
        loss=completer.loss,
        max_iter=completer.max_iter,
        tol=max(completer.tol, least_tol),
        floor=_LEAST_SMOOTHING * eps,
        validation_fraction=completer.validation_fraction,
        seed=seed,
        averages=averages,
        rank_of_draws=_rank_of_compared_draws(completer, matrix),
    )


def may_average(completer: Any) -> bool:
    """Return whether a completer leaves open that it averages draws."""
    defaults = (("solver", "auto"), *_OF_AVERAGES)
    return all(getattr(completer, name) == value for name, value in defaults)


def _check_averages(completer: Any) -> None:
    """Raise ValueError for parameters that have no meaning for averages of draws."""
    for name, only in _OF_AVERAGES:
        value = getattr(completer, name)
        if value != only:
            raise ValueError(
                f"solver='gibbs' learns its ridges and has {name}={only!r} only; got "
                f"{name}={value!r}. Leave {name} out, or take another solver."
            )


def _rank_of_draws(max_rank: int | None, matrix: ObservedMatrix) -> int:
    """Return the rank of drawn matrices, which entries need not determine."""
    if max_rank is None:
        return min(_RANK_OF_DRAWS, *matrix.entries.shape)
    return largest_rank(max_rank, matrix)


def _rank_of_compared_draws(completer: Any, matrix: ObservedMatrix) -> int | None:
    """Return the rank of draws, None where parameters ask for another matrix.

    An average of draws has a larger rank than each of them.
    """
    if completer.max_rank is not None or not may_average(completer):
        return None
    return _rank_of_draws(None, matrix)


def _solver_name(completer: Any) -> str:
    """Return the name of the solver.

    With a fixed ridge the singular vectors of a two-sided solver change slowly.
    """
    if completer.solver != "auto":
        return completer.solver
    has_ridge = completer.alpha != "auto" and completer.alpha > 0
    return "alternating" if has_ridge else "two-sided"


def _has_restarts(completer: Any) -> bool:
    """Return whether a match is also looked for from random starts.

    Another solver or another power asks for a certain matrix, not for any of low rank.
    """
    default = completer.solver == "auto" and completer.power == _RANK_POWER
    return default and completer.loss != "huber"


def _tries_full_spectrum(completer: Any, entries: ObservedEntries) -> bool:
    """Return whether a full spectrum is allowed, and cheap enough to be compared."""
    if completer.solver != "auto":
        return False
    smaller = min(entries.shape)
    if completer.max_rank is not None and completer.max_rank < smaller:
        return False
    solves = float(np.sum(entries.row_counts() ** 3.0)) / 3
    decompositions = 10.0 * np.prod(entries.shape) * smaller
    return solves + decompositions <= _DENSE_WORK
