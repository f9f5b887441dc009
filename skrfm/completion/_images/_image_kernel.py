"""The kernel between pixels of a network that draws images out of noise.

Its input is noise, independent from pixel to pixel, so that the kernel depends on no
image. Going down, convolutions keep pixels independent, and so does leaving out every
other one. Coming up, a pixel of a 2^s-times finer grid is told by its phase, its place
modulo 2^s, and the kernel of two pixels by the phase of the first and the offset of
the second: arrays here have shape (phases, phases, offsets, offsets), and offsets are
taken on a torus that is wide enough not to be noticed.
"""

from functools import lru_cache

import numpy as np
from scipy.fft import next_fast_len

from ..._backend import for_each, worker_threads
from ..._jit._patches import relu_phases

# offsets from which on pixels have nothing in common, in pixels of the coarsest grid
_REACH = {"nearest": 1, "bilinear": 3}

# as much work as a row of a kernel machine, when threads are worth their while
_OFFSETS_PER_ROW = 500


def torus_kernel(shape, n_levels, n_layers, filter_size, upsampling):
    """Return the kernels (NNGP, NTK) by offset, on a torus that holds an image.

    They are scaled to a variance of 1.
    """
    period, reach = 2**n_levels, _REACH[upsampling]
    near = reach * period
    places = []
    for size in shape:
        length = period * next_fast_len(max(-(-size // period) + 1, 2 * reach))
        offset = np.arange(length)
        offset[offset > length // 2] -= length
        # pixels far apart differ by their phases only
        far = near + offset % period
        places.append(np.where(np.abs(offset) < near, offset, far))
    kernels = image_kernel(n_levels, n_layers, filter_size, upsampling)
    return tuple(kernel[np.ix_(*places)] / kernel[0, 0] for kernel in kernels)


@lru_cache(maxsize=16)
def image_kernel(n_levels, n_layers, filter_size, upsampling):
    """Return the kernels (NNGP, NTK) of two pixels by their offset.

    They are averaged over where the grid of the coarsest pixels begins, so that only
    the offset matters. It wraps around at such a size that all phases of pixels that
    are far apart are there.
    """
    width = 2 * (_REACH[upsampling] + 1)
    K, T = _bottleneck(n_levels, n_layers, width)
    for _ in range(n_levels):
        K, T = (_finer(_finer(x, 0, upsampling), 1, upsampling) for x in (K, T))
        for _ in range(n_layers):
            K, T = _activate(*_convolve(K, T, filter_size))
    # the means over the windows of a last convolution do not change those over phases
    K, T = (x.mean(axis=(0, 1)) for x in (K, T))
    T += K
    for kernel in (K, T):
        kernel.flags.writeable = False  # others get the same from the cache
    return K, T


def _bottleneck(n_levels, n_layers, width):
    """Return the covariance and the tangent kernel on the coarsest grid.

    All pairs of different pixels are alike, so two numbers go through the layers.
    """
    K, T = np.zeros((2, 1, 1, 1, 2))
    K[..., 0] = 1
    for _ in range((n_levels + 1) * n_layers):
        K, T = _activate(*_convolve(K, T, 1))
    whole = []
    for x in (K, T):
        grid = np.full((1, 1, width, width), x[0, 0, 0, 1])
        grid[..., 0, 0] = x[0, 0, 0, 0]
        whole.append(grid)
    return whole


def _finer(x, axis, upsampling):
    """Return covariances with twice the pixels along an axis."""
    axes = axis, axis + 2
    out = np.empty([2 * n if k in axes else n for k, n in enumerate(x.shape)])
    phases, offsets = np.moveaxis(out, axes, (0, 1)), np.moveaxis(x, axes, (0, 1))
    for first in (0, 1):
        for step in (0, 1):
            total = 0.0
            for i, u in _sources(first, upsampling):
                for j, v in _sources(first + step, upsampling):
                    total = total + u * v * np.roll(offsets, (-i, i - j), axis=(0, 1))
            phases[first::2, step::2] = total
    return out


def _sources(pixel, upsampling):
    """Return which pixels a finer one is interpolated from, and their weights."""
    if upsampling == "nearest":
        return [(pixel // 2, 1.0)]
    beside = 1 if pixel % 2 else -1
    return [(pixel // 2, 0.75), (pixel // 2 + beside, 0.25)]


def _convolve(K, T, size):
    """Return the means over the windows of two pixels, whose offset stays the same."""
    K, T = (_window_means(_window_means(x, 0, size), 1, size) for x in (K, T))
    return K, T + K


def _window_means(x, axis, size):
    """Return means over `size` phases, by sums of which one end moves on."""
    phases = x.shape[axis]
    if phases == 1 or size == 1:
        return x
    out = np.empty_like(x)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    first = -((size - 1) // 2)
    total = sum(source[k % phases] for k in range(first, first + size))
    for p in range(phases):
        np.divide(total, size, out=target[p])
        total += source[(first + size + p) % phases]
        total -= source[(first + p) % phases]
    return out


def _activate(K, T):
    """Apply a ReLU that keeps the variance."""
    variance = K[..., 0, 0].copy()
    with worker_threads(K.size // _OFFSETS_PER_ROW):
        for_each(lambda p: relu_phases(p, p + 1, K, T, variance), range(len(K)))
    return K, T
