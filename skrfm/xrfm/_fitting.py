"""The fit of a tree: the search at the root, the splits, the leaves."""

from dataclasses import dataclass
from time import time
from typing import Any

import numpy as np
from joblib import delayed, effective_n_jobs

from .._sklearn import FitTasks, clone
from ._leaves import ConstantModel, LeafData, find_directions, fit_leaf
from ._parallel import run_jobs
from ._tree import Leaf, Node, grow

# The ridge of the machines that find directions, where no search has chosen one.
_SPLIT_ALPHA = 0.1
# The rows of the search at the root, as a multiple of those of the largest leaf: its
# last stage then fits to about as many rows as a leaf has.
SEARCH_LEAVES = 1.6
# The seconds of the search at the root, as a multiple of those of a leaf: 1.5 to 3 on
# the table of benchmarks/scale.py.
_SEARCH_COST = 3.0


@dataclass(frozen=True, kw_only=True)
class FittedTree:
    """A tree with the models of its leaves.

    Attributes
    ----------
    root : Node or Leaf
    models : list of RFMRegressor, RFMClassifier or ConstantModel
        The model of each leaf.
    n_rows : list of int
        The number of training rows of each leaf.
    """

    root: Node | Leaf | None
    models: list
    n_rows: list[int]


@dataclass(frozen=True)
class Deadline:
    """When a fit should be over; None for no limit.

    By the time of day, which the processes and hosts that fit leaves share.
    """

    end: float | None = None

    @classmethod
    def after(cls, seconds):
        """Return the Deadline after so many seconds; None is no limit."""
        return cls() if seconds is None else cls(time() + seconds)

    def limit(self, estimator, share):
        """Give an estimator a share of the seconds that are left."""
        if self.end is not None:
            left = max(self.end - time(), 0.0)
            # a budget is positive
            estimator.set_params(time_budget=max(left * share, 1e-9))


class Forester:
    """Grows the trees of one fit, and fits their leaves.

    Parameters
    ----------
    leaf : RFMRegressor or RFMClassifier
        The unfitted estimator of the leaves.
    data : LeafData
    max_rows : int
        The largest number of rows of a leaf.
    max_split_samples : int
    n_trees : int
    n_jobs : int or None
    deadline : Deadline
    tasks : FitTasks
    """

    def __init__(
        self,
        leaf: Any,
        data: LeafData,
        *,
        max_rows,
        max_split_samples,
        n_trees,
        n_jobs,
        deadline: Deadline,
        tasks: FitTasks,
    ):
        self._leaf, self._data, self._max_rows = leaf, data, max_rows
        self._max_split_samples, self._n_jobs = max_split_samples, n_jobs
        self._n_trees, self._deadline, self._tasks = n_trees, deadline, tasks
        self._split_alpha, self._stopped = _SPLIT_ALPHA, False

    def search_root(self, seed):
        """Return the fitted estimator that chooses kernel, ridge and round for leaves.

        It is fitted to more rows than a leaf has where it searches in stages: the last
        stage holds rows out, and fits to about as many as a leaf has. None where all
        targets are equal.
        """
        n_rows, n = self._max_rows, len(self._data)
        if self._leaf.validation == "auto":
            n_rows = int(SEARCH_LEAVES * n_rows)
        rows = np.random.default_rng(seed).permutation(n)[:n_rows]
        searcher = clone(self._leaf).set_params(n_machines=1)
        n_leaves = self._n_trees * -(-n // self._max_rows)
        self._deadline.limit(searcher, _SEARCH_COST / (_SEARCH_COST + n_leaves))
        model = fit_leaf(
            searcher, self._data.subset(np.sort(rows)), seed=seed, tasks=self._tasks
        )
        if isinstance(model, ConstantModel):
            return None
        self._leaf = clone(self._leaf).set_params(**_choice_of(model))
        self._split_alpha = model.alpha_
        return model

    def fit_tree(self, number, seed):
        """Return the FittedTree with a number from 0 on."""
        rng = np.random.RandomState(seed)
        with self._tasks.open("splits"):
            root, rows_of_leaves = grow(
                self._data.X,
                self._data.weight,
                max_rows=self._max_rows,
                find_directions=lambda nodes: self._directions(nodes, rng),
            )
        return FittedTree(
            root=root,
            models=self._fit_leaves(rows_of_leaves, rng, number),
            n_rows=[len(rows) for rows in rows_of_leaves],
        )

    def _directions(self, nodes, rng):
        """Return the directions that nodes, given by their rows, may be split along."""
        splitter = _make_splitter(self._leaf, self._split_alpha)
        data = self._data
        seeds = draw_seeds(rng, len(nodes))

        def make_job(k):
            rows = _subsample(nodes[k], self._max_split_samples, seed=seeds[k])
            return delayed(find_directions)(splitter, data.subset(rows), seed=seeds[k])

        return list(run_jobs(make_job, len(nodes), self._n_jobs))

    def _fit_leaves(self, rows_of_leaves, rng, number):
        """Return the models of the leaves of a tree.

        After a callback has asked to stop, leaves are fitted without another round.
        """
        n, seeds = len(rows_of_leaves), draw_seeds(rng, len(rows_of_leaves))
        n_later = n * (self._n_trees - number - 1)

        def make_job(k):
            leaf = self._leaf
            if self._stopped:
                leaf = clone(leaf).set_params(max_iter=0)
            return delayed(fit_leaf)(
                leaf,
                self._data.subset(rows_of_leaves[k]),
                seed=seeds[k],
                deadline=self._deadline,
                share=min(1.0, effective_n_jobs(self._n_jobs) / (n - k + n_later)),
            )

        models, results = [], run_jobs(make_job, n, self._n_jobs)
        with self._tasks.open("leaves", n) as leaves:
            for _ in range(n):
                with leaves.open("leaf") as task:
                    models.append(next(results))
                self._stopped |= task.stop
        return models


def _choice_of(model):
    """Return the parameters of leaves that were chosen with a fitted model."""
    candidate = model._fitted.predictor.first.candidate
    return {
        "kernel": model.kernel_,
        "metric_type": "diag" if candidate.diagonal else "full",
        "alpha": model.alpha_,
        "max_iter": model.best_iter_,
        "level_statistics": model.level_statistics_,
        "validation": None,
    }


def _make_splitter(leaf, alpha):
    """Return the unfitted machine that finds the directions of nodes."""
    return clone(leaf).set_params(
        kernel="laplace",
        alpha=alpha,
        max_iter=1,
        validation=None,
        metric_type="full",
        level_statistics=None,  # directions are of the encoded columns
        time_budget=None,
    )


def _subsample(rows, size, *, seed):
    """Return at most `size` of the row indices, sorted."""
    if len(rows) <= size:
        return rows
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(rows, size, replace=False))


def draw_seeds(random_state, count):
    """Return random seeds, as a list of int."""
    return random_state.randint(np.iinfo(np.int32).max, size=count).tolist()
