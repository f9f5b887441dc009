"""Kernels of wide networks of ReLUs: loops over pairs of rows, layer by layer.

The recursion of `skrfm.kernels`, for one row and its pairs at a time: om = 1 − cos and
op = 1 + cos of their angles, and their squared norms a and c. A network is a tuple
(depth, relu_share, linear_share, gain, square, is_tangent). The dual activation F of a
layer is gain times (relu_share times that of a ReLU plus linear_share times that of the
identity), the squared bias is `square`, and values are those of the NTK if is_tangent,
else of the NNGP kernel.
"""

import numpy as np

from ._compile import inlined, jit, jit_helper
from ._powers import asin_root

# Cosines beyond this size get om or op from differences of unit vectors: 1 − cos would
# lose digits. The array code has the same bound.
_NEAR = 0.99
# Angles below this take the series of sin θ − θ cos θ, which cancels.
_SMALL = 0.01


@jit_helper
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


@jit_helper
def _cubic(angle, kind):
    """Return sin θ − θ cos θ for a small θ."""
    square = angle * angle
    series = square * (kind(1 / 30) - square * kind(1 / 840))
    return angle * square * (kind(1 / 3) - series)


@inlined
def _layer(om, op, network, kind):
    """Return F / (gain r), F_K / gain and 1 − cos after a layer.

    The fourth result is relu_share sin θ / π, which gradients need.
    """
    _, relu_share, linear_share, _, _, _ = network
    one, pi, small = kind(1), kind(np.pi), kind(_SMALL)
    relu_share, linear_share = kind(relu_share), kind(linear_share)
    is_acute = om <= op
    acute = kind(2) * asin_root(kind(0.5) * (om if is_acute else op))
    theta = acute if is_acute else pi - acute
    supplement = pi - acute if is_acute else acute
    cos = one - om if is_acute else op - one
    sin = np.sqrt(om * op)
    gap_term = theta * cos - sin if theta >= small else -_cubic(theta, kind)
    dual = supplement * cos + sin if supplement >= small else _cubic(supplement, kind)
    factor = relu_share / pi
    return (
        factor * dual + linear_share * cos,
        factor * supplement + linear_share,
        om * (relu_share + linear_share) + factor * gap_term,
        factor * sin,
    )


@jit_helper
def _gap_with_bias(gap, a, c, square, kind):
    """Return 1 − (F + b²) / √((a + b²)(c + b²)) without cancellation."""
    inner = np.sqrt(a * c)
    outer = np.sqrt((a + square) * (c + square))
    uneven = np.sqrt(a) - np.sqrt(c)
    both = outer + inner + square
    return (square * uneven * uneven / both + inner * gap) / outer


@jit_helper
def _input_layer(om, op, a, c, K, T, kind):
    """Fill K and T with the inner products of the inputs."""
    for j in range(om.size):
        r = np.sqrt(a * c[j])
        K[j] = r - r * om[j] if om[j] <= op[j] else r * op[j] - r
        T[j] = K[j]


@jit_helper
def _row_values(om, op, a, c, K, T, network):
    """Fill K and T with the kernels of a network, and overwrite om, op and c."""
    depth, _, _, gain, square, _ = network
    kind = om.dtype.type
    gain, square = kind(gain), kind(square)
    _input_layer(om, op, a, c, K, T, kind)
    for _ in range(depth):
        for j in range(om.size):
            F, slope, gap, _ = _layer(om[j], op[j], network, kind)
            K[j] = gain * np.sqrt(a * c[j]) * F + square
            T[j] = K[j] + T[j] * (gain * slope)
            c[j] *= gain
            om[j] = gap
            if square > 0:
                om[j] = _gap_with_bias(gap, gain * a, c[j], square, kind)
            op[j] = kind(2) - om[j]
            c[j] += square
        a = gain * a + square


@jit
def network_values(cos, u, v, a, c, network):
    """Turn a tile of cosines into kernel values, in place.

    The pairs are of rows with unit vectors u (m, d) and v (n, d) and squared norms a
    and c.
    """
    is_tangent = network[5]
    buffers = np.empty((4, cos.shape[1]), dtype=cos.dtype)
    om, op, K, T = buffers[0], buffers[1], buffers[2], buffers[3]
    for i in range(cos.shape[0]):
        _gap_rows(cos[i], u[i], v, om, op)
        _row_values(om, op, a[i], c.copy(), K, T, network)
        for j in range(cos.shape[1]):
            cos[i, j] = T[j] if is_tangent else K[j]


@jit_helper
def _cosine_row(om, op, c, K, T, network):
    """Turn cosines of unit vectors in om into kernel values in T, and in K."""
    square = network[4]
    kind = om.dtype.type
    one, total = kind(1), kind(1 + square)
    for j in range(om.size):
        cos = min(max(om[j], -one), one)
        om[j] = (one - cos) / total
        op[j] = kind(2) - om[j] if square > 0 else one + cos
        c[j] = total
    _row_values(om, op, total, c, K, T, network)


@jit
def cosine_values(cos, network):
    """Turn a matrix of cosines between unit vectors into kernel values, in place."""
    is_tangent = network[5]
    buffers = np.empty((5, cos.shape[1]), dtype=cos.dtype)
    om, op, c, K, T = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    for i in range(cos.shape[0]):
        for j in range(om.size):  # om[:] = cos[i] would compile code of error messages
            om[j] = cos[i, j]
        _cosine_row(om, op, c, K, T, network)
        for j in range(cos.shape[1]):
            cos[i, j] = T[j] if is_tangent else K[j]


@jit
def left_out_values(inner, columns, u, v, a, c, network, out):
    """Fill a kernel of vectors without one coordinate, the product of their norms kept.

    Element (i, j) is √(a_i c_j) times the tangent kernel of the cosine
    (inner[i, columns[j]] − u_i v_j) / √(a_i c_j), where u and v are the coordinates
    left out, and a and c the squared norms without them.
    """
    n = columns.size
    buffers = np.empty((6, n), dtype=inner.dtype)
    om, op, d, K, T = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    norms, zero = buffers[5], inner.dtype.type(0)
    for i in range(inner.shape[0]):
        for j in range(n):
            norms[j] = np.sqrt(a[i] * c[j])
            product = inner[i, columns[j]] - u[i] * v[j]
            om[j] = product / norms[j] if norms[j] > 0 else zero
        _cosine_row(om, op, d, K, T, network)
        for j in range(n):
            out[i, j] = norms[j] * T[j]


@jit
def network_gradients(cos, u, v, a, c, network, scale, W, D):
    """Turn a tile of cosines into kernel values, in place, and write W and D.

    The gradient is D t − W z. u and v are the unit vectors of rows that are t and z
    times √scale, and a and c their squared norms.
    """
    depth, _, _, gain, square, is_tangent = network
    kind, n = cos.dtype.type, cos.shape[1]
    gain, square, scale = kind(gain), kind(square), kind(scale)
    zero, one, two = kind(0), kind(1), kind(2)
    least = np.sqrt(np.finfo(cos.dtype).eps)
    buffers = np.empty((8, n), dtype=cos.dtype)
    om, op, K, T = buffers[0], buffers[1], buffers[2], buffers[3]
    K_K, K_a, T_K, T_a = buffers[4], buffers[5], buffers[6], buffers[7]
    for i in range(cos.shape[0]):
        _gap_rows(cos[i], u[i], v, om, op)
        b, d, b_b = a[i], c.copy(), one
        _input_layer(om, op, b, d, K, T, kind)
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
                    om[j] = _gap_with_bias(gap, gain * b, d[j], square, kind)
                op[j] = two - om[j]
                d[j] += square
            b = gain * b + square
            b_b *= gain
        for j in range(n):
            cos[i, j] = T[j] if is_tangent else K[j]
            W[i, j] = -scale * (T_K[j] if is_tangent else K_K[j])
            D[i, j] = two * scale * (T_a[j] if is_tangent else K_a[j])
