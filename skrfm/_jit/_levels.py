"""Columns of categories, by a lookup for each pair of rows instead of one per level."""

from ._compile import jit


@jit
def add_level_distances(codes, powers, z_codes, z_powers, j0, out):
    """out_ij += the powers of rows i and j0 + j for each category they differ in.

    `codes` and `powers` are (b, categories), `z_codes` and `z_powers` the same of the
    other rows, transposed.
    """
    m = out.shape[1]
    zero = out.dtype.type(0)
    for i in range(out.shape[0]):
        row = out[i]
        for c in range(codes.shape[1]):
            code, power = codes[i, c], powers[i, c]
            others, their_powers = z_codes[c, j0 : j0 + m], z_powers[c, j0 : j0 + m]
            for j in range(m):
                row[j] += power + their_powers[j] if others[j] != code else zero


@jit
def subtract_level_sums(slope, codes, coef, out):
    """out_iol -= the sum of slope_ij coef_oj over the j that have a code l.

    `codes` is (categories, n), numbered through all categories, negative for none;
    `coef` is (c, n) and `out` (b, c, levels).
    """
    for i in range(slope.shape[0]):
        for c in range(codes.shape[0]):
            for o in range(coef.shape[0]):
                sums = out[i, o]
                for j in range(slope.shape[1]):
                    level = codes[c, j]
                    if level >= 0:
                        sums[level] -= slope[i, j] * coef[o, j]
