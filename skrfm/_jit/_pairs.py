"""Tiles of pairs of rows: distances, kernel values, slopes and gradients."""

import numpy as np

from ._compile import jit
from ._powers import LOG2E, exp2, power_of


@jit
def _value_row(u, profile):
    """Turn u into exp(-(scale * u)**exponent), in place."""
    scale, exponent, _, _ = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    log2e = u.dtype.type(LOG2E)
    if exponent == 1:
        for j in range(u.size):
            u[j] = exp2(-(scale * log2e) * u[j])
    elif exponent == u.dtype.type(0.5):
        for j in range(u.size):
            u[j] = exp2(-np.sqrt((scale * log2e * log2e) * u[j]))
    else:
        for j in range(u.size):
            positive = u[j] > zero
            v = power_of(scale * (u[j] if positive else one), exponent)
            u[j] = exp2(-log2e * v) if positive else one


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
def _square_distance_row(u, t_norm, z_norm, nearness):
    """Turn inner products into squared distances; return how many pairs are near."""
    zero, near = u.dtype.type(0), 0
    for j in range(u.size):
        both = t_norm + z_norm[j]
        s = both - (u[j] + u[j])  # 2 * u[j] would be in float64
        near += s < nearness * both
        u[j] = s if s > zero else zero
    return near


@jit
def _near_distances(u, t, z, t_norm, z_norm, nearness, near):
    """Compute the squared distances of the near pairs anew, from differences."""
    for j in range(u.size):
        if near == 0:
            break
        if u[j] < nearness * (t_norm + z_norm[j]):
            s = u.dtype.type(0)
            for c in range(t.size):
                difference = t[c] - z[j, c]
                s += difference * difference
            u[j] = s
            near -= 1


@jit
def square_distances(u, t, z, t_norm, z_norm, nearness):
    """Turn a tile of inner products into squared distances, in place."""
    for i in range(u.shape[0]):
        near = _square_distance_row(u[i], t_norm[i], z_norm, nearness)
        _near_distances(u[i], t[i], z, t_norm[i], z_norm, nearness, near)


@jit
def _add_powers(a, z, p, out):
    """Add |a - z_j|**p; multiples of 1/4 need no logarithm."""
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

    Whole arrays with an offset come in, here and below, not slices of columns: a
    slice may or may not be contiguous, and each case would be compiled.
    """
    d, j1 = t.shape[1], j0 + out.shape[1]
    m = out.shape[1]
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
        else:
            for c in range(d):
                _add_powers(t[i, c], z_columns[c, j0:j1], p, row)


@jit
def value_tile(u, profile):
    """Turn a tile of distance powers into kernel values, in place."""
    for i in range(u.shape[0]):
        _value_row(u[i], profile)


@jit
def slopes_of_powers(u, profile):
    """Turn a tile of distance powers into slopes, in place."""
    k, w = np.empty_like(u[0]), np.empty_like(u[0])
    for i in range(u.shape[0]):
        k[:] = u[i]
        _value_row(k, profile)
        _slope_row(u[i], k, profile, w)
        u[i] = w


@jit
def pack_tile(u, profile, packed, i0, j0, w):
    """Write kernel values below and slopes above the diagonal of `packed`.

    The tile holds the distance powers of rows i0… and columns j0…, j0 <= i0;
    `w` is scratch of the tile's shape. The diagonal itself is left alone.
    """
    rows, columns = u.shape
    k = np.empty(columns, dtype=u.dtype)
    for i in range(rows):
        k[:] = u[i]
        _value_row(k, profile)
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
