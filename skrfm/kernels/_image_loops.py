"""The arrays and loops of `PatchKernel`, on the CPU and on a GPU.

Arrays of pairs of images have the shape (rows, columns, n_I, n_J). Tasks are tuples, of
which the last is a slice of images; a function that is called again for the same images
overwrites what it wrote.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .._backend import Array, CudaBackend, FloatArray, for_each, own_threads
from .._jit._image_layers import mean_over_windows, relu_derivatives, relu_values
from .._tables import Placement

# Images J of a tile, and elements of each of its arrays. On a CPU with 2 MB of second
# level cache tiles half or twice as large took 5 to 20 % longer.
_TILE_COLUMNS, _TILE = 64, 2**18
# Images I of a tile at least: with fewer, products of patches are slow.
_LEAST_TILE_ROWS = 4
# The most numbers of mapped patches that are held at a time.
_MOST_PATCHES = 2**26
# Patches that a thread reads at a time, or whose products it sums.
_STRIP = 2**14
# On a GPU an array of a tile takes this part of a block of the backend: two arrays are
# kept for each layer, and six are at work.
_ARRAYS_PER_BLOCK = 8


class ImageLoops(Protocol):
    """What `PatchKernel` needs of the device that computes."""

    @property
    def max_patches(self) -> int:
        """The most numbers of mapped patches that are held at a time."""
        ...

    def asarray(self, a: Array) -> Array:
        """Return an array of NumPy on the device."""
        ...

    def to_numpy(self, a: Array) -> FloatArray:
        """Return an array of the device as one of NumPy."""
        ...

    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return an array of the device in float64, not initialised."""
        ...

    def tile_shape(self, n_pixels: int) -> tuple[int, int]:
        """Return the numbers of images I and J of a tile."""
        ...

    def strip(self, q: int) -> int:
        """Return how many patches of q numbers are read at a time."""
        ...

    def run(self, function: Callable, tasks: list[tuple], work: int) -> None:
        """Call a function on each task, `work` as in `own_threads`."""
        ...

    def sum_of_products(self, flat: Array, work: int) -> Array:
        """Return flatᵀ flat of a tall matrix."""
        ...

    def windows(
        self, x: Array, first: int, size: int, wrap: bool, grid: tuple[int, int]
    ) -> Array:
        """Return the means over windows of size × size.

        Parameters
        ----------
        x : array of shape (rows, columns, …)
        first : int
            Where the window of a pixel starts, from the pixel.
        size : int
        wrap : bool
            Whether windows go on at the opposite side, beyond the border. Otherwise
            they read zeros there.
        grid : tuple of (int, int)
            The rows and columns of the result.
        """
        ...

    def relu_values(self, S: Array, T: Array, roots: Any, inverses: Any) -> None:
        """Apply a ReLU in place, as `skrfm._jit._image_layers.relu_values`."""
        ...

    def relu_derivatives(
        self,
        S: Array,
        T: Array,
        roots: Any,
        inverses: Any,
        dS: Array,
        dT: Array,
        da: Array,
    ) -> None:
        """Pass derivatives back, as `skrfm._jit._image_layers.relu_derivatives`."""
        ...


class HostImageLoops:
    """Compiled loops over arrays of NumPy, in threads."""

    relu_values = staticmethod(relu_values)
    relu_derivatives = staticmethod(relu_derivatives)

    @property
    def max_patches(self):
        """The most numbers of mapped patches that are held at a time."""
        return _MOST_PATCHES

    def asarray(self, a):
        """Return the array."""
        return a

    to_numpy = asarray

    def empty(self, shape):
        """Return an array in float64."""
        return np.empty(shape)

    def tile_shape(self, n_pixels):
        """Return the numbers of images I and J of a tile that fits the cache."""
        columns = min(_TILE_COLUMNS, max(8, _TILE // (n_pixels * _LEAST_TILE_ROWS)))
        return max(_LEAST_TILE_ROWS, _TILE // (n_pixels * columns)), columns

    def strip(self, q):
        """Return how many patches a thread reads at a time."""
        return _STRIP

    def run(self, function, tasks, work):
        """Call a function on each task, in threads for much work."""
        with own_threads(work):
            for_each(lambda task: function(*task), tasks)

    def sum_of_products(self, flat, work):
        """Return flatᵀ flat, summed by threads over strips of rows."""
        strips = [flat[start : start + _STRIP] for start in range(0, len(flat), _STRIP)]
        with own_threads(work):
            return sum(for_each(lambda strip: strip.T @ strip, strips))

    def windows(self, x, first, size, wrap, grid):
        """Return the means over windows, as `ImageLoops` says."""
        flat = x.reshape(*x.shape[:2], -1)
        out = np.empty((*grid, flat.shape[2]))
        mean_over_windows(flat, first, size, wrap, np.empty_like(flat[0]), out)
        return out.reshape(*grid, *x.shape[2:])


class GpuImageLoops:
    """The same as CUDA kernels, over arrays of a GPU.

    Parameters
    ----------
    backend : CudaBackend
    """

    def __init__(self, backend: CudaBackend):
        self._backend = backend
        # an array in the precision of the computation
        self._like = backend.asarray(np.zeros(1))
        self.max_patches = min(_MOST_PATCHES, backend.block_elements(self._like))

    def asarray(self, a):
        """Return an array of NumPy on the GPU."""
        return self._backend.asarray(a)

    def to_numpy(self, a):
        """Return an array of the GPU as one of NumPy."""
        return self._backend.to_numpy(a)

    def empty(self, shape):
        """Return an array of the GPU in float64."""
        return self._backend.empty(shape, self._like)

    def tile_shape(self, n_pixels):
        """Return the numbers of images I and J of a tile that takes little memory."""
        tile = self._backend.block_elements(self._like) // _ARRAYS_PER_BLOCK
        side = max(1, int((tile / n_pixels) ** 0.5))
        return side, side

    def strip(self, q):
        """Return how many patches of q numbers are read at a time."""
        return max(1, self.max_patches // q)

    def run(self, function, tasks, work):
        """Call a function on each task in turn; with less memory, on parts of it."""
        for *first, images in tasks:

            def part(start, stop, first=first, offset=images.start):
                function(*first, slice(offset + start, offset + stop))

            n = images.stop - images.start
            self._backend.for_each_block(part, n, n)

    def sum_of_products(self, flat, work):
        """Return flatᵀ flat."""
        return flat.T @ flat

    def windows(self, x, first, size, wrap, grid):
        """Return the means over windows, along the rows and then the columns."""
        rows = self._axis_means(x, 0, grid[0], first, size, wrap)
        return self._axis_means(rows, 1, grid[1], first, size, wrap)

    def _axis_means(self, x, axis, n_windows, first, size, wrap):
        """Return the means over windows along an axis."""
        x, shape = self._backend.rows(x), list(x.shape)
        length, shape[axis] = shape[axis], n_windows
        out = self.empty(tuple(shape))
        inner = np.uint64(np.prod(shape[axis + 1 :]))
        numbers = [first, size, int(wrap), length, n_windows, inner]
        self._launch("axis_means", out, x, out, *numbers)
        return out

    def relu_values(self, S, T, roots, inverses):
        """Apply a ReLU in place."""
        self._launch("relu_values", S, S, T, *roots, *inverses, *_numbers(S))

    def relu_derivatives(self, S, T, roots, inverses, dS, dT, da):
        """Pass derivatives back through a ReLU, in place."""
        arrays = [S, T, *roots, *inverses, dS, dT, da]
        self._launch("relu_derivatives", S, *arrays, *_numbers(S))

    def _launch(self, name, out, *arguments):
        """Run a kernel of images.cu with one thread for each number of `out`."""
        self._backend.launch_by_number(f"images.{name}", out, *arguments)


def _numbers(S):
    """Return the numbers of images I and J of an array of pairs."""
    return np.uint64(S.shape[2]), np.uint64(S.shape[3])


def image_loops(placement: Placement) -> ImageLoops:
    """Return the loops of the device that computes."""
    if isinstance(placement.backend, CudaBackend):
        return GpuImageLoops(placement.backend)
    return HostImageLoops()
