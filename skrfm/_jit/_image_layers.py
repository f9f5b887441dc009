"""Layers of convolutional kernels of many pairs of images, and their derivatives.

Pixels of equal position are compared. Arrays of pairs have the shape (rows, columns,
n_I, n_J), so that the innermost loops run over images. What they compute takes no
branches, so that LLVM makes SIMD code of it.
"""

import numpy as np

from ._angles import angle, relu_angle
from ._compile import jit, jit_helper

# Multiplications are faster than divisions.
_SHARE = 1 / np.pi
# The derivative of the angle has a pole where two patches have the same direction. The
# angle is rounding error below this, and the derivatives on both sides cancel.
_SAME_DIRECTION = 1e-6
# So much are cosines rounded, as sums of some hundred products: a smaller angle is 0,
# as it is between equal patches.
_ROUNDING = 4e-15


@jit
def mean_over_windows(x, first, size, wrap, row, out):
    """out[h, v] = the mean of x over the window of size × size at (h, v) + first.

    Pixels beyond the border are zeros, or with `wrap` those of the opposite side. The
    last axis holds pairs of images. `row` has the shape of x[0] and is overwritten.
    """
    height, width, n = x.shape
    factor = 1 / (size * size)
    for h in range(out.shape[0]):
        row[:] = 0
        for d in range(size):
            source = h + first + d
            if wrap:
                source %= height
            if 0 <= source < height:
                for v in range(width):
                    for j in range(n):
                        row[v, j] += x[source, v, j]
        for v in range(out.shape[1]):
            total = out[h, v]
            total[:] = 0
            for d in range(size):
                source = v + first + d
                if wrap:
                    source %= width
                if 0 <= source < width:
                    for j in range(n):
                        total[j] += row[source, j]
            for j in range(n):
                total[j] *= factor


@jit_helper
def _cosine_gap(cosine):
    """Return 1 − cosine, without rounding errors below 0, near 0 or above 2."""
    om = 1 - cosine
    return min(om, 2.0) if om > _ROUNDING else 0.0


@jit
def relu_values(S, T, roots, inverses):
    """Apply a ReLU in place to covariances S and tangent kernels T.

    The ReLU keeps the variances of the pixels. `roots` are their square roots, of
    shape (rows, columns, n_I) for the images I and (rows, columns, n_J) for the images
    J, and `inverses` those of the roots, or 0 where the variance is 0.
    """
    (a, c), (inverse_a, inverse_c) = roots, inverses
    for h in range(S.shape[0]):
        for v in range(S.shape[1]):
            others, inverse_others = c[h, v], inverse_c[h, v]
            for i in range(S.shape[2]):
                own, inverse = a[h, v, i], inverse_a[h, v, i]
                s, t = S[h, v, i], T[h, v, i]
                for j in range(S.shape[3]):
                    r, unit = own * others[j], inverse * inverse_others[j]
                    om = _cosine_gap(s[j] * unit)
                    om, slope = relu_angle(om)
                    s[j] = r * (1 - om)
                    t[j] *= slope if r > 0 else 0.0


@jit
def relu_derivatives(S, T, roots, inverses, dS, dT, da):
    """Pass derivatives back through a ReLU, in place.

    Parameters
    ----------
    S, T : arrays of shape (rows, columns, n_I, n_J)
        What the ReLU was applied to, where S was added to T before.
    roots, inverses : pairs of arrays
        As in `relu_values`.
    dS, dT, da : arrays of the shape of S
        Derivatives with respect to the results, and to the variances of the images I.
        They become those with respect to S, to T before the addition, and to the
        variances.
    """
    (a, c), (inverse_a, inverse_c) = roots, inverses
    for h in range(S.shape[0]):
        for v in range(S.shape[1]):
            others, inverse_others = c[h, v], inverse_c[h, v]
            for i in range(S.shape[2]):
                own, inverse = a[h, v, i], inverse_a[h, v, i]
                s, t = S[h, v, i], T[h, v, i]
                ds, dt, dv = dS[h, v, i], dT[h, v, i], da[h, v, i]
                half = inverse * inverse / 2
                for j in range(S.shape[3]):
                    r, unit = own * others[j], inverse * inverse_others[j]
                    om = _cosine_gap(s[j] * unit)
                    theta, sine = angle(om)
                    slope = (1 - theta * _SHARE) if r > 0 else 0.0
                    pole = 1 / sine if sine > _SAME_DIRECTION else 0.0
                    turn = dt[j] * t[j] * (pole * unit * _SHARE)
                    # the value is (S (π − θ) + r sin θ) / π
                    dv[j] += half * (ds[j] * r * sine * _SHARE - turn * s[j])
                    dt[j] *= slope
                    ds[j] = ds[j] * slope + turn + dt[j]
