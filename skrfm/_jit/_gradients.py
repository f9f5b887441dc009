"""Gradients of kernels of the L1 and Lp distances, coordinate by coordinate."""

import numpy as np

from ._compile import jit
from ._powers import power_of

# columns that are taken at a time
_COLUMNS = 256


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
    elif exponent == 0.25:
        for j in range(z.size):
            delta = a - z[j]
            root = np.sqrt(np.sqrt(abs(delta)))
            out[j] = root if delta > zero else -root
    elif exponent == 0.5:
        for j in range(z.size):
            delta = a - z[j]
            root = np.sqrt(abs(delta))
            out[j] = root if delta > zero else -root
    elif exponent == 0.75:
        for j in range(z.size):
            delta = a - z[j]
            root = np.sqrt(abs(delta))
            root *= np.sqrt(root)
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


@jit
def pair_gradients(packed, z_columns, i0, i1, coef, p, gradients):
    """Add the gradients at both rows of the pairs (i, j), i0 <= i < i1 and j > i.

    Their slopes are above the diagonal of `packed`. The powers of a pair, which take
    most of the time, serve both rows: of the one with the other sign. `coef` is (c, n),
    `gradients` (c, d, n).
    """
    (d, n), outputs = z_columns.shape, coef.shape[0]
    exponent = p - packed.dtype.type(1)
    theirs = np.empty((outputs, _COLUMNS), dtype=packed.dtype)
    own = np.empty((outputs, _COLUMNS), dtype=packed.dtype)
    power = np.empty(_COLUMNS, dtype=packed.dtype)
    for i in range(i0, i1):
        for j0 in range(i + 1, n, _COLUMNS):
            m = min(_COLUMNS, n - j0)
            for o in range(outputs):
                for j in range(m):
                    slope = packed[i, j0 + j]
                    theirs[o, j] = slope * coef[o, j0 + j]
                    own[o, j] = slope * coef[o, i]
            for c in range(d):
                row = z_columns[c, j0 : j0 + m]
                _signed_power_row(z_columns[c, i], row, exponent, power)
                for o in range(outputs):
                    added = gradients[o, c, j0 : j0 + m]
                    total = packed.dtype.type(0)
                    for j in range(m):
                        total += theirs[o, j] * power[j]
                        added[j] -= own[o, j] * power[j]
                    gradients[o, c, i] += total
