"""XRFM: a tree of Recursive Feature Machines for large tables."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from .._tables import HostScoreMixin
from ..rfm import RFMClassifier, RFMRegressor
from ._base import BaseXRFM
from ._leaves import Constant


class XRFMRegressor(HostScoreMixin, RegressorMixin, BaseXRFM):
    """Regression by a tree with a Recursive Feature Machine in each leaf.

    For tables with more rows than one kernel matrix holds. Each node of the tree parts
    its rows along a direction in which a machine fitted to some of them varies: that of
    a few whose two sides are predicted best, each by itself. Leaves are as few as can
    be, and of equal size. Each has a machine with a metric of its own. Near the
    thresholds the leaves of both sides have a say. Time grows with the number of rows.

    Parameters
    ----------
    estimator : RFMRegressor, default=None
        The machine of the leaves; None is ``RFMRegressor()``. Its ``scaling`` and
        ``categorical_features`` are for the whole table; ``scaling="auto"`` is
        ``"clipped"`` here.
    max_leaf_size : int, default=4000
        The largest number of rows of a leaf. A table that is not larger has one leaf
        and is left to the estimator. Larger leaves are more accurate; the time of a fit
        grows at least with this number, and memory with its square: a kernel matrix for
        each job.
    memory_budget : float, default=None
        Gigabytes that the kernel matrices of the leaves that are fitted at the same
        time may take. Leaves are smaller than `max_leaf_size` where that needs it.
    search : {"root", "leaves"}, default="root"
        Where kernel, ridge and round are chosen: once, by machines fitted to fewer rows
        than a leaf has and judged on others, or in each leaf anew, which takes three or
        four times as long. An estimator whose ``validation`` is not ``"auto"`` is
        fitted to as many rows as a leaf has, and chooses by its own rule.
    temperature : float, default=0.1
        How far leaves have a say beyond their thresholds: at a node the share of a side
        is a logistic function of the distance by the interquartile range of its rows
        and by the temperature. 0 sends a row to one leaf.
    max_split_samples : int, default=2000
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
        The machine that kernel, ridge and round were chosen by; None without a search.
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
    arXiv:2508.10053. There the direction of a node is the one of most variance.

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
        outputs, placement = self._outputs(X)
        return placement.to_caller(outputs[:, 0] if self._single_output else outputs)


class XRFMClassifier(HostScoreMixin, ClassifierMixin, BaseXRFM):
    """Classification by a tree with a Recursive Feature Machine in each leaf.

    For tables with more rows than one kernel matrix holds. Each node of the tree parts
    its rows along a direction in which a machine fitted to some of them varies: that of
    a few whose two sides are predicted best, each by itself. Leaves are as few as can
    be, and of equal size. Each has a machine with a metric of its own, and says how
    likely classes are. Near the thresholds the leaves of both sides have a say.

    Parameters
    ----------
    estimator : RFMClassifier, default=None
        The machine of the leaves; None is ``RFMClassifier()``. Its ``scaling`` and
        ``categorical_features`` are for the whole table; ``scaling="auto"`` is
        ``"clipped"`` here.
    max_leaf_size : int, default=4000
        The largest number of rows of a leaf. A table that is not larger has one leaf
        and is left to the estimator. Larger leaves are more accurate; the time of a fit
        grows at least with this number, and memory with its square: a kernel matrix for
        each job.
    memory_budget : float, default=None
        Gigabytes that the kernel matrices of the leaves that are fitted at the same
        time may take. Leaves are smaller than `max_leaf_size` where that needs it.
    search : {"root", "leaves"}, default="root"
        Where kernel, ridge and round are chosen: once, by machines fitted to fewer rows
        than a leaf has and judged on others, or in each leaf anew, which takes three or
        four times as long. An estimator whose ``validation`` is not ``"auto"`` is
        fitted to as many rows as a leaf has, and chooses by its own rule.
    temperature : float, default=0.1
        How far leaves have a say beyond their thresholds: at a node the share of a side
        is a logistic function of the distance by the interquartile range of its rows
        and by the temperature. 0 sends a row to one leaf.
    max_split_samples : int, default=2000
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
        The machine that kernel, ridge and round were chosen by; None without a search.
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
    arXiv:2508.10053. There the direction of a node is the one of most variance.

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
        outputs, placement = self._outputs(X)
        return placement.to_caller(outputs)

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        outputs, placement = self._outputs(X)
        return placement.labels_to_caller(self.classes_[outputs.argmax(axis=1)])
