"""What the XRFM estimators share: the tree, the search at the root, the leaves."""

from itertools import chain
from numbers import Integral, Real

import numpy as np
from joblib import delayed, effective_n_jobs
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._sklearn import Interval, StrOptions, restored_on_error
from .._tables import (
    DEVICES,
    InnerDeviceMixin,
    TableEncoder,
    check_n_jobs,
    outer_placement_of,
    read_rows,
    read_training,
    to_host,
)
from ._leaves import Constant, find_directions, fit_leaf
from ._parallel import run_jobs
from ._tree import grow, route

# the ridge of the machines that find directions, where none has been searched for
_SPLIT_ALPHA = 0.1
# rows that machines are fitted to in the search at the root, as a share of the largest
# leaf but at least so many, and rows that judge them, in largest leaves
_SEARCH_SHARE, _SEARCH_ROWS, _JUDGES = 0.375, 500, 2
# leaves that a budget of memory would make smaller are an error
_LEAST_ROWS = 10


class BaseXRFM(InnerDeviceMixin, MetaEstimatorMixin, BaseEstimator):
    """The tree; a subclass codes the targets, and says what leaves predict."""

    _parameter_constraints = {
        "max_leaf_size": [Interval(Integral, 2, None, closed="left")],
        "memory_budget": [Interval(Real, 0, None, closed="neither"), None],
        "search": [StrOptions({"root", "leaves"})],
        "temperature": [Interval(Real, 0, None, closed="left")],
        "max_split_samples": [Interval(Integral, 2, None, closed="left")],
        "n_trees": [Interval(Integral, 1, None, closed="left")],
        "device": [StrOptions(set(DEVICES)), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }
    #: the class of the estimators in the leaves
    _kind = None
    #: whether y may have several columns, and has numbers
    _multi_output = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __init__(
        self,
        estimator=None,
        *,
        max_leaf_size=4000,
        memory_budget=None,
        search="root",
        temperature=0.1,
        max_split_samples=2000,
        n_trees=1,
        device=None,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.max_leaf_size = max_leaf_size
        self.memory_budget = memory_budget
        self.search = search
        self.temperature = temperature
        self.max_split_samples = max_split_samples
        self.n_trees = n_trees
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _encode(self, y):
        """Learn from the targets; return them as leaves are fitted to them."""
        raise NotImplementedError

    def _leaf_outputs(self, model, X):
        """Return what the model of a leaf says of rows, (n, c)."""
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Grow the trees, and fit their leaves.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; a classifier takes (n_samples,) labels only.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; a row of weight k counts as k rows, one of weight 0 as none.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            leaf = self._kind() if self.estimator is None else clone(self.estimator)
            placement = outer_placement_of(self.device, X)
            if placement.on_gpu or self.device is not None:
                leaf.set_params(device="cuda" if placement.on_gpu else "cpu")
            self._n_jobs = check_n_jobs(self.n_jobs, placement)
            table = read_training(
                self,
                placement.read(X),
                to_host(y),
                sample_weight=to_host(sample_weight),
                categorical_features=leaf.categorical_features,
                multi_output=self._multi_output,
            )
            X, y, weight = table.X, table.y, table.weight
            if not weight.all():
                keep = weight > 0
                X, y, weight = X[keep], y[keep], weight[keep]
            # quantiles of the table are no help to leaves, which are parts of it
            scaling = "clipped" if leaf.scaling == "auto" else leaf.scaling
            self._reader, self.is_categorical_ = (
                table.reader,
                table.reader.is_categorical,
            )
            self._encoder = TableEncoder.fit(
                X,
                self.is_categorical_,
                weight.astype(X.dtype),
                scaling=scaling,
                xp=np,
            )
            self._fit(leaf, self._columns(X), self._encode(y), weight)
        return self

    def _columns(self, X):
        """Return the rows that leaves get: numbers as a kernel has them, and codes."""
        encoder = self._encoder
        numbers = encoder.encode_numbers(X, np)
        if not encoder.categories.size:
            return numbers
        return np.concatenate([numbers, X[:, encoder.categories]], axis=1)

    def _fit(self, leaf, X, y, weight):
        random_state = check_random_state(self.random_state)
        first, *seeds = _seeds(random_state, self.n_trees + 1)
        places = np.arange(X.shape[1])[len(self._encoder.number_origins) :]
        leaf.set_params(
            scaling=None, categorical_features=places if len(places) else None
        )
        splitter = self._choose(leaf, X, y, weight, first)
        self._roots, self.estimators_, total = [], [], np.zeros(X.shape[1])
        for seed in seeds:
            rng = np.random.RandomState(seed)
            root, rows = self._tree(X, y, weight, splitter, rng)
            jobs = [
                delayed(fit_leaf)(leaf, X[r], y[r], weight[r], seed=s)
                for r, s in zip(rows, _seeds(rng, len(rows)), strict=True)
            ]
            models = run_jobs(jobs, self._n_jobs)
            self._roots.append(root)
            self.estimators_.append(models)
            for model, r in zip(models, rows, strict=True):
                total += len(r) * model.feature_importances_
        self.n_leaves_ = sum(map(len, self.estimators_))
        origins = [self._encoder.number_origins, self._encoder.categories]
        total = np.bincount(np.concatenate(origins), total)
        self.feature_importances_ = total / (total.sum() or 1.0)

    def _choose(self, leaf, X, y, weight, seed):
        """Set what is chosen for all leaves; return the estimator of directions."""
        root, alpha = None, _SPLIT_ALPHA
        if self.search == "root" and len(X) > self._most(X):
            root = self._search(leaf, X, y, weight, seed)
        if isinstance(root, Constant):
            root = None
        if root is not None:
            alpha = root.alpha_
            found = {"kernel": root.kernel_, "max_iter": root.best_iter_}
            leaf.set_params(alpha=alpha, validation=None, **found)
        self.root_estimator_ = root
        return clone(leaf).set_params(
            kernel="laplace",
            alpha=alpha,
            max_iter=1,
            validation=None,
            metric_type="full",
        )

    def _search(self, leaf, X, y, weight, seed):
        """Return the machine whose kernel, ridge and round all leaves are to have.

        Fewer rows than a leaf has tell as much, where many others judge; None where no
        row can, for its class is not among theirs.
        """
        most = self._most(X)
        order = np.random.default_rng(seed).permutation(len(X))
        if leaf.validation != "auto":
            rows = np.sort(order[:most])
            return fit_leaf(leaf, X[rows], y[rows], weight[rows], seed=seed)
        size = max(int(_SEARCH_SHARE * most), min(_SEARCH_ROWS, len(X) // 2))
        rows, judges = np.split(order[: size + _JUDGES * most], [size])
        if is_classifier(self):
            judges = judges[np.isin(y[judges], y[rows])]
            if not len(judges):
                return None
        rows, judges = np.sort(rows), np.sort(judges)
        validation = {
            "X_val": X[judges],
            "y_val": y[judges],
            "sample_weight_val": weight[judges],
        }
        return fit_leaf(
            leaf, X[rows], y[rows], weight[rows], seed=seed, validation=validation
        )

    def _tree(self, X, y, weight, splitter, rng):
        """Return the root of a tree, and the rows of each of its leaves."""

        def directions_of(nodes):
            seeds = _seeds(rng, len(nodes))
            rows = [self._some(r, s) for r, s in zip(nodes, seeds, strict=True)]
            jobs = [
                delayed(find_directions)(splitter, X[r], y[r], weight[r], seed=s)
                for r, s in zip(rows, seeds, strict=True)
            ]
            return run_jobs(jobs, self._n_jobs)

        return grow(X, weight, self._most(X), directions_of)

    def _most(self, X):
        """Return the largest number of rows of a leaf."""
        if self.memory_budget is None:
            return self.max_leaf_size
        each = self.memory_budget * 1e9 / effective_n_jobs(self._n_jobs)
        rows = int((each / X.dtype.itemsize) ** 0.5)
        if rows < _LEAST_ROWS:
            raise ValueError(
                f"memory_budget={self.memory_budget} leaves {rows} rows to a leaf: "
                "pass more, or a smaller n_jobs."
            )
        return min(self.max_leaf_size, rows)

    def _some(self, rows, seed):
        """Return at most `max_split_samples` of the rows."""
        if len(rows) <= self.max_split_samples:
            return rows
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(rows, self.max_split_samples, replace=False))

    def _outputs(self, X):
        """Return the outputs (n, c) of the leaves over the trees, and the Placement."""
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        X = self._columns(read_rows(self, self._reader, placement.read(X)))
        total = np.zeros((len(X), self._n_outputs), dtype=X.dtype)
        for root, models in zip(self._roots, self.estimators_, strict=True):
            for number, rows, weight in route(root, X, self.temperature):
                outputs = self._leaf_outputs(models[number], X[rows])
                total[rows] += (weight[:, None] * outputs).astype(X.dtype)
        return total / len(self._roots), placement

    def _inner_models(self):
        """Return the models of all leaves."""
        return chain.from_iterable(self.estimators_)


def _seeds(random_state, count):
    return random_state.randint(np.iinfo(np.int32).max, size=count).tolist()
