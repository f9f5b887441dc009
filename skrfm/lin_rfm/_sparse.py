"""Iteratively reweighted least squares for sparse linear regression."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError, eigh

from .._backend import NumpyBackend
from ..exceptions import NotPositiveDefiniteError

# ε starts at the largest coefficient and falls by this factor to this share of it
_DECAY = 0.7
_FLOOR = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}
# the same share, and the tolerance, of a rough solution
_ROUGH = 1e-3
# a largest coefficient below this share of the first ε is on its way to zero
_VANISHED = 1e-3
# of a warm start, the first ε over the largest coefficient
_WARM = 0.1
# the ridge of the first solution, over the mean diagonal of X Xᵀ
_FIRST_RIDGE = 1e-3
# the least ridge, in rounding units of the largest diagonal entry
_LEAST_RIDGE = 10


@dataclass(frozen=True)
class Path:
    """A regression problem: weighted rows, targets, groups of columns and the power.

    It is solved by the backend, with coefficients and weights of NumPy.
    """

    X: np.ndarray
    Y: np.ndarray
    groups: np.ndarray
    power: float
    backend: object = field(default_factory=NumpyBackend)

    @cached_property
    def arrays(self):
        """X, transposed, and Y, as arrays of the backend."""
        X = np.ascontiguousarray(self.X.T)
        return self.backend.asarray(X), self.backend.asarray(self.Y)

    @property
    def order(self):
        """The order p of the penalty."""
        return 2 - 4 * self.power

    @property
    def is_plain(self):
        """Whether there is one target, and each column a group of its own."""
        return (
            self.Y.shape[1] == 1
            and self.groups[-1] == len(self.groups) - 1
            and (np.array_equal(self.groups, np.arange(len(self.groups))))
        )

    def mean_squares(self, coef):
        """Return, for each column, the mean square of the coefficients of its group."""
        count = np.bincount(self.groups)
        squares = np.bincount(self.groups, (coef**2).mean(axis=1))
        return (squares / np.maximum(count, 1))[self.groups].astype(coef.dtype)

    def metric(self, coef, eps):
        """Return the weights s of the columns."""
        return (self.mean_squares(coef) + eps**2) ** (2 * self.power)


# with more columns than rows, the most degrees of freedom per row at which the
# expansion is trusted: beyond, it takes exact fits for good ones
_TRUSTED = 0.5


@dataclass
class Solution:
    """Coefficients (d, t), the weights s of the columns, and how they were found."""

    path: Path
    penalty: float
    coef: np.ndarray
    metric: np.ndarray
    n_iter: int
    converged: bool

    def leave_one_out(self, weight):
        """Return the mean square of the leave-one-out errors and its standard error.

        They are approximate: the objective is expanded to second order at the solution,
        on its support. A row of weight k is left out as one of k rows.
        """
        path = self.path
        residuals = path.Y - path.X @ self.coef
        leverage = np.zeros(len(weight))
        support = np.flatnonzero(self.coef.any(axis=1))
        if len(support):
            Z = path.X[:, support].astype(np.float64)
            values, vectors = eigh(Z.T @ Z + np.diag(self._curvature(support)))
            kept = values > 1e-10 * values[-1]
            Z = Z @ (vectors[:, kept] / np.sqrt(values[kept]))
            leverage = np.einsum("ij,ij->i", Z, Z)
        n, d = weight.sum(), path.X.shape[1]
        if d >= n and leverage.sum() > _TRUSTED * n:
            return np.inf, 0.0
        share = (leverage + weight / weight.sum()) / np.maximum(weight, 1)
        errors = residuals / np.maximum(1 - share, 1e-3)[:, None]
        squares, total = np.sum(errors**2, axis=1), weight.sum()
        mean = float(squares.sum() / total)
        spread = np.sum(weight * (squares / weight - mean) ** 2) / total
        return mean, float(np.sqrt(spread / total))

    def _curvature(self, support):
        """Return the second derivatives of the penalty."""
        curvature = self.penalty / self.metric[support].astype(np.float64)
        return curvature * (self.path.order - 1) if self.path.is_plain else curvature


def penalty_scale(path):
    """Return a penalty about as large as leaves anything."""
    inner = np.abs(path.X.T @ path.Y).max(axis=1)
    norms = np.maximum(np.einsum("ij,ij->j", path.X, path.X), np.finfo(float).tiny)
    return float((inner * (inner / norms) ** (1 - path.order)).max()) or 1.0


def solve_sparse(path, penalty, max_iter, tol, start=None, rough=False):
    """Return the Solution at a penalty λ, from zero or from coefficients (d, t).

    A rough one has the support, and coefficients to about one in a thousand.
    """
    d, dtype = path.X.shape[1], path.X.dtype
    active, metric = np.arange(d), np.ones(d, dtype=dtype)
    coef, eps = start, 0.0
    if coef is None or not coef.any():
        scale = float(np.einsum("ij,ij->", path.X, path.X)) / len(path.X)
        coef = _reweighted(path, metric, active, _FIRST_RIDGE * scale)
        eps = np.abs(coef).max()
    else:
        eps = _WARM * np.abs(coef).max()
    if not coef.any():  # nothing to explain
        return Solution(path, penalty, coef, metric, 1, True)
    converged, n_iter, vanished = False, 0, _VANISHED * eps
    least = _ROUGH if rough else _FLOOR[dtype]
    tol = max(tol, _ROUGH) if rough else tol
    while n_iter < max_iter and not converged:
        n_iter += 1
        metric = path.metric(coef, eps)
        before, coef = coef, _reweighted(path, metric, active, penalty)
        top = np.abs(coef).max()
        floor = least * max(top, vanished)
        settled = np.abs(coef - before).max() <= tol * top and eps <= floor
        converged = settled or path.power == 0
        eps = max(_DECAY * eps, floor)
        # what is far below ε at its end will stay there
        size = np.sqrt(path.mean_squares(coef))
        active = np.flatnonzero((size > floor) | (eps > floor))
    coef[np.sqrt(path.mean_squares(coef)) <= _ZERO * floor] = 0
    return Solution(path, penalty, coef, metric, n_iter, converged)


# coefficients up to so many times the least ε are zero
_ZERO = 10


def _reweighted(path, metric, active, penalty):
    """Return argmin ½‖Y − Xw‖² + λ/2 Σ w² / s over the active columns."""
    backend, (X, Y) = path.backend, path.arrays
    root = np.sqrt(metric[active])[:, None]
    Z = backend.take(X, active) * backend.asarray(root)
    coef = np.zeros((path.X.shape[1], path.Y.shape[1]), dtype=path.X.dtype)
    if len(active) < Z.shape[1]:
        v = _solve_ridge(Z @ Z.T, Z @ Y, penalty, backend)
    else:
        v = Z @ _solve_ridge(Z.T @ Z, Y, penalty, backend)
    coef[active] = root * backend.to_numpy(v)
    return coef


def _solve_ridge(A, B, penalty, backend):
    """Return (A + λI)⁻¹ B, with a ridge of rounding size where A needs one."""
    xp = backend.xp
    if A.shape[0] == 0:
        return B
    top = float(xp.max(xp.linalg.diagonal(A)))
    least = _LEAST_RIDGE * float(xp.finfo(A.dtype).eps) * top
    ridge = max(penalty, least) or 1.0
    for _ in range(20):
        try:
            return backend.positive_solver(A, float(ridge))(B)
        except NotPositiveDefiniteError:
            ridge *= 10
    raise LinAlgError("X has entries too large or too small to solve with; scale it.")
