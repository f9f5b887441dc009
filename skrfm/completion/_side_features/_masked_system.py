"""Kernel ridge regression on observed entries that two kernels couple."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._backend import Array, FloatArray

# tolerance of the solutions whose errors on held-out entries choose the ridge; they
# are only compared, so it may be coarser than the tolerance of the final solution
_SEARCH_TOL = 1e-3
# from this share of observed entries the solver of the complete matrix preconditions
_PRECONDITIONED_SHARE = 0.3


class MaskedSystem:
    """The linear system P(K_r A K_c) + alpha A = targets.

    P is the projection on observed entries. If nothing were missing, the eigenvectors
    of both kernels would solve the system directly; where enough is observed, that
    solution is the preconditioner of conjugate gradients.

    Parameters
    ----------
    row_kernel : array of shape (n_rows, n_rows)
    column_kernel : array of shape (n_columns, n_columns)
    """

    def __init__(self, row_kernel: Array, column_kernel: Array):
        self._row_kernel, self._column_kernel = row_kernel, column_kernel
        self._eigen: list[Any] | None = None

    def prepare(self) -> list[Any]:
        """Decompose the kernels once; threads can share the system after that."""
        if self._eigen is None:
            kernels = self._row_kernel, self._column_kernel
            self._eigen = [np.linalg.eigh(K) for K in kernels]
        return self._eigen

    def _complete_solver(self, alpha: float) -> Callable[[Array], Array]:
        """Return a function that solves the system as if nothing were missing."""
        (u, U), (v, V) = self.prepare()
        values = np.outer(np.maximum(u, 0), np.maximum(v, 0)) + alpha
        return lambda R: U @ ((U.T @ R @ V) / values) @ V.T

    def solve(
        self,
        targets: Array,
        observed: Array,
        *,
        alpha: float,
        tol: float,
        max_iter: int,
    ) -> tuple[Array, int, bool]:
        """Solve by conjugate gradients.

        Parameters
        ----------
        targets : array of shape (n_rows, n_columns)
        observed : array of bool of that shape
        alpha : float
            The ridge.
        tol : float
            The iterations end when the norm of the residual is at most this share of
            the norm of the observed targets.
        max_iter : int

        Returns
        -------
        A : array of shape (n_rows, n_columns)
            The solution, 0 where nothing is observed.
        n_iter : int
        converged : bool
        """
        A, residual = np.zeros_like(targets), np.where(observed, targets, 0.0)
        precondition = None
        if alpha > 0 and observed.mean() >= _PRECONDITIONED_SHARE:
            precondition = self._complete_solver(alpha)
        goal = tol * np.linalg.norm(residual)
        direction, previous_size = None, 0.0
        for iteration in range(max_iter):
            if np.linalg.norm(residual) <= goal:
                return A, iteration, True
            z = residual
            if precondition is not None:
                z = np.where(observed, precondition(residual), 0.0)
            size = float(np.vdot(residual, z))
            if direction is None:
                direction = z
            else:
                direction = z + size / previous_size * direction
            image = self._row_kernel @ direction @ self._column_kernel
            image = np.where(observed, image, 0.0) + alpha * direction
            step = size / float(np.vdot(direction, image))
            A += step * direction
            residual -= step * image
            previous_size = size
        return A, max_iter, bool(np.linalg.norm(residual) <= goal)

    def choose_alpha(
        self,
        targets: Array,
        observed: Array,
        *,
        hidden: Array,
        alphas: list[float],
        max_iter: int,
    ) -> tuple[float, FloatArray]:
        """Choose the ridge by the mean squared error on hidden entries.

        The search goes from the largest ridge down, because small ones take many
        iterations, and ends when the error has increased twice in a row.

        Parameters
        ----------
        targets : array of shape (n_rows, n_columns)
        observed, hidden : array of bool of that shape
        alphas : list of float
            In increasing order.
        max_iter : int

        Returns
        -------
        alpha : float
        errors : ndarray of shape (n_alphas,)
            NaN for ridges that were not tried.
        """
        errors = np.full(len(alphas), np.nan)
        for index in range(len(alphas) - 1, -1, -1):
            A, _, _ = self.solve(
                targets,
                observed & ~hidden,
                alpha=alphas[index],
                tol=_SEARCH_TOL,
                max_iter=max_iter,
            )
            fitted = (self._row_kernel @ A @ self._column_kernel)[hidden]
            errors[index] = float(np.mean((targets[hidden] - fitted) ** 2))
            latest = errors[index : index + 3]
            if len(latest) == 3 and latest[0] > latest[1] > latest[2]:
                break
        return alphas[int(np.nanargmin(errors))], errors
