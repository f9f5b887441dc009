"""LinRFMRegressor: sparse linear regression by a linear Recursive Feature Machine."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._backend import worker_threads
from .._search import make_folds
from .._sklearn import Interval, StrOptions, check_sample_weight, restored_on_error
from .._tables import DEVICES, HostScoreMixin, outer_placement_of, to_host
from ._sparse_search import Regression, alpha_grid, by_folds, by_leave_one_out


class LinRFMRegressor(HostScoreMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Sparse linear regression by a linear Recursive Feature Machine.

    For a linear predictor the AGOP is w wᵀ, and a diagonal one as the metric of the
    next round is iteratively reweighted least squares: each coefficient is penalised
    by how small it was. With row weights ω of sum Ω the objective is

        1/(2Ω) Σ_i ω_i (y_i − x_iᵀw − b)² + alpha/p Σ_j abs(w_j)^p,  p = 2 − 4 power,

    where for power = 1/2 the penalty is alpha Σ_j log abs(w_j). At power = 1/4 it is
    that of scikit-learn's Lasso with the same alpha; above that it is not convex, needs
    fewer rows to find the support and shrinks large coefficients less.

    Parameters
    ----------
    power : float, default=0.5
        The power of the AGOP, 0 <= power <= 1/2: 0 is ridge regression, 1/4 the Lasso,
        (L − 1) / (2 L) a diagonal linear network of L layers.
    alpha : float or "auto", default="auto"
        Weight of the penalty. 0 looks for the sparsest exact fit. "auto" chooses from
        `alphas`.
    alphas : int or array-like, default=20
        What "auto" chooses from: so many values on a logarithmic grid below the one
        that leaves next to nothing, or the values themselves.
    validation : {"cv", "loo"}, default="cv"
        How "auto" chooses: by the squared error on the rows of folds that have no part
        in the fit, or by leave-one-out errors of the objective's second-order expansion
        at the solution for all rows. The latter takes a fifth of the time and is exact
        for ridge regression, but the support has seen every row: with few rows for each
        column it keeps too many. It therefore takes the largest alpha within one
        standard error of the best, and with more columns than rows spends at most half
        a degree of freedom per row. With groups or several targets the weights of the
        penalty are held fixed in it.
    cv : int, splitter or iterable, default=5
        Number of shuffled folds (at most one per row), a splitter, or pairs of train
        and test row numbers.
    groups : array-like of shape (n_features,), default=None
        Labels of groups of columns, which come in or stay out together.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    max_iter : int, default=5000
        The most iterations for one alpha.
    tol : float, default=1e-6
        Iterations end where no coefficient changes by more than this share of the
        largest one, and the smoothing is at its end.
    warm_start : bool, default=False
        Whether `fit` begins with the coefficients of the fit before, at a smoothing
        of a tenth of the largest. On a path of alphas that saves iterations; where the
        penalty is not convex it may also end in another local minimum.
    device : {"cpu", "cuda", None}, default=None
        Where the least squares problems are solved: ``"cuda"`` on a GPU, by CuPy. None
        follows arrays of CuPy; predictions are such arrays for such rows.
    random_state : int, RandomState or None, default=None
        Seeds the folds.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients. Several targets share their support.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    alpha_ : float
        The alpha that was used.
    n_iter_ : int
        Iterations of the fit at that alpha.
    feature_importances_ : ndarray of shape (n_features,)
        The metric of the last round, as shares of its trace.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X was a data frame with names.

    References
    ----------
    A. Radhakrishnan, M. Belkin and D. Drusvyatskiy, "Linear recursive feature machines
    provably recover low-rank matrices", PNAS 122, 2025, doi:10.1073/pnas.2411325122.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import LinRFMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 200))
    >>> y = 3 * X[:, 5] - 2 * X[:, 70] + 0.1 * rng.normal(size=60)
    >>> model = LinRFMRegressor(alpha=0.01).fit(X, y)
    >>> np.flatnonzero(model.coef_).tolist()
    [5, 70]
    """

    _parameter_constraints = {
        "power": [Interval(Real, 0, 0.5, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "validation": [StrOptions({"cv", "loo"})],
        "cv": ["cv_object"],
        "groups": ["array-like", None],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [StrOptions(set(DEVICES)), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        power=0.5,
        alpha="auto",
        alphas=20,
        validation="cv",
        cv=5,
        groups=None,
        fit_intercept=True,
        max_iter=5000,
        tol=1e-6,
        warm_start=False,
        device=None,
        random_state=None,
    ):
        self.power = power
        self.alpha = alpha
        self.alphas = alphas
        self.validation = validation
        self.cv = cv
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the coefficients.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; a row of weight k counts as k rows, one of weight 0 as none.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            start = vars(self).get("coef_") if self.warm_start else None
            placement = outer_placement_of(self.device, X)
            X, y = validate_data(
                self,
                placement.read(X),
                to_host(y),
                dtype=[np.float64, np.float32],
                multi_output=True,
                y_numeric=True,
            )
            weight = check_sample_weight(
                to_host(sample_weight), X, dtype=X.dtype, ensure_non_negative=True
            )
            kept = weight > 0
            regression = Regression(
                X[kept],
                y[kept].astype(X.dtype).reshape(kept.sum(), -1),
                weight[kept],
                self._groups(X.shape[1]),
                self.power,
                self.fit_intercept,
                self.max_iter,
                self.tol,
                placement.backend,
            )
            with worker_threads(0):  # the solves are small: more threads only wait
                self._fit(regression, kept, start)
            placement.backend.release()
            if y.ndim == 1:
                self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        return self

    def _fit(self, regression, kept, start):
        if start is not None:
            start = np.atleast_2d(start).T
            if start.shape != (regression.X.shape[1], regression.Y.shape[1]):
                start = None
        self.alpha_ = self._choose(regression, kept)
        found = regression.solve(regression.centred(), self.alpha_, start)
        self.n_iter_ = found.n_iter
        self.coef_ = np.ascontiguousarray(found.coef.T)
        self.intercept_ = regression.intercept(found.coef)
        metric = found.metric.astype(np.float64)
        total = metric.sum()
        self.feature_importances_ = metric / total if total > 0 else metric
        if not found.converged:
            warnings.warn(
                f"The coefficients still changed after {found.n_iter} iterations: "
                "raise max_iter, tol or alpha.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _choose(self, regression, kept):
        """Return alpha, or the one that the rows choose."""
        if self.alpha != "auto":
            return float(self.alpha)
        alphas, n = alpha_grid(self.alphas, regression), len(regression.X)
        if len(alphas) == 1 or n == 1:
            return alphas[0]
        if self.validation == "loo":
            return by_leave_one_out(alphas, regression)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return by_folds(
            alphas, regression, make_folds(self.cv, np.zeros(n), keep=kept, seed=seed)
        )

    def _groups(self, n_features):
        """Return the number of the group of each column."""
        if self.groups is None:
            return np.arange(n_features)
        groups = np.asarray(self.groups)
        if groups.shape != (n_features,):
            raise ValueError(
                f"groups must have one label for each of the {n_features} columns of "
                f"X; its shape is {groups.shape}."
            )
        return np.unique(groups, return_inverse=True)[1]

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        X = placement.read(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return placement.to_caller(X @ self.coef_.T + self.intercept_)
