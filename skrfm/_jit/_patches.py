"""Layers of convolutional kernels: windows of covariances, and the ReLU.

Covariances of pixels of one image with pixels of others come as arrays of shape
(others, rows, rows', columns, columns'), the primed axes being those of the others.
Where only pixels of equal position matter, the primed axes have length 1.
"""

import numpy as np

from ._compile import jit


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
    """As `row_windows` along the last two axes, times a factor."""
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
    """Return 1 − cos after a ReLU, and its slope, where it is `om` before.

    With θ the angle they are om + (θ cos θ − sin θ) / π and (π − θ) / π. Both are as
    exact near θ = 0 as `om` is.
    """
    om = min(max(om, 0.0), 2.0)
    cosine, sine = 1 - om, np.sqrt(om * (2 - om))
    theta = np.arctan2(sine, cosine)
    if theta < 0.01:
        bend = theta**3 * (theta**2 / 30 - 1 / 3)
    else:
        bend = theta * cosine - sine
    return om + bend / np.pi, 1 - theta / np.pi


@jit
def relu_layer(gap, tangent, a, c):
    """Apply a ReLU in place, given the variances a and c of the pixels.

    `gap` is (a + c) / 2 less the covariance, which keeps its digits where pixels are
    nearly equal. `tangent` first gets the covariance before the ReLU added, the part
    of the weights below it.
    """
    for place in np.ndindex(gap.shape):
        x, z = a[place], c[place]
        r = np.sqrt(x * z)
        apart = (np.sqrt(x) - np.sqrt(z)) ** 2 / 2
        if r == 0:
            gap[place], tangent[place] = apart, 0
            continue
        covariance = (x + z) / 2 - gap[place]
        om, slope = relu_angle((gap[place] - apart) / r)
        gap[place] = apart + r * om
        tangent[place] = (tangent[place] + covariance) * slope


@jit
def relu_phases(start, stop, K, T, variance):
    """Apply a ReLU in place to kernels by phase and offset, of phases start … stop.

    K[p, q, i, j] is that of a pixel of phase (p, q) with the one at an offset (i, j).
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
