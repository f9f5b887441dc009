"""The stages of a completion: how far ε falls, chosen by observed entries only.

With a given ridge the iterates continue until they converge. With alpha="auto" the
first stage looks for a low-rank matrix that matches the entries exactly. If there is
none, the entries are noisy: a part of them is hidden, the smoothing that predicts the
hidden entries best is chosen, and the last stage repeats it with all entries.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..._backend import BoolArray
from ..._sklearn import Progress
from .._entries import Entries, degrees_of_freedom
from ._gross_errors import trusted_entries
from ._iterates import Schedule, Smoothing, zero_iterate
from ._problem import Problem
from ._restarts import match_from_few_entries, reduced
from ._rows import FactorModel
from ._stages import Completion, HistoryRow, Stage
from ._stopping import (
    AverageRule,
    ConvergenceRule,
    CrossValidationRule,
    FixedStepsRule,
    HoldOutRule,
)
from ._uncertainty import HoldOut

# The smoothing of the search for a match. A slower decay passes over fewer singular
# values at a time, and takes more iterates.
_MATCH = {
    "squared": Smoothing(coupling=0.0, decay=0.95),
    "huber": Smoothing(coupling=0.5, decay=0.9),
}
# The smoothing of the search on hidden entries: λ falls with ε, since ε → 0 without a
# ridge overfits noise. It starts at the second singular value, so with a low rank.
_HOLD_OUT = {
    "squared": Smoothing(coupling=0.5, decay=0.7, start_index=1),
    "huber": Smoothing(coupling=1.0, decay=0.9),
}
# The same with a full spectrum. On drug screens, where the spectrum decays, a low rank
# has an error 2 % larger (benchmarks/completion.py).
_FULL_SPECTRUM = Smoothing(coupling=0.25, decay=0.8, start_index=1)
# With fewer entries none are hidden: the default share of them is less than one.
_FEWEST_ENTRIES = 10
# With a given ridge ε ends where its square is this share of λ: what it adds to λ.
_SHARE_OF_RIDGE = 1e-2
# With a given ridge ε falls faster than in the search for a match.
_RIDGE_DECAY = 0.8

# Entries are noisy, rather than few, if a rank that is determined by so many entries
# per degree of freedom has this R² on hidden entries. R² was .06 to .32 where a match
# existed and the first stage had missed it.
_NOISY = ((3.0, 0.5), (1.5, 0.9))
# Averages of draws are compared where R² on hidden entries is below this. On ratings it
# is .25, and .30 with draws; on drug screens, of .67 and more, draws are behind.
_WELL_PREDICTED = 0.5


def complete(entries: Entries, problem: Problem, progress: Progress) -> Completion:
    """Return the completion of a matrix."""
    if not entries.values.any():
        iterate = zero_iterate(entries, exponent=2 * problem.power)
        row = HistoryRow("match", 0, 0.0, 0, 0.0)
        return Completion(iterate=iterate, converged=True, exact=True, history=[row])
    if problem.averages:
        return _average(entries, problem, progress)
    if problem.loss == "absolute":
        return _complete_trusted(entries, problem, progress)
    if problem.ridge is not None:
        return _fit_with_ridge(entries, problem, progress, ridge=problem.ridge)
    match = _match(entries, problem, progress)
    if match.exact and problem.restarts:
        return reduced(entries, problem, progress, match)
    if match.exact:
        return match
    searches = []
    if len(entries) >= _FEWEST_ENTRIES:
        searches = _search_on_hidden(entries, problem, progress)
    if not searches:
        # no other stage follows, and more iterations than the rule asks for do not help
        match.converged = len(match.history) < problem.max_iter
        return match
    history = [*match.history, *(row for s in searches for row in s.history)]
    final = None
    if problem.restarts and not _is_noisy(searches[0], entries):
        final = match_from_few_entries(entries, problem, progress, history)
    if final is None:
        best = min(searches, key=lambda search: search.error)
        draws = DrawSearch.instead_of(best, entries, problem, progress)
        if draws is not None:
            history += draws.history
            best = draws if draws.error < best.error else best
        final = best.fit(entries, progress)
        history += final.history
    final.history = history
    return final


def _average(entries: Entries, problem: Problem, progress: Progress) -> Completion:
    """Average matrices that are drawn from their posterior."""
    stage = Stage(
        name="draw",
        entries=entries,
        problem=problem,
        smoothing=problem.smoothing(Smoothing()),
        rule=AverageRule(entries, problem),
    )
    return stage.run(progress)


def _complete_trusted(
    entries: Entries, problem: Problem, progress: Progress
) -> Completion:
    """Leave out the entries that are grossly wrong, and fit the others by squares."""
    history: list[HistoryRow] = []
    trusted = trusted_entries(entries, problem, progress, history)
    final = complete(
        entries.select(trusted), replace(problem, loss="squared"), progress
    )
    final.history = history + final.history
    final.trusted = trusted
    return final


def _is_noisy(search: "HoldOutSearch", entries: Entries) -> bool:
    """Return whether a low rank that the entries determine predicts hidden ones.

    The matrix is then known as well as noise allows, and none matches the entries.
    """
    freedom = degrees_of_freedom(search.problem.max_rank, entries.shape)
    return any(
        search.r2 > r2 and len(entries) > oversampling * freedom
        for oversampling, r2 in _NOISY
    )


def _fit_with_ridge(
    entries: Entries, problem: Problem, progress: Progress, *, ridge: float
) -> Completion:
    """Iterate with a given ridge until the matrix no longer changes."""
    least_eps = (_SHARE_OF_RIDGE * ridge) ** (1 / (4 * problem.power))
    floor = max(least_eps, problem.floor)
    template = Smoothing(ridge=ridge, decay=_RIDGE_DECAY)
    smoothing = replace(problem.smoothing(template), floor=floor)
    rule = ConvergenceRule(entries, problem, floor)
    stage = Stage(
        name="fit", entries=entries, problem=problem, smoothing=smoothing, rule=rule
    )
    return stage.run(progress)


def _match(entries: Entries, problem: Problem, progress: Progress) -> Completion:
    """Look for a low-rank matrix that matches the entries."""
    smoothing = problem.smoothing(_MATCH[problem.loss])
    rule = CrossValidationRule(entries, problem)
    stage = Stage(
        name="match", entries=entries, problem=problem, smoothing=smoothing, rule=rule
    )
    return stage.run(progress)


def _search_on_hidden(
    entries: Entries, problem: Problem, progress: Progress
) -> list["HoldOutSearch"]:
    """Hide some of the entries, and find the ε at which they are predicted best.

    Return the search with a low rank, and if the problem has a solver for it and a
    column is not constant, the search with a full spectrum. There is none if the only
    entries that are not zero are hidden.
    """
    random_state = np.random.RandomState(problem.seed)
    mask = entries.draw_hidden(problem.validation_fraction, random_state)
    shown, hidden = entries.select(~mask), entries.select(mask)
    if not shown.values.any():
        return []
    low_rank = HoldOutSearch.run(
        name="hide",
        shown=shown,
        hidden=hidden,
        mask=mask,
        problem=problem,
        smoothing=_HOLD_OUT[problem.loss],
        progress=progress,
    )
    if problem.full_spectrum_solver is None:
        return [low_rank]
    if not shown.subtract(shown.column_means()).values.any():
        return [low_rank]
    full_spectrum = HoldOutSearch.run(
        name="graded",
        shown=shown,
        hidden=hidden,
        mask=mask,
        problem=replace(
            problem,
            solver=problem.full_spectrum_solver,
            max_rank=min(entries.shape),
        ),
        smoothing=_FULL_SPECTRUM,
        progress=progress,
    )
    return [low_rank, full_spectrum]


@dataclass(frozen=True, kw_only=True)
class HoldOutSearch:
    """The smoothing at which hidden entries are predicted best.

    Attributes
    ----------
    problem : Problem
        The problem with the rank that was found.
    schedule : Schedule
        ε up to the best iterate.
    error : float
        The error on the hidden entries, by which searches are compared.
    r2 : float
        R² on the hidden entries.
    converged : bool
        Whether further iterates were no better.
    hold_out : HoldOut
        The best fit to the shown entries.
    history : list of HistoryRow
        One row for each iterate.
    """

    problem: Problem
    schedule: Schedule
    error: float
    r2: float
    converged: bool
    hold_out: HoldOut
    history: list[HistoryRow]

    @classmethod
    def run(
        cls,
        *,
        name: str,
        shown: Entries,
        hidden: Entries,
        mask: BoolArray,
        problem: Problem,
        smoothing: Smoothing,
        progress: Progress,
    ) -> Self:
        """Iterate until hidden entries are no longer predicted better.

        Parameters
        ----------
        name : str
            The name of the stage.
        shown, hidden : Entries
            The entries that are fitted, and those that are predicted.
        mask : ndarray of bool
            The mask of the hidden ones among all entries.
        problem : Problem
        smoothing : Smoothing
            Its power and floor are replaced by those of the problem.
        progress : Progress
        """
        rule = HoldOutRule(hidden, problem)
        smoothing = problem.smoothing(smoothing)
        stage = Stage(
            name=name, entries=shown, problem=problem, smoothing=smoothing, rule=rule
        )
        found = stage.run(progress)
        best = found.history[: rule.best.number + 1]
        model = FactorModel.of(rule.best, problem.loss)
        predictions = model.products(hidden)
        return cls(
            problem=replace(problem, max_rank=rule.rank()),
            schedule=Schedule(
                **vars(smoothing), values=tuple(row.epsilon for row in best)
            ),
            error=rule.error(predictions),
            r2=rule.r2(predictions),
            converged=found.converged,
            hold_out=HoldOut(hidden=mask, model=model.map_arrays(hidden.to_numpy)),
            history=found.history,
        )

    def fit(self, entries: Entries, progress: Progress) -> Completion:
        """Repeat the best smoothing with all entries."""
        rule = FixedStepsRule(
            entries,
            self.problem,
            n_steps=len(self.schedule.values),
            converged=self.converged,
        )
        stage = Stage(
            name="fit",
            entries=entries,
            problem=self.problem,
            smoothing=self.schedule,
            rule=rule,
        )
        final = stage.run(progress)
        final.validation_score, final.hold_out = self.r2, self.hold_out
        return final


@dataclass(frozen=True, kw_only=True)
class DrawSearch:
    """An average of draws by the shown entries, compared on the hidden ones.

    Attributes
    ----------
    problem : Problem
        The problem of draws.
    error, r2 : float
        The error and R² on the hidden entries.
    history : list of HistoryRow
        One row for each iterate.
    """

    problem: Problem
    error: float
    r2: float
    history: list[HistoryRow]

    @classmethod
    def instead_of(
        cls,
        search: HoldOutSearch,
        entries: Entries,
        problem: Problem,
        progress: Progress,
    ) -> Self | None:
        """Return the draws for the hidden entries of a search; None if it does well."""
        if problem.rank_of_draws is None or not search.r2 < _WELL_PREDICTED:
            return None
        mask, of_draws = search.hold_out.hidden, problem.of_draws()
        found = _average(entries.select(~mask), of_draws, progress)
        rule = HoldOutRule(entries.select(mask), of_draws)
        error, _ = rule(found.iterate)
        r2 = rule.r2(found.iterate.products(rule.entries))
        return cls(problem=of_draws, error=error, r2=r2, history=found.history)

    def fit(self, entries: Entries, progress: Progress) -> Completion:
        """Average draws by all entries."""
        final = _average(entries, self.problem, progress)
        final.validation_score = self.r2
        return final
