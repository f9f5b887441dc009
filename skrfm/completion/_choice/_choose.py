"""From entries to the fitted choice: comparison, weights, fits to all entries."""

from typing import Any

import numpy as np

from ..._sklearn import FitTasks, clone
from .._entries import ObservedEntries
from .._input import quiet
from ._after import AfterLowRank, FittedAfterLowRank
from ._comparison import Choice, Comparison, folds_of
from ._deviations import Deviations
from ._fitted import FittedChoice
from ._means import ShrunkMeans
from ._methods import (
    ColumnFeatures,
    FittedMethod,
    LowRank,
    Means,
    Method,
    RowFeatures,
    RowIndex,
    methods_of,
)
from ._sides import SideData


def choose_and_fit(
    entries: ObservedEntries,
    sides: SideData,
    *,
    low_rank: Any,
    kernel: Any,
    combine: str,
    n_folds: int,
    seed: int,
    weighted: bool,
    tasks: FitTasks,
) -> tuple[FittedChoice, Choice]:
    """Compare methods on hidden entries, and fit those that are used.

    Parameters
    ----------
    entries : ObservedEntries
    sides : SideData
        What is known of rows and columns.
    low_rank, kernel : completer
        The completers that the methods clone.
    combine : {"auto", "average", "best"}
    n_folds : int
    seed : int
        Determines the folds.
    weighted : bool
        Whether entries have weights.
    tasks : FitTasks
        The task of the fit.
    """
    # in double precision: differences of predictions are small
    exact = entries.with_values(entries.values.astype(np.float64))
    methods = methods_of(low_rank, kernel, sides, exact, weighted=weighted)
    after = [
        AfterLowRank(kernel, sides, of_columns=isinstance(method, ColumnFeatures))
        for method in methods
        if isinstance(method, RowFeatures | ColumnFeatures)
    ]
    if n_folds < 2:
        choice = Choice("means", {"means": 1.0}, {}, np.nan)
        left_over, errors = exact, means_left_over(exact)
        of_gaps = [errors, errors]
    else:
        comparison = Comparison(exact, folds_of(exact, n_folds, seed))
        with quiet(completely=True):
            for method in methods:
                comparison.add(method, tasks)
            comparison.add_after(methods[1], after, tasks)
        choice = comparison.choose(combine)
        left_over = comparison.residuals({LowRank.name: 1.0})
        errors = comparison.residuals(choice.weights)
        of_gaps = [
            comparison.residuals({name: 1.0}) for name in methods_of_gaps(methods)
        ]
    fit = _Fit(exact, methods, after, left_over, tasks)
    with quiet():
        return fit.of_choice(choice, errors, of_gaps), choice


def methods_of_gaps(methods: list[Method]) -> list[str]:
    """Return the methods that predict rows, and columns, without entries."""
    names = {method.name for method in methods}
    found = ("row features", "column features")
    return [name if name in names else Means.name for name in found]


def means_left_over(entries: ObservedEntries) -> ObservedEntries:
    """Return what shrunk means leave over of the entries that they are those of."""
    return ShrunkMeans.of(entries).residuals(entries)


def seeded(completer: Any, seed: int) -> Any:
    """Return a completer with a seed, if it has none of its own."""
    if completer.random_state is not None:
        return completer
    return clone(completer).set_params(random_state=seed)


class _Fit:
    """Fits of methods to all entries."""

    def __init__(self, entries, methods, after, residuals, tasks):
        self._entries, self._residuals, self._tasks = entries, residuals, tasks
        self._methods: dict[str, Method] = {method.name: method for method in methods}
        self._after: dict[str, AfterLowRank] = {method.name: method for method in after}
        self._done: dict[str, FittedMethod] = {}
        self._means = ShrunkMeans.of(entries)

    def of_choice(
        self,
        choice: Choice,
        errors: ObservedEntries,
        errors_of_gaps: list[ObservedEntries],
    ) -> FittedChoice:
        """Return the methods with a weight, and those of rows without entries.

        `errors` and `errors_of_gaps` are those of entries that were hidden.
        """
        methods = {name: self._fitted(name) for name in choice.weights}
        entries: Any = self._entries
        gaps, effects = {}, [self._means.rows, self._means.columns]
        for name in methods_of_gaps(list(self._methods.values())):
            if name != Means.name:
                gaps[name.replace(" ", "_")] = self._fitted(name)
        return FittedChoice(
            entries=entries,
            methods=methods,
            weights=choice.weights,
            means=self._fitted(Means.name),
            spread=Deviations.of(errors, effects, errors_of_gaps),
            empty_columns=np.flatnonzero(entries.column_counts() == 0),
            **gaps,
        )

    def _fitted(self, name):
        if name not in self._done:
            with self._tasks.open(f"{name}, all entries"):
                self._done[name] = self._fit(name)
        return self._done[name]

    def _fit(self, name):
        if name in self._methods:
            return self._methods[name].fit(self._entries, self._means)
        return FittedAfterLowRank(
            self._fitted(LowRank.name),
            self._after[name].left_over(self._residuals),
            RowIndex(self._entries),
        )
