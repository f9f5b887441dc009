"""The stages of a completion: how far ε falls, chosen by observed entries only.

With a given ridge the iterates continue until they converge. With alpha="auto" the
first stage looks for a low-rank matrix that matches the entries exactly. If there is
none, the entries are noisy: a part of them is hidden, the smoothing that predicts the
hidden entries best is chosen, and the last stage repeats it with all entries.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from ..._backend import BoolArray
from ..._sklearn import Progress
from .._entries import Entries
from ._iterates import Iterate, Schedule, Smoothing, zero_iterate
from ._problem import Problem
from ._rows import FactorModel
from ._stopping import (
    ConvergenceRule,
    CrossValidationRule,
    FixedStepsRule,
    HoldOutRule,
    StoppingRule,
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


class HistoryRow(NamedTuple):
    """One iterate in `history_`: its stage, number, ε, rank and score."""

    stage: str
    iter: int
    epsilon: float
    rank: int
    score: float


@dataclass(kw_only=True)
class Completion:
    """The last iterate of a stage, and how the stages went.

    Attributes
    ----------
    iterate : Iterate
    converged : bool
        Whether the stage ended by its stopping rule, and found what it looked for.
    exact : bool
        Whether the iterate matches the entries.
    validation_score : float
        R² on hidden entries; NaN if none were hidden.
    hold_out : HoldOut or None
        The fit to a part of the entries by which a stage was chosen.
    history : list of HistoryRow
        One row for each iterate.
    """

    iterate: Iterate
    converged: bool
    exact: bool
    validation_score: float = np.nan
    hold_out: HoldOut | None = None
    history: list[HistoryRow] = field(default_factory=list)

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of a completer that describe the search."""
        columns = zip(*self.history, strict=True)
        return {
            "n_iter_": len(self.history),
            "converged_": self.converged,
            "validation_score_": self.validation_score,
            "history_": {
                name: np.array(column)
                for name, column in zip(HistoryRow._fields, columns, strict=True)
            },
        }


def complete(entries: Entries, problem: Problem, progress: Progress) -> Completion:
    """Return the completion of a matrix."""
    if not entries.values.any():
        iterate = zero_iterate(entries, exponent=2 * problem.power)
        row = HistoryRow("match", 0, 0.0, 0, 0.0)
        return Completion(iterate=iterate, converged=True, exact=True, history=[row])
    if problem.ridge is not None:
        return _fit_with_ridge(entries, problem, progress, ridge=problem.ridge)
    match = _match(entries, problem, progress)
    if match.exact or len(entries) < _FEWEST_ENTRIES:
        return match
    searches = _search_on_hidden(entries, problem, progress)
    best = min(searches, key=lambda search: search.error)
    final = best.fit(entries, progress)
    final.history = [
        *match.history,
        *(row for search in searches for row in search.history),
        *final.history,
    ]
    return final


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
    column is not constant, the search with a full spectrum.
    """
    random_state = np.random.RandomState(problem.seed)
    mask = entries.draw_hidden(problem.validation_fraction, random_state)
    shown, hidden = entries.select(~mask), entries.select(mask)
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


@dataclass(kw_only=True)
class Stage:
    """The iterates of a solver until a stopping rule or a callback ends them.

    Attributes
    ----------
    name : str
        The stage in `history_` and the task of callbacks.
    entries : Entries
        The entries that are fitted.
    problem : Problem
    smoothing : Smoothing
    rule : StoppingRule
    history : list of HistoryRow
        One row for each iterate so far.
    """

    name: str
    entries: Entries
    problem: Problem
    smoothing: Smoothing
    rule: StoppingRule
    history: list[HistoryRow] = field(default_factory=list)

    def run(self, progress: Progress) -> Completion:
        """Iterate to the end; return the last iterate."""
        task = progress.open(self.name, self.problem.max_iter)
        iterate = deque(task.watch(self._scored_iterates()), maxlen=1).pop()
        return Completion(
            iterate=iterate,
            converged=self.rule.converged,
            exact=self.rule.exact,
            history=self.history,
        )

    def _scored_iterates(self) -> Iterator[Iterate]:
        """Yield iterates with `last` set, and add them to the history."""
        for iterate in self.problem.iterates(self.entries, self.smoothing):
            score, stop = self.rule(iterate)
            self.history.append(
                HistoryRow(self.name, iterate.number, iterate.eps, iterate.rank, score)
            )
            iterate.last = stop or iterate.number + 1 >= self.problem.max_iter
            yield iterate


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
