"""The variance of predictions: by all rows as centres, or by fewer centres than rows.

Both are those of a Gaussian process whose noise variance is the ridge times its signal
variance, which is estimated from residuals of rows as if they had been left out.
"""

from collections.abc import Iterable

from .._backend import Array, Backend, CrossGram, HeldGram, Namespace
from ._centers import factorize_positive
from ._direct import factorize, removed_weight

# A row without which a machine of few centres could not be fitted has 1 - leverage = 0.
_LEAST_REST = 1e-12


def predictive_variance(
    gram: HeldGram,
    coef: Array,
    blocks: Iterable[tuple[Array, Array]],
    *,
    weight: Array,
    alpha: float,
    xp: Namespace,
) -> Array:
    """Return the variance of predictions, noise included, computed block by block.

    Parameters
    ----------
    gram : HeldGram
        K of the training rows, which is overwritten.
    coef : array of shape (n, c)
        The fitted coefficients.
    blocks : iterable of (array of shape (m, n), array of shape (m,))
        Kernel values between new rows and the training rows, and of new rows with
        themselves.
    weight : array of shape (n,)
        Sample weights w; the ridge is alpha / w.
    alpha : float
        The ridge, which is the noise variance in units of the signal variance.
    xp : namespace

    Returns
    -------
    array of shape (sum of m, c)

    Notes
    -----
    With C = (K + diag(ridge))⁻¹ the variance in units of the signal variance is
    v = k(x, x) − k_xᵀ C k_x + alpha, and the signal variance of an output is the
    weighted mean of α_i² / C_ii, where a row of weight w ≥ 1 counts as w rows.
    """
    ridge = alpha / weight
    factorize(gram, ridge, xp)
    reduced = [_conditional_variance(gram, K, own, xp) + alpha for K, own in blocks]
    removed, factor = removed_weight(weight, ridge, gram.inverse_diagonal(), xp)
    share = removed * factor / xp.sum(weight)
    signal = xp.sum(share[:, None] * coef**2, axis=0)
    return xp.concat(reduced)[:, None] * signal


def _conditional_variance(gram, K, own, xp):
    """Return k(x, x) − k_xᵀ C k_x of new rows; rounding may not make it negative."""
    variance = own - xp.sum(K * gram.solve(K.T).T, axis=1)
    return xp.where(variance > 0, variance, xp.zeros_like(variance))


def variance_of_centers(
    K: Array,
    gram: CrossGram,
    residuals: Array,
    row_blocks: Iterable[tuple[Array, Array]],
    blocks: Iterable[tuple[Array, Array]],
    *,
    weight: Array,
    share: float,
    alpha: float,
    backend: Backend,
) -> Array:
    """Return the variance of a machine of few centres, noise included.

    Parameters
    ----------
    K : array of shape (p, p)
        The kernel matrix of the centres.
    gram : CrossGram
        The kernel matrix between m of the rows, drawn at random, and the centres.
    residuals : array of shape (m, c)
        Targets less predictions of these rows.
    row_blocks : iterable of (array of shape (b, p), array of shape (b,))
        Kernel values between the first of these rows and the centres, and of these rows
        with themselves.
    blocks : iterable of (array of shape (b, p), array of shape (b,))
        The same of new rows.
    weight : array of shape (m,)
        Sample weights w.
    share : float
        How many rows each of the m rows stands for.
    alpha : float
        The ridge.
    backend : Backend

    Returns
    -------
    array of shape (sum of b, c)

    Notes
    -----
    With H = share K_zx diag(w) K_xz, h = k_xᵀ (H + alpha K_zz)⁻¹ k_x, and the part of
    the process that centres do not span, d = k(x, x) − k_xᵀ K_zz⁻¹ k_x, the variance in
    units of the signal variance is d + alpha h + alpha. That is the projected process
    of M. Seeger, C. Williams, N. Lawrence, "Fast forward selection to speed up sparse
    Gaussian process regression", AISTATS 2003. Residuals r of rows have the expected
    square alpha / u (1 − u h) + d (1 − u h)², where u is 1 for weights that count rows
    and else w, so that the signal variance of an output is estimated by
    Σ w u r² / (1 − u h) over Σ w (alpha + u d (1 − u h)). Where the centres are all
    rows, this and the variance are those of `predictive_variance`.
    """
    xp = backend.xp
    exact = xp.astype(K, xp.float64)
    H = share * gram.normal_matrix(weight) + alpha * exact
    factors = factorize_positive(H, backend), factorize_positive(exact, backend)
    parts = [_parts_of_variance(*factors, *block, xp) for block in row_blocks]
    leverage, rest = (xp.concat(part) for part in zip(*parts, strict=True))
    m = leverage.shape[0]
    weight = xp.astype(weight[:m], xp.float64)
    unit = xp.ones_like(weight) if float(xp.min(weight)) >= 1 else weight
    left = 1 - unit * leverage
    left = xp.where(left > _LEAST_REST, left, _LEAST_REST * xp.ones_like(left))
    scale = (weight * unit / left)[:, None]
    squares = xp.sum(scale * xp.astype(residuals[:m, :], xp.float64) ** 2, axis=0)
    expected = float(xp.sum(weight * (alpha + unit * rest * left)))
    signal = squares / expected if expected > 0 else 0 * squares
    reduced = []
    for block in blocks:
        leverage, rest = _parts_of_variance(*factors, *block, xp)
        reduced.append(rest + alpha * leverage + alpha)
    return xp.concat(reduced)[:, None] * signal


def _parts_of_variance(factor, centers_factor, values, own, xp):
    """Return h and d of rows; rounding may not make them negative."""
    values, own = (xp.astype(a, xp.float64) for a in (values, own))
    leverage = xp.sum(values * factor.solve(values.T).T, axis=1)
    rest = own - xp.sum(values * centers_factor.solve(values.T).T, axis=1)
    return (xp.where(a > 0, a, xp.zeros_like(a)) for a in (leverage, rest))
