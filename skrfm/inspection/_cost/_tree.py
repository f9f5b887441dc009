"""The forecast of a fit of a tree of RFM estimators."""

from dataclasses import replace
from math import ceil

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import _safe_indexing

from ..._backend import own_threads
from ..._tables import check_n_jobs, outer_placement_of, to_host
from ...xrfm._comparison import COMPARED_LEAVES, COMPARED_WITH_CENTERS
from ...xrfm._fitting import (
    CENTERS_ROUNDS,
    MOST_FINALISTS,
    SEARCH_LEAVES,
    SEARCH_ROWS,
    is_corrected,
)
from ...xrfm._leaves import EARLY_ROWS
from ...xrfm._refine import (
    CORRECTED_ROWS,
    REFINE_ROWS,
    Machines,
    machines_of_split,
)
from ...xrfm._tree import DIRECTIONS
from ._centers import CenterCosts
from ._forecast import Forecast, MachineForecast, within
from ._memory import memory_of_fit, memory_of_rows
from ._search import Work

# The rounds of a leaf, whose parameters the search at the root has chosen.
_ROUNDS_OF_LEAF = 4.0


class TreeForecast:
    """The costs of an XRFM estimator on a table.

    Parameters
    ----------
    estimator : BaseXRFM
        A clone.
    X : array-like or data frame of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    """

    def __init__(self, estimator, X, y):
        estimator._validate_params()
        placement = outer_placement_of(estimator.device, X)
        self._X, self._y, self._n_rows = X, to_host(y), len(X)
        self._estimator = estimator
        self._leaf = estimator._make_leaf(placement)
        if self._leaf.scaling == "auto":
            self._leaf.set_params(scaling="clipped")  # as the trees do
        n_jobs = check_n_jobs(estimator.n_jobs, placement)
        dtype = getattr(X, "dtype", np.dtype(np.float64))
        max_rows = estimator._max_leaf_rows(self._n_rows, dtype, n_jobs)
        self._n_leaves = ceil(self._n_rows / max_rows)
        self._n_jobs = min(effective_n_jobs(n_jobs or 1), self._n_leaves)
        self._max_rows = max_rows
        estimator._limit_memory(self._leaf, max_rows, n_jobs)
        self._split = estimator._kind_of_split(self._leaf)
        n_centers = self._leaf.n_centers
        self._has_centers = n_centers is not None and n_centers < self._rows_of_leaf()

    def forecast(self):
        """Return the Forecast of the fit."""
        searches = self._estimator.search == "root" and self._n_leaves > 1
        size = self._rows_of_search() if searches else self._rows_of_leaf()
        if searches:
            self._leaf.set_params(n_machines=1)
        model = MachineForecast(self._leaf, *self._sample(size))
        found = model.forecast()
        leaf, memory = found.seconds, found.memory
        if searches:
            if self._has_centers:  # which may be more than the rows of the search
                model.costs.set_centers(self._leaf.n_centers)
            works = self._leaf_works(model, self._rows_of_leaf())
            leaf = self._seconds_of_works(model, works)
            memory = memory_of_fit(works, model.costs)
        memory *= self._n_jobs
        trees = self._n_leaves * leaf + self._seconds_of_splits(model)
        if searches:
            trees = trees + self._seconds_of_comparison(model)
        trees = self._estimator.n_trees * trees / np.array([self._n_jobs, 1])
        if searches:
            trees, memory = trees + found.seconds, max(memory, found.memory)
        reading = model.seconds_of_validation * self._n_rows / size
        memory += memory_of_rows(self._n_rows, model.costs)
        seconds = within(self._estimator.time_budget, trees + reading)
        return Forecast(seconds, memory)

    def _seconds_of_comparison(self, model):
        """Return the seconds of comparing the finalists, for each tree."""
        n_trees = self._estimator.n_trees
        if self._has_centers and self._max_rows > SEARCH_ROWS:
            n_rows, n_centers = COMPARED_WITH_CENTERS
            n = min(n_rows, self._rows_of_leaf())
            p = min(n_centers, self._leaf.n_centers)
            rounds = min(CENTERS_ROUNDS, model.estimator.max_iter)
            machines = Machines(MOST_FINALISTS, n, p, rounds, 0)
            return self._seconds_of_machines(model, [machines]) / n_trees
        works = self._leaf_works(model, min(SEARCH_ROWS, self._rows_of_leaf()))
        compared = min(COMPARED_LEAVES, self._n_leaves) / n_trees
        return compared * self._seconds_of_works(model, works)

    def _rows_of_search(self):
        """Return the number of rows that the search at the root is fitted to."""
        share = SEARCH_LEAVES if self._leaf.validation == "auto" else 1
        return min(int(share * min(self._max_rows, SEARCH_ROWS)), self._n_rows)

    def _rows_of_leaf(self):
        return ceil(self._n_rows / self._n_leaves)

    def _sample(self, size):
        """Return a random sample of the rows, and its targets."""
        if size == self._n_rows:
            return self._X, self._y
        rows = np.sort(np.random.default_rng(0).permutation(self._n_rows)[:size])
        return _safe_indexing(self._X, rows), _safe_indexing(self._y, rows)

    def _seconds_of_splits(self, model):
        """Return the seconds of finding the directions of all nodes of a tree."""
        n, n_nodes = self._n_rows, self._n_leaves - 1
        if self._split == "refined":
            machines = machines_of_split(min(n, REFINE_ROWS), corrected=False)
            return n_nodes * self._seconds_of_machines(model, machines)
        n_corrected = 0
        if self._split == "corrected" and n >= CORRECTED_ROWS[0]:
            # "auto" looks for a split of a table of one leaf, too
            may_halve = self._estimator.max_leaf_size == "auto"
            most = max(n_nodes, 1) if may_halve else n_nodes
            n_corrected = min(most, 3 if is_corrected(n // 2, n) else 1)
        rows = min(n, max(CORRECTED_ROWS[1], self._estimator.max_split_samples))
        machines = machines_of_split(rows, corrected=True)
        seconds = max(n_nodes, n_corrected) * self._seconds_of_node(model)
        if n_corrected:
            of_machines = self._seconds_of_machines(model, machines)
            seconds = seconds + n_corrected * of_machines
        return seconds

    def _seconds_of_node(self, model):
        """Return the seconds of finding directions that are not refined.

        A machine of two rounds finds them, and machines on both sides of the first few
        are compared by leave-one-out.
        """
        size = min(self._estimator.max_split_samples, self._n_rows)
        machine = replace(self._machine_work(model, 2.0, size), all_centers=size)
        sides = Work(
            2.0 * DIRECTIONS,
            [(size // 2, 0)],
            gradients=0.0,
            leave_one_out=True,
            final=True,
            all_centers=size,
        )
        with own_threads(size):
            return model.costs.seconds(machine) + model.costs.seconds(sides)

    def _seconds_of_machines(self, model, machines):
        """Return the seconds of Machines with fewer centres than rows."""
        path, candidate = next(iter(model.costs.paths.items()))
        of_round = model.costs.rounds(path, True)
        most = max(each.n_centers for each in machines)
        costs = CenterCosts(
            model.training.data,
            replace(candidate, n_centers=most, centers="random"),
            model.training.placement.backend,
        )
        seconds = np.zeros(2)
        for count, n, p, max_iter, n_predicted in machines:
            early = costs.round(n, early=True, with_agop=True, n_centers=p)
            last = costs.round(n, early=False, with_agop=False, n_centers=p)
            predicted = of_round.predict(p, n_predicted)
            seconds = seconds + count * (max_iter * early + last + predicted)
        return seconds

    def _leaf_works(self, model, n_rows):
        """Return the Works of a leaf that takes its parameters from the root.

        Those of all rows, and of the rounds before the last.
        """
        rounds = min(_ROUNDS_OF_LEAF, model.estimator.max_iter + 1)
        if self._has_centers:
            return [self._machine_work(model, rounds, n_rows, early=1 - 1 / rounds)]
        if n_rows <= EARLY_ROWS or rounds <= 1:
            return [self._machine_work(model, rounds, n_rows)]
        return [
            self._machine_work(model, 1, n_rows),
            self._machine_work(model, rounds - 1, EARLY_ROWS, has_last=False),
        ]

    @staticmethod
    def _seconds_of_works(model, works):
        """Return the seconds of some Works."""
        with own_threads(works[0].parts[0][0]):
            return sum((model.costs.seconds(work) for work in works), np.zeros(2))

    @staticmethod
    def _machine_work(model, rounds, n_rows, *, early=0.0, has_last=True):
        """Return the Work of a machine whose parameters are all given.

        The last round of a classifier is scored, to calibrate its probabilities.
        `early` is the share of the rounds with fewer centres than the last one, which
        may be among the rounds or not.
        """
        last = 1 / rounds if has_last else 0.0
        return Work(
            rounds,
            [(n_rows, 0)],
            gradients=1 - last,
            scored=last if model.estimator._needs_outputs else 0.0,
            leave_one_out=True,
            final=True,
            early=early,
        )
