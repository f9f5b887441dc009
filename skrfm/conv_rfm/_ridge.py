"""Kernel ridge regression with the ridge of the best leave-one-out score."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from .._backend import Backend, FloatArray, NumpyBackend
from .._search import Criterion
from ..solvers import Solution, leave_one_out_residuals

# Without given ridges these are tried, beside a kernel matrix with a mean diagonal of
# 1, and then the two between the best and its neighbours. The best of digits are 1e-6
# to 1e-2, of digits in noise 0.1 to 1.
_DECADES = 10.0 ** np.arange(-6, 2)
_HALF_DECADE = 10.0**0.5


@dataclass(frozen=True, kw_only=True)
class RidgeFit:
    """A kernel machine with its ridge.

    Attributes
    ----------
    alpha : float
        The ridge.
    score : float
        The score of the leave-one-out outputs; larger is better.
    coef : ndarray of shape (n, c)
    intercept : ndarray of shape (c,)
    outputs : ndarray of shape (n, c)
        The output at each row of the machine fitted without it.
    """

    alpha: float
    score: float
    coef: FloatArray
    intercept: FloatArray
    outputs: FloatArray


class RidgePath:
    """The fits of one kernel matrix with any ridge, from one eigendecomposition.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        The kernel matrix, which is overwritten.
    Y : ndarray of shape (n, c)
        Coded targets.
    weight : ndarray of shape (n,)
        Positive sample weights; a row of weight k counts as k rows.
    criterion : Criterion
        Scores leave-one-out outputs.
    fit_intercept : bool
        Whether the weighted mean of Y is subtracted.
    backend : Backend
        Computes the decomposition, and products with its eigenvectors.
    """

    def __init__(
        self,
        K,
        Y,
        weight,
        *,
        criterion: Criterion,
        fit_intercept,
        backend: Backend,
    ):
        self._Y, self._weight, self._criterion = Y, weight, criterion
        self._root = root = np.sqrt(weight)[:, None]
        K *= root
        K *= root.T
        self._backend = backend
        values, self._vectors = _eigh(K, backend)
        # negative ones are rounding errors
        self._values = np.maximum(backend.to_numpy(values), 0)
        squares = self._vectors * self._vectors
        self._squares = backend.asarray(weight)[:, None] * squares
        self._has_intercept = fit_intercept
        center = weight @ Y / weight.sum()
        self._center = center if fit_intercept else np.zeros_like(center)
        # with the targets, and a column of ones for the mean without a row
        columns = np.hstack([Y - self._center, np.ones((len(Y), 1))])
        self._projected = self._vectors.T @ backend.asarray(root * columns)

    def fit(self, alpha: float) -> RidgeFit:
        """Return the fit with a ridge."""
        backend = self._backend
        inverse = backend.asarray(1 / (self._values + alpha))
        found = self._vectors @ (inverse[:, None] * self._projected)
        found = self._root * backend.to_numpy(found)
        diagonal = backend.to_numpy(self._squares @ inverse)
        solution = Solution(coef=found[:, :-1], inverse_diagonal=diagonal)
        residuals = leave_one_out_residuals(
            solution,
            found[:, -1:] if self._has_intercept else None,
            self._Y - self._center,
            weight=self._weight,
            ridge=alpha / self._weight,
            xp=np,
        )
        outputs = self._Y - residuals
        return RidgeFit(
            alpha=float(alpha),
            score=self._criterion.score(outputs, self._Y, self._weight)[0],
            coef=found[:, :-1],
            intercept=self._center,
            outputs=outputs,
        )

    def best(self, alphas: FloatArray | None) -> tuple[RidgeFit, list[float]]:
        """Return the fit with the best score, and the scores of the ridges in turn.

        Parameters
        ----------
        alphas : ndarray of shape (n_alphas,) or None
            The ridges; None chooses them.
        """
        fits = [self.fit(alpha) for alpha in (_DECADES if alphas is None else alphas)]
        scores = [fit.score for fit in fits]
        best = fits[int(np.argmax(scores))]
        if alphas is None:
            factors = (1 / _HALF_DECADE, _HALF_DECADE)
            near = [self.fit(best.alpha * factor) for factor in factors]
            best = max(best, *near, key=lambda fit: fit.score)
        return best, scores


def _eigh(K, backend):
    """Return eigenvalues and eigenvectors of a NumPy matrix, which is overwritten."""
    if not isinstance(backend, NumpyBackend):
        values, vectors = backend.xp.linalg.eigh(backend.asarray(K))
        # routines of GPUs have failed without an error
        if np.isfinite(backend.to_numpy(values)).all():
            return values, vectors
        return tuple(map(backend.asarray, eigh(K)))
    return eigh(K, overwrite_a=True, driver="evd")
