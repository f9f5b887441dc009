"""Solvers by name, and the choice of a solver for a problem."""

from typing import Any

from .._backend import Array, Backend, Kernel, ProductGram
from ._direct import cholesky, eigendecomposition
from ._eigenpro import EigenPro, eigenpro
from ._iterative import conjugate_gradients
from ._solution import Solution, Solver

#: solvers that factorise K, which is held in memory
DIRECT: dict[str, Solver] = {"cholesky": cholesky, "eigh": eigendecomposition}
#: solvers that multiply by K, which may be computed anew for each product
ITERATIVE: dict[str, Solver] = {"pcg": conjugate_gradients, "eigenpro": eigenpro}
#: all solvers by name
SOLVERS: dict[str, Solver] = DIRECT | ITERATIVE

# Fewer rows than these are factorised whatever solver is named: iterations have nothing
# to gain there.
_MIN_ITERATIVE_ROWS = 1000
# Early stopping is more than a way to a solution, but takes rows to hold out.
_MIN_STOPPED_ROWS = 20
# solver="auto" factorises up to so many rows: from there on iterations take fewer CPU
# seconds (benchmarks/solvers.py).
_DIRECT_ROWS = 4000


def choose_solver(
    name: str | EigenPro,
    kernel: Kernel,
    T: Array,
    backend: Backend,
    *,
    want_diagonal: bool = False,
    reusable: ProductGram | None = None,
) -> tuple[Solver, bool]:
    """Return the solver for a problem, and whether its kernel matrix is streamed.

    A streamed matrix is computed anew for each product, and never held.

    Parameters
    ----------
    name : str or EigenPro
        One of `SOLVERS`, or "auto", or a solver with parameters.
    kernel : Kernel
    T : array of shape (n, k)
        The mapped rows.
    backend : Backend
    want_diagonal : bool, default=False
        Whether the diagonal of the inverse is needed, which takes a direct solver.
    reusable : ProductGram, default=None
        A kernel matrix whose memory the new one can take over.

    Returns
    -------
    solver : Solver
    streamed : bool
    """
    n, held = T.shape[0], 0 if reusable is None else reusable.nbytes
    if name == "auto":
        most = min(backend.direct_rows(T, held), _DIRECT_ROWS)
        direct = want_diagonal or n <= most
        name = "cholesky" if direct else "pcg"
    if isinstance(name, str) and name in DIRECT:
        return DIRECT[name], False
    stopped = isinstance(name, EigenPro) and name.early_stopping
    if n < (_MIN_STOPPED_ROWS if stopped else _MIN_ITERATIVE_ROWS):
        return cholesky, False
    if isinstance(name, EigenPro) or name == "eigenpro":
        _require_distance(kernel)
        return eigenpro if name == "eigenpro" else name, True
    held_in_memory = kernel.of_inner_products or backend.fits_in_memory(T, held)
    return conjugate_gradients, not held_in_memory


def _require_distance(kernel):
    """Raise ValueError for kernels of inner products, which are not streamed."""
    if kernel.of_inner_products:
        raise ValueError(
            f"solver='eigenpro' does not work with {kernel!r}, which is not a "
            "function of a distance: pass solver='pcg'."
        )


def solve(
    gram: Any,
    Y: Array,
    ridge: Array,
    backend: Backend,
    *,
    solver: str = "cholesky",
    want_diagonal: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve (K + diag(ridge)) α = Y by the solver of a name.

    Parameters
    ----------
    solver : str, default="cholesky"
        One of `SOLVERS`.
    gram, Y, ridge, backend, want_diagonal, seed
        As for `Solver`.

    Returns
    -------
    Solution

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm._backend import NumpyBackend
    >>> from skrfm.kernels import Laplace
    >>> from skrfm.solvers import solve
    >>> backend, T = NumpyBackend(), np.array([[0.0], [1.0], [3.0]])
    >>> gram = backend.gram(Laplace(), T, 1.0)
    >>> solve(gram, np.sin(T), np.full(3, 0.1), backend).coef.round(3)
    array([[-0.288],
           [ 0.857],
           [ 0.036]])
    """
    return SOLVERS[solver](
        gram, Y, ridge, backend, want_diagonal=want_diagonal, seed=seed
    )
