"""Loops over rows and pairs of rows: maps, distances, kernel values, gradients.

A tile is a rectangular part of the matrix of all pairs, small enough for the cache. A
packed matrix is a square buffer with kernel values below its diagonal and their slopes
above it.
"""

import numpy as np

from ._compile import jit, jit_helper
from ._powers import LOG2E, exp2, power_of

# Rows of a packed matrix that share the loads of V in a product, and the columns of
# these loads: together they fit the first-level cache.
PRODUCT_ROWS, PRODUCT_COLUMNS = 32, 1024
# Columns that the gradients of one row take at a time: the length of their buffers.
GRADIENT_COLUMNS = 256
# Rows that share the loads of a matrix by which they are mapped.
_MAPPED_ROWS = 8


# -- rows -----------------------------------------------------------------------------


@jit
def mapped_rows(X, A, out):
    """Compute out = X @ A, for each row in the same order of operations.

    BLAS rounds a row differently depending on its place and on the number of rows, and
    a sharp kernel sees two rows there.
    """
    n, d = X.shape
    whole = d - d % 4
    for first in range(0, n, _MAPPED_ROWS):
        last = min(first + _MAPPED_ROWS, n)
        for i in range(first, last):
            for c in range(A.shape[1]):
                out[i, c] = 0
        for j in range(0, whole, 4):
            for i in range(first, last):
                x0, x1, x2, x3 = X[i, j], X[i, j + 1], X[i, j + 2], X[i, j + 3]
                for c in range(A.shape[1]):
                    total = out[i, c] + x0 * A[j, c] + x1 * A[j + 1, c]
                    out[i, c] = total + x2 * A[j + 2, c] + x3 * A[j + 3, c]
        for j in range(whole, d):
            for i in range(first, last):
                for c in range(A.shape[1]):
                    out[i, c] += X[i, j] * A[j, c]


# -- distances ------------------------------------------------------------------------


@jit
def squared_distances(u, t, z, t_norm, z_norm, nearness):
    """Turn a tile of inner products into squared distances, in place.

    Those of near pairs are computed again, from differences of the rows.
    """
    zero = u.dtype.type(0)
    for i in range(u.shape[0]):
        row, a, near = u[i], t[i], 0
        for j in range(row.size):
            both = t_norm[i] + z_norm[j]
            s = both - (row[j] + row[j])  # 2 * row[j] would be in float64
            near += s < nearness * both
            row[j] = s if s > zero else zero
        for j in range(row.size):
            if near == 0:
                break
            if row[j] < nearness * (t_norm[i] + z_norm[j]):
                s = zero
                for c in range(a.size):
                    difference = a[c] - z[j, c]
                    s += difference * difference
                row[j] = s
                near -= 1


@jit_helper
def _add_powers(a, z, p, out):
    """Add |a - z_j|**p to out_j; multiples of 1/4 need no logarithm."""
    tiny = np.finfo(out.dtype).tiny
    if p == 2:
        for j in range(z.size):
            out[j] += (a - z[j]) * (a - z[j])
    elif p == 1.25:
        for j in range(z.size):
            delta = abs(a - z[j])
            out[j] += delta * np.sqrt(np.sqrt(delta))
    elif p == 1.5:
        for j in range(z.size):
            delta = abs(a - z[j])
            out[j] += delta * np.sqrt(delta)
    elif p == 1.75:
        for j in range(z.size):
            delta = abs(a - z[j])
            root = np.sqrt(delta)
            out[j] += delta * (root * np.sqrt(root))
    else:
        for j in range(z.size):
            delta = abs(a - z[j])
            power = power_of(max(delta, tiny), p)
            out[j] += power if delta > 0 else delta


@jit
def power_sums(t, z_columns, j0, p, out):
    """out_ij = sum over c of |t_ic - z_(j0+j)c|**p; z_columns is z transposed.

    Arguments here and below are whole arrays and an offset, not slices of columns: a
    slice may or may not be contiguous, and Numba would compile each case. `p` is None
    for 1, here and below: Numba then leaves out the code of powers, which takes longest
    to compile.
    """
    d, j1 = t.shape[1], j0 + out.shape[1]
    whole = d - d % 4 if p is None else 0
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = 0
        for c in range(0, whole, 4):
            a0, a1, a2, a3 = t[i, c], t[i, c + 1], t[i, c + 2], t[i, c + 3]
            z0, z1 = z_columns[c, j0:j1], z_columns[c + 1, j0:j1]
            z2, z3 = z_columns[c + 2, j0:j1], z_columns[c + 3, j0:j1]
            for j in range(row.size):
                first = abs(a0 - z0[j]) + abs(a1 - z1[j])
                second = abs(a2 - z2[j]) + abs(a3 - z3[j])
                row[j] += first + second
        for c in range(whole, d):
            a, z = t[i, c], z_columns[c, j0:j1]
            if p is None:
                for j in range(row.size):
                    row[j] += abs(a - z[j])
            else:
                _add_powers(a, z, p, row)


# -- kernel values and slopes ---------------------------------------------------------

# A profile is (scale, exponent, order, floor). Of a distance power u the value k is
# exp(-(scale * u)**exponent); the slope is -order * (scale * x)**exponent * k / x with
# x = max(u, floor), and 0 where u is 0.
# Exponents 1 and 1/2 need no logarithm, and have no floor. The code for others takes as
# long to compile, so it is compiled when a kernel first needs it: `power` is None where
# the exponent is one of the two, else the exponent, and Numba leaves out the branches
# that a None rules out.


@jit
def values_of_powers(u, profile, power):
    """Turn distance powers (m,) into kernel values, in place."""
    scale, exponent, _, _ = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    log2e = u.dtype.type(LOG2E)
    if power is not None:
        for j in range(u.size):
            positive = u[j] > zero
            v = power_of(scale * (u[j] if positive else one), power)
            u[j] = exp2(-log2e * v) if positive else one
    elif exponent == 1:
        for j in range(u.size):
            u[j] = exp2(-(scale * log2e) * u[j])
    else:
        for j in range(u.size):
            u[j] = exp2(-np.sqrt((scale * log2e * log2e) * u[j]))


@jit
def values_and_slopes(u, profile, power, w):
    """Turn distance powers (m,) into kernel values, in place, and write slopes w."""
    scale, exponent, order, floor = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    log2e = u.dtype.type(LOG2E)
    if power is not None:
        bound = -order * power_of(scale * floor, power) / floor if floor > 0 else zero
        for j in range(u.size):
            positive = u[j] > zero
            x = u[j] if positive else one
            v = power_of(scale * x, power)
            k = exp2(-log2e * v) if positive else one
            slope = -order * v / x if x >= floor else bound
            w[j] = slope * k if positive else zero
            u[j] = k
    elif exponent == 1:
        for j in range(u.size):
            k = exp2(-(scale * log2e) * u[j])
            w[j] = -order * scale * k if u[j] > zero else zero
            u[j] = k
    else:
        for j in range(u.size):
            positive = u[j] > zero
            k = exp2(-np.sqrt((scale * log2e * log2e) * u[j]))
            w[j] = -order * np.sqrt(scale / (u[j] if positive else one)) * k
            w[j] = w[j] if positive else zero
            u[j] = k


# -- packed matrices ------------------------------------------------------------------


@jit
def unpack_slopes(packed, rows, j0, out):
    """out_ij = slope of the pair (rows_i, j0 + j), read above the diagonal."""
    for i in range(out.shape[0]):
        r = rows[i]
        for j in range(out.shape[1]):
            c = j0 + j
            if c > r:
                out[i, j] = packed[r, c]
            elif c < r:
                out[i, j] = packed[c, r]
            else:
                out[i, j] = 0


@jit_helper
def _add_row_product(a, i, j0, j1, V, out):
    """Add both products of the pairs (i, j), j0 <= j < j1, of values a to `out`."""
    for c in range(V.shape[0]):
        v, other, own = V[c, j0:j1], out[c, j0:j1], V[c, i]
        total = a.dtype.type(0)
        for j in range(a.size):
            total += a[j] * v[j]
            other[j] += a[j] * own
        out[c, i] += total


@jit_helper
def _add_four_row_products(a, i, j0, j1, V, out):
    """Do the same for rows i to i + 3, with half the loads and stores a row."""
    a0, a1, a2, a3 = a
    for c in range(V.shape[0]):
        v, other = V[c, j0:j1], out[c, j0:j1]
        v0, v1, v2, v3 = V[c, i], V[c, i + 1], V[c, i + 2], V[c, i + 3]
        t0 = t1 = t2 = t3 = a0.dtype.type(0)
        for j in range(v.size):
            t0 += a0[j] * v[j]
            t1 += a1[j] * v[j]
            t2 += a2[j] * v[j]
            t3 += a3[j] * v[j]
            other[j] += (a0[j] * v0 + a1[j] * v1) + (a2[j] * v2 + a3[j] * v3)
        out[c, i] += t0
        out[c, i + 1] += t1
        out[c, i + 2] += t2
        out[c, i + 3] += t3


@jit_helper
def _four(A, i, j0, j1):
    """Return columns j0 to j1 of four rows from i on."""
    return A[i, j0:j1], A[i + 1, j0:j1], A[i + 2, j0:j1], A[i + 3, j0:j1]


@jit
def triangle_product(packed, upper, V, rows):
    """Return the share of V @ A that the rows of a range have, for a symmetric A.

    A is in the upper triangle of `packed` if `upper`, else in the lower one; each
    entry counts for (i, j) and (j, i), and the diagonal is left out. `V` is (c, n).
    BLAS packs the matrix anew for each product, which takes longer than a product with
    few columns.
    """
    (i0, i1), n = rows, packed.shape[0]
    out = np.zeros_like(V)
    for b0 in range(i0, i1, PRODUCT_ROWS):
        b1 = min(b0 + PRODUCT_ROWS, i1)
        whole = b1 - (b1 - b0) % 4
        low, high = (b1, n) if upper else (0, b0)
        for j0 in range(low, high, PRODUCT_COLUMNS):
            j1 = min(j0 + PRODUCT_COLUMNS, high)
            for i in range(b0, whole, 4):
                _add_four_row_products(_four(packed, i, j0, j1), i, j0, j1, V, out)
            for i in range(whole, b1):
                _add_row_product(packed[i, j0:j1], i, j0, j1, V, out)
        for i in range(b0, b1):
            j0, j1 = (i + 1, b1) if upper else (b0, i)
            _add_row_product(packed[i, j0:j1], i, j0, j1, V, out)
    return out


@jit
def strip_product(strip, i0, V, out):
    """Add the share of V @ A that the rows from i0 on have to `out`, both (c, n).

    `strip` holds these rows of the lower triangle of A, from the first column on; each
    entry counts for (i, j) and (j, i), and all that are not below the diagonal are
    zeros.
    """
    rows, columns = strip.shape
    for b0 in range(0, rows, PRODUCT_ROWS):
        b1 = min(b0 + PRODUCT_ROWS, rows)
        whole = b1 - (b1 - b0) % 4
        for j0 in range(0, columns, PRODUCT_COLUMNS):
            j1 = min(j0 + PRODUCT_COLUMNS, columns)
            for i in range(b0, whole, 4):
                four = _four(strip, i, j0, j1)
                _add_four_row_products(four, i0 + i, j0, j1, V, out)
            for i in range(whole, b1):
                _add_row_product(strip[i, j0:j1], i0 + i, j0, j1, V, out)


# -- gradients of kernels of the L1 and Lp distances ----------------------------------


@jit_helper
def _weighted_signs(a, z, weight, out):
    """out_j = weight_j sign(a - z_j)."""
    zero = out.dtype.type(0)
    for j in range(z.size):
        positive = weight[j] if a > z[j] else zero
        negative = weight[j] if a < z[j] else zero
        out[j] = positive - negative


@jit_helper
def _weighted_powers(a, z, p, weight, out):
    """out_j = weight_j |a - z_j|**(p - 1) sign(a - z_j), 0 where they are equal."""
    tiny = np.finfo(out.dtype).tiny
    zero, exponent = out.dtype.type(0), p - out.dtype.type(1)
    if exponent == 1:
        for j in range(z.size):
            out[j] = weight[j] * (a - z[j])
    elif exponent == 0.25:
        for j in range(z.size):
            delta = a - z[j]
            power = weight[j] * np.sqrt(np.sqrt(abs(delta)))
            out[j] = power if delta > zero else -power
    elif exponent == 0.5:
        for j in range(z.size):
            delta = a - z[j]
            power = weight[j] * np.sqrt(abs(delta))
            out[j] = power if delta > zero else -power
    elif exponent == 0.75:
        for j in range(z.size):
            delta = a - z[j]
            root = np.sqrt(abs(delta))
            power = weight[j] * (root * np.sqrt(root))
            out[j] = power if delta > zero else -power
    else:
        for j in range(z.size):
            delta = a - z[j]
            power = weight[j] * power_of(max(abs(delta), tiny), exponent)
            power = power if abs(delta) > zero else zero
            out[j] = power if delta > zero else -power


@jit
def coordinate_gradients(t, z_columns, j0, slope, coef, p, gradients):
    """Add the share of one tile to the gradients at its rows.

    gradients_iol += sum_j slope_ij coef_oJ |δ|**(p-1) sign δ with J = j0 + j and
    δ = t_il - z_Jl; `coef` is (c, n), `z_columns` (d, n) and `gradients` (b, c, d).
    """
    j1 = j0 + slope.shape[1]
    weights = np.empty(slope.shape[1], dtype=t.dtype)
    for i in range(t.shape[0]):
        for c in range(t.shape[1]):
            row = z_columns[c, j0:j1]
            if p is None:
                _weighted_signs(t[i, c], row, slope[i], weights)
            else:
                _weighted_powers(t[i, c], row, p, slope[i], weights)
            for o in range(coef.shape[0]):
                theirs = coef[o, j0:j1]
                total = t.dtype.type(0)
                for j in range(theirs.size):
                    total += weights[j] * theirs[j]
                gradients[i, o, c] += total


@jit_helper
def _sign_row(a, b, out):
    """out_j = sign(a_j - b_j)."""
    one, zero = out.dtype.type(1), out.dtype.type(0)
    for j in range(a.size):
        positive = one if a[j] > b[j] else zero
        negative = one if a[j] < b[j] else zero
        out[j] = positive - negative


@jit
def wide_sign_gradients(t, z, slope, coef, gradients):
    """Do the same for p = 1 and all rows `z` (n, d), where these are few and long.

    Loops run over columns: sums over few rows are too short to be fast.
    """
    outputs, n = coef.shape
    weighted = np.zeros((outputs, n + 1), dtype=t.dtype)
    first = np.empty(GRADIENT_COLUMNS, dtype=t.dtype)
    second = np.empty(GRADIENT_COLUMNS, dtype=t.dtype)
    for c0 in range(0, t.shape[1], GRADIENT_COLUMNS):
        c1 = min(c0 + GRADIENT_COLUMNS, t.shape[1])
        for i in range(t.shape[0]):
            for o in range(outputs):
                for j in range(n):
                    weighted[o, j] = slope[i, j] * coef[o, j]
            for j in range(0, n, 2):  # two rows share the loads of a sum
                _sign_row(t[i, c0:c1], z[j, c0:c1], first)
                _sign_row(t[i, c0:c1], z[min(j + 1, n - 1), c0:c1], second)
                for o in range(outputs):
                    w0, w1 = weighted[o, j], weighted[o, j + 1]
                    row = gradients[i, o, c0:c1]
                    for c in range(row.size):
                        row[c] += w0 * first[c] + w1 * second[c]


@jit
def pair_gradients(packed, z_columns, i0, i1, coef, p, weights, gradients):
    """Add the shares of the pairs (i, j), i0 <= i < i1 and j > i, at both rows.

    Slopes are read from above the diagonal of `packed`. The powers of a pair, which
    take most of the time, serve both rows, with opposite signs. `coef` is (c, n),
    `gradients` (c, d, n); `weights` is scratch memory of GRADIENT_COLUMNS.
    """
    d, n = z_columns.shape
    for i in range(i0, i1):
        for j0 in range(i + 1, n, GRADIENT_COLUMNS):
            j1 = min(j0 + GRADIENT_COLUMNS, n)
            slope = packed[i, j0:j1]
            for c in range(d):
                row = z_columns[c, j0:j1]
                if p is None:
                    _weighted_signs(z_columns[c, i], row, slope, weights)
                else:
                    _weighted_powers(z_columns[c, i], row, p, slope, weights)
                for o in range(coef.shape[0]):
                    theirs, added = coef[o, j0:j1], gradients[o, c, j0:j1]
                    own, total = coef[o, i], packed.dtype.type(0)
                    for j in range(theirs.size):
                        total += weights[j] * theirs[j]
                        added[j] -= weights[j] * own
                    gradients[o, c, i] += total
