"""What the XRFM estimators share: the search at the root, the trees, the leaves."""

from dataclasses import dataclass, replace
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

from .._backend import FloatArray, IntArray, Table, Vector
from .._sklearn import FitTasks, Interval, StrOptions, clone, restored_on_error
from .._tables import (
    DEVICES,
    ClassTargets,
    InnerDeviceMixin,
    NumericTargets,
    check_n_jobs,
    in_memory,
    outer_placement_of,
    read_rows,
    read_training,
    resolve_centers,
    to_host,
)
from ._fitting import FittedTree, Forester, draw_seeds
from ._leaves import LeafCoding, LeafData, leaf_outputs
from ._parallel import Deadline
from ._tree import halved_to, route

# max_leaf_size="auto" is at most this.
_AUTO_LEAF_ROWS = 20_000
# Beyond so many rows, large leaves with few centres are an alternative at the defaults:
# at least so many centres, and so many times the root of the number of rows.
_MANY_ROWS, _LEAST_CENTERS, _CENTERS_OF_ROOT = 100_000, 3000, 3.0
# A memory budget for fewer rows in a leaf than this is an error.
_MIN_LEAF_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Fitted trees, with the coding of their table and targets.

    Attributes
    ----------
    coding : LeafCoding
        From a table to the rows that trees and leaves take.
    targets : NumericTargets or ClassTargets
        The coding of the targets.
    trees : list of FittedTree
    """

    coding: LeafCoding
    targets: NumericTargets | ClassTargets
    trees: list[FittedTree]

    @property
    def n_outputs(self) -> int:
        """The number of outputs: of a classifier, of the classes."""
        if isinstance(self.targets, ClassTargets):
            return len(self.targets.classes)
        return self.targets.n_outputs

    @property
    def class_numbers(self) -> IntArray | None:
        """The numbers of the classes, which leaves are fitted to; None of numbers."""
        return _numbers_of_classes(self.targets)

    @property
    def feature_importances(self) -> FloatArray:
        """Those of the leaves, averaged over their rows, for each feature."""
        origins = self.coding.origins
        total = np.zeros(len(origins))
        for tree in self.trees:
            for model, n_rows in zip(tree.models, tree.n_rows, strict=True):
                total += n_rows * model.feature_importances_
        total = np.bincount(origins, total)
        return total / (total.sum() or 1.0)


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
            iterables of batches are read into memory, as `RFMRegressor` reads them.
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
            X, y, sample_weight = in_memory(X, y, sample_weight)
            placement = outer_placement_of(self.device, X)
            leaf = self._make_leaf(placement)
            table = read_training(
                self,
                placement.read(X),
                to_host(y),
                sample_weight=to_host(sample_weight),
                categorical_features=leaf.categorical_features,
                multi_output=self._multi_output,
            )
            n_jobs = check_n_jobs(self.n_jobs, placement)
            metadata = {"sample_weight": sample_weight}
            tasks = FitTasks.of_fit(self, X=X, y=y, metadata=metadata)
            self._fit(leaf, table, n_jobs, deadline, tasks)
            tasks.end(vars(self))
        return self

    def _make_leaf(self, placement):
        """Return the unfitted estimator of the leaves, on the device of a Placement."""
        leaf = self._leaf_class() if self.estimator is None else clone(self.estimator)
        if placement.on_gpu or self.device is not None:
            leaf.set_params(device="cuda" if placement.on_gpu else "cpu")
        return leaf

    def _fit(self, leaf, table, n_jobs, deadline, tasks):
        """Fit the trees to a TrainingTable, and set the fitted attributes."""
        table = _with_positive_weight(table)
        # quantiles of the whole table do not help leaves, which are parts of it
        scaling = "clipped" if leaf.scaling == "auto" else leaf.scaling
        coding = LeafCoding.fit(table, scaling=scaling)
        targets = self._fit_targets(table.y, table.weight)
        y = self._leaf_targets(targets, table.y)
        data = LeafData(coding.encode(table.X), y, table.weight)
        leaf.set_params(scaling=None, categorical_features=coding.categorical_columns)
        random_state = check_random_state(self.random_state)
        search_seed, *tree_seeds = draw_seeds(random_state, self.n_trees + 1)
        max_rows = self._max_leaf_rows(len(data), data.X.dtype, n_jobs)
        if leaf.n_centers == "auto":
            leaf.set_params(n_centers=resolve_centers("auto", max_rows, None))
        forester = Forester(
            leaf,
            data,
            max_rows=max_rows,
            max_split_samples=self.max_split_samples,
            refined=self._is_refined(leaf),
            temperature=self.temperature,
            classes=_numbers_of_classes(targets),
            n_trees=self.n_trees,
            n_jobs=n_jobs,
            deadline=deadline,
            tasks=tasks,
        )
        root_estimator = None
        if self.search == "root" and len(data) > max_rows:
            began = time()
            root_estimator = forester.search_root(search_seed)
            if self.max_leaf_size == "auto":
                forester.shrink_leaves(began)
            if root_estimator is not None and self._may_have_large_leaves(leaf, data):
                n_centers = int(_CENTERS_OF_ROOT * len(data) ** 0.5)
                forester.choose_leaves(max(n_centers, _LEAST_CENTERS), search_seed)
        trees = [forester.fit_tree(k, seed) for k, seed in enumerate(tree_seeds)]
        self.root_estimator_ = root_estimator
        self._set_fitted(Forest(coding=coding, targets=targets, trees=trees))

    def _set_fitted(self, forest):
        """Set the fitted attributes of a Forest."""
        self._fitted = forest
        self.is_categorical_ = forest.coding.reader.is_categorical
        if forest.targets.classes is not None:
            self.classes_ = forest.targets.classes
        self.estimators_ = [tree.models for tree in forest.trees]
        self.n_leaves_ = sum(map(len, self.estimators_))
        self.feature_importances_ = forest.feature_importances

    def _is_refined(self, leaf):
        """Return whether splits are refined, unless it is decided on the data."""
        return self.split == "refined" or (
            self.split == "auto" and leaf.n_centers is not None
        )

    def _may_have_large_leaves(self, leaf, data):
        """Return whether large leaves with few centres are an alternative."""
        is_open = self.split == self.max_leaf_size == "auto" and leaf.n_centers is None
        return is_open and self.time_budget is None and len(data) > _MANY_ROWS

    def _max_leaf_rows(self, n_rows, dtype, n_jobs):
        """Return the largest number of rows of a leaf."""
        most: Any = self.max_leaf_size
        if most == "auto":
            # a power of two of leaves: all nodes are then split at their medians
            most = halved_to(_AUTO_LEAF_ROWS, n_rows)
        if self.memory_budget is None:
            return most
        bytes_of_job = self.memory_budget * 1e9 / effective_n_jobs(n_jobs)
        rows = int((bytes_of_job / dtype.itemsize) ** 0.5)
        if rows < _MIN_LEAF_ROWS:
            raise ValueError(
                f"memory_budget={self.memory_budget} allows {rows} rows in a leaf, "
                f"fewer than {_MIN_LEAF_ROWS}: raise it, or lower n_jobs."
            )
        return min(most, rows)

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
                model = tree.models[leaf.number]
                outputs = leaf_outputs(model, X[leaf.rows], fitted.class_numbers)
                weighted = leaf.weight[:, None] * outputs
                total[leaf.rows] += weighted.astype(dtype)
        return total / len(fitted.trees), placement

    def _inner_models(self):
        """Return the models of all leaves."""
        return chain.from_iterable(self.estimators_)


def _numbers_of_classes(targets):
    """Return the numbers of the classes of a coding of targets; None of numbers."""
    if isinstance(targets, ClassTargets):
        return np.arange(len(targets.classes))
    return None


def _with_positive_weight(table):
    """Return a TrainingTable without its rows of weight 0."""
    keep = table.weight > 0
    if keep.all():
        return table
    return replace(table, X=table.X[keep], y=table.y[keep], weight=table.weight[keep])
