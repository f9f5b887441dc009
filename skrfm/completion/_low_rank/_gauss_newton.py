"""Gauss-Newton for a matrix of given rank, with one factor eliminated.

For given columns V each row of U solves a least squares problem of its own, and the
residuals are a function of V alone (variable projection). With hardly more entries than
degrees of freedom the problem is badly conditioned: up to a size its Gauss-Newton
matrix is formed, so that a step is exact where conjugate gradients take hundreds of
iterations. Beyond it they take them.

A. Ruhe and P. A. Wedin, "Algorithms for separable nonlinear least squares problems",
SIAM Review 22, 1980; J. H. Hong and A. Fitzgibbon, "Secrets of matrix factorization",
ICCV 2015.
"""

from collections.abc import Iterator
from itertools import count
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..._backend import FloatArray
from .._entries import Entries, ObservedEntries
from ._iterates import Iterate
from ._projected import ProjectedSystem

# The largest system that is formed, and the most multiplications of forming it.
_MOST_UNKNOWNS, _MOST_WORK = 2000, 5e8
# The most multiplications of one product with a system that is not formed: a step takes
# up to a thousand of them, about 5 CPU seconds.
_MOST_ITERATED_WORK = 2e6
# Levenberg's damping: first, least and largest, and its factors after a step that
# succeeds or fails. The least bounds the directions that only change the basis of V.
_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e-12, 1e4
_LESS, _MORE = 0.1, 10.0
# Bounds the systems of rows with fewer entries than the rank.
_ROW_RIDGE = 1e-14


def is_cheap(entries: Entries, rank: int) -> bool:
    """Return whether the systems are small enough to be formed, or to be iterated."""
    return _is_formed(entries.on_host(), rank) or (
        2.0 * len(entries) * rank + sum(entries.shape) * rank**2 <= _MOST_ITERATED_WORK
    )


def _is_formed(entries: ObservedEntries, rank: int) -> bool:
    """Return whether the systems are small enough to be formed."""
    if rank * min(entries.shape) > _MOST_UNKNOWNS:
        return False
    counts = _tall(entries).row_counts()
    return float(np.sum((counts * float(rank)) ** 2)) <= _MOST_WORK


def gauss_newton(entries: Entries, start: Iterate, rank: int) -> Iterator[Iterate]:
    """Yield iterates of a rank without end, computed on the CPU.

    Parameters
    ----------
    entries : Entries
    start : Iterate
        Gives the leading singular vectors to begin with.
    rank : int
    """
    host = entries.on_host()
    wide = host.shape[0] < host.shape[1]
    vectors = start.U if wide else start.V
    columns = np.asarray(entries.to_numpy(vectors[:, :rank]), dtype=np.float64)
    system = FormedSystem if _is_formed(host, rank) else ProjectedSystem
    problem = _Eliminated(_tall(host), columns, system)
    for number in count():
        problem.step()
        U, s, V = problem.triplets()
        U, s, V = (entries.asarray(a.astype(host.values.dtype)) for a in (U, s, V))
        if wide:
            U, V = V, U
        smallest = float(s[-1])
        yield Iterate(
            number=number,
            entries=entries,
            U=U,
            s=s,
            V=V,
            eps=smallest * float(np.finfo(host.values.dtype).eps) ** 0.5,
            penalty=0.0,
            exponent=start.exponent,
            residuals=entries.values - entries.products(U * s, V),
            weight=entries.weight,
        )


def _tall(entries: ObservedEntries) -> ObservedEntries:
    """Return entries in double precision, with the longer side as rows."""
    entries = entries.with_values(entries.values.astype(np.float64))
    entries.weight = entries.weight.astype(np.float64)
    is_wide = entries.shape[0] < entries.shape[1]
    return entries.transposed() if is_wide else entries


class System(Protocol):
    """The rows that fit given columns, and the Gauss-Newton system of these.

    Attributes
    ----------
    U : ndarray of shape (m, k)
        The rows.
    square : float
        The weighted sum of the squared residuals.
    """

    U: FloatArray
    square: float

    def __init__(self, entries: ObservedEntries, V: FloatArray, ridge: float): ...

    def solve(self, scale: FloatArray) -> FloatArray | None:
        """Return the change of the columns, None if it cannot be computed.

        `scale` of shape (k, k) is added to the system of each column.
        """
        ...


class FormedSystem:
    """The system of all columns as a matrix."""

    def __init__(self, entries: ObservedEntries, V: FloatArray, ridge: float):
        self.U, self.square, self._system, self._gradient = entries.eliminated_rows(
            V, ridge
        )

    def solve(self, scale: FloatArray) -> FloatArray | None:
        """Return the change of the columns; None if not positive definite."""
        n, k = self._gradient.shape
        damped = self._system.copy()
        blocks = damped.reshape(n, k, n, k)
        blocks[np.arange(n), :, np.arange(n), :] += scale
        try:
            factor = cho_factor(damped, lower=True, overwrite_a=True)
        except LinAlgError:
            return None
        return cho_solve(factor, self._gradient.ravel()).reshape(n, k)


class _Eliminated:
    """Columns V, the rows that fit them best, and damped Gauss-Newton steps of V."""

    def __init__(self, entries: ObservedEntries, V: FloatArray, system: type[System]):
        self._entries, self._damping = entries, _DAMPING
        self._make_system = system
        self._set(V)

    def _set(self, V: FloatArray) -> None:
        """Take orthonormal columns with the span of V, and solve for the rows."""
        self._V = np.linalg.qr(V)[0]
        self._system = self._make_system(self._entries, self._V, _ROW_RIDGE)

    def step(self) -> None:
        """Take a step that lowers the residual, if any damping gives one."""
        before = vars(self).copy()
        while self._damping <= _MOST_DAMPING:
            change = self._system.solve(self._damping * self._scale())
            if change is not None:
                self._set(self._V + change)
                if self._system.square < before["_system"].square:
                    self._damping = max(self._damping * _LESS, _LEAST_DAMPING)
                    return
            more = self._damping * _MORE
            vars(self).update(before)
            self._damping = more

    def _scale(self) -> FloatArray:
        """Return the damping of a column: that of what it changes in the matrix."""
        n, k = self._V.shape
        scale = self._system.U.T @ self._system.U / n
        return scale + np.eye(k) * np.finfo(np.float64).eps * np.trace(scale)

    def triplets(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the singular triplets of U Vᵀ."""
        left, triangle = np.linalg.qr(self._system.U)
        u, s, vt = np.linalg.svd(triangle)
        return left @ u, s, self._V @ vt.T
