"""The fit of a tree: the search at the root, the splits, the leaves."""

from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import time

import numpy as np
from joblib import delayed, effective_n_jobs

from .._sklearn import Checkpoint, FitTasks, clone
from ..kernels import GeneralizedLaplace, Laplace
from ._comparison import COMPARED_ROWS, Comparison
from ._large_leaves import MOST_LARGE_ROWS, large_leaves_are_better, small_and_large
from ._leaves import ConstantModel, find_directions, fit_leaf, make_splitter
from ._parallel import Deadline, run_jobs, saved_jobs
from ._partition import divide
from ._refine import (
    CORRECTED_ROWS,
    REFINE_ROWS,
    find_corrected_directions,
    find_halving_directions,
    find_refined_directions,
)
from ._reroute import reroute
from ._rows import HeldRows, StreamedRows, subsample
from ._tree import Leaf, Node, first_split

# The ridge of the machines that find directions, where no search has chosen one.
_SPLIT_ALPHA = 0.1
# The rows of the search at the root, as a multiple of those of the largest leaf: its
# last stage then fits to about as many rows as a leaf has.
SEARCH_LEAVES = 1.6
# The rows of a leaf that the search at the root and the comparison of finalists have in
# mind, at most: larger leaves only take more rows in their last round.
SEARCH_ROWS = COMPARED_ROWS
#: Finalists of the search at the root that are compared in leaves.
MOST_FINALISTS = 3
#: The rounds of leaves with fewer centres than rows, at most. On a side of the table of
#: benchmarks/scale.py, 60 000 rows and 2000 centres, R² is .920 after three rounds and
#: after five.
CENTERS_ROUNDS = 3
# Kernels that are compared in such leaves with that of the search: many rows with noise
# suit smoother ones than the few of a search. On that side R² is .921 with the first,
# .928 with the second.
_SMOOTH_KERNELS = Laplace(), GeneralizedLaplace(1.3)
# The seconds of a row of a leaf of 4000 rows, as a share of those of the search at the
# root, on protein; they grow as the root of the rows.
_COST_OF_ROW = 3e-5
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
    table : HeldRows or StreamedRows
    max_rows : int
        The largest number of rows of a leaf.
    max_split_samples : int
    split : {"sides", "corrected", "refined"}
        Whether splits are refined by the machines of their sides: not, where that
        clearly helps, or all of them.
    temperature : float
    classes : ndarray or None
        The numbers of the classes.
    n_trees : int
    n_jobs : int or None
    deadline : Deadline
    tasks : FitTasks
    checkpoint : Checkpoint
        What has ended in an earlier fit is taken from there.
    """

    def __init__(
        self,
        leaf,
        table: HeldRows | StreamedRows,
        *,
        max_rows,
        max_split_samples,
        split="sides",
        temperature=0.1,
        classes=None,
        n_trees,
        n_jobs,
        deadline: Deadline,
        tasks: FitTasks,
        checkpoint: Checkpoint | None = None,
    ):
        self._leaf, self._table, self._max_rows = leaf, table, max_rows
        self._max_split_samples, self._n_jobs = max_split_samples, n_jobs
        self._split, self._temperature, self._classes = split, temperature, classes
        self._n_trees, self._deadline, self._tasks = n_trees, deadline, tasks
        self._checkpoint = Checkpoint() if checkpoint is None else checkpoint
        self._split_alpha, self._stopped = _SPLIT_ALPHA, False
        self._finalists: list = []
        self._kernel_is_open = isinstance(leaf.kernel, str) and leaf.kernel == "auto"
        self._has_centers, self._root_directions = False, None

    def halve_leaf(self, seed):
        """Return the largest number of rows of a leaf where one would hold the table.

        It is half of the rows where a refined split clearly helps.
        """
        n, (least, most) = self._table.n_rows, CORRECTED_ROWS
        if self._split != "corrected" or not least <= n <= self._max_rows:
            return self._max_rows
        checkpoint = self._checkpoint.file("halves")
        directions = checkpoint.get("directions")
        if directions is None:
            sample, size = self._table.sample, max(most, self._max_split_samples)
            directions = find_halving_directions(
                make_splitter(self._leaf, self._split_alpha),
                sample.subset(subsample(len(sample), size, seed=seed)),
                seed=seed,
                temperature=self._temperature,
                max_split_samples=self._max_split_samples,
            )
            checkpoint.save("directions", directions or [])
        if directions:
            self._root_directions, self._max_rows = directions, -(-n // 2)
        return self._max_rows

    def search_root(self, seed):
        """Return the fitted estimator that chooses kernel, ridge and round for leaves.

        It is fitted to more rows than a leaf has where it searches in stages: the last
        stage holds rows out, and fits to about as many as a leaf has. None where all
        targets are equal.
        """
        checkpoint = self._checkpoint.file("search")
        model = checkpoint.get("model")
        if model is None:
            model = self._search(seed)
            checkpoint.save("model", model)
        if isinstance(model, ConstantModel):
            return None
        chosen, fit = model._fitted.predictor.first.candidate, model._fitted
        settings = [_settings_of(chosen, max_iter=model.best_iter_)]
        settings += [
            _settings_of(rival, max_iter=rival.max_iter) for rival in fit.rivals
        ]
        self._finalists = [
            clone(self._leaf).set_params(**setting)
            for setting in settings[:MOST_FINALISTS]
        ]
        self._leaf, self._split_alpha = self._finalists[0], model.alpha_
        if self._leaf.n_centers is not None:
            self.take_centers(self._leaf.n_centers)
        return model

    def _search(self, seed):
        """Return the fitted estimator of the search at the root, or a ConstantModel."""
        sample, n_rows = self._table.sample, min(self._max_rows, SEARCH_ROWS)
        if self._leaf.validation == "auto":
            n_rows = int(SEARCH_LEAVES * n_rows)
        rows = np.random.default_rng(seed).permutation(len(sample))[:n_rows]
        searcher = clone(self._leaf).set_params(n_machines=1)
        n_leaves = self._n_trees * -(-self._table.n_rows // self._max_rows)
        self._deadline.limit(searcher, _SEARCH_COST / (_SEARCH_COST + n_leaves))
        return fit_leaf(
            searcher, sample.subset(np.sort(rows)), seed=seed, tasks=self._tasks
        )

    def shrink_leaves(self, began):
        """Halve leaves until there is time for them, after a search that has ended.

        Parameters
        ----------
        began : float
            The time of day when the search began.
        """
        if self._deadline.end is None:
            return
        saved = self._checkpoint.get("rows of leaves")
        if saved is not None:  # the time of the search is not known any more
            self._max_rows = saved
            return
        now, n = time(), self._table.n_rows * self._n_trees
        while self._max_rows > SEARCH_ROWS:
            size = (self._max_rows / SEARCH_ROWS) ** 0.5
            if now + (now - began) * _COST_OF_ROW * n * size <= self._deadline.end:
                break
            self._max_rows = -(-self._max_rows // 2)
        self._checkpoint.save("rows of leaves", self._max_rows)

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
                n_centers=n_centers, max_iter=min(each.max_iter, CENTERS_ROUNDS)
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
        large._split = "refined"
        large._max_rows = min(MOST_LARGE_ROWS, -(-self._table.n_rows // 2))
        large.take_centers(n_centers)
        decision = self._checkpoint.get("large leaves")
        if decision is None:
            decision = self._compare_with(large, seed, seeds)
            self._checkpoint.save("large leaves", decision)
        better, directions = decision
        if better:
            vars(self).update(vars(large))
            self._root_directions = directions

    def _compare_with(self, large, seed, seeds):
        """Return whether large leaves are better, and directions of their split."""
        sample = self._table.sample
        path, everything = self._path_of_first_cell(seed), np.arange(len(sample))
        if path is None:
            return False, None
        random_state = np.random.RandomState(seed)
        (directions,) = large._directions(sample, [everything], random_state)
        where = small_and_large(sample, path, directions)
        if where is None:
            return False, None
        first, *_, smoothest = large._finalists
        better = large_leaves_are_better(
            self._table,
            where,
            small=self._leaf,
            large=[smoothest, first],
            seed=seed,
            seeds=seeds,
        )
        return better, directions

    def _path_of_first_cell(self, seed):
        """Return the nodes that lead left to a leaf of the tree as it is, or None."""
        sample, random_state, path = (
            self._table.sample,
            np.random.RandomState(seed),
            [],
        )
        most = -(-self._max_rows * len(sample) // self._table.n_rows)
        cell = np.arange(len(sample))
        while len(cell) > most:
            (directions,) = self._directions(sample, [cell], random_state)
            part = sample.subset(cell)
            split = first_split(part.X, part.weight, directions, 2)
            if split is None:
                return None
            node, left = split
            path.append(node)
            cell = cell[left]
        return path

    def fit_tree(self, number, seed):
        """Return the FittedTree with a number from 0 on."""
        rng, checkpoint = np.random.RandomState(seed), self._part(number)
        with self._tasks.open("splits"):
            root, cells = self._grow(rng, checkpoint)
        if len(self._finalists) > 1:
            self._leaf = self._best_finalist(cells, seed, checkpoint)
            self._finalists = []
        models = self._fit_leaves(cells, rng, number, checkpoint)
        for cell in cells:
            cell.remove()
        n_rows = [len(cell) for cell in cells]
        if self._split == "refined" and self._leaf.n_centers is not None:
            # where all rows are centres, leaves interpolate their own rows
            if self._leaf.n_centers < min(n_rows):
                reroute(
                    root,
                    models,
                    self._table.sample,
                    self._classes,
                    temperature=self._temperature,
                    seed=seed,
                )
        return FittedTree(root=root, models=models, n_rows=n_rows)

    def _part(self, number):
        """Return the checkpoint of a tree."""
        return self._checkpoint.part(f"tree-{number}-")

    def _grow(self, rng, checkpoint):
        """Return the root of a tree, and the rows of its leaves."""
        numbers = count()

        def find(data, nodes):
            name = f"directions-{next(numbers)}"
            return self._directions(data, nodes, rng, checkpoint.file(name))

        refined = self._split == "refined"
        least = REFINE_ROWS if refined else self._max_split_samples
        return divide(
            self._table,
            max_rows=self._max_rows,
            find_directions=find,
            least_rows=least // 2,
        )

    def _finder(self, n_rows, n_all):
        """Return the function that finds directions of a node, and its rows at most."""
        most, temperature = self._max_split_samples, self._temperature
        if self._split == "refined":
            return partial(
                find_refined_directions, temperature=temperature
            ), REFINE_ROWS
        if self._split == "corrected" and is_corrected(n_rows, n_all):
            find = partial(
                find_corrected_directions,
                temperature=temperature,
                max_split_samples=most,
            )
            return find, max(CORRECTED_ROWS[1], most)
        return find_directions, most

    def _directions(self, data, nodes, rng, checkpoint=None):
        """Return the directions that nodes, given by their rows, may be split along."""
        if self._root_directions is not None and len(nodes) == 1:
            directions, self._root_directions = self._root_directions, None
            return [directions]
        splitter = make_splitter(self._leaf, self._split_alpha)
        seeds = draw_seeds(rng, len(nodes))
        checkpoint = Checkpoint() if checkpoint is None else checkpoint
        saved = checkpoint.get("directions")
        if saved is not None:
            return saved

        def make_job(k):
            seed, rows = seeds[k], nodes[k]
            find, size = self._finder(len(rows), len(data))
            rows = data.subset(rows[subsample(len(rows), size, seed=seed)])
            return delayed(find)(splitter, rows, seed=seed)

        directions = list(run_jobs(make_job, len(nodes), self._n_jobs))
        checkpoint.save("directions", directions)
        return directions

    def _best_finalist(self, cells, seed, checkpoint):
        """Return the finalist of the search at the root that is best in leaves."""
        comparison = Comparison(
            cells,
            seed=seed,
            has_centers=self._has_centers,
            n_jobs=self._n_jobs,
            deadline=self._deadline,
            checkpoint=checkpoint,
        )
        with self._tasks.open("comparison"):
            return comparison.best(self._finalists)

    def _fit_leaves(self, cells, rng, number, checkpoint):
        """Return the models of the leaves of a tree.

        After a callback has asked to stop, leaves are fitted without another round.
        """
        n, seeds = len(cells), draw_seeds(rng, len(cells))
        n_later = n * (self._n_trees - number - 1)

        def make_job(k):
            leaf = self._leaf
            if self._stopped:
                leaf = clone(leaf).set_params(max_iter=0)
            return delayed(fit_leaf)(
                leaf,
                cells[k].load(),
                seed=seeds[k],
                deadline=self._deadline,
                share=min(1.0, effective_n_jobs(self._n_jobs) / (n - k + n_later)),
            )

        models = []
        results = saved_jobs(make_job, n, self._n_jobs, checkpoint, name="leaf")
        with self._tasks.open("leaves", n) as leaves:
            for _ in range(n):
                with leaves.open("leaf") as task:
                    models.append(next(results))
                self._stopped |= task.stop
        return models


def is_corrected(n_rows, n_all):
    """Return whether the split of a node with so many of all rows may be refined.

    The root and its children: what follows them is within parts of the table.
    """
    return n_rows >= CORRECTED_ROWS[0] and 3 * n_rows >= n_all


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


def draw_seeds(random_state, count):
    """Return random seeds, as a list of int."""
    return random_state.randint(np.iinfo(np.int32).max, size=count).tolist()
