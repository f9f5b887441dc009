"""The choice of the penalty of a sparse regression."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from ._sparse import Path, penalty_scale, solve_sparse

# the least alpha of a grid over the largest, for the logarithm; its root for the Lasso
_LEAST_ALPHA = 1e-6
# alphas without a better score before cross-validation stops looking, where as many
# coefficients as this share of the rows are not zero
_PATIENCE = 4
_SATURATED = 0.5


@dataclass(frozen=True)
class Regression:
    """Rows of positive weight, and the objective but for its alpha."""

    X: np.ndarray
    Y: np.ndarray
    weight: np.ndarray
    groups: np.ndarray
    power: float
    fit_intercept: bool
    max_iter: int
    tol: float
    backend: object

    def select(self, rows):
        """Return the Regression on some of the rows."""
        return replace(self, X=self.X[rows], Y=self.Y[rows], weight=self.weight[rows])

    def centred(self):
        """Return its Path: rows times the roots of their weights, centred if asked."""
        x_mean, y_mean = self.means()
        root = np.sqrt(self.weight)[:, None]
        X, Y = root * (self.X - x_mean), root * (self.Y - y_mean)
        return Path(X, Y, self.groups, self.power, self.backend)

    def means(self):
        """Return the means of X and Y, zeros without an intercept."""
        if not self.fit_intercept:
            return np.zeros_like(self.X[0]), np.zeros_like(self.Y[0])
        means = (np.average(A, axis=0, weights=self.weight) for A in (self.X, self.Y))
        return tuple(mean.astype(self.X.dtype) for mean in means)

    def solve(self, path, alpha, start=None, rough=False):
        """Return the Solution at an alpha; `path` is what `centred` returned."""
        penalty = alpha * self.weight.sum()
        return solve_sparse(path, penalty, self.max_iter, self.tol, start, rough)

    def intercept(self, coef):
        """Return the intercept (t,) that belongs to coefficients (d, t)."""
        x_mean, y_mean = self.means()
        return y_mean - x_mean @ coef


def alpha_grid(alphas, regression):
    """Return the values of alpha to try, the largest first."""
    if isinstance(alphas, Integral):
        path = regression.centred()
        top = penalty_scale(path) / regression.weight.sum()
        low = _LEAST_ALPHA ** (1 - path.order / 2)
        return (top * np.geomspace(1, low, alphas)).tolist()
    values = np.asarray(alphas, dtype=np.float64).ravel()
    if values.size == 0 or not np.all(values >= 0) or not np.isfinite(values).all():
        raise ValueError(
            f"alphas must be a number of values or finite values that are not "
            f"negative, at least one; got {alphas!r}."
        )
    return sorted(values.tolist(), reverse=True)


def by_folds(alphas, regression, folds):
    """Return the alpha with the least squared error on the rows of the test folds."""
    parts = [_Fold(regression, *fold) for fold in folds]
    errors = []
    for alpha in alphas:
        errors.append(sum(part.error(alpha) for part in parts))
        since = len(errors) - 1 - int(np.argmin(errors))
        if since >= _PATIENCE and all(part.saturated for part in parts):
            break
    return alphas[int(np.argmin(errors))]


class _Fold:
    """One fold: fits to its training rows, and their errors on the others."""

    def __init__(self, regression, train, test):
        self._train, self._test = regression.select(train), regression.select(test)
        self._path, self.saturated = self._train.centred(), False

    def error(self, alpha):
        """Return the weighted sum of squared errors on the test rows."""
        coef = self._train.solve(self._path, alpha, rough=True).coef
        count = np.count_nonzero(coef.any(axis=1))
        self.saturated = count >= _SATURATED * min(self._train.X.shape)
        errors = self._test.Y - self._test.X @ coef - self._train.intercept(coef)
        return float(self._test.weight @ np.sum(errors**2, axis=1))


def by_leave_one_out(alphas, regression):
    """Return the largest alpha that is as good as the best by leave-one-out.

    As good is what is within one standard error: a support chosen on all rows makes
    leave-one-out optimistic of small alphas.
    """
    path, errors = regression.centred(), []
    for alpha in alphas:
        found = regression.solve(path, alpha, rough=True)
        errors.append(found.leave_one_out(regression.weight))
        if not np.isfinite(errors[-1][0]) and len(errors) > 1:
            break
    mean, deviation = np.array(errors).T
    best = int(np.argmin(mean))
    return alphas[int(np.argmax(mean <= mean[best] + deviation[best]))]
