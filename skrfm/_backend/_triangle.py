"""The kernel matrix of the training rows, held as one triangle for products only."""

from functools import partial
from typing import Any

import numpy as np

from .. import _jit
from ._memory import UNCHECKED_BYTES, require_memory
from ._packed import FEW_COLUMNS
from ._streamed import StreamedTileGram
from ._threads import for_each
from ._tiles import block_ranges
from ._types import Array, FloatArray

# Rows of a strip, which is as long as its last row; and columns that are computed at a
# time, as in `_tiles`.
_STRIP, _COLUMNS = 256, 256
# The parts of a product, which have about as many entries each. Their sums are added in
# this order whatever the number of threads, so that results do not depend on it.
_PARTS = 8


def _strips(n_rows):
    """Return the ranges of rows of the strips, and where each begins in the buffer."""
    ranges = block_ranges(n_rows, _STRIP)
    sizes = [(stop - start) * stop for start, stop in ranges]
    return ranges, np.concatenate([[0], np.cumsum(sizes)]).tolist()


class TriangleGram(StreamedTileGram):
    """K on one set of rows: its lower triangle is held, and slopes are streamed.

    `PackedGram` holds the slopes as well, in twice the memory, which is of use where
    they are wanted for most of the rows.

    Parameters
    ----------
    kernel : Kernel
    T : ndarray of shape (n, k)
    bandwidth : float
    reusable : PackedGram or TriangleGram, default=None
        An earlier one: its buffer is taken if it serves, or its memory freed first.
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns, which are looked up.
    """

    def __init__(self, kernel, T, bandwidth, *, reusable=None, category_sizes=()):
        super().__init__(kernel, T, bandwidth, category_sizes)
        self._ranges, self._starts = _strips(T.shape[0])
        self._buffer = self._take_buffer(reusable)
        for_each(self._fill, range(len(self._ranges))[::-1])

    def _take_buffer(self, reusable):
        """Return the buffer of an earlier matrix, or a new one."""
        size, dtype = self._starts[-1], self.T.dtype
        if isinstance(reusable, TriangleGram):
            buffer = reusable._buffer
            if buffer.dtype == dtype and buffer.size >= size:
                return buffer
            del buffer
        if reusable is not None:
            reusable.free()
        if size * dtype.itemsize > UNCHECKED_BYTES:
            require_memory(self.T.shape[0], dtype.itemsize / 2)
        return np.empty(size, dtype=dtype)

    @property
    def nbytes(self) -> int:
        """The bytes of its buffer."""
        return self._buffer.nbytes

    def free(self) -> None:
        """Free the memory of the matrix, which is of no use then."""
        self._buffer = np.empty(0, dtype=self.T.dtype)

    def _strip(self, number):
        """Return the strip with some number: its rows of K up to the last of them."""
        start, stop = self._ranges[number]
        strip = self._buffer[self._starts[number] : self._starts[number + 1]]
        return strip.reshape(stop - start, stop)

    def _fill(self, number):
        """Compute a strip; the diagonal and all above it are zeros."""
        start, stop = self._ranges[number]
        strip = self._strip(number)
        for j0, j1 in block_ranges(stop, _COLUMNS):
            strip[:, j0:j1] = self._tiles.values(start, stop, j0, j1)
        block = strip[:, start:]
        block *= np.tri(stop - start, k=-1, dtype=block.dtype)

    def product(self, V: Array) -> FloatArray:
        """Return K @ V."""
        # the compiled loops read columns, BLAS reads rows
        few = V.shape[1] <= FEW_COLUMNS
        given = np.ascontiguousarray(V.T if few else V)
        share = self._compiled_share if few else self._blas_share
        total: Any = sum(for_each(partial(share, given), _equal_parts(self._starts)))
        return np.ascontiguousarray(total.T if few else total) + V

    def _compiled_share(self, V, numbers):
        """Return the share of V @ K that some strips have, with V of shape (c, n)."""
        out = np.zeros_like(V)
        for number in range(*numbers):
            _jit.strip_product(self._strip(number), self._ranges[number][0], V, out)
        return out

    def _blas_share(self, V, numbers):
        """Return the share of K @ V that some strips have."""
        out = np.zeros_like(V)
        for number in range(*numbers):
            (start, stop), strip = self._ranges[number], self._strip(number)
            out[start:stop] += strip @ V[:stop]
            out[:stop] += strip.T @ V[start:stop]
        return out


def _equal_parts(starts):
    """Return ranges of the numbers of strips that have about as many entries each."""
    targets = np.linspace(0, starts[-1], _PARTS + 1)
    edges = np.searchsorted(starts, targets)
    return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
