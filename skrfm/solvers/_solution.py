"""The interface of a solver, and what it returns."""

from dataclasses import dataclass
from typing import Any, Protocol

from .._backend import Array, Backend


@dataclass(kw_only=True)
class Solution:
    """Coefficients of a kernel machine.

    Attributes
    ----------
    coef : array of shape (n, c)
    inverse_diagonal : array of shape (n,) or None
        Diagonal of the inverse of K + diag(ridge), if it was requested.
    jitter : float
        What was added to the diagonal to factorise it, mostly 0.
    residual : float
        Residual of an iterative solver, relative to the targets.
    validation_errors : tuple of float
        Errors at held-out rows, relative to those of zeros, after each epoch of
        `EigenPro` with early stopping.
    """

    coef: Array
    inverse_diagonal: Array | None = None
    jitter: float = 0.0
    residual: float = 0.0
    validation_errors: tuple[float, ...] = ()


class Solver(Protocol):
    """A function that solves (K + diag(ridge)) α = Y.

    Parameters
    ----------
    gram : Gram
        K. Direct solvers take a HeldGram, and may overwrite K, but not its slopes;
        EigenPro takes a streamed Gram.
    Y : array of shape (n, c)
        The targets.
    ridge : array of shape (n,)
    backend : Backend
    want_diagonal : bool, default=False
        Whether to compute the diagonal of the inverse, which takes a direct solver.
    seed : int, default=0
        Seed of the random rows of an iterative solver.

    Returns
    -------
    Solution
    """

    def __call__(
        self,
        gram: Any,
        Y: Array,
        ridge: Array,
        backend: Backend,
        *,
        want_diagonal: bool = False,
        seed: int = 0,
    ) -> Solution: ...


def require_no_diagonal(want_diagonal: bool, solver: str):
    """Raise ValueError if an iterative solver is to compute the inverse's diagonal."""
    if want_diagonal:
        raise ValueError(
            f"solver={solver!r} does not compute the diagonal of the inverse, which "
            "takes a factor: pass solver='cholesky' or 'eigh'."
        )
