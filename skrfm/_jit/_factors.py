"""One half step of variational Bayes for the factors of a matrix, by rows.

Entries are in SciPy's CSR format, as in `_entries`.
"""

import numpy as np

from ._compile import jit
from ._entries import _add_multiple, _dot

# The least squared pivot relative to its diagonal entry, about a rounding unit.
_LEAST_PIVOT = 1e-16


@jit
def _invert(A):
    """Invert a positive definite matrix in place, given its lower triangle.

    Only the lower triangle of the inverse is written.
    """
    k = A.shape[0]
    for j in range(k):  # Cholesky factor L
        # where entries leave no noise, rounding errors may make a square negative
        square = A[j, j] - _dot(A[j, :j], A[j, :j])
        pivot = np.sqrt(max(square, _LEAST_PIVOT * A[j, j]))
        A[j, j] = pivot
        for i in range(j + 1, k):
            A[i, j] = (A[i, j] - _dot(A[i, :j], A[j, :j])) / pivot
    for j in range(k):  # L⁻¹, a column at a time
        A[j, j] = 1 / A[j, j]
        for i in range(j + 1, k):
            total = A.dtype.type(0)
            for c in range(j, i):
                total -= A[i, c] * A[c, j]
            A[i, j] = total / A[i, i]
    for j in range(k):  # L⁻ᵀ L⁻¹: entry (i, j) needs rows i and below only
        for i in range(j, k):
            total = A.dtype.type(0)
            for c in range(i, k):
                total += A[c, i] * A[c, j]
            A[i, j] = total


@jit
def _product(A, B):
    """Return Σ A_cd B_cd of symmetric matrices, from their lower triangles."""
    total = A.dtype.type(0)
    for c in range(A.shape[0]):
        total += 2 * _dot(A[c, :c], B[c, :c]) + A[c, c] * B[c, c]
    return total


@jit
def _form(A, x):
    """Return xᵀ A x of a symmetric matrix, from its lower triangle."""
    total = A.dtype.type(0)
    for c in range(x.size):
        total += x[c] * (2 * _dot(A[c, :c], x[:c]) + A[c, c] * x[c])
    return total


@jit
def posterior_rows(
    start,
    stop,
    indptr,
    indices,
    values,
    weight,
    V,
    spread,
    prior,
    noise,
    U,
    out,
    squares,
):
    """Set the posterior of the rows u_i, given that of the columns v_j.

    The columns have means V_j and covariances `spread`_j, the rows the prior precision
    `prior`, and the errors of the entries y_e = u_i · v_j have variances noise /
    weight_e. The means go to U and the covariances to `out`; covariances are lower
    triangles. The expected squares of y_e − u_i · v_j go to `squares`.
    """
    k = V.shape[1]
    b = np.empty(k, dtype=V.dtype)
    for i in range(start, stop):
        A, u = out[i], U[i]
        b[:] = 0
        for c in range(k):
            for d in range(c + 1):
                A[c, d] = noise * prior[c, d]
        for e in range(indptr[i], indptr[i + 1]):
            v, S, w = V[indices[e]], spread[indices[e]], weight[e]
            _add_multiple(b, w * values[e], v)
            for c in range(k):
                factor = v[c]
                for d in range(c + 1):
                    A[c, d] += w * (factor * v[d] + S[c, d])
        _invert(A)
        u[:] = 0
        for c in range(k):
            u[c] += A[c, c] * b[c]
            for d in range(c):
                u[c] += A[c, d] * b[d]
                u[d] += A[c, d] * b[c]
        for c in range(k):
            for d in range(c + 1):
                A[c, d] *= noise
        for e in range(indptr[i], indptr[i + 1]):
            v, S = V[indices[e]], spread[indices[e]]
            error = values[e] - _dot(u, v)
            squares[e] = error * error + _form(S, u) + _form(A, v) + _product(S, A)


@jit
def _factor(A, ridge):
    """Replace a lower triangle by its Cholesky factor, after adding ridge · trace.

    A matrix of zeros becomes the unit matrix: a row whose columns are all zero is then
    zero too.
    """
    trace = A.dtype.type(0)
    for c in range(A.shape[0]):
        trace += A[c, c]
    added = ridge * trace if trace > 0 else A.dtype.type(1)
    for c in range(A.shape[0]):
        # pivots are at least what was added, but for rounding errors
        pivot = A[c, c] + added - _dot(A[c, :c], A[c, :c])
        A[c, c] = np.sqrt(max(pivot, added))
        for d in range(c + 1, A.shape[0]):
            A[d, c] = (A[d, c] - _dot(A[d, :c], A[c, :c])) / A[c, c]


@jit
def eliminated_rows(
    indptr, indices, values, root, V, ridge, U, residuals, system, gradient
):
    """Solve for the rows, and add up the least squares problem left for the columns.

    U_i minimises Σ_e w_e (values_e − U_i · V_j)² + ridge · trace · |U_i|², where trace
    is that of Σ_e w_e V_j V_jᵀ and `root` has √w. Residuals are times √w. The
    Gauss-Newton matrix of all V_j, with the rows eliminated, is added to the lower
    triangle of `system`, and minus half the gradient to `gradient`.
    """
    k = V.shape[1]
    longest = 0
    for i in range(len(indptr) - 1):
        longest = max(longest, indptr[i + 1] - indptr[i])
    buffer = np.empty((longest, k), dtype=V.dtype)
    A = np.empty((k, k), dtype=V.dtype)
    for i in range(len(indptr) - 1):
        first, end = indptr[i], indptr[i + 1]
        Q, u = buffer[: end - first], U[i]
        u[:] = 0
        if first == end:
            continue
        A[:] = 0
        for e in range(first, end):
            v, w = V[indices[e]], root[e] * root[e]
            for c in range(k):
                _add_multiple(A[c, : c + 1], w * v[c], v[: c + 1])
        _factor(A, ridge)
        for e in range(first, end):  # Q = √w V L⁻ᵀ, with orthonormal columns
            q, v = Q[e - first], V[indices[e]]
            for c in range(k):
                q[c] = (root[e] * v[c] - _dot(A[c, :c], q[:c])) / A[c, c]
            _add_multiple(u, root[e] * values[e], q)
        for e in range(first, end):
            residuals[e] = root[e] * values[e] - _dot(u, Q[e - first])
        for c in range(k - 1, -1, -1):  # u = L⁻ᵀ Qᵀ y
            u[c] /= A[c, c]
            _add_multiple(u[:c], -u[c], A[c, :c])
        for e in range(first, end):
            j, q = indices[e], Q[e - first]
            _add_multiple(gradient[j], root[e] * residuals[e], u)
            for f in range(first, e + 1):
                projection = -_dot(q, Q[f - first])
                if f == e:
                    projection += 1
                block = system[j * k : (j + 1) * k]
                _add_outer(block, indices[f] * k, root[e] * root[f] * projection, u)


@jit
def _add_outer(block, column, factor, u):
    """Add factor · u uᵀ to the columns from `column` on."""
    for c in range(u.size):
        _add_multiple(block[c, column : column + u.size], factor * u[c], u)
