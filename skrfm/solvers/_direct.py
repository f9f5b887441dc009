"""Direct solvers of (K + diag(ridge)) α = Y, and leave-one-out in closed form."""

from ..exceptions import NotPositiveDefiniteError
from ._solution import Solution

_ATTEMPTS = 6


def factorize(gram, ridge, xp):
    """Factorise in place; a matrix that is not positive definite gets a jitter.

    Returns
    -------
    float
        What was added to the diagonal, mostly 0.
    """
    rounding = float(xp.finfo(gram.T.dtype).eps) * gram.T.shape[0]
    for attempt in range(_ATTEMPTS):
        # from 10 times the rounding error of the factor's pivots upwards
        jitter = 10.0**attempt * rounding if attempt else 0.0
        try:
            gram.factorize(ridge + jitter)
        except NotPositiveDefiniteError:
            gram.refill()
            continue
        return jitter
    raise NotPositiveDefiniteError(0)


def cholesky(gram, Y, ridge, xp, want_diagonal):
    """Solve by the Cholesky factor."""
    jitter = factorize(gram, ridge, xp)
    coef = gram.solve(Y)
    return Solution(coef, gram.inverse_diagonal() if want_diagonal else None, jitter)


def eigenvalues(gram, Y, ridge, xp, want_diagonal):
    """Solve by eigenvalues; those of the size of rounding errors are left out."""
    values, vectors = gram.eigh(ridge)
    cut = values.shape[0] * float(xp.finfo(values.dtype).eps) * values[-1]
    inverse = xp.where(values > cut, 1 / xp.where(values > cut, values, 1.0), 0.0)
    coef = vectors @ (inverse[:, None] * (vectors.T @ Y))
    diagonal = xp.sum(vectors**2 * inverse, axis=1) if want_diagonal else None
    return Solution(coef, diagonal)


def leave_one_out_residuals(solution, mean_solution, Y, *, weight, ridge, xp):
    """Residuals of every row, predicted by the model without it, in closed form.

    Parameters
    ----------
    solution : Solution
        Coefficients α of the centred targets, and the diagonal of the inverse.
    mean_solution : array of shape (n, 1) or None
        (K + diag(ridge))⁻¹ 1: the mean of the targets is then taken anew without
        the row. None holds the mean fixed.
    Y : array of shape (n, c)
        Centred targets.
    weight, ridge : arrays of shape (n,)
        Sample weights w; the ridge is λ / w.

    Returns
    -------
    array of shape (n, c)

    Notes
    -----
    Where all weights are at least 1, one unit of a row's weight is left out, which is
    what leaving out one of w repeated rows is; otherwise the whole row is.
    """
    units, factor = _left_out(weight, ridge, solution.inverse_diagonal, xp)
    if mean_solution is None:
        return factor[:, None] * solution.coef
    share = units / (xp.sum(weight) - units)
    shift = share[:, None] * Y
    return factor[:, None] * (solution.coef + shift * mean_solution)


def _left_out(weight, ridge, inverse_diagonal, xp):
    """Return the weight that is left out with each row, and residual / coefficient."""
    if float(xp.min(weight)) < 1:
        return weight, 1 / inverse_diagonal
    one = xp.ones_like(weight)
    repeated, free = weight > 1, ridge <= 0
    others = xp.where(repeated, (weight - 1) / xp.where(free, one, ridge), 0 * one)
    factor = weight / (others + inverse_diagonal)
    # without a ridge, what is left of a repeated row interpolates it
    return one, xp.where(repeated & free, 0 * one, factor)


def predictive_variance(gram, coef, blocks, *, weight, alpha, xp):
    """Variance of the predictions, noise included, block by block.

    Parameters
    ----------
    gram : Gram
        K of the training rows; its memory is overwritten.
    coef : array of shape (n, c)
        The fitted coefficients.
    weight : array of shape (n,)
        Sample weights w; the ridge is alpha / w.
    alpha : float
        The ridge, which is the noise variance in units of the signal variance.
    blocks : iterable of (array of shape (m, n), array of shape (m,))
        Kernel values between new rows and the training rows, and of new rows with
        themselves.

    Returns
    -------
    array of shape (sum of m, c)

    Notes
    -----
    With C = (K + diag(ridge))⁻¹ the variance in units of the signal variance is
    v = k(x, x) − k_xᵀ C k_x + alpha, and the signal variance of an output is the
    weighted mean of α_i² / C_ii, rows of weight w ≥ 1 taken as w rows.
    """
    ridge = alpha / weight
    factorize(gram, ridge, xp)
    reduced = []
    for K, own in blocks:
        explained = xp.sum(K * gram.solve(K.T).T, axis=1)
        left = own - explained
        reduced.append(xp.where(left > 0, left, xp.zeros_like(left)) + alpha)
    units, factor = _left_out(weight, ridge, gram.inverse_diagonal(), xp)
    share = units * factor / xp.sum(weight)
    signal = xp.sum(share[:, None] * coef**2, axis=0)
    return xp.concat(reduced)[:, None] * signal
