"""Draws of the rows of a factor model from their normal posterior.

Entries are in SciPy's CSR format, as in `_entries`.
"""

import numpy as np

from ._compile import jit, jit_helper
from ._entries import _dot, _factorise


@jit_helper
def _add_entries(A, b, first, end, indices, values, weight, precision, V, offset):
    """Add Σ_e w_e V_j V_jᵀ to the lower triangle of A, and Σ_e w_e t_e V_j to b.

    The sums are over the entries e = first to end − 1 in the columns j, with the
    targets t_e = values_e − offset_j, and w_e = precision · weight_e. Four entries at a
    time share the loads and stores of A.
    """
    k = b.size
    tail = end - (end - first) % 4
    for e in range(first, tail, 4):
        i, j, m, n = indices[e], indices[e + 1], indices[e + 2], indices[e + 3]
        p, q = precision * weight[e], precision * weight[e + 1]
        r, s = precision * weight[e + 2], precision * weight[e + 3]
        t, u = values[e] - offset[i], values[e + 1] - offset[j]
        v, w = values[e + 2] - offset[m], values[e + 3] - offset[n]
        x, y, z, a = V[i], V[j], V[m], V[n]
        for c in range(k):
            xc, yc, zc, ac = p * x[c], q * y[c], r * z[c], s * a[c]
            b[c] += (t * xc + u * yc) + (v * zc + w * ac)
            row = A[c]
            for d in range(c + 1):
                row[d] += (xc * x[d] + yc * y[d]) + (zc * z[d] + ac * a[d])
    for e in range(tail, end):
        x, p = V[indices[e]], precision * weight[e]
        t = values[e] - offset[indices[e]]
        for c in range(k):
            xc = p * x[c]
            b[c] += t * xc
            row = A[c]
            for d in range(c + 1):
                row[d] += xc * x[d]


@jit
def drawn_rows(
    start,
    stop,
    indptr,
    indices,
    values,
    weight,
    V,
    offset,
    prior,
    linear,
    precision,
    out,
    squares,
):
    """Draw the rows u_i of y_ij = offset_j + u_i · V_j + errors from their posterior.

    Errors have the precisions precision · weight_e. The prior of u_i is normal, with
    the matrix `prior` as its precision and `linear` as that matrix times its mean. On
    entry `out` holds standard normal numbers, afterwards the draws; zeros give the
    posterior means. The weighted sums of squared errors of the rows go to `squares`.
    """
    k = V.shape[1]
    A, b = np.empty((k, k), dtype=V.dtype), np.empty(k, dtype=V.dtype)
    for i in range(start, stop):
        u, first, end = out[i], indptr[i], indptr[i + 1]
        for c in range(k):  # A[:] = prior would compile code of error messages
            b[c] = linear[c]
            for d in range(c + 1):
                A[c, d] = prior[c, d]
        _add_entries(A, b, first, end, indices, values, weight, precision, V, offset)
        _factorise(A)
        for j in range(k):  # L⁻¹ b, of which L⁻ᵀ is the mean
            b[j] = (b[j] - _dot(A[j, :j], b[:j])) / A[j, j]
        for j in range(k):
            u[j] += b[j]
        for j in range(k - 1, -1, -1):
            u[j] /= A[j, j]
            for c in range(j):
                u[c] -= u[j] * A[j, c]
        total = V.dtype.type(0)
        for e in range(first, end):
            j = indices[e]
            error = values[e] - offset[j] - _dot(u, V[j])
            total += weight[e] * error * error
        squares[i] = total
