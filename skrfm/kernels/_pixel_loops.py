"""The loops over pixels of convolutional kernels, on the CPU and on a GPU.

Arrays have the axes of ``_jit/_patches.py``. The windows of a layer are given by
`taps`: for rows and for columns, the indices that each window reads.
"""

import numpy as np

from .._backend import for_each, own_threads
from .._jit._patches import column_windows, relu_layer, row_windows

# Elements of each array that a thread works on, which bound its memory.
_SCRATCH = 2**19
# One array of a layer takes this part of the memory of a strip; a layer has several.
_ARRAYS_PER_STRIP = 8


class HostLoops:
    """Compiled loops over arrays of NumPy."""

    #: the most elements of an array
    max_elements = _SCRATCH

    def run(self, function, tasks, n_rows):
        """Call a function on each task (i, start, stop), in threads for much work.

        Parameters
        ----------
        function : callable
        tasks : list of tuples of int
        n_rows : int
            The work, in rows of a kernel machine.
        """
        with own_threads(n_rows):
            for_each(lambda task: function(*task), tasks)

    def convolve(self, x, taps, all_pairs):
        """Return the means over windows, of pixels at the same offset in both images.

        Parameters
        ----------
        x : array of five axes
        taps : (ndarray, ndarray)
        all_pairs : bool
            Whether x has all pairs of pixels, or pairs of equal position only.
        """
        rows, columns, rows_J, columns_J = _taps_of_both(taps, all_pairs)
        half = np.empty((len(x), len(rows), len(rows_J), *x.shape[3:]))
        row_windows(x, rows, rows_J, half)
        out = np.empty((*half.shape[:3], len(columns), len(columns_J)))
        column_windows(half, columns, columns_J, 1 / rows.shape[1] ** 2, out)
        return out

    def relu(self, gap, tangent, *, a, c, all_pairs):
        """Apply a ReLU in place, given variances that broadcast over pixels."""
        a, c = (np.broadcast_to(variance, gap.shape).ravel() for variance in (a, c))
        relu_layer(gap.reshape(-1), tangent.reshape(-1), a, c)


class GpuLoops:
    """The same as CUDA kernels, over arrays of a GPU.

    Parameters
    ----------
    backend : CudaBackend
    like : array
        An array in the precision of the computation.
    """

    def __init__(self, backend, like):
        self._backend, self._taps = backend, {}
        strip = backend.block_elements(like)
        self.max_elements = max(1, strip // _ARRAYS_PER_STRIP)

    def run(self, function, tasks, n_rows):
        """Call a function on each task (i, start, stop), one after the other."""
        for i, first, last in tasks:

            def strip(start, stop, i=i, first=first):
                function(i, first + start, first + stop)

            self._backend.for_each_block(strip, last - first, last - first)

    def convolve(self, x, taps, all_pairs):
        """Return the means over windows, as `HostLoops` does."""
        rows, columns, rows_J, columns_J = self._device_taps(taps, all_pairs)
        x, size = self._backend.rows(x), rows.shape[1]
        n, height, height_J, width, width_J = x.shape
        n_rows, n_rows_J = len(rows), len(rows_J)
        half = self._backend.empty((n, n_rows, n_rows_J, width, width_J), x)
        inner = np.uint64(width * width_J)
        numbers = [size, n_rows, n_rows_J, height, height_J, inner]
        self._launch("row_windows", half, x, rows, rows_J, half, *numbers)
        n_columns, n_columns_J = len(columns), len(columns_J)
        out = self._backend.empty((n, n_rows, n_rows_J, n_columns, n_columns_J), x)
        numbers = [1 / size**2, size, n_columns, n_columns_J, width, width_J]
        self._launch("column_windows", out, half, columns, columns_J, out, *numbers)
        return out

    def relu(self, gap, tangent, *, a, c, all_pairs):
        """Apply a ReLU in place, given variances that broadcast over pixels."""
        a, c = self._backend.rows(a), self._backend.rows(c)
        numbers = [*gap.shape[1:], int(all_pairs)]
        self._launch("relu_layer", gap, gap, tangent, a, c, *numbers)

    def _device_taps(self, taps, all_pairs):
        """Return the taps of both images as arrays of the GPU, which are kept."""
        key = id(taps), all_pairs
        if key not in self._taps:
            self._taps[key] = [
                self._backend.asarray(indices.astype(np.int32))
                for indices in _taps_of_both(taps, all_pairs)
            ]
        return self._taps[key]

    def _launch(self, name, out, *arguments):
        """Run a kernel of images.cu with one thread for each number of `out`."""
        self._backend.launch_by_number(f"images.{name}", out, *arguments)


def _taps_of_both(taps, all_pairs):
    """Return the taps of rows and columns for the images I, then for J."""
    rows, columns = taps
    if all_pairs:
        return rows, columns, rows, columns
    single = np.zeros((1, rows.shape[1]), dtype=rows.dtype)
    return rows, columns, single, single
