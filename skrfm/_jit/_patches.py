"""Layers of convolutional kernels: windows of covariances, and the ReLU.

Covariances of the pixels of one image with those of other images have the shape
(n_others, rows, rows', columns, columns'), where the primed axes belong to the others.
If only pixels at equal positions are compared, the primed axes have length 1.
"""

import numpy as np

from ._compile import jit

# Angles below this take the series of θ cos θ − sin θ, which cancels.
_SMALL = 0.01


@jit
def row_windows(x, left, right, out):
    """out[j, p, q] = Σ_d x[j, left[p, d], right[q, d]]."""
    for j in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                total = out[j, p, q]
                total[:] = 0
                for d in range(left.shape[1]):
                    source = x[j, left[p, d], right[q, d]]
                    for v in range(total.shape[0]):
                        for w in range(total.shape[1]):
                            total[v, w] += source[v, w]


@jit
def column_windows(x, left, right, factor, out):
    """Do the same along the last two axes, and multiply by a factor."""
    for j in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                source, total = x[j, p, q], out[j, p, q]
                for v in range(total.shape[0]):
                    for w in range(total.shape[1]):
                        value = x.dtype.type(0)
                        for d in range(left.shape[1]):
                            value += source[left[v, d], right[w, d]]
                        total[v, w] = factor * value


@jit
def relu_angle(om):
    """Return 1 − cos after a ReLU, and its derivative, given om = 1 − cos before it.

    With θ the angle they are om + (θ cos θ − sin θ) / π and (π − θ) / π. Both are as
    accurate near θ = 0 as `om` is.
    """
    om = min(max(om, 0.0), 2.0)
    cosine, sine = 1 - om, np.sqrt(om * (2 - om))
    theta = np.arctan2(sine, cosine)
    if theta < _SMALL:
        bend = theta**3 * (theta**2 / 30 - 1 / 3)
    else:
        bend = theta * cosine - sine
    return om + bend / np.pi, 1 - theta / np.pi


@jit
def relu_layer(gap, tangent, a, c):
    """Apply a ReLU in place, given the variances a and c of the pixels.

    `gap` is (a + c) / 2 minus the covariance, which keeps its digits where pixels are
    nearly equal. The covariance before the ReLU, the share of the weights below it, is
    added to `tangent` first.
    """
    for index in np.ndindex(gap.shape):
        x, z = a[index], c[index]
        r = np.sqrt(x * z)
        apart = (np.sqrt(x) - np.sqrt(z)) ** 2 / 2
        if r == 0:
            gap[index], tangent[index] = apart, 0
            continue
        covariance = (x + z) / 2 - gap[index]
        om, slope = relu_angle((gap[index] - apart) / r)
        gap[index] = apart + r * om
        tangent[index] = (tangent[index] + covariance) * slope


@jit
def relu_phases(start, stop, K, T, variance):
    """Apply a ReLU in place to kernels by phase and offset, phases start to stop − 1.

    K[p, q, i, j] compares a pixel of phase (p, q) with the pixel at offset (i, j).
    """
    rows, columns = variance.shape
    for p in range(start, stop):
        for q in range(columns):
            for i in range(K.shape[2]):
                others = variance[(p + i) % rows]
                for j in range(K.shape[3]):
                    r = np.sqrt(variance[p, q] * others[(q + j) % columns])
                    om = 1 - K[p, q, i, j] / r
                    if i == 0 and j == 0:  # rounding would cost half the digits
                        om = 0.0
                    om, slope = relu_angle(om)
                    K[p, q, i, j] = r * (1 - om)
                    T[p, q, i, j] *= slope
