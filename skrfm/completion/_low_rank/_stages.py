"""A stage of a completion: iterates of one solver until a rule ends them."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..._backend import BoolArray
from ..._sklearn import Progress
from .._entries import Entries
from ._iterates import Iterate, Smoothing
from ._problem import Problem
from ._stopping import StoppingRule
from ._uncertainty import HoldOut


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
    trusted : ndarray of bool of shape (n_entries,) or None
        The mask of the entries that were fitted; None for all.
    """

    iterate: Iterate
    converged: bool
    exact: bool
    validation_score: float = np.nan
    hold_out: HoldOut | None = None
    history: list[HistoryRow] = field(default_factory=list)
    trusted: BoolArray | None = None

    def left_out(self, n_entries: int) -> BoolArray:
        """Return the mask of the entries that were not fitted."""
        if self.trusted is None:
            return np.zeros(n_entries, dtype=bool)
        return ~self.trusted

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
