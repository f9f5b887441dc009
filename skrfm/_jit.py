"""Every Numba kernel: plain loops over one tile, released from the GIL.

The callers (`skrfm._backend`) cut the work into tiles that fit the cache and
share them out among threads; nothing here starts a thread or allocates more
than a row. All loops are written so that LLVM turns them into SIMD code, which
is why `exp` and `log` are polynomials: a call into libm would stop it.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

_EXACT = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
# sums may be reordered, which is what makes SIMD code of them
_OPTIONS = _EXACT | {"fastmath": {"contract", "nsz", "reassoc"}}


def jit(function):
    """Compile `function`, cached on disk wherever a cache can be written."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # a read-only install without a user cache
        return njit(**_OPTIONS)(function)


def _horner(coefficients):
    """Source-free polynomial evaluation: a jitted p(r) for fixed coefficients."""
    coefficients = tuple(coefficients)

    @njit(**_EXACT)
    def evaluate(r):
        p = r * coefficients[0]
        for c in coefficients[1:-1]:
            p = (p + c) * r
        return p + coefficients[-1]

    return evaluate


def _taylor_exp(degree, dtype):
    return [dtype(1 / math.factorial(i)) for i in range(degree, -1, -1)]


def _atanh_series(terms, dtype):
    return [dtype(2 / (2 * i + 1)) for i in range(terms - 1, -1, -1)]


def _make_exp(dtype, integer, degree, bias, mantissa, lowest):
    polynomial = _horner(_taylor_exp(degree, dtype))
    log2e, lowest = dtype(1 / math.log(2)), dtype(lowest)
    # ln 2 in two parts; the first has few bits, so n * high is exact
    high = dtype(0.693359375)
    low = dtype(-2.1219444005469057e-4)
    bias, mantissa, half = integer(bias), integer(mantissa), dtype(0.5)

    def exp(x):
        x = min(max(x, lowest), -lowest)
        n = np.floor(x * log2e + half)
        r = (x - n * high) - n * low
        bits = (integer(n) + bias) << mantissa
        return polynomial(r) * integer(bits).view(dtype)

    return exp


def _make_log(dtype, integer, terms, bias, mantissa):
    series = _horner(_atanh_series(terms, dtype))
    ln2, one, root2 = dtype(math.log(2)), dtype(1), dtype(math.sqrt(2))
    half = dtype(0.5)
    bias, mantissa = integer(bias), integer(mantissa)
    fraction = integer((1 << int(mantissa)) - 1)
    unit = integer(int(bias) << int(mantissa))

    def log(x):
        bits = dtype(x).view(integer)
        n = (bits >> mantissa) - bias
        m = integer((bits & fraction) | unit).view(dtype)
        large = m > root2
        m = m * half if large else m
        n = n + integer(1) if large else n
        t = (m - one) / (m + one)
        return dtype(n) * ln2 + t * series(t * t)

    return log


_EXP = {
    types.float32: _make_exp(np.float32, np.int32, 7, 127, 23, -87),
    types.float64: _make_exp(np.float64, np.int64, 13, 1023, 52, -708),
}
_LOG = {
    types.float32: _make_log(np.float32, np.int32, 5, 127, 23),
    types.float64: _make_log(np.float64, np.int64, 11, 1023, 52),
}


def exp(x):
    """exp(x), clipped where the result would leave the normal numbers."""


def log(x):
    """log(x) for a positive normal x."""


@overload(exp, jit_options=_EXACT)
def _overload_exp(x):
    return _EXP.get(x)


@overload(log, jit_options=_EXACT)
def _overload_log(x):
    return _LOG.get(x)


@jit
def power_of(x, exponent):
    """x**exponent for a positive x, in vectorisable code."""
    return exp(exponent * log(x))


@jit
def _value_row(u, profile, k):
    """Write k = exp(-(scale * u)**exponent)."""
    scale, exponent, _, _ = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    if exponent == 1:
        for j in range(u.size):
            k[j] = exp(-scale * u[j])
    elif exponent == u.dtype.type(0.5):
        for j in range(u.size):
            k[j] = exp(-np.sqrt(scale * u[j]))
    else:
        for j in range(u.size):
            positive = u[j] > zero
            v = power_of(scale * (u[j] if positive else one), exponent)
            k[j] = exp(-v) if positive else one


@jit
def _slope_row(u, k, profile, w):
    """Write w = -order * (scale * u)**exponent * k / u, u from `floor` up; 0 at 0."""
    scale, exponent, order, floor = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    if exponent == 1:
        for j in range(u.size):
            w[j] = -order * scale * k[j] if u[j] > zero else zero
    elif exponent == u.dtype.type(0.5) and floor == 0:
        for j in range(u.size):
            positive = u[j] > zero
            w[j] = -order * np.sqrt(scale / (u[j] if positive else one)) * k[j]
            w[j] = w[j] if positive else zero
    else:
        for j in range(u.size):
            positive = u[j] > zero
            x = max(u[j], floor) if positive else one
            w[j] = -order * power_of(scale * x, exponent) * k[j] / x
            w[j] = w[j] if positive else zero


@jit
def _square_distance_row(gram, t, z, t_norm, z_norm, nearness, u):
    """Squared distances of one row from inner products, near pairs anew."""
    zero = u.dtype.type(0)
    for j in range(u.size):
        s = t_norm + z_norm[j] - 2 * gram[j]
        u[j] = s if s > zero else zero
    near = 0
    for j in range(u.size):
        near += u[j] < nearness * (t_norm + z_norm[j])
    if near == 0:
        return
    for j in range(u.size):
        if u[j] < nearness * (t_norm + z_norm[j]):
            s = zero
            for c in range(t.size):
                difference = t[c] - z[j, c]
                s += difference * difference
            u[j] = s


@jit
def square_distances(gram, t, z, t_norm, z_norm, nearness):
    """Turn a tile of inner products into squared distances, in place.

    Rows are copied first, here and below: LLVM makes no SIMD code of a loop whose
    input and output may overlap.
    """
    row = np.empty(gram.shape[1], dtype=gram.dtype)
    for i in range(gram.shape[0]):
        row[:] = gram[i]
        _square_distance_row(row, t[i], z, t_norm[i], z_norm, nearness, gram[i])


@jit
def power_sums(t, z_columns, j0, p, out):
    """out_ij = sum over c of |t_ic - z_(j0+j)c|**p; z_columns is z transposed.

    Whole arrays with an offset come in, here and below, not slices of columns: a
    slice may or may not be contiguous, and each case would be compiled.
    """
    d, j1 = t.shape[1], j0 + out.shape[1]
    m = out.shape[1]
    tiny = np.finfo(out.dtype).tiny
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = 0
        if p == 1:
            for c in range(0, d - 3, 4):
                a0, a1, a2, a3 = t[i, c], t[i, c + 1], t[i, c + 2], t[i, c + 3]
                z0, z1 = z_columns[c, j0:j1], z_columns[c + 1, j0:j1]
                z2, z3 = z_columns[c + 2, j0:j1], z_columns[c + 3, j0:j1]
                for j in range(m):
                    first = abs(a0 - z0[j]) + abs(a1 - z1[j])
                    second = abs(a2 - z2[j]) + abs(a3 - z3[j])
                    row[j] += first + second
            for c in range(d - d % 4, d):
                a, zc = t[i, c], z_columns[c, j0:j1]
                for j in range(m):
                    row[j] += abs(a - zc[j])
        elif p == 2:
            for c in range(d):
                a, zc = t[i, c], z_columns[c, j0:j1]
                for j in range(m):
                    row[j] += (a - zc[j]) * (a - zc[j])
        elif p == 1.5:  # the default order of LpqLaplace needs no logarithm
            for c in range(d):
                a, zc = t[i, c], z_columns[c, j0:j1]
                for j in range(m):
                    delta = abs(a - zc[j])
                    row[j] += delta * np.sqrt(delta)
        else:
            for c in range(d):
                a, zc = t[i, c], z_columns[c, j0:j1]
                for j in range(m):
                    delta = abs(a - zc[j])
                    power = power_of(max(delta, tiny), p)
                    row[j] += power if delta > 0 else delta


@jit
def value_tile(u, profile):
    """Turn a tile of distance powers into kernel values, in place."""
    row = np.empty(u.shape[1], dtype=u.dtype)
    for i in range(u.shape[0]):
        row[:] = u[i]
        _value_row(row, profile, u[i])


@jit
def pack_tile(u, profile, packed, i0, j0, w):
    """Write kernel values below and slopes above the diagonal of `packed`.

    The tile holds the distance powers of rows i0… and columns j0…, j0 <= i0;
    `w` is scratch of the tile's shape. The diagonal itself is left alone.
    """
    rows, columns = u.shape
    k = np.empty(columns, dtype=u.dtype)
    for i in range(rows):
        _value_row(u[i], profile, k)
        _slope_row(u[i], k, profile, w[i])
        for j in range(min(columns, i0 + i - j0)):
            packed[i0 + i, j0 + j] = k[j]
    for j in range(columns):
        for i in range(max(0, j0 + j - i0 + 1), rows):
            packed[j0 + j, i0 + i] = w[i, j]


@jit
def pack_values(k, packed, i0, j0, upper):
    """Write a tile computed elsewhere below (or, transposed, above) the diagonal."""
    for i in range(k.shape[0]):
        for j in range(min(k.shape[1], i0 + i - j0)):
            if upper:
                packed[j0 + j, i0 + i] = k[i, j]
            else:
                packed[i0 + i, j0 + j] = k[i, j]


@jit
def slope_tile(packed, rows, j0, out):
    """out_ij = slope of the pair (rows_i, j0 + j), read from above the diagonal."""
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


@jit
def _signed_power_row(a, z, exponent, out):
    """out_j = |a - z_j|**exponent * sign(a - z_j), 0 where they are equal."""
    tiny = np.finfo(out.dtype).tiny
    zero, one = out.dtype.type(0), out.dtype.type(1)
    if exponent == 0:
        for j in range(z.size):
            positive = one if a > z[j] else zero
            negative = one if a < z[j] else zero
            out[j] = positive - negative
    elif exponent == 1:
        for j in range(z.size):
            out[j] = a - z[j]
    elif exponent == 0.5:
        for j in range(z.size):
            delta = a - z[j]
            root = np.sqrt(abs(delta))
            out[j] = root if delta > zero else -root
    else:
        for j in range(z.size):
            delta = a - z[j]
            power = power_of(max(abs(delta), tiny), exponent)
            power = power if abs(delta) > zero else zero
            out[j] = power if delta > zero else -power


@jit
def coordinate_gradients(t, z_columns, j0, slope, coef, p, gradients):
    """Add the gradients at the rows of t that come from one tile of columns.

    gradients_iol += sum_j slope_ij coef_oJ |δ|**(p-1) sign δ with J = j0 + j and
    δ = t_il - z_Jl; `coef` is (c, n), `z_columns` (d, n) and `gradients` (b, c, d).
    """
    outputs, m = coef.shape[0], slope.shape[1]
    weighted = np.empty((outputs, m), dtype=t.dtype)
    power = np.empty(m, dtype=t.dtype)
    exponent = p - t.dtype.type(1)
    for i in range(t.shape[0]):
        for o in range(outputs):
            for j in range(m):
                weighted[o, j] = slope[i, j] * coef[o, j0 + j]
        for c in range(t.shape[1]):
            _signed_power_row(t[i, c], z_columns[c, j0 : j0 + m], exponent, power)
            for o in range(outputs):
                row = weighted[o]
                total = t.dtype.type(0)
                for j in range(m):
                    total += row[j] * power[j]
                gradients[i, o, c] += total
