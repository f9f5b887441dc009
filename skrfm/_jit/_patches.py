"""Layers of convolutional kernels: windows of covariances, and the ReLU.

Covariances of the pixels of one image with those of other images have the shape
(n_others, rows, rows', columns, columns'), where the primed axes belong to the others.
If only pixels at equal positions are compared, the primed axes have length 1.
"""

import numpy as np

from ._angles import relu_angle
from ._compile import jit


@jit
def row_windows(x, left, right, out):
    """out[j, p, q] = Σ_d x[j, left[p, d], right[q, d]]."""
    for j in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                total = out[j, p, q].reshape(-1)
                total[:] = 0
                for d in range(left.shape[1]):
                    source = x[j, left[p, d], right[q, d]].reshape(-1)
                    for v in range(total.shape[0]):
                        total[v] += source[v]


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
def relu_layer(gap, tangent, a, c):
    """Apply a ReLU in place, given the variances a and c of the pixels.

    All arrays are flat. `gap` is (a + c) / 2 minus the covariance, which keeps its
    digits where pixels are nearly equal. The covariance before the ReLU, the share of
    the weights below it, is added to `tangent` first.
    """
    for k in range(gap.shape[0]):
        root_a, root_c = np.sqrt(a[k]), np.sqrt(c[k])
        r, apart = root_a * root_c, (root_a - root_c) ** 2 / 2
        unit = 1 / r if r > 0 else 0.0
        covariance = (a[k] + c[k]) / 2 - gap[k]
        om, slope = relu_angle(min(max((gap[k] - apart) * unit, 0.0), 2.0))
        gap[k] = apart + r * om
        tangent[k] = (tangent[k] + covariance) * (slope if r > 0 else 0.0)


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
                    om = min(max(1 - K[p, q, i, j] / r, 0.0), 2.0)
                    if i == 0 and j == 0:  # rounding would cost half the digits
                        om = 0.0
                    om, slope = relu_angle(om)
                    K[p, q, i, j] = r * (1 - om)
                    T[p, q, i, j] *= slope
