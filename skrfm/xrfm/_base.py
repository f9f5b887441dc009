"""What the XRFM estimators share: the search at the root, the trees, the leaves."""

import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from numbers import Integral, Real
from time import time
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._backend import Table, Vector
from .._sklearn import (
    Checkpoint,
    FitTasks,
    Interval,
    StrOptions,
    clone,
    restored_on_error,
)
from .._tables import (
    DEVICES,
    InnerDeviceMixin,
    check_n_jobs,
    in_memory,
    most_centers,
    outer_placement_of,
    read_rows,
    read_training,
    resolve_centers,
    rows_in_memory,
    rows_of_leaf,
    sample_large_table,
    to_host,
)
from ._fitting import Forester, draw_seeds
from ._forest import Forest, numbers_of_classes
from ._leaves import LeafCoding, leaf_outputs
from ._parallel import Deadline
from ._partition import TOLERANCE
from ._rows import HeldRows, LeafData, StreamedRows
from ._tree import halved_to, route

# max_leaf_size="auto" is at most this.
_AUTO_LEAF_ROWS = 20_000
# Beyond so many rows, large leaves with few centres are an alternative at the defaults:
# at least so many centres, and so many times the root of the number of rows.
_MANY_ROWS, _LEAST_CENTERS, _CENTERS_OF_ROOT = 100_000, 3000, 3.0
# A memory budget for fewer rows in a leaf than this is an error.
_MIN_LEAF_ROWS = 10


class BaseXRFM(
    InnerDeviceMixin, CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator
):
    """The trees; a subclass codes the targets, and reads the outputs of leaves."""

    _parameter_constraints = {
        "max_leaf_size": [
            Interval(Integral, 2, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "memory_budget": [Interval(Real, 0, None, closed="neither"), None],
        "split": [StrOptions({"auto", "sides", "refined"})],
        "search": [StrOptions({"root", "leaves"})],
        "temperature": [Interval(Real, 0, None, closed="left")],
        "max_split_samples": [Interval(Integral, 2, None, closed="left")],
        "n_trees": [Interval(Integral, 1, None, closed="left")],
        "time_budget": [Interval(Real, 0, None, closed="neither"), None],
        "device": [StrOptions(set(DEVICES)), None],
        "checkpoint_dir": [str, os.PathLike, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }
    #: the class of the estimators in the leaves
    _leaf_class: Any = None
    #: whether y may have several columns, and holds numbers
    _multi_output = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __init__(
        self,
        estimator=None,
        *,
        max_leaf_size="auto",
        memory_budget=None,
        split="auto",
        search="root",
        temperature=0.1,
        max_split_samples=2000,
        n_trees=1,
        time_budget=None,
        device=None,
        checkpoint_dir=None,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.max_leaf_size = max_leaf_size
        self.memory_budget = memory_budget
        self.split = split
        self.search = search
        self.temperature = temperature
        self.max_split_samples = max_split_samples
        self.n_trees = n_trees
        self.time_budget = time_budget
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.n_jobs = n_jobs
        self.random_state = random_state

    # -- what a subclass defines --------------------------------------------------

    def _fit_targets(self, y, weight):
        """Return the coding of the targets."""
        raise NotImplementedError

    def _leaf_targets(self, targets, y):
        """Return targets as leaves are fitted to them."""
        raise NotImplementedError

    # -- fit ----------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Table,
        y: Vector | None = None,
        sample_weight: Vector | None = None,
    ):
        """Grow the trees, and fit their leaves.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what is read in batches
            Training rows, dense: numbers, NaN where they are missing, and categories.
            Data sets of pyarrow, lazy frames of polars, collections of Dask and
            iterables of batches are read as by `RFMRegressor`: into memory, or in
            batches where it is more than `memory_budget` has room for.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), str, list of str
            Targets; a classifier takes (n_samples,) labels only. The names of columns
            of a data set or a lazy frame; None for an iterable of batches.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights, or the name of their column; a row of weight k counts as k rows,
            one of weight 0 as none.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        deadline = Deadline.after(self.time_budget)
        with restored_on_error(self):
            sampled = sample_large_table(self, X, y, sample_weight, self.memory_budget)
            if sampled is None:
                X, y, sample_weight = in_memory(X, y, sample_weight)
                rows = X, y, sample_weight
            else:
                rows = sampled.X, sampled.y, sampled.weight
            placement = outer_placement_of(self.device, rows[0])
            leaf = self._make_leaf(placement)
            table = read_training(
                self,
                placement.read(rows[0]),
                to_host(rows[1]),
                sample_weight=to_host(rows[2]),
                categorical_features=leaf.categorical_features,
                multi_output=self._multi_output,
            )
            n_jobs = check_n_jobs(self.n_jobs, placement)
            metadata = {"sample_weight": sample_weight}
            tasks = FitTasks.of_fit(self, X=X, y=y, metadata=metadata)
            self._fit(leaf, table, sampled, n_jobs, deadline, tasks)
            tasks.end(vars(self))
        return self

    def _make_leaf(self, placement):
        """Return the unfitted estimator of the leaves, on the device of a Placement."""
        leaf = self._leaf_class() if self.estimator is None else clone(self.estimator)
        if placement.on_gpu or self.device is not None:
            leaf.set_params(device="cuda" if placement.on_gpu else "cpu")
        if not isinstance(leaf.centers, str):
            raise ValueError(
                "centers of the estimator of leaves must be 'random' or 'kmeans': rows "
                "that are given would be the centres of every leaf."
            )
        return leaf

    def _fit(self, leaf, table, sampled, n_jobs, deadline, tasks):
        """Fit the trees, and set the fitted attributes.

        Parameters
        ----------
        leaf : RFMRegressor or RFMClassifier
        table : TrainingTable
            The table, or a sample of it.
        sampled : SampledTable or None
            What the sample is from.
        n_jobs : int or None
        deadline : Deadline
        tasks : FitTasks
        """
        table = _with_positive_weight(table)
        coding, targets, data = self._encode(leaf, table, sampled)
        n_rows = len(data) if sampled is None else sampled.n_rows
        max_rows = self._max_leaf_rows(
            n_rows, data.X.dtype, n_jobs, 1.0 if sampled is None else TOLERANCE
        )
        self._limit_memory(leaf, max_rows, n_jobs)
        checkpoint = Checkpoint.of_fit(self, data.arrays, n_rows, max_rows)
        with nullcontext() if sampled is None else checkpoint.folder() as folder:
            rows = HeldRows(data)
            if folder is not None:
                dtypes = table.X.dtype, data.y.dtype
                read = partial(self._read, sampled, coding, targets, dtypes)
                rows = StreamedRows(data, n_rows, read, folder, self._most_held(data.X))
            forester = Forester(
                leaf,
                rows,
                max_rows=max_rows,
                max_split_samples=self.max_split_samples,
                split=self._kind_of_split(leaf),
                temperature=self.temperature,
                classes=numbers_of_classes(targets),
                n_trees=self.n_trees,
                n_jobs=n_jobs,
                deadline=deadline,
                tasks=tasks,
                checkpoint=checkpoint,
            )
            root_estimator, trees = self._grow(forester, leaf, n_rows, max_rows)
        checkpoint.remove()
        self.root_estimator_ = root_estimator
        self._set_fitted(Forest(coding=coding, targets=targets, trees=trees))

    def _grow(self, forester, leaf, n_rows, max_rows):
        """Return the model of the search at the root, and the trees."""
        random_state = check_random_state(self.random_state)
        search_seed, *tree_seeds = draw_seeds(random_state, self.n_trees + 1)
        root_estimator = None
        if self.max_leaf_size == "auto":
            max_rows = forester.halve_leaf(search_seed)
        if self.search == "root" and n_rows > max_rows:
            began = time()
            root_estimator = forester.search_root(search_seed)
            if self.max_leaf_size == "auto":
                forester.shrink_leaves(began)
            may_be_large = self._may_have_large_leaves(leaf, n_rows)
            if root_estimator is not None and may_be_large:
                n_centers = self._centers_of_large(leaf, n_rows)
                forester.choose_leaves(n_centers, search_seed)
        trees = [forester.fit_tree(k, seed) for k, seed in enumerate(tree_seeds)]
        return root_estimator, trees

    def _encode(self, leaf, table, sampled):
        """Return the codings of a table and of its targets, and the LeafData.

        The unfitted estimator of the leaves is told which columns are categories.
        """
        # quantiles of the whole table do not help leaves, which are parts of it
        scaling = "clipped" if leaf.scaling == "auto" else leaf.scaling
        coding = LeafCoding.fit(table, scaling=scaling)
        leaf.set_params(scaling=None, categorical_features=coding.categorical_columns)
        labels, weight = table.y, table.weight
        if sampled is not None and sampled.labels is not None:
            labels, weight = sampled.labels, sampled.label_weights
        targets = self._fit_targets(labels, weight)
        y = self._leaf_targets(targets, table.y)
        return coding, targets, LeafData(coding.encode(table.X), y, table.weight)

    def _read(self, sampled, coding, targets, dtypes):
        """Yield the LeafData of all batches of a SampledTable.

        `dtypes` are those of X, before it is encoded, and of the targets of leaves.
        """
        of_X, of_y = dtypes
        for X, y, weight in sampled.read(self, coding.reader, of_X):
            y = self._leaf_targets(targets, y).astype(of_y, copy=False)
            yield LeafData(coding.encode(X), y, weight)

    def _set_fitted(self, forest):
        """Set the fitted attributes of a Forest."""
        self._fitted = forest
        self.is_categorical_ = forest.coding.reader.is_categorical
        if forest.targets.classes is not None:
            self.classes_ = forest.targets.classes
        self.estimators_ = [tree.models for tree in forest.trees]
        self.n_leaves_ = sum(map(len, self.estimators_))
        self.feature_importances_ = forest.feature_importances

    def _kind_of_split(self, leaf):
        """Return how nodes are split, unless it is decided on the data."""
        if self.split != "auto":
            return self.split
        if leaf.n_centers is not None:
            return "refined"
        return "corrected" if self.time_budget is None else "sides"

    def _may_have_large_leaves(self, leaf, n_rows):
        """Return whether large leaves with few centres are an alternative."""
        is_open = self.split == self.max_leaf_size == "auto" and leaf.n_centers is None
        return is_open and self.time_budget is None and n_rows > _MANY_ROWS

    # -- memory -------------------------------------------------------------------

    def _max_leaf_rows(self, n_rows, dtype, n_jobs, tolerance=1.0):
        """Return the largest number of rows of a leaf.

        Where memory limits it, some leaves may have so many times that number.
        """
        most: Any = self.max_leaf_size
        if most == "auto":
            # a power of two of leaves: all nodes are then split at their medians
            most = halved_to(_AUTO_LEAF_ROWS, n_rows)
        if self.memory_budget is None:
            return most
        rows = int(self._rows_in_budget(dtype, n_jobs) / tolerance)
        n_centers = None if self.estimator is None else self.estimator.n_centers
        if isinstance(n_centers, Integral) and n_centers <= rows:
            return most  # the kernel matrix of a leaf is that of its centres
        return min(most, rows)

    def _rows_in_budget(self, dtype, n_jobs):
        """Return how many rows a leaf may have in the memory of a job."""
        rows = rows_of_leaf(dtype.itemsize, self._memory_of_job(n_jobs))
        if rows < _MIN_LEAF_ROWS:
            raise ValueError(
                f"memory_budget={self.memory_budget} allows {rows} rows in a leaf, "
                f"fewer than {_MIN_LEAF_ROWS}: raise it, or lower n_jobs."
            )
        return rows

    def _most_held(self, X):
        """Return how many rows like these are held, of a table that is not."""
        return rows_in_memory(X.shape[1], X.dtype.itemsize, self.memory_budget)

    def _memory_of_job(self, n_jobs):
        """Return the gigabytes of a leaf that is fitted beside others, or None."""
        if self.memory_budget is None:
            return None
        return self.memory_budget / effective_n_jobs(n_jobs)

    def _limit_memory(self, leaf, max_rows, n_jobs):
        """Limit the memory of an unfitted estimator of leaves, and decide its centres.

        Leaves of few rows cannot have fewer centres.
        """
        budget = self._memory_of_job(n_jobs)
        if budget is not None:
            leaf.set_params(memory_budget=budget)
        if leaf.n_centers == "auto":
            n_centers = resolve_centers("auto", max_rows, leaf.memory_budget)
            leaf.set_params(n_centers=n_centers)

    def _centers_of_large(self, leaf, n_rows):
        """Return how many centres a large leaf has."""
        n_centers = max(int(_CENTERS_OF_ROOT * n_rows**0.5), _LEAST_CENTERS)
        most = most_centers(leaf.memory_budget)
        return n_centers if most is None else min(n_centers, most)

    # -- after fit ----------------------------------------------------------------

    def _outputs(self, X):
        """Return the outputs (n, c) averaged over the trees, and the Placement."""
        check_is_fitted(self)
        placement, fitted = outer_placement_of(self.device, X), self._fitted
        X = read_rows(self, fitted.coding.reader, placement.read(X))
        X = fitted.coding.encode(X)
        wide = fitted.targets.classes is None and fitted.targets.wide
        dtype = np.float64 if wide else X.dtype
        total = np.zeros((len(X), fitted.n_outputs), dtype=dtype)
        for tree in fitted.trees:
            for leaf in route(tree.root, X, self.temperature):
                model, n_rows = tree.models[leaf.number], tree.n_rows[leaf.number]
                outputs = leaf_outputs(
                    model, X[leaf.rows], fitted.class_numbers, n_rows
                )
                weighted = leaf.weight[:, None] * outputs
                total[leaf.rows] += weighted.astype(dtype)
        return total / len(fitted.trees), placement

    def _inner_models(self):
        """Return the models of all leaves."""
        return chain.from_iterable(self.estimators_)


def _with_positive_weight(table):
    """Return a TrainingTable without its rows of weight 0."""
    keep = table.weight > 0
    if keep.all():
        return table
    return replace(table, X=table.X[keep], y=table.y[keep], weight=table.weight[keep])
