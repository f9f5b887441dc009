"""The loops over pixels of convolutional kernels, on the host and on a GPU.

Arrays have the axes of ``_jit/_patches.py``. A layer's windows come as `taps`: for rows
and for columns, what each of them reads.
"""

import numpy as np

from .._backend import for_each, worker_threads
from .._jit._patches import column_windows, relu_layer, row_windows

# numbers in one of the arrays that a thread works on
_SCRATCH = 2**19
# of a GPU's strip of memory, the share of one of the arrays of a layer
_SHARE = 8


class HostLoops:
    """Compiled loops, over arrays of NumPy."""

    #: the most elements of an array
    most = _SCRATCH

    def run(self, function, tasks, n_rows):
        """Call a function of (i, start, stop) on each task; n_rows is their work."""
        with worker_threads(n_rows):
            for_each(lambda task: function(*task), tasks)

    def convolve(self, x, taps, pairs):
        """Return the means of the windows of equal offset."""
        rows, columns, rows2, columns2 = _taps_of(taps, pairs)
        half = np.empty((len(x), len(rows), len(rows2), *x.shape[3:]))
        row_windows(x, rows, rows2, half)
        out = np.empty((*half.shape[:3], len(columns), len(columns2)))
        column_windows(half, columns, columns2, 1 / rows.shape[1] ** 2, out)
        return out

    def relu(self, gap, tangent, a, c, pairs):
        """Apply a ReLU in place, given variances that are broadcast over pixels."""
        relu_layer(gap, tangent, *(np.broadcast_to(x, gap.shape) for x in (a, c)))


class GpuLoops:
    """Kernels, over arrays of a GPU."""

    def __init__(self, backend, like):
        self._backend, self._taps = backend, {}
        self.most = max(1, backend.block_elements(like) // _SHARE)

    def run(self, function, tasks, n_rows):
        """Call a function of (i, start, stop) on each task, one after the other."""
        for i, first, last in tasks:

            def strip(start, stop, i=i, first=first):
                function(i, first + start, first + stop)

            self._backend.for_each_block(strip, last - first, last - first)

    def convolve(self, x, taps, pairs):
        """Return the means of the windows of equal offset."""
        rows, columns, rows2, columns2 = self._taps_at(taps, pairs)
        x, size = self._backend.rows(x), rows.shape[1]
        n, height, height2, width, width2 = x.shape
        half = self._backend.empty((n, len(rows), len(rows2), width, width2), x)
        inner = np.uint64(width * width2)
        shape = len(rows), len(rows2), height, height2, inner
        self._launch("row_windows", half, x, rows, rows2, half, size, *shape)
        shape = len(columns), len(columns2)
        out = self._backend.empty((*half.shape[:3], *shape), x)
        numbers = 1 / size**2, size, *shape, width, width2
        self._launch("column_windows", out, half, columns, columns2, out, *numbers)
        return out

    def relu(self, gap, tangent, a, c, pairs):
        """Apply a ReLU in place, given variances that are broadcast over pixels."""
        a, c = map(self._backend.rows, (a, c))
        numbers = *gap.shape[1:], int(pairs)
        self._launch("relu_layer", gap, gap, tangent, a, c, *numbers)

    def _taps_at(self, taps, pairs):
        """Return what windows read, as arrays of the GPU that are kept."""
        key = id(taps), pairs
        if key not in self._taps:
            there = self._backend.asarray
            arrays = [there(a.astype(np.int32)) for a in _taps_of(taps, pairs)]
            self._taps[key] = arrays
        return self._taps[key]

    def _launch(self, name, out, *arguments):
        self._backend.launch_by_number(f"images.{name}", out, *arguments)


def _taps_of(taps, pairs):
    """Return what windows read: rows, columns, and those of the other images."""
    rows, columns = taps
    alone = np.zeros((1, rows.shape[1]), dtype=rows.dtype)
    return rows, columns, *((rows, columns) if pairs else (alone, alone))
