"""XRFM: a tree of Recursive Feature Machines for large tables."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from .._backend import FloatArray, Table
from .._tables import ClassTargets, HostScoreMixin, NumericTargets, in_batches
from ..rfm import RFMClassifier, RFMRegressor
from ._base import BaseXRFM


class XRFMRegressor(HostScoreMixin, RegressorMixin, BaseXRFM):
    """Regression by a tree with a Recursive Feature Machine in each leaf.

    For tables with more rows than one kernel matrix can hold. Each node of the tree
    splits its rows along a direction in which a machine fitted to a sample of them
    varies most: of a few such directions, the one whose two sides are predicted best by
    machines of their own. There are as few leaves as possible, of equal size, and each
    has a machine with a metric of its own. Near the thresholds predictions are weighted
    averages of the leaves on both sides. The time of a fit grows in proportion to the
    number of rows.

    Parameters
    ----------
    estimator : RFMRegressor, default=None
        The estimator of the leaves; None is ``RFMRegressor()``. Its ``scaling`` and
        ``categorical_features`` apply to the whole table; ``scaling="auto"`` means
        ``"clipped"`` here.
    max_leaf_size : int or "auto", default="auto"
        The largest number of rows of a leaf. ``"auto"`` halves the number of all rows
        until it is at most 20 000; with more than 100 000 rows it may be half of the
        rows, and with 8000 to 20 000 rows too, see `split`. A table that is not larger
        has one leaf, which is fitted as the estimator alone would be. Larger leaves are
        more accurate; the time of the last round grows in proportion to this number, or
        faster, and memory with its square, by one kernel matrix for each job: 1.6 GB
        for 20 000 rows in single precision. With a search at the root, rounds before
        the last are fitted to 10 000 rows of a leaf at most.
    memory_budget : float, default=None
        Gigabytes that a fit holds, about, beside what is held before and the models of
        the leaves. Kernel matrices of the leaves that are fitted at the same time take
        three fifths of them: leaves are made smaller than `max_leaf_size` where
        necessary. A table of which memory would take more than three tenths, and that
        is read in batches or has more than 100 000 rows, is not held: splits are found
        on a sample of at most 100 000 rows, and one pass writes the rows of each leaf
        to files in a temporary folder, which is removed at the end, after an error as
        well. Leaves may then have a tenth more than `max_leaf_size` rows. None sets no
        limit, and reads the table into memory.
    split : {"auto", "sides", "refined"}, default="auto"
        How nodes are split. ``"sides"`` takes one of a few eigenvectors of a metric,
        whose sides are predicted best by machines of their own. ``"refined"`` goes on
        from it: a logistic regression of which side's machine errs less on each row,
        up to four times, on 60 000 rows. It serves few large leaves with `n_centers` in
        their estimator, whose nodes also get new rules once the leaves are fitted, and
        takes about as long as a leaf of 10 000 rows. ``"auto"`` is ``"refined"`` for an
        estimator with `n_centers`. Otherwise it is ``"sides"``, but the root and its
        children, from 8000 rows on, are refined on 16 000 rows if the first step lowers
        the error of unseen rows by 3 %. With ``max_leaf_size="auto"`` a table that one
        leaf would hold is divided too if a direction refined so has sides that are
        predicted 3 % better than by one machine; with more than 100 000 rows leaves of
        at most 20 000 rows are compared, on unseen rows of a part of the table, with
        two halves of it (at most 500 000 rows each) that have 3000 centres or more.
    search : {"root", "leaves"}, default="root"
        Where kernel, ridge and round are chosen. ``"root"`` chooses once for all
        leaves, by the search of the estimator on a sample of the rows, whose last stage
        fits to about as many rows as a leaf has; other kernels and metrics that are
        nearly as good there, and half of the rounds, are tried in three leaves. An
        estimator whose ``validation`` is not ``"auto"`` is fitted to as many rows as a
        leaf has, and chooses by its own rule. ``"leaves"`` chooses in each leaf, which
        takes several times as long.
    temperature : float, default=0.1
        How far leaves contribute to predictions beyond their thresholds. At a node the
        weight of a side is a logistic function of the distance to the threshold,
        divided by the interquartile range of the rows and by the temperature. With 0
        each row is predicted by one leaf.
    max_split_samples : int, default=2000
        The direction of a node is found from a random subsample of at most so many of
        its rows, unless it is refined.
    n_trees : int, default=1
        Number of trees, grown with different random subsamples, whose outputs are
        averaged.
    time_budget : float, default=None
        Seconds for the fit: the search at the root takes the best candidate so far,
        leaves are halved down to 4000 rows with ``max_leaf_size="auto"``, and have as
        many rounds as there is time for; ``split="auto"`` compares nothing then. The
        model depends on the speed of the computer. The splits of the tree, the first
        round of the search and the first of each leaf take the time they need. It
        replaces the `time_budget` of the estimator.
    device : {"cpu", "cuda", None}, default=None
        Where leaves are fitted: ``"cuda"`` on a GPU, by CuPy. None is the device of the
        estimator, or the GPU where X is an array of CuPy. Predictions are arrays of
        CuPy for such rows, of NumPy otherwise.
    checkpoint_dir : str or path, default=None
        A folder for the states of a long fit: after the search at the root, the splits
        of each level of a tree, each comparison in a leaf, and each leaf. A fit with
        the same table and parameters that is begun again after its process was killed
        goes on from there; it needs an integer `random_state`. The files, which are
        read by pickle, are removed at the end of the fit. The rows of leaves that
        memory does not hold are written to this folder, too.
    n_jobs : int or None, default=None
        Number of leaves that are fitted at the same time, by joblib: in processes, or
        with the backend of ``joblib.parallel_config``, on a Dask cluster for instance.
    random_state : int, RandomState or None, default=None
        Seeds folds and subsamples.

    Attributes
    ----------
    estimators_ : list of list of RFMRegressor
        The models of the leaves of each tree; a model of a constant where all targets
        of a leaf are equal.
    root_estimator_ : RFMRegressor or None
        The model whose search at the root has chosen kernel, ridge and round of all
        leaves, or what was compared in leaves; None without such a search.
    n_leaves_ : int
        Number of leaves of all trees.
    feature_importances_ : ndarray of shape (n_features,)
        Those of the leaves, averaged over their rows.
    is_categorical_ : ndarray of bool of shape (n_features,) or None
        Which features are categories; None without categories.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    RFMRegressor : One machine, for tables of up to some ten thousand rows.

    References
    ----------
    D. Beaglehole, D. Holzmüller, A. Radhakrishnan and M. Belkin, "xRFM: accurate,
    scalable, and interpretable feature learning models for tabular data", 2025,
    arXiv:2508.10053. There nodes are split along the first eigenvector of the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import XRFMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1500, 5))
    >>> y = np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])
    >>> model = XRFMRegressor(max_leaf_size=400, random_state=0).fit(X[:1200], y[:1200])
    >>> model.n_leaves_
    3
    >>> round(model.score(X[1200:], y[1200:]), 2)
    0.93
    >>> model.feature_importances_.round(1)
    array([0.2, 0.4, 0.4, 0. , 0. ])
    """

    _parameter_constraints = {
        "estimator": [RFMRegressor, None],
        **BaseXRFM._parameter_constraints,
    }
    _leaf_class = RFMRegressor
    _multi_output = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit_targets(self, y, weight):
        return NumericTargets.fit(y, weight, centred=False)

    def _leaf_targets(self, targets, y):
        return y

    @in_batches
    def predict(self, X: Table) -> FloatArray:
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what `fit` reads in batches

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs, placement = self._outputs(X)
        single = self._fitted.targets.single_output
        return placement.to_caller(outputs[:, 0] if single else outputs)


class XRFMClassifier(HostScoreMixin, ClassifierMixin, BaseXRFM):
    """Classification by a tree with a Recursive Feature Machine in each leaf.

    For tables with more rows than one kernel matrix can hold. Each node of the tree
    splits its rows along a direction in which a machine fitted to a sample of them
    varies most: of a few such directions, the one whose two sides are predicted best by
    machines of their own. There are as few leaves as possible, of equal size, and each
    has a machine with a metric of its own, which predicts the probabilities of the
    classes. Near the thresholds predictions are weighted averages of the leaves on both
    sides.

    Parameters
    ----------
    estimator : RFMClassifier, default=None
        The estimator of the leaves; None is ``RFMClassifier()``. Its ``scaling`` and
        ``categorical_features`` apply to the whole table; ``scaling="auto"`` means
        ``"clipped"`` here.
    max_leaf_size : int or "auto", default="auto"
        The largest number of rows of a leaf. ``"auto"`` halves the number of all rows
        until it is at most 20 000; with more than 100 000 rows it may be half of the
        rows, and with 8000 to 20 000 rows too, see `split`. A table that is not larger
        has one leaf, which is fitted as the estimator alone would be. Larger leaves are
        more accurate; the time of the last round grows in proportion to this number, or
        faster, and memory with its square, by one kernel matrix for each job: 1.6 GB
        for 20 000 rows in single precision. With a search at the root, rounds before
        the last are fitted to 10 000 rows of a leaf at most.
    memory_budget : float, default=None
        Gigabytes that a fit holds, about, beside what is held before and the models of
        the leaves. Kernel matrices of the leaves that are fitted at the same time take
        three fifths of them: leaves are made smaller than `max_leaf_size` where
        necessary. A table of which memory would take more than three tenths, and that
        is read in batches or has more than 100 000 rows, is not held: splits are found
        on a sample of at most 100 000 rows, and one pass writes the rows of each leaf
        to files in a temporary folder, which is removed at the end, after an error as
        well. Leaves may then have a tenth more than `max_leaf_size` rows. None sets no
        limit, and reads the table into memory.
    split : {"auto", "sides", "refined"}, default="auto"
        How nodes are split. ``"sides"`` takes one of a few eigenvectors of a metric,
        whose sides are predicted best by machines of their own. ``"refined"`` goes on
        from it: a logistic regression of which side's machine errs less on each row,
        up to four times, on 60 000 rows. It serves few large leaves with `n_centers` in
        their estimator, whose nodes also get new rules once the leaves are fitted, and
        takes about as long as a leaf of 10 000 rows. ``"auto"`` is ``"refined"`` for an
        estimator with `n_centers`. Otherwise it is ``"sides"``, but the root and its
        children, from 8000 rows on, are refined on 16 000 rows if the first step lowers
        the error of unseen rows by 3 %. With ``max_leaf_size="auto"`` a table that one
        leaf would hold is divided too if a direction refined so has sides that are
        predicted 3 % better than by one machine; with more than 100 000 rows leaves of
        at most 20 000 rows are compared, on unseen rows of a part of the table, with
        two halves of it (at most 500 000 rows each) that have 3000 centres or more.
    search : {"root", "leaves"}, default="root"
        Where kernel, ridge and round are chosen. ``"root"`` chooses once for all
        leaves, by the search of the estimator on a sample of the rows, whose last stage
        fits to about as many rows as a leaf has; other kernels and metrics that are
        nearly as good there, and half of the rounds, are tried in three leaves. An
        estimator whose ``validation`` is not ``"auto"`` is fitted to as many rows as a
        leaf has, and chooses by its own rule. ``"leaves"`` chooses in each leaf, which
        takes several times as long.
    temperature : float, default=0.1
        How far leaves contribute to predictions beyond their thresholds. At a node the
        weight of a side is a logistic function of the distance to the threshold,
        divided by the interquartile range of the rows and by the temperature. With 0
        each row is predicted by one leaf.
    max_split_samples : int, default=2000
        The direction of a node is found from a random subsample of at most so many of
        its rows, unless it is refined.
    n_trees : int, default=1
        Number of trees, grown with different random subsamples, whose outputs are
        averaged.
    time_budget : float, default=None
        Seconds for the fit: the search at the root takes the best candidate so far,
        leaves are halved down to 4000 rows with ``max_leaf_size="auto"``, and have as
        many rounds as there is time for; ``split="auto"`` compares nothing then. The
        model depends on the speed of the computer. The splits of the tree, the first
        round of the search and the first of each leaf take the time they need. It
        replaces the `time_budget` of the estimator.
    device : {"cpu", "cuda", None}, default=None
        Where leaves are fitted: ``"cuda"`` on a GPU, by CuPy. None is the device of the
        estimator, or the GPU where X is an array of CuPy. Predictions are arrays of
        CuPy for such rows, of NumPy otherwise.
    checkpoint_dir : str or path, default=None
        A folder for the states of a long fit: after the search at the root, the splits
        of each level of a tree, each comparison in a leaf, and each leaf. A fit with
        the same table and parameters that is begun again after its process was killed
        goes on from there; it needs an integer `random_state`. The files, which are
        read by pickle, are removed at the end of the fit. The rows of leaves that
        memory does not hold are written to this folder, too.
    n_jobs : int or None, default=None
        Number of leaves that are fitted at the same time, by joblib: in processes, or
        with the backend of ``joblib.parallel_config``, on a Dask cluster for instance.
    random_state : int, RandomState or None, default=None
        Seeds folds and subsamples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    estimators_ : list of list of RFMClassifier
        The models of the leaves of each tree, fitted to the numbers of the classes; a
        model of a constant where all rows of a leaf have the same class.
    root_estimator_ : RFMClassifier or None
        The model whose search at the root has chosen kernel, ridge and round of all
        leaves, or what was compared in leaves; None without such a search.
    n_leaves_ : int
        Number of leaves of all trees.
    feature_importances_ : ndarray of shape (n_features,)
        Those of the leaves, averaged over their rows.
    is_categorical_ : ndarray of bool of shape (n_features,) or None
        Which features are categories; None without categories.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    RFMClassifier : One machine, for tables of up to some ten thousand rows.

    References
    ----------
    D. Beaglehole, D. Holzmüller, A. Radhakrishnan and M. Belkin, "xRFM: accurate,
    scalable, and interpretable feature learning models for tabular data", 2025,
    arXiv:2508.10053. There nodes are split along the first eigenvector of the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import XRFMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1500, 4))
    >>> y = np.where(X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 0)
    >>> model = XRFMClassifier(max_leaf_size=400, random_state=0)
    >>> model.fit(X[:1200], y[:1200]).predict_proba(X[1200:1203]).round(1)
    array([[1., 0.],
           [1., 0.],
           [0., 1.]])
    >>> round(model.score(X[1200:], y[1200:]), 2)
    0.99
    """

    _parameter_constraints = {
        "estimator": [RFMClassifier, None],
        **BaseXRFM._parameter_constraints,
    }
    _leaf_class = RFMClassifier

    def _fit_targets(self, y, weight):
        return ClassTargets.fit(y, weight, name=type(self).__name__)

    def _leaf_targets(self, targets, y):
        return targets.numbers(y)

    @in_batches
    def predict_proba(self, X: Table) -> FloatArray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what `fit` reads in batches

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        outputs, placement = self._outputs(X)
        return placement.to_caller(outputs)

    @in_batches
    def predict(self, X: Table) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what `fit` reads in batches

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        outputs, placement = self._outputs(X)
        return placement.labels_to_caller(self.classes_[outputs.argmax(axis=1)])
