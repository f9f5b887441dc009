"""The loops of the layers of `PatchKernel`, on the CPU."""

import numpy as np

from .._backend import FloatArray
from .._jit._image_layers import mean_over_windows, relu_derivatives, relu_values


class HostImageLoops:
    """Compiled loops over arrays of NumPy, of shape (rows, columns, …)."""

    relu_values = staticmethod(relu_values)
    relu_derivatives = staticmethod(relu_derivatives)

    def windows(
        self, x: FloatArray, first: int, size: int, wrap: bool, grid: tuple[int, int]
    ) -> FloatArray:
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
        flat = x.reshape(*x.shape[:2], -1)
        out = np.empty((*grid, flat.shape[2]))
        mean_over_windows(flat, first, size, wrap, np.empty_like(flat[0]), out)
        return out.reshape(*grid, *x.shape[2:])
