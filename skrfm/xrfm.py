"""XRFM: a tree of Recursive Feature Machines for large tables."""

from itertools import chain
from numbers import Integral, Real

import numpy as np
from joblib import delayed, effective_n_jobs
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    _fit_context,
    clone,
)
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ._atomic import unchanged_by_errors
from ._compat import Interval, StrOptions
from ._device import (
    DEVICES,
    HostScoreMixin,
    InnerDeviceMixin,
    on_host,
    outer_place_of,
    warn_of_jobs,
)
from ._parallel import run_jobs
from ._table import Coding, TableEncoder
from ._tree import Direction, grow, principal_directions, route
from ._validation import read_rows, read_training
from .rfm import RFMClassifier, RFMRegressor

# the ridge of the machines that find directions, where none has been searched for
_SPLIT_ALPHA = 0.1
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
        max_split_samples=1000,
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
        with unchanged_by_errors(self):
            leaf = self._kind() if self.estimator is None else clone(self.estimator)
            place = outer_place_of(self.device, X)
            if place.on_gpu or self.device is not None:
                leaf.set_params(device="cuda" if place.on_gpu else "cpu")
            self._n_jobs = warn_of_jobs(self.n_jobs, place, stacklevel=4)
            X, y, weight = read_training(
                self,
                place.read(X),
                on_host(y),
                on_host(sample_weight),
                leaf.categorical_features,
            )
            if not weight.all():
                keep = weight > 0
                X, y, weight = X[keep], y[keep], weight[keep]
            self._encoder = TableEncoder.fit(
                X, self.is_categorical_, weight.astype(X.dtype), leaf.scaling, np
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
                delayed(_fit_leaf)(leaf, X[r], y[r], weight[r], s)
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
        self.root_estimator_, alpha = None, _SPLIT_ALPHA
        most = self._most(X)
        if self.search == "root" and len(X) > most:
            rng = np.random.default_rng(seed)
            rows = np.sort(rng.choice(len(X), most, replace=False))
            root = _fit_leaf(leaf, X[rows], y[rows], weight[rows], seed)
            if not isinstance(root, Constant):
                self.root_estimator_, alpha = root, root.alpha_
                found = {"kernel": root.kernel_, "max_iter": root.best_iter_}
                leaf.set_params(alpha=alpha, validation=None, **found)
        return clone(leaf).set_params(
            kernel="laplace",
            alpha=alpha,
            max_iter=1,
            validation=None,
            metric_type="full",
        )

    def _tree(self, X, y, weight, splitter, rng):
        """Return the root of a tree, and the rows of each of its leaves."""

        def directions_of(nodes):
            seeds = _seeds(rng, len(nodes))
            rows = [self._some(r, s) for r, s in zip(nodes, seeds, strict=True)]
            jobs = [
                delayed(_directions)(splitter, X[r], y[r], weight[r], s)
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
        """Return the outputs (n, c) of the leaves over the trees, and their Place."""
        check_is_fitted(self)
        place = outer_place_of(self.device, X)
        X = self._columns(read_rows(self, place.read(X)))
        total = np.zeros((len(X), self._n_outputs), dtype=X.dtype)
        for root, models in zip(self._roots, self.estimators_, strict=True):
            for number, rows, weight in route(root, X, self.temperature):
                outputs = self._leaf_outputs(models[number], X[rows])
                total[rows] += (weight[:, None] * outputs).astype(X.dtype)
        return total / len(self._roots), place

    def _inner_models(self):
        """Return the models of all leaves."""
        return chain.from_iterable(self.estimators_)


class Constant:
    """The model of a leaf whose targets are all the same."""

    def __init__(self, target, d):
        self.target, self.feature_importances_ = target, np.zeros(d)


def _seeds(random_state, count):
    return random_state.randint(np.iinfo(np.int32).max, size=count).tolist()


def _fit_leaf(estimator, X, y, weight, seed):
    """Return the model of a leaf."""
    if (y == y[0]).all():
        return Constant(y[0], X.shape[1])
    return clone(estimator).set_params(random_state=seed).fit(X, y, weight)


def _directions(splitter, X, y, weight, seed):
    """Return Directions for a node, those of most variance for equal targets."""
    model = _fit_leaf(splitter, X, y, weight, seed)
    if not isinstance(model, Constant):
        coding = Coding(model._reader, model._encoder)
        vectors = principal_directions(model.metric_)
    else:
        coding = Coding.of(X, splitter.categorical_features, weight)
        rows = coding.transform(X)
        centred = rows - rows.mean(axis=0)
        vectors = principal_directions(centred.T @ centred)
    if splitter.categorical_features is None:
        coding = None
    return [Direction(vector, coding) for vector in vectors]


class XRFMRegressor(HostScoreMixin, RegressorMixin, BaseXRFM):
    """Regression by a tree with a Recursive Feature Machine in each leaf.

    For tables with more rows than one kernel matrix holds. Each node of the tree parts
    its rows along the direction in which a machine fitted to a few of them varies most,
    so that leaves are as few as can be, and of equal size. Each leaf has a machine with
    a metric of its own. Near the thresholds the leaves of both sides have a say. Time
    grows with the number of rows.

    Parameters
    ----------
    estimator : RFMRegressor, default=None
        The machine of the leaves; None is ``RFMRegressor()``. Its ``scaling`` and
        ``categorical_features`` are for the whole table.
    max_leaf_size : int, default=4000
        The largest number of rows of a leaf. A table that is not larger has one leaf
        and is left to the estimator. Larger leaves are more accurate; the time of a fit
        grows at least with this number, and memory with its square: a kernel matrix for
        each job.
    memory_budget : float, default=None
        Gigabytes that the kernel matrices of the leaves that are fitted at the same
        time may take. Leaves are smaller than `max_leaf_size` where that needs it.
    search : {"root", "leaves"}, default="root"
        Where kernel, ridge and round are chosen, as the estimator would: once, on as
        many rows of the table as a leaf has, or in each leaf anew, which takes three or
        four times as long.
    temperature : float, default=0.1
        How far leaves have a say beyond their thresholds: at a node the share of a side
        is a logistic function of the distance by the interquartile range of its rows
        and by the temperature. 0 sends a row to one leaf.
    max_split_samples : int, default=1000
        The most rows that the direction of a node is found from.
    n_trees : int, default=1
        Number of trees, of other random rows, whose predictions are averaged.
    device : {"cpu", "cuda", None}, default=None
        Where leaves are fitted: ``"cuda"`` on a GPU, by CuPy. None is the device of the
        estimator, or follows arrays of CuPy. Predictions are such arrays for such rows.
    n_jobs : int, default=None
        Number of leaves that are fitted at the same time, by joblib: in processes, or
        as ``joblib.parallel_config`` says, on a Dask cluster for instance.
    random_state : int, RandomState instance or None, default=None
        Seeds the random rows.

    Attributes
    ----------
    estimators_ : list of list of RFMRegressor
        The machines of the leaves of each tree; a stand-in where all targets of a leaf
        are the same.
    root_estimator_ : RFMRegressor or None
        The machine that kernel, ridge and round were chosen by.
    n_leaves_ : int
        Number of leaves of all trees.
    feature_importances_ : ndarray of shape (n_features,)
        Those of the leaves, averaged over the rows.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X has names.

    See Also
    --------
    RFMRegressor : One machine, for tables up to some ten thousand rows.

    References
    ----------
    D. Beaglehole, D. Holzmüller, A. Radhakrishnan and M. Belkin, "xRFM: accurate,
    scalable, and interpretable feature learning models for tabular data", 2025,
    arXiv:2508.10053.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import RFMRegressor, XRFMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1500, 5))
    >>> y = np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])
    >>> model = XRFMRegressor(max_leaf_size=400, random_state=0).fit(X[:1200], y[:1200])
    >>> model.n_leaves_
    3
    >>> bool(model.score(X[1200:], y[1200:]) > 0.85)
    True
    """

    _parameter_constraints = {
        "estimator": [RFMRegressor, None],
        **BaseXRFM._parameter_constraints,
    }
    _kind, _multi_output = RFMRegressor, True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _encode(self, y):
        self._single_output = y.ndim == 1
        self._n_outputs = 1 if y.ndim == 1 else y.shape[1]
        return y

    def _leaf_outputs(self, model, X):
        if isinstance(model, Constant):
            return np.broadcast_to(model.target, (len(X), self._n_outputs))
        return model.predict(X).reshape(len(X), -1)

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs, place = self._outputs(X)
        return place.give(outputs[:, 0] if self._single_output else outputs)


class XRFMClassifier(HostScoreMixin, ClassifierMixin, BaseXRFM):
    """Classification by a tree with a Recursive Feature Machine in each leaf.

    For tables with more rows than one kernel matrix holds. Each node of the tree parts
    its rows along the direction in which a machine fitted to a few of them varies most,
    so that leaves are as few as can be, and of equal size. Each leaf has a machine with
    a metric of its own, and says how likely classes are. Near the thresholds the leaves
    of both sides have a say.

    Parameters
    ----------
    estimator : RFMClassifier, default=None
        The machine of the leaves; None is ``RFMClassifier()``. Its ``scaling`` and
        ``categorical_features`` are for the whole table.
    max_leaf_size : int, default=4000
        The largest number of rows of a leaf. A table that is not larger has one leaf
        and is left to the estimator. Larger leaves are more accurate; the time of a fit
        grows at least with this number, and memory with its square: a kernel matrix for
        each job.
    memory_budget : float, default=None
        Gigabytes that the kernel matrices of the leaves that are fitted at the same
        time may take. Leaves are smaller than `max_leaf_size` where that needs it.
    search : {"root", "leaves"}, default="root"
        Where kernel, ridge and round are chosen, as the estimator would: once, on as
        many rows of the table as a leaf has, or in each leaf anew, which takes three or
        four times as long.
    temperature : float, default=0.1
        How far leaves have a say beyond their thresholds: at a node the share of a side
        is a logistic function of the distance by the interquartile range of its rows
        and by the temperature. 0 sends a row to one leaf.
    max_split_samples : int, default=1000
        The most rows that the direction of a node is found from.
    n_trees : int, default=1
        Number of trees, of other random rows, whose probabilities are averaged.
    device : {"cpu", "cuda", None}, default=None
        Where leaves are fitted: ``"cuda"`` on a GPU, by CuPy. None is the device of the
        estimator, or follows arrays of CuPy. Predictions are such arrays for such rows.
    n_jobs : int, default=None
        Number of leaves that are fitted at the same time, by joblib: in processes, or
        as ``joblib.parallel_config`` says, on a Dask cluster for instance.
    random_state : int, RandomState instance or None, default=None
        Seeds the random rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    estimators_ : list of list of RFMClassifier
        The machines of the leaves of each tree, fitted to the numbers of the classes;
        a stand-in where all rows of a leaf have the same class.
    root_estimator_ : RFMClassifier or None
        The machine that kernel, ridge and round were chosen by.
    n_leaves_ : int
        Number of leaves of all trees.
    feature_importances_ : ndarray of shape (n_features,)
        Those of the leaves, averaged over the rows.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X has names.

    See Also
    --------
    RFMClassifier : One machine, for tables up to some ten thousand rows.

    References
    ----------
    D. Beaglehole, D. Holzmüller, A. Radhakrishnan and M. Belkin, "xRFM: accurate,
    scalable, and interpretable feature learning models for tabular data", 2025,
    arXiv:2508.10053.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import XRFMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1500, 4))
    >>> y = np.where(X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 0)
    >>> model = XRFMClassifier(max_leaf_size=400, random_state=0)
    >>> bool(model.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.9)
    True
    """

    _parameter_constraints = {
        "estimator": [RFMClassifier, None],
        **BaseXRFM._parameter_constraints,
    }
    _kind = RFMClassifier

    def _encode(self, y):
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes; the rows of positive "
                f"weight have one class only: {self.classes_.tolist()[0]!r}."
            )
        self._n_outputs = len(self.classes_)
        return codes

    def _leaf_outputs(self, model, X):
        outputs = np.zeros((len(X), self._n_outputs))
        if isinstance(model, Constant):
            outputs[:, model.target] = 1
        else:
            outputs[:, model.classes_] = model.predict_proba(X)
        return outputs

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        outputs, place = self._outputs(X)
        return place.give(outputs)

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        outputs, place = self._outputs(X)
        return place.give_labels(self.classes_[outputs.argmax(axis=1)])
