"""Kernels of wide networks of rectifiers: tiles of pairs, layer by layer.

The same recursion as in `skrfm.kernels`, a row of pairs at a time: om = 1 − cos and
op = 1 + cos of their angles, a and c their square norms. A network is a tuple (depth,
bent, straight, gain, square, tangent): a layer's F is gain times (bent times that of
the rectifier plus straight times that of the identity), `square` is that of the bias,
and `tangent` says whether values are of the NTK or of the NNGP kernel.
"""

import numpy as np

from ._compile import jit
from ._powers import asin_root

# cosines beyond this get their gaps from differences of unit vectors
_NEAR = 0.99
# angles below this are put into the series of what would cancel
_SMALL = 0.01


@jit
def _gap_rows(cos, u, v, om, op):
    """Fill om and op of the pairs of one row u with the rows of v."""
    one, half = om.dtype.type(1), om.dtype.type(0.5)
    near = 0
    for j in range(cos.size):
        om[j], op[j] = one - cos[j], one + cos[j]
        near += abs(cos[j]) > _NEAR
    for j in range(cos.size):
        if near == 0:
            break
        if abs(cos[j]) > _NEAR:
            sign = one if cos[j] > 0 else -one
            total = om.dtype.type(0)
            for k in range(u.size):
                difference = u[k] - sign * v[j, k]
                total += difference * difference
            if cos[j] > 0:
                om[j] = half * total
            else:
                op[j] = half * total
            near -= 1


@jit
def _cubic(angle, kind):
    """Return sin θ − θ cos θ for a small θ."""
    square = angle * angle
    series = square * (kind(1 / 30) - square * kind(1 / 840))
    return angle * square * (kind(1 / 3) - series)


@jit
def _layer(om, op, network, kind):
    """Return what a layer makes of an angle: F / (gain r), F_K / gain and its gap.

    Also bent times the sine over π, which the gradients take.
    """
    _, bent, straight, _, _, _ = network
    one, pi, small = kind(1), kind(np.pi), kind(_SMALL)
    bent, straight = kind(bent), kind(straight)
    forward = om <= op
    near = kind(2) * asin_root(kind(0.5) * (om if forward else op))
    theta = near if forward else pi - near
    rest = pi - near if forward else near
    cos = one - om if forward else op - one
    sin = np.sqrt(om * op)
    short = theta * cos - sin if theta >= small else -_cubic(theta, kind)
    long = rest * cos + sin if rest >= small else _cubic(rest, kind)
    part = bent / pi
    return (
        part * long + straight * cos,
        part * rest + straight,
        om * (bent + straight) + part * short,
        part * sin,
    )


@jit
def _next_gap(gap, a, c, square, kind):
    """Return 1 − (F + b²) / √((a + b²)(c + b²)) without cancellation."""
    inner = np.sqrt(a * c)
    outer = np.sqrt((a + square) * (c + square))
    uneven = np.sqrt(a) - np.sqrt(c)
    both = outer + inner + square
    return (square * uneven * uneven / both + inner * gap) / outer


@jit
def _start(om, op, a, c, K, T, kind):
    for j in range(om.size):
        r = np.sqrt(a * c[j])
        K[j] = r - r * om[j] if om[j] <= op[j] else r * op[j] - r
        T[j] = K[j]


@jit
def network_values(cos, u, v, a, c, network):
    """Turn a tile of cosines into kernel values, in place."""
    depth, _, _, gain, square, tangent = network
    kind, n = cos.dtype.type, cos.shape[1]
    gain, square = kind(gain), kind(square)
    room = np.empty((4, n), dtype=cos.dtype)
    om, op, K, T = room[0], room[1], room[2], room[3]
    for i in range(cos.shape[0]):
        _gap_rows(cos[i], u[i], v, om, op)
        b, d = a[i], c.copy()
        _start(om, op, b, d, K, T, kind)
        for _ in range(depth):
            for j in range(n):
                F, slope, gap, _ = _layer(om[j], op[j], network, kind)
                K[j] = gain * np.sqrt(b * d[j]) * F + square
                T[j] = K[j] + T[j] * (gain * slope)
                d[j] *= gain
                om[j] = gap
                if square > 0:
                    om[j] = _next_gap(gap, gain * b, d[j], square, kind)
                op[j] = kind(2) - om[j]
                d[j] += square
            b = gain * b + square
        for j in range(n):
            cos[i, j] = T[j] if tangent else K[j]


@jit
def network_gradients(cos, u, v, a, c, network, scale, W, D):
    """Turn cosines into kernel values, in place, and write W and D.

    The gradient is D t − W z; `scale` is that of t in the rows that u and v come from,
    squared.
    """
    depth, _, _, gain, square, tangent = network
    kind, n = cos.dtype.type, cos.shape[1]
    gain, square, scale = kind(gain), kind(square), kind(scale)
    zero, one, two = kind(0), kind(1), kind(2)
    least = np.sqrt(np.finfo(cos.dtype).eps)
    room = np.empty((8, n), dtype=cos.dtype)
    om, op, K, T = room[0], room[1], room[2], room[3]
    K_K, K_a, T_K, T_a = room[4], room[5], room[6], room[7]
    for i in range(cos.shape[0]):
        _gap_rows(cos[i], u[i], v, om, op)
        b, d, b_b = a[i], c.copy(), one
        _start(om, op, b, d, K, T, kind)
        K_K[:], T_K[:], K_a[:], T_a[:] = one, one, zero, zero
        for _ in range(depth):
            half = gain / (two * b) if b > 0 else zero
            for j in range(n):
                F, slope, gap, sine = _layer(om[j], op[j], network, kind)
                r, sin = np.sqrt(b * d[j]), np.sqrt(om[j] * op[j])
                cos_j = one - om[j] if om[j] <= op[j] else op[j] - one
                bounded = sin > least and r > 0
                turn = r * sin * sin if bounded else one
                second = gain * sine / turn if bounded else zero
                mixed = -r * cos_j * second / (two * b) if bounded else zero
                slope *= gain
                slope_K = second * K_K[j]
                slope_a = second * K_a[j] + mixed * b_b
                K_K[j] *= slope
                K_a[j] = slope * K_a[j] + half * r * sine * b_b
                T_K[j] = K_K[j] + T_K[j] * slope + T[j] * slope_K
                T_a[j] = K_a[j] + T_a[j] * slope + T[j] * slope_a
                K[j] = gain * r * F + square
                T[j] = K[j] + T[j] * slope
                d[j] *= gain
                om[j] = gap
                if square > 0:
                    om[j] = _next_gap(gap, gain * b, d[j], square, kind)
                op[j] = two - om[j]
                d[j] += square
            b = gain * b + square
            b_b *= gain
        for j in range(n):
            cos[i, j] = T[j] if tangent else K[j]
            W[i, j] = -scale * (T_K[j] if tangent else K_K[j])
            D[i, j] = two * scale * (T_a[j] if tangent else K_a[j])
