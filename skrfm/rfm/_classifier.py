"""The kernel Recursive Feature Machine as a classifier."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from .._backend import FloatArray, Table
from .._search import Calibration, ClassificationCriterion
from .._sklearn import StrOptions
from .._tables import ClassTargets, HostScoreMixin, in_batches
from ._base import BaseRFM


class RFMClassifier(HostScoreMixin, ClassifierMixin, BaseRFM):
    """Least squares kernel classification with a learned feature metric.

    A Recursive Feature Machine [1]_ fitted to class indicators: one output of ±1 for
    two classes, one output per class for more. Class probabilities are a calibration of
    the outputs, fitted to validation rows. The round, the ridge and the kernel are
    chosen by the log-loss of these probabilities.

    Parameters
    ----------
    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, \
            default="from_dtype"
        The features that are categories: a boolean mask, indices or names.
        ``"from_dtype"`` takes the columns of a data frame that have a categorical
        dtype. Categories may have values of any kind. A level that `fit` has not seen
        equals none of the known levels; a missing value is a level of its own. Beyond
        1000 levels the rarest are merged into one.
    scaling : {"auto", "clipped", "quantile", "standard"} or None, default="auto"
        How numbers are scaled, so that a bandwidth means the same on every table.
        ``"standard"`` subtracts the mean and divides by the standard deviation.
        ``"clipped"`` maps the result z to z / √(1 + (z / 3)²), which bounds heavy
        tails. Both leave out constant features. ``"quantile"`` is ``"clipped"`` with a
        further column for each number, its quantile of the normal distribution, so that
        ranks count as well, whatever the shape of the distribution. ``"auto"`` chooses
        between the last two as `validation` says. None takes numbers as they are.
        Missing numbers are set to the mean, with an indicator column for each feature
        that has missing values in `fit`. Categories are one-hot encoded.
    level_statistics : {"auto", "targets", "targets+numbers"} or None, default="auto"
        Columns that describe the levels of categories of more than 32 levels, beside
        their one-hot encoding, and the values of discrete numbers, whose mean target
        jumps from one value to the next: ``"targets"`` are the means of the targets
        over the rows of a level or a value, shrunken to the mean of all the more, the
        fewer rows there are; ``"targets+numbers"`` are these and the numbers minus
        their means within the level. Training rows take the means of the other rows,
        so that no column holds the target of its own row. ``"auto"`` chooses as
        `validation` says, and takes None for ``"loo"`` and None. Tables whose
        statistics have more than 100 columns have none.
    kernel : str or Kernel, default="auto"
        ``"laplace"``, ``"generalized_laplace"``, ``"gaussian"``, ``"l1_laplace"``,
        ``"lpq_laplace"``, ``"ntk"``, ``"nngp"``, or an object from `skrfm.kernels`;
        ``"auto"`` chooses between ``"laplace"`` and ``"l1_laplace"``, and with
        ``validation="auto"`` among exponents near 1. A search over
        ``kernel__exponent`` needs the object. scikit-learn's ``"laplacian"`` is
        ``"l1_laplace"`` here.
    bandwidth : float or str, default="3*median"
        The bandwidth L of the kernel. A number is used as it is. ``"median"`` is the
        weighted median distance of the training rows in the norm of the kernel,
        recomputed in each round, and ``"3*median"`` a multiple of it.
    alpha : float or "auto", default="auto"
        The ridge on the diagonal of the kernel matrix, whose entries are at most 1;
        ``"auto"`` chooses from `alphas`.
    alphas : array-like of float or "auto", default="auto"
        Ridges to choose from. ``"auto"`` is 0.001, 0.03 and 1, and ridges near the
        best of them, beyond these as well. A warning tells where the best of given
        ridges is at an edge and clearly better than the next.
    metric_type : {"auto", "full", "diag"}, default="auto"
        Whether the metric is a full matrix or a diagonal one, which weights features.
        ``"auto"`` chooses with ``kernel="auto"``. For a given kernel it is full if that
        is of the Euclidean distance, and diagonal if it is of the L1 or Lp distances,
        which work with diagonal metrics only.
    n_components : int, float or None, default=None
        Truncates the metric to that many leading eigenvectors, or to as many as make
        up that share of its trace.
    max_iter : int, default=10
        Number of updates of the metric, at most where the round is chosen. With 0 the
        model is kernel ridge regression.
    validation : {"auto", "cv", "loo", "holdout"} or None, default="auto"
        How the round, the ridge and the kernel are chosen. ``"cv"`` pools out-of-fold
        predictions of folds that learn a metric of their own, ``"holdout"`` sets rows
        aside once; both then fit to all rows. ``"loo"`` uses leave-one-out residuals in
        closed form; it is fast, but optimistic about later rounds, whose metric has
        seen the row. ``"auto"`` searches in stages: all candidates are fitted to 1000
        rows, those that lose clearly end, candidates near the best are added, and the
        best go on to more rows; the last stage is cross-validation up to 1000 rows, and
        above one fold (of a classifier two) of at most 10 000 rows; a regressor fits
        12 500 of 25 000 rows or more then where different kernels or metrics are left.
        None keeps the last round; a ridge or kernel to choose is chosen in that round
        by leave-one-out, or by a hold-out where the rows are too many for a direct
        solver.
    cv : int, splitter or iterable, default=5
        Number of shuffled stratified folds (at most one per row of a class), a
        splitter, or pairs of train and test row numbers.
    validation_fraction : float, default=0.2
        Share of the rows that ``validation="holdout"`` sets aside.
    n_machines : int, default=3
        The largest number of kernel machines whose outputs are averaged: the best with
        different kernels, kinds of metric or scalings, if their average has a better
        score. With 1 the model is a single machine.
    time_budget : float, default=None
        Seconds for the search and the fit to all rows, which a forecast from the rounds
        so far leaves time for. The best model so far is taken; it then depends on the
        speed of the computer. The first round of the search, and the first on all rows,
        take the time they need; where ``n_centers="auto"`` takes fewer centres than
        rows, it takes as many as there is time for.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is subtracted before the fit and added
        to the predictions. The published algorithm has no intercept.
    class_weight : dict, "balanced" or None, default=None
        Factors on the sample weights of each class.
    center_gradients : bool, default=False
        Whether the mean gradient is subtracted before the average of outer products.
    max_agop_samples : int, "auto" or None, default="auto"
        The largest number of rows, drawn at random, over which outer products are
        averaged. ``"auto"`` is as many as give 4000 gradients of outputs, at least ten
        gradients for each column, and at least 500 rows. None takes all rows.
    n_centers : int, "auto" or None, default="auto"
        The number of centres of the kernel machine, whose kernels make up the
        predictor. It is fitted to all rows, in passes over them, and takes memory for
        the kernel matrix of the centres only. The search runs on a sample of 100 000
        rows. None, or as many as there are rows, makes all rows centres, which is most
        accurate; the cost grows with the square of their number. ``"auto"`` does so up
        to 50 000 rows, or as many as `memory_budget` has room for, and takes 5000
        centres above, or fewer.
    centers : {"random", "kmeans"} or array-like of shape (n_centers, n_features), \
            default="random"
        What the centres are, where they are fewer than the rows: random training rows,
        or the rows next to the means of clusters, in the learned metric, which helps
        where centres are few for the table. Or the centres themselves, rows as X has
        them: `n_centers` is then left at ``"auto"``, and they are the centres whatever
        the number of training rows.
    memory_budget : float, default=None
        Gigabytes that a fit with fewer centres than rows holds, about, beside what is
        held before: the sample, kernel matrices, and blocks of rows are made smaller
        where necessary. Below about 0.3 the search sees few rows. None sets no limit.
    solver : {"auto", "cholesky", "eigh", "pcg", "eigenpro"} or EigenPro, default="auto"
        ``"cholesky"`` is exact; where the matrix is not positive definite it adds a
        multiple of the identity, with a warning. ``"eigh"`` is slower and leaves out
        the null space of a singular kernel matrix. ``"pcg"`` is preconditioned
        conjugate gradients, to a relative residual of 0.001, and of 0.01 where there
        are more than 5000 rows; ``"eigenpro"`` is preconditioned stochastic gradient
        descent that stops early, which regularises. An
        :class:`~skrfm.solvers.EigenPro` ends it by held-out rows, for noisy targets.
        Both recompute the kernel matrix where it does not fit in memory. ``"auto"`` is
        ``"cholesky"`` up to 4000 rows and ``"pcg"`` above.
    device : {"cpu", "cuda", None}, default=None
        Where to compute. ``"cuda"`` moves NumPy arrays and data frames to a GPU, with
        CuPy, and returns NumPy arrays. ``"cpu"`` always computes with NumPy. None
        follows X: NumPy arrays and data frames are computed on the CPU, CuPy arrays on
        the GPU, where results stay, and arrays of another library, with scikit-learn's
        ``array_api_dispatch``, by the functions of that library.
    checkpoint_dir : str or path, default=None
        A folder for the states of a long fit: after the search, and after each round
        on all rows. A fit with the same table and parameters that is begun again after
        its process was killed goes on from there; it needs an integer `random_state`.
        The file, which is read by pickle, is removed at the end of the fit.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time, in threads. Each fit uses
        the threads that BLAS may use, whatever `n_jobs` is. On a GPU folds are fitted
        one after the other.
    random_state : int, RandomState or None, default=None
        Seed of folds and subsamples.

    Attributes
    ----------
    X_fit_ : ndarray of shape (n_samples, n_columns)
        Encoded training rows of positive weight: the scaled numbers, their quantiles
        if `scaling_` is ``"quantile"``, missing-value indicators, statistics of levels,
        and one-hot encoded categories. Numbers without missing values are one column
        each. With `n_centers` or `centers` the centres only.
    dual_coef_ : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Coefficients of the kernel machine.
    intercept_ : float or ndarray of shape (n_classes,)
        The subtracted mean of the targets; 0 without intercept.
    metric_ : ndarray of shape (n_columns, n_columns) or (n_columns,)
        The metric M of the kept round, between the columns of `X_fit_`, scaled to a
        largest diagonal entry of 1. Of shape (n_columns,) for a diagonal metric: its
        diagonal, which is all ones for round 0. A full metric is computed from
        `components_` on each access.
    metric_names_ : ndarray of str of shape (n_columns,)
        The names of the columns of `X_fit_` and of the metric, such as "size",
        "size (missing)" and "kind=a"; "x0", "x1" and so on for tables without names.
    components_ : ndarray of shape (n_components, n_columns) or (n_columns,)
        A square root of the metric: ``metric_ == components_.T @ components_``. Of
        shape (n_columns,) for a diagonal metric: ``metric_ == components_**2``, with
        zeros for columns that `n_components` leaves out.
    feature_importances_ : ndarray of shape (n_features,)
        Diagonal of the average gradient outer product that defines the metric (for
        round 0, of the predictor's own), scaled to sum 1.
    kernel_ : Kernel
        The chosen kernel.
    scaling_ : {"clipped", "quantile", "standard"} or None
        The chosen scaling of the numbers.
    level_statistics_ : {"targets", "targets+numbers"} or None
        The chosen statistics of levels.
    bandwidth_ : float
        The bandwidth of the kernel in the kept round.
    alpha_ : float
        The chosen ridge.
    best_iter_ : int
        The round that was kept; 0 is before any metric was learned.
    machine_weights_ : list of float
        The shares of the machines in the average. The attributes above are those of the
        first machine, the best alone.
    n_iter_ : int
        Number of rounds that were fitted, at least 1.
    history_ : dict of ndarrays
        Columns ``kernel``, ``metric_type``, ``scaling``, ``level_statistics``,
        ``alpha``, ``iter``, ``rows`` (how many the machine was fitted to), ``seconds``
        and ``score`` (minus the log-loss at the best calibration) of everything that
        was compared; without validation scores are NaN.
    validation_scores_ : ndarray of shape (n_epochs,) or None
        With ``solver=EigenPro(early_stopping=True)`` the score at the held-out rows
        after each epoch of the fit to all rows: 1 less the squared error relative to
        that of the intercept alone. The coefficients are those of the best epoch. None
        with other solvers, and where rows are too few to hold some out.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    is_categorical_ : ndarray of bool of shape (n_features,) or None
        Which features are categories; None without categories.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    RFMRegressor : The regressor.
    RFMClassifierCV : The same with a random search over kernels and parameters.

    References
    ----------
    .. [1] A. Radhakrishnan, D. Beaglehole, P. Pandit, M. Belkin, "Mechanism for feature
       learning in neural networks and backpropagation-free machine learning models",
       Science 383, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrfm import RFMClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RFMClassifier(kernel="laplace", alpha=1e-2, random_state=0).fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.predict_proba(X[:2]).round(1)
    array([[1., 0., 0.],
           [1., 0., 0.]])
    """

    _criterion = ClassificationCriterion()
    _needs_outputs = True
    _parameter_constraints = {
        **BaseRFM._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        categorical_features="from_dtype",
        scaling="auto",
        level_statistics="auto",
        kernel="auto",
        bandwidth="3*median",
        alpha="auto",
        alphas="auto",
        metric_type="auto",
        n_components=None,
        max_iter=10,
        validation="auto",
        cv=5,
        validation_fraction=0.2,
        n_machines=3,
        time_budget=None,
        fit_intercept=True,
        class_weight=None,
        center_gradients=False,
        max_agop_samples="auto",
        n_centers="auto",
        centers="random",
        memory_budget=None,
        solver="auto",
        device=None,
        checkpoint_dir=None,
        n_jobs=None,
        random_state=None,
    ):
        super().__init__(
            categorical_features=categorical_features,
            scaling=scaling,
            level_statistics=level_statistics,
            kernel=kernel,
            bandwidth=bandwidth,
            alpha=alpha,
            alphas=alphas,
            metric_type=metric_type,
            n_components=n_components,
            max_iter=max_iter,
            validation=validation,
            cv=cv,
            validation_fraction=validation_fraction,
            n_machines=n_machines,
            time_budget=time_budget,
            fit_intercept=fit_intercept,
            center_gradients=center_gradients,
            max_agop_samples=max_agop_samples,
            n_centers=n_centers,
            centers=centers,
            memory_budget=memory_budget,
            solver=solver,
            device=device,
            checkpoint_dir=checkpoint_dir,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def _fit_targets(self, y, weight):
        return ClassTargets.fit(
            y, weight, class_weight=self.class_weight, name=type(self).__name__
        )

    def _calibrate(self, outputs, validation_rows):
        known = outputs, validation_rows.targets, validation_rows.weight
        return Calibration.fit(*known).with_curve(*known)

    @in_batches
    def decision_function(self, X: Table) -> FloatArray:
        """Return the outputs of the kernel machine.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what `fit` reads in batches

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            One score per class; for two classes the score of the second class, whose
            sign decides.
        """
        out, placement = self._outputs(X, "decision_function")
        return placement.to_caller(self._squeezed(out))

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
        out, placement = self._outputs(X, "predict")
        targets: Any = self._fitted.targets
        labels = targets.labels(placement.backend.to_numpy(out))
        return placement.labels_to_caller(labels)

    @in_batches
    def predict_proba(self, X: Table) -> FloatArray:
        """Predict class probabilities.

        Least squares estimates the probabilities of the classes. They are calibrated
        by a softmax of the estimates, or of approximate logarithms of them, with one
        temperature; the better of the two and its temperature are fitted to the outputs
        on the validation rows. The log-odds of two classes are changed further by an
        increasing spline, if the evidence of these rows is for it. The order of the
        classes is that of `decision_function`.
        With ``validation=None`` the calibration is fitted to leave-one-out outputs, or
        to a hold-out in the last round where the rows are too many for a direct solver;
        both are optimistic, because the metric has seen all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what `fit` reads in batches

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        out, placement = self._outputs(X, "predict_proba")
        calibration = self._fitted.calibration
        proba = calibration.probabilities(placement.backend.to_numpy(out))
        return placement.to_caller(placement.backend.asarray(proba, out.dtype))
