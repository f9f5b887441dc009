"""LinRFMRegressor: sparse linear regression by a linear Recursive Feature Machine."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from ._atomic import unchanged_by_errors
from ._backend import own_threads
from ._compat import Interval, StrOptions, check_sample_weight
from ._sparse import Path, penalty_scale, solve_sparse


class LinRFMRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
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
        `alphas` by approximate leave-one-out.
    alphas : int or array-like, default=20
        What "auto" chooses from: so many values on a logarithmic grid below the one
        that leaves next to nothing, or the values themselves. Leave-one-out errors are
        those of the objective's second-order expansion at each solution, which is
        exact for ridge regression; with groups or several targets the weights of the
        penalty are held fixed in it. The largest value within one standard error of
        the best is taken, and with more columns than rows at most half a degree of
        freedom per row is spent.
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
        "groups": ["array-like", None],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        *,
        power=0.5,
        alpha="auto",
        alphas=20,
        groups=None,
        fit_intercept=True,
        max_iter=5000,
        tol=1e-6,
        warm_start=False,
    ):
        self.power = power
        self.alpha = alpha
        self.alphas = alphas
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

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
        with unchanged_by_errors(self):
            start = vars(self).get("coef_") if self.warm_start else None
            X, y = validate_data(
                self,
                X,
                y,
                dtype=[np.float64, np.float32],
                multi_output=True,
                y_numeric=True,
            )
            weight = check_sample_weight(
                sample_weight, X, dtype=X.dtype, ensure_non_negative=True
            )
            kept = weight > 0
            rows = _Rows.of(
                X[kept], y[kept].astype(X.dtype), weight[kept], self.fit_intercept
            )
            with own_threads(0):  # the solves are small: more threads only wait
                self._fit(rows, start)
            if y.ndim == 1:
                self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        return self

    def _fit(self, rows, start):
        path = Path(rows.X, rows.Y, self._groups(rows.X.shape[1]), self.power)
        if start is not None:
            start = np.atleast_2d(start).T
            if start.shape != (rows.X.shape[1], rows.Y.shape[1]):
                start = None
        self.alpha_ = self._choose(path, rows, start)
        penalty = self.alpha_ * rows.weight.sum()
        found = solve_sparse(path, penalty, self.max_iter, self.tol, start)
        self.n_iter_ = found.n_iter
        self.coef_ = np.ascontiguousarray(found.coef.T)
        self.intercept_ = rows.y_mean - self.coef_ @ rows.x_mean
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

    def _choose(self, path, rows, start):
        """Return alpha, or the largest that is as good as the best by leave-one-out.

        As good is what is within one standard error: a support chosen on all rows
        makes leave-one-out optimistic of small alphas.
        """
        if self.alpha != "auto":
            return float(self.alpha)
        total, options = rows.weight.sum(), (self.max_iter, self.tol, start)
        alphas, errors = self._candidates(path, total), []
        for alpha in alphas:
            found = solve_sparse(path, alpha * total, *options, rough=True)
            errors.append(found.leave_one_out(rows.weight))
            if not np.isfinite(errors[-1][0]) and len(errors) > 1:
                break
        mean, deviation = np.array(errors).T
        best = int(np.argmin(mean))
        return alphas[int(np.argmax(mean <= mean[best] + deviation[best]))]

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

    def _candidates(self, path, total):
        """Return the values of alpha that are tried, the largest first."""
        if isinstance(self.alphas, Integral):
            top = penalty_scale(path) / total
            low = _LEAST_ALPHA ** (1 - path.order / 2)
            return (top * np.geomspace(1, low, self.alphas)).tolist()
        alphas = np.asarray(self.alphas, dtype=np.float64).ravel()
        if alphas.size == 0 or not np.all(alphas >= 0) or not np.isfinite(alphas).all():
            raise ValueError(
                f"alphas must be a number of values or finite values that are not "
                f"negative, at least one; got {self.alphas!r}."
            )
        return sorted(alphas.tolist(), reverse=True)

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
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_.T + self.intercept_


# the least alpha of a grid over the largest, for the logarithm; its root for the Lasso
_LEAST_ALPHA = 1e-6


@dataclass(frozen=True)
class _Rows:
    """Rows times the roots of their weights, centred if there is an intercept."""

    X: np.ndarray
    Y: np.ndarray
    weight: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray

    @classmethod
    def of(cls, X, y, weight, fit_intercept):
        """Centre and weigh."""
        Y = y.reshape(len(y), -1)
        x_mean, y_mean = np.zeros_like(X[0]), np.zeros_like(Y[0])
        if fit_intercept:
            x_mean = np.average(X, axis=0, weights=weight).astype(X.dtype)
            y_mean = np.average(Y, axis=0, weights=weight).astype(X.dtype)
        root = np.sqrt(weight)[:, None]
        return cls(root * (X - x_mean), root * (Y - y_mean), weight, x_mean, y_mean)
