"""The fit of a tree: the search at the root, the splits, the leaves."""

from copy import copy
from dataclasses import dataclass
from time import time
from typing import Any

import numpy as np
from joblib import delayed, effective_n_jobs

from .._search import standard_errors
from .._sklearn import FitTasks, clone
from ..kernels import GeneralizedLaplace, Laplace
from ._leaves import (
    ConstantModel,
    LeafData,
    find_directions,
    fit_leaf,
    held_out_losses,
    losses_of_rows,
)
from ._parallel import Deadline, run_jobs
from ._refine import REFINE_ROWS, find_refined_directions, reroute
from ._tree import Leaf, Node, first_split, grow

# The ridge of the machines that find directions, where no search has chosen one.
_SPLIT_ALPHA = 0.1
# The rows of the search at the root, as a multiple of those of the largest leaf: its
# last stage then fits to about as many rows as a leaf has.
SEARCH_LEAVES = 1.6
# The rows of a leaf that the search at the root and the comparison of finalists have in
# mind, at most: larger leaves only take more rows in their last round.
SEARCH_ROWS = 4000
# Finalists of the search at the root that are compared in leaves, and in how many: on
# the table of benchmarks/scale.py that took R² from .669 to .730 (10 000 rows), from
# .738 to .788 (20 000) and from .756 to .810 (30 000), where two leaves left .756; on
# protein from .724 to .736.
_MOST_FINALISTS, COMPARED_LEAVES = 3, 3
# The same for leaves with fewer centres than rows: of one leaf, so many rows and
# centres, and at most so many rounds. On a side of the table of benchmarks/scale.py,
# 60 000 rows and 2000 centres, R² is .920 after three rounds and after five; by 4000
# rows a kernel was chosen that loses .03.
_CENTERS_ROWS, _CENTERS_COMPARED, _CENTERS_ROUNDS = 30_000, 1000, 3
# Kernels that are compared there with that of the search: many rows with noise suit
# smoother ones than the few of a search. On that side R² is .921 with the first, .928
# with the second.
_SMOOTH_KERNELS = Laplace(), GeneralizedLaplace(1.3)
# Fewer rounds than these are not halved where finalists are compared.
_FEW_ROUNDS = 4
# The seconds of a row of a leaf of 4000 rows, as a share of those of the search at the
# root, on protein; they grow as the root of the rows.
_COST_OF_ROW = 3e-5
# Rows of a large leaf at most, rows that it is tried on, and rows that are predicted
# there. Tried on 60 000 rows, large leaves looked worse at a million rows.
_MOST_LARGE_ROWS, _LARGE_ROWS, _UNSEEN_ROWS = 500_000, 200_000, 4000
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
    refined : bool
        Whether splits are refined by the machines of their sides.
    temperature : float
    classes : ndarray or None
        The numbers of the classes.
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
        refined=False,
        temperature=0.1,
        classes=None,
        n_trees,
        n_jobs,
        deadline: Deadline,
        tasks: FitTasks,
    ):
        self._leaf, self._data, self._max_rows = leaf, data, max_rows
        self._max_split_samples, self._n_jobs = max_split_samples, n_jobs
        self._refined, self._temperature, self._classes = refined, temperature, classes
        self._n_trees, self._deadline, self._tasks = n_trees, deadline, tasks
        self._split_alpha, self._stopped = _SPLIT_ALPHA, False
        self._finalists: list[Any] = []
        self._kernel_is_open = isinstance(leaf.kernel, str) and leaf.kernel == "auto"
        self._has_centers, self._root_directions = False, None

    def search_root(self, seed):
        """Return the fitted estimator that chooses kernel, ridge and round for leaves.

        It is fitted to more rows than a leaf has where it searches in stages: the last
        stage holds rows out, and fits to about as many as a leaf has. None where all
        targets are equal.
        """
        n_rows, n = min(self._max_rows, SEARCH_ROWS), len(self._data)
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
        chosen, fit = model._fitted.predictor.first.candidate, model._fitted
        settings = [_settings_of(chosen, max_iter=model.best_iter_)]
        settings += [
            _settings_of(rival, max_iter=rival.max_iter) for rival in fit.rivals
        ]
        self._finalists = [
            clone(self._leaf).set_params(**setting)
            for setting in settings[:_MOST_FINALISTS]
        ]
        self._leaf, self._split_alpha = self._finalists[0], model.alpha_
        if self._leaf.n_centers is not None:
            self.take_centers(self._leaf.n_centers)
        return model

    def shrink_leaves(self, began):
        """Halve leaves until there is time for them, after a search that has ended.

        Parameters
        ----------
        began : float
            The time of day when the search began.
        """
        if self._deadline.end is None:
            return
        now, n = time(), len(self._data) * self._n_trees
        while self._max_rows > SEARCH_ROWS:
            size = (self._max_rows / SEARCH_ROWS) ** 0.5
            if now + (now - began) * _COST_OF_ROW * n * size <= self._deadline.end:
                return
            self._max_rows = -(-self._max_rows // 2)

    def take_centers(self, n_centers):
        """Give large leaves fewer centres than rows, and what suits these."""
        if self._max_rows <= SEARCH_ROWS or n_centers >= self._max_rows:
            return
        self._has_centers = True
        finalists = self._finalists
        if self._kernel_is_open:
            smooth = [
                clone(self._leaf).set_params(kernel=kernel, metric_type="full")
                for kernel in _SMOOTH_KERNELS
            ]
            finalists = [*finalists[:1], *smooth]
        self._finalists = [
            clone(each).set_params(
                n_centers=n_centers, max_iter=min(each.max_iter, _CENTERS_ROUNDS)
            )
            for each in finalists or [self._leaf]
        ]
        self._leaf = self._finalists[0]

    def choose_leaves(self, n_centers, seed):
        """Decide between leaves as they are and two large ones with few centres.

        Both are fitted to a part of the table, and predict the same unseen rows of it:
        to the rows of one small leaf, and to a sample of one side of a refined split.
        """
        large, seeds = copy(self), draw_seeds(np.random.RandomState(seed), 2)
        large._refined = True
        large._max_rows = min(_MOST_LARGE_ROWS, -(-len(self._data) // 2))
        large.take_centers(n_centers)
        cell = self._first_cell(seed)
        if cell is None:
            return
        everything = np.arange(len(self._data))
        (directions,) = large._directions([everything], np.random.RandomState(seed))
        side = _left_side(self._data, everything, directions)
        if 2 * len(np.intersect1d(side, cell)) < len(cell):
            side = np.setdiff1d(everything, side)
        unseen = np.intersect1d(side, cell)
        unseen = _subsample(unseen, min(len(cell) // 4, _UNSEEN_ROWS), seed=seeds[0])
        others = _subsample(np.setdiff1d(side, unseen), _LARGE_ROWS, seed=seeds[1])
        of_small = self._losses_of(self._leaf, np.setdiff1d(cell, unseen), unseen, seed)
        first, *_, smoothest = large._finalists
        if any(
            large._losses_of(leaf, others, unseen, seed) < of_small
            for leaf in (smoothest, first)
        ):
            vars(self).update(vars(large))
            self._root_directions = directions

    def _first_cell(self, seed):
        """Return the rows of a leaf of the tree as it is, None if there is none."""
        cell, random_state = np.arange(len(self._data)), np.random.RandomState(seed)
        while len(cell) > self._max_rows:
            (directions,) = self._directions([cell], random_state)
            smaller = _left_side(self._data, cell, directions)
            if len(smaller) == len(cell):
                return None
            cell = smaller
        return cell

    def _losses_of(self, leaf, rows, unseen, seed):
        """Return the mean loss on unseen rows of a leaf that is fitted to rows."""
        model = fit_leaf(leaf, self._data.subset(rows), seed=seed)
        data = self._data.subset(unseen)
        return np.average(losses_of_rows(model, data), weights=data.weight)

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
        if len(self._finalists) > 1:
            self._leaf = self._best_finalist(rows_of_leaves, seed)
            self._finalists = []
        models = self._fit_leaves(rows_of_leaves, rng, number)
        n_rows = [len(rows) for rows in rows_of_leaves]
        if self._refined and self._leaf.n_centers is not None:
            # where all rows are centres, leaves interpolate their own rows
            if self._leaf.n_centers < min(n_rows):
                reroute(
                    root,
                    models,
                    self._data,
                    self._classes,
                    temperature=self._temperature,
                    seed=seed,
                )
        return FittedTree(root=root, models=models, n_rows=n_rows)

    def _directions(self, nodes, rng):
        """Return the directions that nodes, given by their rows, may be split along."""
        if self._root_directions is not None and len(nodes) == 1:
            directions, self._root_directions = self._root_directions, None
            return [directions]
        splitter = _make_splitter(self._leaf, self._split_alpha)
        data = self._data
        seeds = draw_seeds(rng, len(nodes))

        def make_job(k):
            seed, rows = seeds[k], nodes[k]
            if self._refined:
                rows = data.subset(_subsample(rows, REFINE_ROWS, seed=seed))
                return delayed(find_refined_directions)(
                    splitter, rows, seed=seed, temperature=self._temperature
                )
            rows = _subsample(rows, self._max_split_samples, seed=seed)
            return delayed(find_directions)(splitter, data.subset(rows), seed=seed)

        return list(run_jobs(make_job, len(nodes), self._n_jobs))

    def _best_finalist(self, rows_of_leaves, seed):
        """Return the finalist of the search at the root that is best in leaves.

        What is best for the whole table may be second for its parts. Finalists are
        compared after half of their rounds: the first one is the best, unless another
        is better by a standard error of the differences. Then with all of its rounds,
        which have to be better than half of them.
        """
        if self._has_centers:
            losses = self._losses_in_leaves(self._finalists, rows_of_leaves, seed)
            means = [np.average(loss, weights=weight) for loss, weight in losses]
            return self._finalists[int(np.argmin(means))]
        finalists = [(each, _with_half_of_the_rounds(each)) for each in self._finalists]
        losses = self._losses_in_leaves(
            [half for _, half in finalists], rows_of_leaves, seed
        )
        excess = [_excess(losses[0], others) for others in losses]
        best = int(np.argmax(excess))
        if excess[best] <= 1:
            best = 0
        full, half = finalists[best]
        if half is full:
            return full
        (of_full,) = self._losses_in_leaves([full], rows_of_leaves, seed)
        return full if _excess(losses[best], of_full) > 0 else half

    def _losses_in_leaves(self, estimators, rows_of_leaves, seed):
        """Return the losses of estimators in some leaves, and weights: (2, m) each."""
        rng = np.random.default_rng(seed)
        n_compared, n_rows = COMPARED_LEAVES, SEARCH_ROWS
        if self._has_centers:
            n_compared, n_rows = 1, _CENTERS_ROWS
            estimators = [
                clone(each).set_params(n_centers=min(_CENTERS_COMPARED, each.n_centers))
                for each in estimators
            ]
        leaves = rng.permutation(len(rows_of_leaves))[:n_compared]
        pairs = [(each, rows_of_leaves[k]) for each in estimators for k in leaves]
        share = effective_n_jobs(self._n_jobs) / (len(pairs) + len(rows_of_leaves))

        def make_job(k):
            estimator, rows = pairs[k]
            rows = _subsample(rows, n_rows, seed=seed)
            return delayed(held_out_losses)(
                estimator,
                self._data.subset(rows),
                seed=seed,
                deadline=self._deadline,
                share=min(1.0, share),
            )

        with self._tasks.open("comparison"):
            losses: list[Any] = [*run_jobs(make_job, len(pairs), self._n_jobs)]
        return [
            np.concatenate(losses[k : k + len(leaves)], axis=1)
            for k in range(0, len(losses), len(leaves))
        ]

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


def _with_half_of_the_rounds(estimator):
    """Return an estimator with half of the rounds, or itself if they are few."""
    if estimator.max_iter < _FEW_ROUNDS:
        return estimator
    return clone(estimator).set_params(max_iter=estimator.max_iter // 2)


def _excess(losses, others):
    """Return by how many standard errors losses exceed others, of the same rows.

    Each is given with the weights of the rows, as an array of shape (2, m).
    """
    return standard_errors(losses[0], others[0], losses[1])


def _settings_of(candidate, *, max_iter):
    """Return the parameters of leaves that a Candidate gives."""
    return {
        "kernel": candidate.kernel,
        "metric_type": "diag" if candidate.diagonal else "full",
        "alpha": candidate.alpha,
        "max_iter": max_iter,
        "level_statistics": candidate.level_statistics,
        "validation": None,
    }


def _left_side(data, rows, directions):
    """Return those of some rows that a split at the median sends to the left."""
    part = data.subset(rows)
    split = first_split(part.X, part.weight, directions, 2)
    return rows if split is None else rows[split[1]]


def _make_splitter(leaf, alpha):
    """Return the unfitted machine that finds the directions of nodes."""
    return clone(leaf).set_params(
        kernel="laplace",
        alpha=alpha,
        max_iter=1,
        validation=None,
        metric_type="full",
        level_statistics=None,  # directions are of the encoded columns
        n_centers=None,
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
