"""Loops over the observed entries of a matrix, a range of its rows at a time.

Entries are in SciPy's CSR format: those of row i are indptr[i] to indptr[i + 1] − 1,
and `indices` holds their columns.
"""

import numpy as np

from ._compile import jit, jit_helper


@jit_helper
def _dot(a, b):
    total = a.dtype.type(0)
    for c in range(a.size):
        total += a[c] * b[c]
    return total


@jit_helper
def _add_multiple(total, factor, a):
    for c in range(a.size):
        total[c] += factor * a[c]


@jit
def sampled_products(start, stop, indptr, indices, L, R, out):
    """out_e = L_i · R_j at the entries e = (i, j) of rows start to stop − 1."""
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            out[e] = _dot(L[i], R[indices[e]])


# The sums below add four entries at a time, with a quarter of the loads and stores of
# the total. Their innermost loops are written out, as calls are not vectorised.


@jit
def normal_rows(start, stop, indptr, indices, weight, L, R, skip, out):
    """out_i = Σ_e weight_e (L_i · R_j) R_j over the entries e = (i, j) of row i.

    The sums are over the columns skip to skip + k − 1 of R, k the columns of `out`.
    """
    k, zero = out.shape[1], L.dtype.type(0)
    for i in range(start, stop):
        x, total = L[i], out[i]
        total[:] = 0
        first, end = indptr[i], indptr[i + 1]
        tail = end - (end - first) % 4
        for e in range(first, tail, 4):
            a, b = R[indices[e]], R[indices[e + 1]]
            c, d = R[indices[e + 2]], R[indices[e + 3]]
            p = q = r = s = zero
            for j in range(x.size):
                p += x[j] * a[j]
                q += x[j] * b[j]
                r += x[j] * c[j]
                s += x[j] * d[j]
            p, q = p * weight[e], q * weight[e + 1]
            r, s = r * weight[e + 2], s * weight[e + 3]
            a, b, c, d = a[skip:], b[skip:], c[skip:], d[skip:]
            for j in range(k):
                total[j] += (p * a[j] + q * b[j]) + (r * c[j] + s * d[j])
        for e in range(tail, end):
            a = R[indices[e]]
            _add_multiple(total, weight[e] * _dot(x, a), a[skip : skip + k])


@jit
def row_sums(start, stop, indptr, indices, values, R, out):
    """out_i = Σ_e values_e R_j over the entries e = (i, j) of row i."""
    k = out.shape[1]
    for i in range(start, stop):
        total = out[i]
        total[:] = 0
        first, end = indptr[i], indptr[i + 1]
        tail = end - (end - first) % 4
        for e in range(first, tail, 4):
            a, b = R[indices[e]], R[indices[e + 1]]
            c, d = R[indices[e + 2]], R[indices[e + 3]]
            p, q, r, s = values[e], values[e + 1], values[e + 2], values[e + 3]
            for j in range(k):
                total[j] += (p * a[j] + q * b[j]) + (r * c[j] + s * d[j])
        for e in range(tail, end):
            _add_multiple(total, values[e], R[indices[e]])


@jit
def gather(start, stop, indptr, order, values, out):
    """out_e = values[order_e] for the entries e of rows start to stop − 1."""
    for e in range(indptr[start], indptr[stop]):
        out[e] = values[order[e]]


@jit_helper
def _factorise(A):
    """Overwrite the lower triangle of a positive definite A by its Cholesky factor.

    Pivots below the rounding error are raised to it.
    """
    k, zero = len(A), A.dtype.type(0)
    unit = np.finfo(A.dtype).eps
    for j in range(k):
        x, least = A[j], unit * A[j, j]
        pivot = np.sqrt(max(x[j] - _dot(x[:j], x[:j]), least))
        x[j] = pivot
        tail = k - (k - j - 1) % 4
        for i in range(j + 1, tail, 4):  # four rows share the loads of row j
            a0, a1, a2, a3 = A[i], A[i + 1], A[i + 2], A[i + 3]
            p = q = r = s = zero
            for c in range(j):
                p += x[c] * a0[c]
                q += x[c] * a1[c]
                r += x[c] * a2[c]
                s += x[c] * a3[c]
            a0[j], a1[j] = (a0[j] - p) / pivot, (a1[j] - q) / pivot
            a2[j], a3[j] = (a2[j] - r) / pivot, (a3[j] - s) / pivot
        for i in range(tail, k):
            A[i, j] = (A[i, j] - _dot(A[i, :j], x[:j])) / pivot


@jit_helper
def _cholesky_solve(A, b):
    """Solve A x = b in place, given the lower triangle of a positive definite A."""
    k = b.size
    _factorise(A)
    for j in range(k):
        b[j] = (b[j] - _dot(A[j, :j], b[:j])) / A[j, j]
    for j in range(k - 1, -1, -1):
        b[j] /= A[j, j]
        _add_multiple(b[:j], -b[j], A[j, :j])


@jit
def row_solves(start, stop, indptr, indices, weight, values, V, penalty, out):
    """out_i = argmin_z Σ_e weight_e (values_e − V_j · z)² + Σ_c penalty_c z_c²."""
    k = V.shape[1]
    A = np.empty((k, k), dtype=V.dtype)
    for i in range(start, stop):
        A[:] = 0
        b = out[i]
        b[:] = 0
        for c in range(k):
            A[c, c] = penalty[c]
        for e in range(indptr[i], indptr[i + 1]):
            v = V[indices[e]]
            _add_multiple(b, weight[e] * values[e], v)
            for c in range(k):
                _add_multiple(A[c, : c + 1], weight[e] * v[c], v[: c + 1])
        _cholesky_solve(A, b)


@jit
def dual_solves(start, stop, indptr, indices, values, noise, P, out):
    """Solve (P at the entries of a row + diag(noise)) out = values, for each row.

    P is symmetric, of shape (n_columns, n_columns).
    """
    longest = 0
    for i in range(start, stop):
        longest = max(longest, indptr[i + 1] - indptr[i])
    buffer = np.empty(longest * longest, dtype=P.dtype)
    for i in range(start, stop):
        first, end = indptr[i], indptr[i + 1]
        b, k = out[first:end], end - first
        # contiguous: a part of a square buffer would be another type to compile for
        A = buffer[: k * k].reshape((k, k))
        for e in range(first, end):
            p = P[indices[e]]
            for f in range(first, e + 1):
                A[e - first, f - first] = p[indices[f]]
            A[e - first, e - first] += noise[e]
            b[e - first] = values[e]
        _cholesky_solve(A, b)


@jit
def quadratic_forms(
    start, stop, indptr, indices, weight, V, penalty, query_ptr, query, out
):
    """out_q = V_j · A_i⁻¹ V_j for the queries q = (i, j) of rows start to stop − 1.

    A_i = Σ_e weight_e V_j V_jᵀ + diag(penalty) over the entries e = (i, j) of row i.
    The queries of row i are query_ptr[i] to query_ptr[i + 1] − 1; `query` holds their
    columns.
    """
    k = V.shape[1]
    A, x = np.empty((k, k), dtype=V.dtype), np.empty(k, dtype=V.dtype)
    for i in range(start, stop):
        if query_ptr[i] == query_ptr[i + 1]:
            continue
        A[:] = 0
        for c in range(k):
            A[c, c] = penalty[c]
        for e in range(indptr[i], indptr[i + 1]):
            v = V[indices[e]]
            for c in range(k):
                _add_multiple(A[c, : c + 1], weight[e] * v[c], v[: c + 1])
        _factorise(A)
        for q in range(query_ptr[i], query_ptr[i + 1]):
            v = V[query[q]]
            for c in range(k):
                x[c] = (v[c] - _dot(A[c, :c], x[:c])) / A[c, c]
            out[q] = _dot(x, x)
