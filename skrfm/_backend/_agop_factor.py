"""Products of the gradients of fewer rows than columns, in the span of the rows.

Gradients of kernels of the Euclidean distance or of inner products are sums of rows:
with the rows T (n, k) a gradient is Tᵀ b for a vector b of n numbers. So the average of
their outer products is Tᵀ S T with an n × n matrix S, whose cost does not grow with the
columns, nor by much with the outputs.
"""

import numpy as np
from scipy.linalg import eigh

from ._protocols import Backend, Gram
from ._types import Array, FloatArray, IntArray


def agop_factor(
    gram: Gram,
    coef: Array,
    rows: IntArray,
    weight: Array,
    *,
    centered: bool,
    backend: Backend,
) -> FloatArray:
    """Return F of shape (r, k), r ≤ n: FᵀF is the average gradient outer product.

    Gradients are J_io = U_io t_i − Σ_j W_ij α_jo t_j, with U = Wα for a distance and
    U = Dα for inner products.

    Parameters
    ----------
    gram : Gram
        The kernel of the mapped training rows, with its slopes.
    coef : array of shape (n, c)
        Dual coefficients α.
    rows : ndarray of shape (m,)
        Indices of the rows in the average.
    weight : array of shape (m,)
        Their weights.
    centered : bool
        Whether to subtract the mean gradient.
    backend : Backend
    """
    n = gram.T.shape[0]
    identity = backend.asarray(np.eye(n), dtype=coef.dtype)
    W = _to_float64(gram.slope_rows_product(rows, identity), backend)
    alpha, share = _to_float64(coef, backend), _to_float64(weight, backend)
    share /= share.sum()
    U = _row_factors(gram, rows, coef, W, backend)
    S = _outer_products(W, U, alpha, rows, share)
    if centered:
        means = -(share @ W)[:, None] * alpha
        means[rows] += share[:, None] * U
        S -= means @ means.T
    values, vectors = eigh(S)
    kept = values > n * np.finfo(np.float64).eps * values[-1]
    root = np.sqrt(values[kept])[:, None] * vectors.T[kept]
    return _to_float64(backend.asarray(root, dtype=gram.T.dtype) @ gram.T, backend)


def _row_factors(gram, rows, coef, W, backend):
    """Return U of shape (m, c)."""
    if gram.kernel.of_inner_products:
        return _to_float64(gram.radial_product(rows, coef), backend)
    return W @ _to_float64(coef, backend)


def _outer_products(W, U, alpha, rows, share):
    """Return S = Σ_io share_i b_io b_ioᵀ, where Tᵀ b_io is a gradient."""
    weighted = share[:, None] * W
    S = (W.T @ weighted) * (alpha @ alpha.T)
    cross = weighted * (U @ alpha.T)
    S[rows] -= cross
    S[:, rows] -= cross.T
    S[rows, rows] += share * (U**2).sum(axis=1)
    return S


def _to_float64(a, backend):
    return backend.to_numpy(a).astype(np.float64)
