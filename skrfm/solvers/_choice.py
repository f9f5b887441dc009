"""Solvers by name, and which of them a problem gets."""

from ._direct import cholesky, eigenvalues
from ._eigenpro import eigenpro
from ._iterative import conjugate_gradients

#: solvers that factorise K, which has to be held
DIRECT = {"cholesky": cholesky, "eigh": eigenvalues}
#: solvers that multiply by K, which may be computed anew each time
ITERATIVE = {"pcg": conjugate_gradients, "eigenpro": eigenpro}
SOLVERS = (*DIRECT, *ITERATIVE)

# with fewer rows than this, iterations have nothing to gain
_ITERATED_ROWS = 1000


def choose_solver(name, kernel, T, backend, *, want_diagonal=False, reusable=None):
    """Return the name of the solver, and whether K is streamed.

    Parameters
    ----------
    name : str
        One of `SOLVERS`, or "auto".
    kernel : Kernel
    T : array of shape (n, k)
        The rows.
    backend : backend
    want_diagonal : bool
        Whether the diagonal of the inverse is wanted, which takes a factor.
    reusable : Gram, default=None
        A kernel matrix whose memory can be had.
    """
    n, held = T.shape[0], 0 if reusable is None else reusable.nbytes
    if name == "auto":
        direct = want_diagonal or n <= backend.direct_rows(T, held)
        name = "cholesky" if direct else "pcg"
    if name in DIRECT:
        return name, False
    if n < _ITERATED_ROWS:
        return "cholesky", False
    if kernel.of_inner_products:
        if name == "eigenpro":
            raise ValueError(
                f"solver='eigenpro' does not work with {kernel!r}, which is not a "
                "function of a distance: pass solver='pcg'."
            )
        return name, False
    return name, name == "eigenpro" or not backend.fits_in_memory(T, held)


def solve(gram, Y, ridge, backend, *, solver="cholesky", want_diagonal=False, seed=0):
    """Solve (K + diag(ridge)) α = Y.

    Parameters
    ----------
    gram : Gram
        K; its memory may be overwritten, its slopes are not.
    Y : array of shape (n, c)
    ridge : array of shape (n,)
    backend : backend
    solver : str
        One of `SOLVERS`.
    want_diagonal : bool
        Whether to return the diagonal of the inverse as well, which takes a direct one.
    seed : int
        Seeds the random rows of an iterative one.

    Returns
    -------
    Solution
    """
    if solver in DIRECT:
        return DIRECT[solver](gram, Y, ridge, backend.xp, want_diagonal)
    return ITERATIVE[solver](gram, Y, ridge, seed, backend)
