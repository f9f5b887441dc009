"""The forecast of a fit of an RFM estimator, and of trees of them."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import _safe_indexing

from ..._backend import own_threads
from ..._tables import check_n_jobs, outer_placement_of, to_host, validate_or_stream
from ...xrfm._comparison import COMPARED_LEAVES
from ...xrfm._fitting import SEARCH_LEAVES, SEARCH_ROWS
from ...xrfm._leaves import EARLY_ROWS
from ...xrfm._tree import DIRECTIONS
from ._memory import memory_of_fit, memory_of_rows
from ._rounds import clocks
from ._search import SearchCosts, SearchWork, Work

# The rounds of a leaf, whose parameters the search at the root has chosen.
_ROUNDS_OF_LEAF = 4.0


@dataclass(frozen=True)
class Forecast:
    """What a fit takes.

    Attributes
    ----------
    seconds : ndarray of shape (2,)
        On the clock, and of the processors.
    memory : float
        Bytes that are held at most.
    """

    seconds: np.ndarray
    memory: float


class MachineForecast:
    """The costs of an RFM estimator on a table.

    Parameters
    ----------
    estimator : BaseRFM
        A clone, which gets the attributes that validation sets.
    X : array-like or data frame of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    """

    def __init__(self, estimator, X, y):
        began = clocks()
        estimator._validate_params()
        self.estimator = estimator
        self.training = validate_or_stream(
            estimator, X, y, None, fit_targets=estimator._fit_targets
        )
        if self.training.placement.on_gpu:
            raise ValueError(
                "estimate_cost measures the processors of this machine, but "
                f"{type(estimator).__name__} would compute on a GPU: pass "
                "device='cpu' to the estimator, and arrays of NumPy."
            )
        candidates, stages = estimator._plan(self.training)
        self.seconds_of_validation = clocks() - began
        self.n_rows = self.training.data.n_rows
        self.work = SearchWork(estimator, candidates, stages, self.n_rows)
        self.costs = SearchCosts(
            self.training, self.work.paths, estimator._criterion, stages
        )

    def forecast(self):
        """Return the Forecast of the fit."""
        works, costs = self.work.all(), self.costs
        with own_threads(self.n_rows):
            seconds = sum((costs.seconds(work) for work in works), np.zeros(2))
            if len(works) > 1:  # a search that holds rows out, then an average
                n_scored = sum(m for _, m in works[-2].parts)
                seconds = seconds + costs.seconds_of_average(n_scored)
        seconds = seconds + self.seconds_of_validation
        seconds = _within(self.estimator.time_budget, seconds)
        n_held = self.training.data.X.shape[0]
        memory = memory_of_fit(works, costs) + memory_of_rows(n_held, costs)
        return Forecast(seconds, memory)


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
        if self._leaf.n_centers not in (None, "auto"):
            raise ValueError(
                "estimate_cost forecasts trees in whose leaves all rows are centres: "
                "pass n_centers=None to the estimator of the leaves."
            )

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
            works = self._leaf_works(model, self._rows_of_leaf())
            leaf = self._seconds_of_works(model, works)
            memory = memory_of_fit(works, model.costs)
        memory *= self._n_jobs
        trees = self._n_leaves * leaf
        if searches:
            works = self._leaf_works(model, min(SEARCH_ROWS, self._rows_of_leaf()))
            compared = min(COMPARED_LEAVES, self._n_leaves) / self._estimator.n_trees
            trees = trees + compared * self._seconds_of_works(model, works)
        if self._n_leaves > 1:
            trees = trees + (self._n_leaves - 1) * self._seconds_of_node(model)
        trees = self._estimator.n_trees * trees / np.array([self._n_jobs, 1])
        if searches:
            trees, memory = trees + found.seconds, max(memory, found.memory)
        reading = model.seconds_of_validation * self._n_rows / size
        memory += memory_of_rows(self._n_rows, model.costs)
        seconds = _within(self._estimator.time_budget, trees + reading)
        return Forecast(seconds, memory)

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

    def _seconds_of_node(self, model):
        """Return the seconds of finding the direction of a node.

        A machine of two rounds finds directions, and machines on both sides of the
        first few are compared by leave-one-out.
        """
        size = min(self._estimator.max_split_samples, self._n_rows)
        machine = self._machine_work(model, 2.0, size)
        sides = Work(
            2.0 * DIRECTIONS,
            [(size // 2, 0)],
            gradients=0.0,
            leave_one_out=True,
            final=True,
        )
        with own_threads(size):
            return model.costs.seconds(machine) + model.costs.seconds(sides)

    def _leaf_works(self, model, n_rows):
        """Return the Works of a leaf that takes its parameters from the root.

        Those of all rows, of the round before the last, and of the rounds before it.
        """
        rounds = min(_ROUNDS_OF_LEAF, model.estimator.max_iter + 1)
        if n_rows <= EARLY_ROWS // 2:
            return [self._machine_work(model, rounds, n_rows)]
        sizes = n_rows, min(EARLY_ROWS, n_rows), EARLY_ROWS // 2
        counts = min(1, rounds), min(1, rounds - 1), max(0, rounds - 2)
        return [
            self._machine_work(model, count, size)
            for count, size in zip(counts, sizes, strict=True)
            if count > 0
        ]

    @staticmethod
    def _seconds_of_works(model, works):
        """Return the seconds of some Works."""
        with own_threads(works[0].parts[0][0]):
            return sum((model.costs.seconds(work) for work in works), np.zeros(2))

    @staticmethod
    def _machine_work(model, rounds, n_rows):
        """Return the Work of a machine whose parameters are all given.

        The last round of a classifier is scored, to calibrate its probabilities.
        """
        return Work(
            rounds,
            [(n_rows, 0)],
            gradients=1 - 1 / rounds,
            scored=1 / rounds if model.estimator._needs_outputs else 0.0,
            leave_one_out=True,
            final=True,
        )


def _within(budget, seconds):
    """Return elapsed and CPU seconds, which a budget limits."""
    if budget is None or seconds[0] <= budget:
        return seconds
    return seconds * (budget / seconds[0])
