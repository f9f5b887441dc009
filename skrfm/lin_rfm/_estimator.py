"""LinRFMRegressor: sparse linear regression by a linear Recursive Feature Machine."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, Table, Vector, own_threads
from .._search import make_folds
from .._sklearn import (
    Interval,
    StrOptions,
    check_sample_weight,
    restored_on_error,
    warn,
    warn_of_edge,
)
from .._tables import (
    DEVICES,
    HostScoreMixin,
    NumericTargets,
    outer_placement_of,
    to_host,
    validate_numbers,
)
from ._sparse_search import (
    Regression,
    alpha_grid,
    choose_by_folds,
    choose_by_leave_one_out,
)
from ._units import Units


class LinRFMRegressor(HostScoreMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Sparse linear regression by a linear Recursive Feature Machine.

    For a linear predictor the AGOP is w wᵀ. With its diagonal as the metric of the next
    round, the recursion is iteratively reweighted least squares: a coefficient that was
    small is penalised more. With row weights ω of sum Ω the objective is

        1/(2Ω) Σ_i ω_i (y_i − x_iᵀw − b)² + alpha/p Σ_j abs(w_j)^p,  p = 2 − 4 power,

    where for power = 1/2 the penalty is alpha Σ_j log abs(w_j). At power = 1/4 it is
    that of scikit-learn's Lasso with the same alpha. Above that it is not convex, needs
    fewer rows to find the support, and shrinks large coefficients less.

    X and y may have any units: they are centred in float64, and scaled as a whole, also
    where X is in float32. Predictions are in float64 where float32 would lose digits of
    y. A column that varies less, beside the largest, than the precision of X resolves
    is an error.

    Parameters
    ----------
    power : float, default=0.5
        The power of the AGOP, 0 <= power <= 1/2: 0 is ridge regression, 1/4 the Lasso,
        (L − 1) / (2 L) a diagonal linear network of L layers.
    alpha : float or "auto", default="auto"
        Weight of the penalty. 0 looks for the sparsest exact fit; ``"auto"`` chooses
        from `alphas`.
    alphas : int or array-like, default=20
        The values that ``"auto"`` chooses from, or their number on a logarithmic grid,
        whose largest value leaves almost nothing of the coefficients. A warning tells
        where the best of given values is at an edge and clearly better than the next.
    validation : {"cv", "loo"}, default="cv"
        How ``"auto"`` chooses: by the squared error on the test rows of folds, or by
        leave-one-out errors of the objective's second-order expansion at the solution
        for all rows. The latter takes a fifth of the time and is exact for ridge
        regression, but the support has seen every row: with few rows for each column
        too many coefficients are kept. Therefore it takes the largest alpha within one
        standard error of the best, and with more columns than rows allows at most half
        a degree of freedom per row. With groups or several targets it holds the weights
        of the penalty fixed.
    cv : int, splitter or iterable, default=5
        Number of shuffled folds (at most one per row), a splitter, or pairs of train
        and test row numbers. For groups of rows pass the pairs of a splitter,
        ``cv=list(GroupKFold().split(X, y, row_groups))``: `groups` are of columns.
    groups : array-like of shape (n_features,), default=None
        Labels of groups of columns, whose coefficients are zero together.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    max_iter : int, default=5000
        The most iterations for one alpha.
    tol : float, default=1e-6
        Iterations end where no coefficient changes by more than this share of the
        largest one, and the smoothing is at its end.
    warm_start : bool, default=False
        Whether `fit` starts from the coefficients of the previous fit, at a smoothing
        of a tenth of the largest. On a path of alphas that saves iterations; where the
        penalty is not convex it may end in another local minimum.
    device : {"cpu", "cuda", None}, default=None
        Where the least squares problems are solved: ``"cuda"`` on a GPU, by CuPy. None
        is the GPU where X is an array of CuPy. Predictions are arrays of CuPy for such
        rows, of NumPy otherwise.
    random_state : int, RandomState or None, default=None
        Seeds the folds.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients. Several targets share their support. They have the precision of X,
        or are in float64 where that has not their range.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, in float64.
    alpha_ : float
        The alpha that was used.
    n_iter_ : int
        Iterations of the fit at that alpha.
    feature_importances_ : ndarray of shape (n_features,)
        The metric of the last round, scaled to sum 1.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

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
    def fit(self, X: Table, y: Vector, sample_weight: Vector | None = None):
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
            placement = outer_placement_of(self.device, X)
            X, target = validate_numbers(
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
            keep = weight > 0
            targets = NumericTargets.fit(target, weight, centred=self.fit_intercept)
            Y = target[keep].reshape(int(keep.sum()), -1)
            X, weight = X[keep], weight[keep]
            units = self._make_units(X, Y, weight)
            regression = self._make_regression(
                X, Y, weight, units=units, backend=placement.backend
            )
            with own_threads(0):  # the systems are small: more threads only wait
                solution = self._solve(regression, keep, units)
            placement.backend.release()
            self._set_fitted(units, solution, single_output=target.ndim == 1)
            self._wide, self._center = targets.wide, units.x_center
        return self

    def _make_units(self, X, Y, weight):
        """Return the Units of rows of positive weight."""
        return Units.fit(
            X,
            Y,
            weight,
            centred=self.fit_intercept,
            dtype=X.dtype,
            names=getattr(self, "feature_names_in_", None),
        )

    def _make_regression(self, X, Y, weight, *, units, backend):
        """Return the Regression of rows of positive weight."""
        return Regression(
            X=units.rows(X, X.dtype),
            Y=units.targets(Y, X.dtype),
            weight=weight,
            alpha_unit=units.alpha(2 - 4 * self.power),
            groups=self._group_numbers(X.shape[1]),
            power=self.power,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            tol=self.tol,
            backend=backend,
        )

    def _solve(self, regression, keep, units):
        """Set `alpha_`; return the SparseSolution for it."""
        start = None
        if self.warm_start and hasattr(self, "coef_"):
            start = np.atleast_2d(self.coef_).T
            if start.shape == (regression.X.shape[1], regression.Y.shape[1]):
                start = units.coef_from(start).astype(regression.X.dtype)
            else:
                start = None
        self.alpha_ = self._choose_alpha(regression, keep)
        return regression.solve(regression.problem(), self.alpha_, start=start)

    def _set_fitted(self, units, solution, *, single_output):
        """Set the fitted attributes of a SparseSolution."""
        self.n_iter_ = solution.n_iter
        coef = units.coef_to(solution.coef)
        self.coef_ = np.ascontiguousarray(coef.T)
        self.intercept_ = units.intercept(coef)
        if single_output:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        metric = solution.metric.astype(np.float64)
        total = metric.sum()
        self.feature_importances_ = metric / total if total > 0 else metric
        if not solution.converged:
            warn(
                f"The coefficients still changed after {solution.n_iter} iterations: "
                "raise max_iter, tol or alpha.",
                ConvergenceWarning,
            )

    def _choose_alpha(self, regression, keep):
        """Return the parameter alpha, or the best of `alphas`."""
        if self.alpha != "auto":
            return float(self.alpha)
        alphas, n = alpha_grid(self.alphas, regression), len(regression.X)
        if len(alphas) == 1 or n == 1:
            return alphas[0]
        if self.validation == "loo":
            alpha, errors = choose_by_leave_one_out(alphas, regression)
        else:
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            folds = make_folds(self.cv, np.zeros(n), keep=keep, seed=seed)
            alpha, errors = choose_by_folds(alphas, regression, folds)
        if not isinstance(self.alphas, Integral):
            warn_of_edge(alphas[::-1], errors[::-1], "Extend alphas, or pass a number.")
        return alpha

    def _group_numbers(self, n_features):
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

    def predict(self, X: Table) -> FloatArray:
        """Predict the targets.

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
        X = validate_numbers(self, X, dtype=[np.float64, np.float32], reset=False)
        coef = self.coef_.T.astype(np.float64)
        # products of columns far from zero would be rounded differently in each batch
        exact = (X - self._center) @ coef + (self._center @ coef + self.intercept_)
        dtype = np.float64 if self._wide else np.result_type(X, self.coef_)
        return placement.to_caller(exact.astype(dtype))
