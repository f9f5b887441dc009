"""Iteratively reweighted least squares for sparse linear regression."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError, eigh

from .._backend import Backend, FloatArray, IntArray, NumpyBackend
from ..exceptions import NotPositiveDefiniteError

# The smoothing ε starts at the largest coefficient and falls by this factor.
_DECAY = 0.7
# It ends at this share of the largest coefficient, by precision.
_MIN_SMOOTHING = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}
# The same share, and the least tolerance, where only errors on other rows matter.
_ROUGH = 1e-3
# Below this share of the first ε all coefficients vanish: ε stops falling, because as a
# share of them it would never reach its end.
_VANISHED = 1e-3
# The first ε of a warm start, as a share of the largest coefficient.
_WARM_START_SMOOTHING = 0.1
# Coefficients up to so many times the last ε are zero.
_ZERO = 10
# The ridge of the first solution, as a share of the mean diagonal of X Xᵀ.
_FIRST_RIDGE = 1e-3
# The least ridge, in rounding units of the largest diagonal entry.
_MIN_RIDGE = 10
# By this factor the ridge is raised until the system is positive definite.
_RIDGE_STEP = 10
_MAX_RIDGE_STEPS = 20
# With more columns than rows, the most degrees of freedom per row at which errors by
# leave-one-out are trusted: above, their expansion takes exact fits for good ones.
_MAX_FREEDOM = 0.5
# Eigenvalues below this share of the largest are left out of the leverages.
_MIN_EIGENVALUE = 1e-10
# Bounds the leave-one-out error of a row that determines its own prediction.
_MIN_UNEXPLAINED = 1e-3


@dataclass(frozen=True, kw_only=True)
class SparseProblem:
    """A least squares problem with a penalty on groups of coefficients.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Rows, centred and times the square roots of their weights.
    Y : ndarray of shape (n, t)
        Their targets, likewise.
    groups : ndarray of int of shape (d,)
        The number of the group of each column.
    power : float
        The power of the AGOP.
    backend : Backend
        Where the systems are solved; coefficients and weights are NumPy arrays.
    """

    X: FloatArray
    Y: FloatArray
    groups: IntArray
    power: float
    backend: Backend = field(default_factory=NumpyBackend)

    @cached_property
    def arrays(self):
        """Xᵀ and Y as arrays of the backend."""
        X = np.ascontiguousarray(self.X.T)
        return self.backend.asarray(X), self.backend.asarray(self.Y)

    @property
    def order(self):
        """The order p of the penalty."""
        return 2 - 4 * self.power

    @cached_property
    def is_separable(self):
        """Whether there is one target, and each column is a group of its own."""
        return self.Y.shape[1] == 1 and np.array_equal(
            self.groups, np.arange(len(self.groups))
        )

    def mean_squares(self, coef):
        """Return, for each column, the mean square of the coefficients of its group."""
        if self.is_separable:
            return coef[:, 0] ** 2
        count = np.bincount(self.groups)
        squares = np.bincount(self.groups, (coef**2).mean(axis=1))
        return (squares / np.maximum(count, 1))[self.groups].astype(coef.dtype)

    def metric(self, squares, eps):
        """Return the diagonal metric (d,) of mean squares (d,) at a smoothing ε."""
        return (squares + eps**2) ** (2 * self.power)


@dataclass(frozen=True, kw_only=True)
class SparseSolution:
    """The solution of a SparseProblem at a penalty.

    Attributes
    ----------
    problem : SparseProblem
    penalty : float
    coef : ndarray of shape (d, t)
    metric : ndarray of shape (d,)
        The diagonal metric of the last iteration.
    n_iter : int
    converged : bool
    """

    problem: SparseProblem
    penalty: float
    coef: FloatArray
    metric: FloatArray
    n_iter: int
    converged: bool

    def leave_one_out(self, weight):
        """Return the mean square of the leave-one-out errors and its standard error.

        They are approximate: the objective is expanded to second order at the solution,
        on its support. A row of weight k is left out as one of k rows. Infinite where
        the expansion is not to be trusted.
        """
        problem, n = self.problem, weight.sum()
        residuals = problem.Y - problem.X @ self.coef
        leverage = self._leverages()
        if problem.X.shape[1] >= n and leverage.sum() > _MAX_FREEDOM * n:
            return np.inf, 0.0
        share = (leverage + weight / n) / np.maximum(weight, 1)
        errors = residuals / np.maximum(1 - share, _MIN_UNEXPLAINED)[:, None]
        squares = np.sum(errors**2, axis=1)
        mean = float(squares.sum() / n)
        variance = np.sum(weight * (squares / weight - mean) ** 2) / n
        return mean, float(np.sqrt(variance / n))

    def _leverages(self):
        """Return the leverage of each row in the least squares fit on the support."""
        support = np.flatnonzero(self.coef.any(axis=1))
        if len(support) == 0:
            return np.zeros(len(self.problem.X))
        Z = self.problem.X[:, support].astype(np.float64)
        values, vectors = eigh(Z.T @ Z + np.diag(self._curvature(support)))
        kept = values > _MIN_EIGENVALUE * values[-1]
        Z = Z @ (vectors[:, kept] / np.sqrt(values[kept]))
        return np.einsum("ij,ij->i", Z, Z)

    def _curvature(self, support):
        """Return the second derivatives of the penalty.

        With groups or several targets the metric is held fixed.
        """
        curvature = self.penalty / self.metric[support].astype(np.float64)
        problem = self.problem
        return curvature * (problem.order - 1) if problem.is_separable else curvature


def penalty_scale(problem):
    """Return about the largest penalty at which a coefficient is not zero."""
    X = problem.X
    inner = np.abs(X.T @ problem.Y).max(axis=1).astype(np.float64)
    norms = np.einsum("ij,ij->j", X, X).astype(np.float64)
    explains = (inner > 0) & (norms > 0)  # not so a constant column
    inner, norms = inner[explains], norms[explains]
    scales = inner * (inner / norms) ** (1 - problem.order)
    return float(scales.max(initial=0.0)) or 1.0


def solve_sparse(problem, penalty, *, max_iter, tol, start=None, rough=False):
    """Return the SparseSolution at a penalty λ.

    Parameters
    ----------
    problem : SparseProblem
    penalty : float
    max_iter : int
    tol : float
        Iterations end where no coefficient changes by more than this share of the
        largest, and the smoothing is at its end.
    start : ndarray of shape (d, t) or None, default=None
        Coefficients to start from; None starts from ridge regression.
    rough : bool, default=False
        Whether the support, and coefficients to about one in a thousand, are enough.
    """
    d, dtype = problem.X.shape[1], problem.X.dtype
    active, metric = np.arange(d), np.ones(d, dtype=dtype)
    coef, eps = _start(problem, start)
    squares = problem.mean_squares(coef)
    converged = not coef.any()  # zero: there is nothing to explain
    n_iter, floor, vanished = int(converged), 0.0, _VANISHED * eps
    least = _ROUGH if rough else _MIN_SMOOTHING[dtype]
    tol = max(tol, _ROUGH) if rough else tol
    while n_iter < max_iter and not converged:
        n_iter += 1
        metric = problem.metric(squares, eps)
        before, coef = coef, _reweighted(problem, metric, active, penalty)
        top = np.abs(coef).max()
        floor = least * max(top, vanished)
        settled = np.abs(coef - before).max() <= tol * top and eps <= floor
        converged = settled or problem.power == 0
        eps = max(_DECAY * eps, floor)
        # a group far below ε at its end stays there
        squares = problem.mean_squares(coef)
        active = np.flatnonzero((np.sqrt(squares) > floor) | (eps > floor))
    if problem.power > 0:  # ridge regression is not sparse
        coef[np.sqrt(squares) <= _ZERO * floor] = 0
    return SparseSolution(
        problem=problem,
        penalty=penalty,
        coef=coef,
        metric=metric,
        n_iter=n_iter,
        converged=bool(converged),
    )


def _start(problem, start):
    """Return the first coefficients (d, t), and the first smoothing ε."""
    if start is not None and start.any():
        return start, _WARM_START_SMOOTHING * np.abs(start).max()
    n, d = problem.X.shape
    scale = float(np.einsum("ij,ij->", problem.X, problem.X)) / n
    metric = np.ones(d, dtype=problem.X.dtype)
    coef = _reweighted(problem, metric, np.arange(d), _FIRST_RIDGE * scale)
    return coef, np.abs(coef).max()


def _reweighted(problem, metric, active, penalty):
    """Return argmin ½‖Y − Xw‖² + λ/2 Σ w² / s over the active columns."""
    backend, (X, Y) = problem.backend, problem.arrays
    root = np.sqrt(metric[active])[:, None]
    Z = backend.take(X, active) * backend.asarray(root)
    coef = np.zeros((problem.X.shape[1], problem.Y.shape[1]), dtype=problem.X.dtype)
    if len(active) < Z.shape[1] and problem.power == 0:
        v = _solve_scaled(Z @ Z.T, Z @ Y, penalty, backend)
    elif len(active) < Z.shape[1]:
        v = _solve_ridge(Z @ Z.T, Z @ Y, penalty, backend)
    else:
        v = Z @ _solve_ridge(Z.T @ Z, Y, penalty, backend)
    coef[active] = root * backend.to_numpy(v)
    return coef


def _solve_scaled(A, B, penalty, backend):
    """Return (A + λI)⁻¹ B by a matrix of unit diagonal.

    Otherwise the least ridge, which is relative to the largest diagonal entry, would
    shrink the coefficients of columns of small range.
    """
    xp = backend.xp
    diagonal = xp.linalg.diagonal(A) + penalty
    root = xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))[:, None]
    A = (A + penalty * xp.eye(A.shape[0], dtype=A.dtype)) / root / root.T
    return _solve_ridge(A, B / root, 0.0, backend) / root


def _solve_ridge(A, B, penalty, backend):
    """Return (A + λI)⁻¹ B, with a ridge of rounding size where A needs one."""
    xp = backend.xp
    if A.shape[0] == 0:
        return B
    top = float(xp.max(xp.linalg.diagonal(A)))
    least = _MIN_RIDGE * float(xp.finfo(A.dtype).eps) * top
    ridge = max(penalty, least) or 1.0
    for _ in range(_MAX_RIDGE_STEPS):
        try:
            return backend.positive_solver(A, float(ridge))(B)
        except NotPositiveDefiniteError:
            ridge *= _RIDGE_STEP
    raise LinAlgError("X has entries too large or too small to solve with; scale it.")
