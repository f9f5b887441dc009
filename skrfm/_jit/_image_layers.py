"""Layers of convolutional kernels of many pairs of images, and their derivatives.

Pixels of equal position are compared. Arrays of pairs have the shape (rows, columns,
n_I, n_J), so that the innermost loops run over images. What they compute takes no
branches, so that LLVM makes SIMD code of it.
"""

import numpy as np

from ._compile import jit, jit_helper

# Angles below this take the series of θ cos θ − sin θ, which cancels.
_SMALL = 0.01
# Multiplications are faster than divisions.
_HALF_TURN, _SHARE, _THIRD, _THIRTIETH = np.pi / 2, 1 / np.pi, 1 / 3, 1 / 30
# The derivative of the angle has a pole where two patches have the same direction. The
# angle is rounding error below this, and the derivatives on both sides cancel.
_SAME_DIRECTION = 1e-6
# So much are cosines rounded, as sums of some hundred products: a smaller angle is 0,
# as it is between equal patches.
_ROUNDING = 4e-15
# Coefficients of asin(√z) / √z for z up to 1/4, interpolated at Chebyshev nodes: the
# error is 2e-17. SIMD code has no arcsine of its own.
_ASIN = (
    1.0,
    0.16666666666664942,
    0.07500000000385201,
    0.044642856805998936,
    0.03038195969768514,
    0.022371749733164054,
    0.01735977964134998,
    0.01388484282640208,
    0.012170138592391726,
    0.0065293020047365695,
    0.019513468251252167,
    -0.016187392271599134,
    0.03187962140081284,
)
_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8, _A9, _A10, _A11, _A12 = _ASIN


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
def _angle(om):
    """Return the angle θ and sin θ, given om = 1 − cos θ from 0 to 2."""
    cosine = 1 - om
    near = om if om < 1 else 2 - om  # 1 − abs(cos θ)
    middle = near > 0.5
    z = cosine * cosine if middle else near / 2
    high = _A7 + z * (_A8 + z * (_A9 + z * (_A10 + z * (_A11 + z * _A12))))
    series = _A2 + z * (_A3 + z * (_A4 + z * (_A5 + z * (_A6 + z * high))))
    root = cosine if middle else np.sqrt(z)
    arcsine = root * (_A0 + z * (_A1 + z * series))
    turned = 2 * arcsine if om < 1 else 2 * _HALF_TURN - 2 * arcsine
    theta = _HALF_TURN - arcsine if middle else turned
    return theta, np.sqrt(om * (2 - om))


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
                    theta, sine = _angle(om)
                    cube = theta * theta * theta
                    series = cube * (theta * theta * _THIRTIETH - _THIRD)
                    bend = theta * (1 - om) - sine
                    bend = series if theta < _SMALL else bend
                    s[j] = r * (1 - om - bend * _SHARE)
                    t[j] *= (1 - theta * _SHARE) if r > 0 else 0.0


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
                    theta, sine = _angle(om)
                    slope = (1 - theta * _SHARE) if r > 0 else 0.0
                    pole = 1 / sine if sine > _SAME_DIRECTION else 0.0
                    turn = dt[j] * t[j] * (pole * unit * _SHARE)
                    # the value is (S (π − θ) + r sin θ) / π
                    dv[j] += half * (ds[j] * r * sine * _SHARE - turn * s[j])
                    dt[j] *= slope
                    ds[j] = ds[j] * slope + turn + dt[j]
