"""Direct solvers of (K + diag(ridge)) α = Y, and leave-one-out in closed form."""

from .._backend import Array, Backend, HeldGram, Namespace
from ..exceptions import NotPositiveDefiniteError
from ._solution import Solution

# Factorisations that are tried: without a jitter, then with jitters of 10, 100, … 10⁵
# times the rounding error.
_ATTEMPTS = 6


def factorize(gram: HeldGram, ridge: Array, xp: Namespace) -> float:
    """Factorise K + diag(ridge) in place, with a jitter if it is not positive definite.

    A jitter is relative to the diagonal of K, as the rounding errors of its rows are:
    kernels of inner products have diagonal entries of any size.

    Parameters
    ----------
    gram : HeldGram
        K, which is overwritten.
    ridge : array of shape (n,)
    xp : namespace

    Returns
    -------
    float
        The most that was added to an entry of the diagonal, mostly 0.
    """
    rounding = float(xp.finfo(gram.T.dtype).eps) * gram.T.shape[0]
    size = xp.where(gram.diagonal > 0, gram.diagonal, xp.ones_like(gram.diagonal))
    for attempt in range(_ATTEMPTS):
        # from 10 times the rounding error of the factor's pivots upwards
        jitter = (10.0**attempt * rounding if attempt else 0.0) * size
        try:
            gram.factorize(ridge + jitter)
        except NotPositiveDefiniteError:
            gram.refill()
            continue
        return float(xp.max(jitter))
    raise NotPositiveDefiniteError(0)


def cholesky(
    gram: HeldGram,
    Y: Array,
    ridge: Array,
    backend: Backend,
    *,
    want_diagonal: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve (K + diag(ridge)) α = Y by a Cholesky factor, which overwrites K.

    Parameters as in `Solver`; nothing is random.
    """
    jitter = factorize(gram, ridge, backend.xp)
    coef = gram.solve(Y)
    diagonal = gram.inverse_diagonal() if want_diagonal else None
    return Solution(coef=coef, inverse_diagonal=diagonal, jitter=jitter)


def eigendecomposition(
    gram: HeldGram,
    Y: Array,
    ridge: Array,
    backend: Backend,
    *,
    want_diagonal: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve (K + diag(ridge)) α = Y by eigenvalues, in the sense of least norm.

    Eigenvalues of the size of rounding errors are left out. Parameters as in `Solver`;
    nothing is random.
    """
    xp = backend.xp
    values, vectors = gram.eigh(ridge)
    cutoff = values.shape[0] * float(xp.finfo(values.dtype).eps) * values[-1]
    kept = values > cutoff
    inverse = xp.where(kept, 1 / xp.where(kept, values, 1.0), 0.0)
    coef = vectors @ (inverse[:, None] * (vectors.T @ Y))
    diagonal = xp.sum(vectors**2 * inverse, axis=1) if want_diagonal else None
    return Solution(coef=coef, inverse_diagonal=diagonal)


def leave_one_out_residuals(
    solution: Solution,
    mean_solution: Array | None,
    Y: Array,
    *,
    weight: Array,
    ridge: Array,
    xp: Namespace,
) -> Array:
    """Return the residual of every row under the model fitted without it.

    The closed form takes no refit.

    Parameters
    ----------
    solution : Solution
        Coefficients α of the centred targets, and the diagonal of the inverse.
    mean_solution : array of shape (n, 1) or None
        (K + diag(ridge))⁻¹ 1, with which the mean of the targets is computed anew
        without the row. None keeps the mean fixed.
    Y : array of shape (n, c)
        Centred targets.
    weight : array of shape (n,)
        Sample weights w.
    ridge : array of shape (n,)
        λ / w.
    xp : namespace

    Returns
    -------
    array of shape (n, c)

    Notes
    -----
    Where all weights are at least 1, each row loses one unit of its weight, as if one
    of w repeated rows were left out; otherwise the whole row is left out.
    """
    removed, factor = removed_weight(weight, ridge, solution.inverse_diagonal, xp)
    if mean_solution is None:
        return factor[:, None] * solution.coef
    share = removed / (xp.sum(weight) - removed)
    shift = share[:, None] * Y
    return factor[:, None] * (solution.coef + shift * mean_solution)


def removed_weight(weight, ridge, inverse_diagonal, xp):
    """Return the weight that each row loses, and the factor residual / coefficient.

    Both are of shape (n,).
    """
    if float(xp.min(weight)) < 1:
        return weight, 1 / inverse_diagonal
    one = xp.ones_like(weight)
    repeated, no_ridge = weight > 1, ridge <= 0
    others = xp.where(repeated, (weight - 1) / xp.where(no_ridge, one, ridge), 0 * one)
    factor = weight / (others + inverse_diagonal)
    # without a ridge, the repeats that remain interpolate the row that is removed
    return one, xp.where(repeated & no_ridge, 0 * one, factor)
