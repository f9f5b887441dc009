"""Kernel ridge regression on the observed entries of a matrix.

Columns are independent of each other given the kernel between rows, so columns that
are observed in the same rows share one factorisation. A kernel between columns as well
couples all entries; conjugate gradients solve that.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ..._backend import for_each, worker_threads
from ...exceptions import NotPositiveDefiniteError, NumericalWarning

# so many columns that are spread evenly choose the ridge, where each has its own kernel
_VOTERS = 50
# the search for a ridge solves to this accuracy
_SEARCH_TOL = 1e-3
# the share of observed entries from which the missing ones disturb a solver little
_MOSTLY = 0.3


@dataclass
class Group:
    """Columns observed in the same rows, and the kernel between those rows.

    `kernel` is a function, so that only those at work take memory. `gram` and `targets`
    are arrays of the backend.
    """

    rows: np.ndarray
    columns: np.ndarray
    kernel: object
    host_targets: np.ndarray
    backend: object

    def gram(self):
        """Return the kernel between the rows, which may be overwritten."""
        return self.backend.asarray(self.kernel())

    @property
    def targets(self):
        """What is observed, (n_rows, n_columns)."""
        return self.backend.asarray(self.host_targets)


def groups_of(observed, targets, gram, backend, *, singly=False):
    """Return the groups of columns of equal mask; columns without entries are left out.

    `gram(rows, columns)` is the kernel between some rows. With `singly` each column is
    a group of its own.
    """
    n_columns = observed.shape[1]
    if singly:
        parts = [np.array([j]) for j in range(n_columns)]
    else:
        packed = np.packbits(observed, axis=0)
        _, label = np.unique(packed, axis=1, return_inverse=True)
        order = np.argsort(label, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(label))[:-1])
    groups = []
    for columns in parts:
        rows = np.flatnonzero(observed[:, columns[0]])
        if len(rows):

            def of_group(rows=rows, columns=columns):
                return gram(rows, columns)

            here = targets[np.ix_(rows, columns)]
            groups.append(Group(rows, columns, of_group, here, backend))
    return groups


def _each(function, groups):
    """Call a function on each group; BLAS has its threads where there is one group."""
    if len(groups) == 1 or not groups[0].backend.threads:
        return [function(group) for group in groups]
    with worker_threads(sum(len(group.rows) for group in groups)):
        return for_each(function, groups)


def choose_alpha(groups, alphas, centred):
    """Return the ridge of the least leave-one-out error, and the errors of all."""
    able = [group for group in groups if len(group.rows) > 1]
    if len(able) > _VOTERS:
        places = np.linspace(0, len(able) - 1, _VOTERS).round().astype(int)
        able = [able[place] for place in places]
    if not able:
        return max(alphas), np.full(len(alphas), np.nan)
    sums = _each(lambda group: squared_errors(group, alphas, centred), able)
    count = sum(group.host_targets.size for group in able)
    errors = np.sum(sums, axis=0) / count
    return alphas[_last_of_least(errors)], errors


def _last_of_least(errors):
    """Return the last index of the least value: ties go to the larger ridge."""
    return len(errors) - 1 - int(np.argmin(errors[::-1]))


def squared_errors(group, alphas, centred):
    """Return the sums of squared leave-one-out residuals, one for each ridge."""
    values, vectors = np.linalg.eigh(group.gram())
    targets = group.targets
    projected = vectors.T @ targets
    ones, squares = vectors.sum(axis=0), vectors**2
    sums = []
    for alpha in alphas:
        inverse = _inverse(values, alpha)
        coef = vectors @ (inverse[:, None] * projected)
        if centred:  # the mean is another one without the entry
            shift = vectors @ (inverse * ones)
            coef += targets / (len(values) - 1) * shift[:, None]
        residuals = coef / (squares @ inverse)[:, None]
        sums.append(float(np.sum(residuals**2)))
    return np.array(sums)


def _inverse(values, alpha):
    """Return the inverse of eigenvalues plus a ridge; rounding errors count as 0."""
    values = values + alpha
    cut = len(values) * float(np.finfo(values.dtype).eps) * max(float(values[-1]), 0)
    return np.where(values > cut, 1 / np.where(values > cut, values, 1), 0)


def solve_groups(groups, alpha, shape):
    """Return the coefficients (n_rows, n_columns); 0 where nothing is observed."""
    out = np.zeros(shape)

    def fill(group):
        backend = group.backend
        solve = solver_of(group.gram(), alpha, backend)
        solution = backend.to_numpy(solve(group.targets))
        out[np.ix_(group.rows, group.columns)] = solution

    _each(fill, groups)
    return out


def solver_of(K, alpha, backend):
    """Return a function that solves with K + alpha I."""
    try:
        return backend.positive_solver(K, alpha)
    except NotPositiveDefiniteError:  # without a ridge K may be singular
        values, vectors = np.linalg.eigh(K)
        inverse = _inverse(values, alpha)
        return lambda B: vectors @ (inverse[:, None] * (vectors.T @ B))


def deviations(group, alpha, cross, own):
    """Return standard deviations of predictions, noise included, (m, n_columns).

    `cross` (m, n_rows) is the kernel between new rows and those of the group, `own`
    (m,) that of each new row with itself. The scale of a column is such that its
    leave-one-out residuals have the variance that they are predicted to have.
    """
    backend = group.backend
    solve = solver_of(group.gram(), alpha, backend)
    inverse = solve(backend.asarray(np.eye(len(group.rows))))
    coef, (cross, own) = inverse @ group.targets, map(backend.asarray, (cross, own))
    explained = np.sum(cross @ inverse * cross, axis=1)
    left = np.maximum(own - explained, 0) + alpha
    scale = np.mean(coef**2 / np.diag(inverse)[:, None], axis=0)
    return backend.to_numpy(np.sqrt(left[:, None] * scale))


def positive_semidefinite(K, name, stacklevel):
    """Return K, or with a warning the nearest matrix that is positive semidefinite."""
    values, vectors = np.linalg.eigh(K)
    rounding = len(K) * np.finfo(np.float32).eps * np.abs(values).max(initial=0)
    if values.min(initial=0) >= -rounding:
        return K
    warnings.warn(
        f"{name} is not positive semidefinite (its least eigenvalue is "
        f"{values.min():.2g}): its negative eigenvalues are set to 0.",
        NumericalWarning,
        stacklevel=stacklevel + 1,
    )
    return (vectors * np.maximum(values, 0)) @ vectors.T


# -- a kernel on both sides -----------------------------------------------------------


class MaskedSystem:
    """P(K_r A K_c) + alpha A = targets, P the projection on observed entries.

    Were nothing missing, eigenvectors of both kernels would solve it at once. Where
    most is observed, that solution is the preconditioner.
    """

    def __init__(self, rows, columns):
        self._rows, self._columns = rows, columns
        self._eigen = None

    def _inverse(self, alpha):
        """Return a function that solves as if nothing were missing."""
        if self._eigen is None:
            pairs = [np.linalg.eigh(K) for K in (self._rows, self._columns)]
            self._eigen = pairs
        (u, U), (v, V) = self._eigen
        values = np.outer(np.maximum(u, 0), np.maximum(v, 0)) + alpha
        return lambda R: U @ ((U.T @ R @ V) / values) @ V.T

    def solve(self, targets, observed, alpha, tol, max_iter):
        """Solve by conjugate gradients.

        Returns
        -------
        tuple
            A, 0 where nothing is observed; the number of iterations; whether the
            residual has fallen to the share `tol` of the targets.
        """
        A, residual = np.zeros_like(targets), np.where(observed, targets, 0.0)
        inverse = None
        if alpha > 0 and observed.mean() >= _MOSTLY:
            inverse = self._inverse(alpha)
        end, before, direction = tol * np.linalg.norm(residual), None, None
        for iteration in range(max_iter):
            if np.linalg.norm(residual) <= end:
                return A, iteration, True
            better = residual
            if inverse is not None:
                better = np.where(observed, inverse(residual), 0.0)
            size = float(np.vdot(residual, better))
            direction = better if before is None else better + size / before * direction
            image = self._rows @ direction @ self._columns
            image = np.where(observed, image, 0.0) + alpha * direction
            step = size / float(np.vdot(direction, image))
            A += step * direction
            residual -= step * image
            before = size
        return A, max_iter, bool(np.linalg.norm(residual) <= end)

    def choose_alpha(self, targets, observed, hidden, alphas, max_iter):
        """Return the ridge of the least error on hidden entries, and all errors.

        The search goes down from the largest ridge, since small ones take long, and
        ends where the error has grown twice; what was not tried is NaN.
        """
        errors = np.full(len(alphas), np.nan)
        for place in range(len(alphas) - 1, -1, -1):
            A, _, _ = self.solve(
                targets, observed & ~hidden, alphas[place], _SEARCH_TOL, max_iter
            )
            fitted = (self._rows @ A @ self._columns)[hidden]
            errors[place] = float(np.mean((targets[hidden] - fitted) ** 2))
            latest = errors[place : place + 3]
            if len(latest) == 3 and latest[0] > latest[1] > latest[2]:
                break
        return alphas[int(np.nanargmin(errors))], errors
