"""The choice of the penalty of a sparse regression."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from .._backend import Backend, FloatArray, IntArray
from ._sparse import SparseProblem, penalty_scale, solve_sparse

# The least alpha of a grid, as a share of `penalty_scale`, for the logarithmic penalty
# and for ridge regression, whose columns may be collinear; its root for the Lasso.
_MIN_ALPHA = 1e-6
# Where the penalty has no kink at zero, the largest alpha leaves about this share of
# the coefficient of a single column.
_LEFT_AT_MOST = 1e-3
# The search by folds ends after so many alphas without a better score, where as many
# coefficients as this share of the rows (or columns, if fewer) are not zero.
_PATIENCE = 4
_SATURATED = 0.5
# In units of order 1 a penalty so large leaves nothing of any coefficient; one in the
# units of tiny targets may leave the range of float32.
_MOST_PENALTY = 1e30


@dataclass(frozen=True, kw_only=True)
class Regression:
    """The rows of positive weight, and the objective without its alpha.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    Y : ndarray of shape (n, t)
        Rows and targets in units of order 1.
    weight : ndarray of shape (n,)
    alpha_unit : float
        What an alpha of the user is divided by for these units.
    groups : ndarray of int of shape (d,)
        The number of the group of each column.
    power, fit_intercept, max_iter, tol
        The parameters of LinRFMRegressor.
    backend : Backend
        Where the systems are solved.
    """

    X: FloatArray
    Y: FloatArray
    weight: FloatArray
    alpha_unit: float
    groups: IntArray
    power: float
    fit_intercept: bool
    max_iter: int
    tol: float
    backend: Backend

    def select(self, rows):
        """Return the Regression on some of the rows."""
        return replace(self, X=self.X[rows], Y=self.Y[rows], weight=self.weight[rows])

    def problem(self):
        """Return its SparseProblem: centred rows times the roots of their weights."""
        x_mean, y_mean = self.means()
        root = np.sqrt(self.weight)[:, None]
        return SparseProblem(
            X=root * (self.X - x_mean),
            Y=root * (self.Y - y_mean),
            groups=self.groups,
            power=self.power,
            backend=self.backend,
        )

    def means(self):
        """Return the means of X and Y, zeros without an intercept."""
        if not self.fit_intercept:
            return np.zeros_like(self.X[0]), np.zeros_like(self.Y[0])
        x_mean = np.average(self.X, axis=0, weights=self.weight)
        y_mean = np.average(self.Y, axis=0, weights=self.weight)
        return x_mean.astype(self.X.dtype), y_mean.astype(self.X.dtype)

    def solve(self, problem, alpha, *, start=None, rough=False):
        """Return the SparseSolution at an alpha, of the result of `problem`."""
        penalty = alpha / self.alpha_unit * float(self.weight.sum())
        return solve_sparse(
            problem,
            min(penalty, _MOST_PENALTY),
            max_iter=self.max_iter,
            tol=self.tol,
            start=start,
            rough=rough,
        )

    def intercept(self, coef):
        """Return the intercept (t,) for coefficients (d, t)."""
        x_mean, y_mean = self.means()
        return y_mean - x_mean @ coef


def alpha_grid(alphas, regression):
    """Return the values of alpha to try, the largest first."""
    if isinstance(alphas, Integral):
        problem = regression.problem()
        scale = penalty_scale(problem) / float(regression.weight.sum())
        half = problem.order / 2
        least = _MIN_ALPHA ** max(half, 1 - half)
        most = _LEFT_AT_MOST ** -max(problem.order - 1, 0)
        grid = np.geomspace(most, least, alphas)
        return (scale * regression.alpha_unit * grid).tolist()
    values = np.asarray(alphas, dtype=np.float64).ravel()
    if values.size == 0 or not np.all(values >= 0) or not np.isfinite(values).all():
        raise ValueError(
            "alphas must be a number of values, or one or more finite values >= 0; got "
            f"{alphas!r}."
        )
    return sorted(values.tolist(), reverse=True)


def choose_by_folds(alphas, regression, folds):
    """Return the alpha with the least squared error on test rows, and all errors.

    Errors of alphas after the end of the search are NaN.
    """
    folds = [_Fold(regression, train, test) for train, test in folds]
    errors = np.full(len(alphas), np.nan)
    for index, alpha in enumerate(alphas):
        errors[index] = sum(fold.error(alpha) for fold in folds)
        n_since_best = index - int(np.nanargmin(errors))
        if n_since_best >= _PATIENCE and all(fold.is_saturated for fold in folds):
            break
    return alphas[int(np.nanargmin(errors))], errors


class _Fold:
    """The training and the test rows of one fold.

    Attributes
    ----------
    is_saturated : bool
        Whether the last fit has nearly as many coefficients as its rows determine.
    """

    def __init__(self, regression, train, test):
        self._train, self._test = regression.select(train), regression.select(test)
        self._problem, self.is_saturated = self._train.problem(), False

    def error(self, alpha):
        """Return the weighted sum of squared errors on the test rows."""
        coef = self._train.solve(self._problem, alpha, rough=True).coef
        count = np.count_nonzero(coef.any(axis=1))
        self.is_saturated = count >= _SATURATED * min(self._train.X.shape)
        errors = self._test.Y - self._test.X @ coef - self._train.intercept(coef)
        return float(self._test.weight @ np.sum(errors**2, axis=1))


def choose_by_leave_one_out(alphas, regression):
    """Return the largest alpha within one standard error of the best, and all errors.

    Leave-one-out errors are optimistic at small alphas, because the support is chosen
    on all rows. Errors of alphas after the end of the search are NaN.
    """
    problem = regression.problem()
    mean, deviation = np.full((2, len(alphas)), np.nan)
    for index, alpha in enumerate(alphas):
        solution = regression.solve(problem, alpha, rough=True)
        mean[index], deviation[index] = solution.leave_one_out(regression.weight)
        if not np.isfinite(mean[index]) and index > 0:
            break
    best = int(np.nanargmin(mean))
    return alphas[int(np.argmax(mean <= mean[best] + deviation[best]))], mean
