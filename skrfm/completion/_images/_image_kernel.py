"""The kernel between pixels of a network that generates images from noise.

Its input is noise that is independent from pixel to pixel, so the kernel depends on no
image. On the way down, convolutions keep pixels independent, and so does leaving out
every other pixel. On the way up, a pixel of a grid that is 2^s times finer is described
by its phase, its coordinates modulo 2^s, and the kernel of two pixels by the phase of
the first one and their offset: arrays here have shape (row phases, column phases, row
offsets, column offsets). Offsets are taken on a torus that is wide enough to have no
effect on the result.
"""

from functools import lru_cache

import numpy as np
from scipy.fft import next_fast_len

from ..._backend import FloatArray, for_each, worker_threads
from ..._jit._patches import relu_phases

# offsets from which on pixels share no information, in pixels of the coarsest grid
_REACH = {"nearest": 1, "bilinear": 3}

# offsets that count as one row of a kernel machine in the choice of thread numbers
_OFFSETS_PER_ROW = 500


def torus_kernel(
    shape: tuple[int, int],
    n_levels: int,
    n_layers: int,
    filter_size: int,
    upsampling: str,
) -> tuple[FloatArray, FloatArray]:
    """Return the kernels of two pixels by their offset, on a torus around an image.

    Parameters
    ----------
    shape : tuple of (int, int)
        Height and width of the image.
    n_levels, n_layers, filter_size, upsampling
        Parameters of the network, as in `CNTKInpainter`.

    Returns
    -------
    nngp, ntk : ndarray of shape (torus_height, torus_width)
        The kernels of training the last layer and all layers, scaled to variance 1.
    """
    period, reach = 2**n_levels, _REACH[upsampling]
    near = reach * period
    indices = []
    for size in shape:
        length = period * next_fast_len(max(-(-size // period) + 1, 2 * reach))
        offset = np.arange(length)
        offset[offset > length // 2] -= length
        # pixels far apart differ by their phases only
        far = near + offset % period
        indices.append(np.where(np.abs(offset) < near, offset, far))
    nngp, ntk = image_kernel(n_levels, n_layers, filter_size, upsampling)
    box = np.ix_(*indices)
    return nngp[box] / nngp[0, 0], ntk[box] / ntk[0, 0]


@lru_cache(maxsize=16)
def image_kernel(
    n_levels: int, n_layers: int, filter_size: int, upsampling: str
) -> tuple[FloatArray, FloatArray]:
    """Return the kernels (NNGP, NTK) of two pixels by their offset.

    They are averaged over the positions where the grid of the coarsest pixels begins,
    so that only the offset matters. Offsets wrap around at a size that includes all
    phases of pixels that are far apart.
    """
    width = 2 * (_REACH[upsampling] + 1)
    K, T = _bottleneck(n_levels, n_layers, width)
    for _ in range(n_levels):
        K, T = (_upsample(_upsample(x, 0, upsampling), 1, upsampling) for x in (K, T))
        for _ in range(n_layers):
            K, T = _activate(*_convolve(K, T, filter_size))
    # the window means of a last convolution do not change the means over phases
    K, T = (x.mean(axis=(0, 1)) for x in (K, T))
    T += K
    for kernel in (K, T):
        kernel.flags.writeable = False  # the cache returns the same arrays to others
    return K, T


def _bottleneck(n_levels, n_layers, width):
    """Return the covariance and the tangent kernel on the coarsest grid.

    All pairs of different pixels have the same kernel, so that the layers are computed
    for two numbers: of a pixel with itself, and with another one.
    """
    K, T = np.zeros((2, 1, 1, 1, 2))
    K[..., 0] = 1
    for _ in range((n_levels + 1) * n_layers):
        K, T = _activate(*_convolve(K, T, 1))
    grids = []
    for x in (K, T):
        grid = np.full((1, 1, width, width), x[0, 0, 0, 1])
        grid[..., 0, 0] = x[0, 0, 0, 0]
        grids.append(grid)
    return grids


def _upsample(x, axis, upsampling):
    """Return the kernel of an image with twice the pixels along an axis."""
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
    """Return the pixels that a finer one is interpolated from, and their weights."""
    if upsampling == "nearest":
        return [(pixel // 2, 1.0)]
    neighbour = pixel // 2 + (1 if pixel % 2 == 1 else -1)
    return [(pixel // 2, 0.75), (neighbour, 0.25)]


def _convolve(K, T, size):
    """Return the kernels after a convolution.

    Both pixels of a pair move through their windows together, so the offset stays.
    """
    K, T = (_window_means(_window_means(x, 0, size), 1, size) for x in (K, T))
    return K, T + K


def _window_means(x, axis, size):
    """Return means over windows of `size` phases, as running sums."""
    phases = x.shape[axis]
    if phases == 1 or size == 1:
        return x
    out = np.empty_like(x)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    first = -((size - 1) // 2)
    total = sum(source[k % phases] for k in range(first, first + size))
    for phase in range(phases):
        np.divide(total, size, out=target[phase])
        total += source[(first + size + phase) % phases]
        total -= source[(first + phase) % phases]
    return out


def _activate(K, T):
    """Apply a ReLU that keeps the variance to K and T, in place."""
    variance = K[..., 0, 0].copy()

    def activate_phase(phase):
        relu_phases(phase, phase + 1, K, T, variance)

    with worker_threads(K.size // _OFFSETS_PER_ROW):
        for_each(activate_phase, range(len(K)))
    return K, T
