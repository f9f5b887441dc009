"""Loops over the categories of pairs of rows: a lookup replaces a column per level."""

from ._compile import jit


@jit
def add_level_distances(codes, powers, z_codes, z_powers, j0, out):
    """out_ij += powers_i + z_powers_(j0+j), for each category that the rows differ in.

    `codes` and `powers` are (b, n_categories); `z_codes` and `z_powers`, of the other
    rows, are (n_categories, n).
    """
    m = out.shape[1]
    zero = out.dtype.type(0)
    for i in range(out.shape[0]):
        row = out[i]
        for c in range(codes.shape[1]):
            code, power = codes[i, c], powers[i, c]
            z_code, z_power = z_codes[c, j0 : j0 + m], z_powers[c, j0 : j0 + m]
            for j in range(m):
                row[j] += power + z_power[j] if z_code[j] != code else zero


@jit
def subtract_level_sums(slope, codes, coef, out):
    """out_iol -= the sum of slope_ij coef_oj over the rows j that have level l.

    `codes` is (n_categories, n): levels are numbered through all categories, and
    negative for none. `coef` is (c, n) and `out` (b, c, n_levels).
    """
    for i in range(slope.shape[0]):
        for c in range(codes.shape[0]):
            for o in range(coef.shape[0]):
                sums = out[i, o]
                for j in range(slope.shape[1]):
                    level = codes[c, j]
                    if level >= 0:
                        sums[level] -= slope[i, j] * coef[o, j]
