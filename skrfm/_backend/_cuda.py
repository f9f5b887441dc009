"""The backend of GPUs: the array code, with kernels of its own for fused loops."""

import numpy as np

from ..exceptions import NotPositiveDefiniteError
from ._array_api import ArrayAPIBackend
from ._memory import gigabytes, require_free
from ._tiles import NEARNESS

# threads of a block for what is done number by number
_THREADS = 256
_MOST_BLOCKS = 1 << 15
# rows of the largest grid
_MOST_ROWS = 65535
# pairs, coordinates and outputs of a block, as in the source
_PAIRS, _COORDINATES, _OUTPUTS = 64, 32, 4
# the instances of kernels of an order p have the number 4 p, that of any other order 0
_INSTANCES = {number / 4: number for number in range(4, 9)}
# the share of the free memory that a strip may take, its temporaries included, and
# the most elements that are of use
_STRIP_SHARE, _TEMPORARIES = 0.25, 4
_MOST_ELEMENTS = 1 << 28
# the share of the free memory that a kernel matrix may take, and how much smaller
# strips become where memory runs out
_MATRIX_SHARE, _SMALLER = 0.9, 8


def _ceil(a, b):
    return -(-a // b)


class CudaBackend(ArrayAPIBackend):
    """Arrays of CuPy on a GPU.

    Parameters
    ----------
    runtime : Runtime
        What reaches the GPU.
    """

    def __init__(self, runtime):
        super().__init__(runtime.xp, runtime.device)
        self._runtime = runtime

    # -- arrays -----------------------------------------------------------------------

    def asarray(self, a, dtype=None):
        """Return `a` as an array of this backend."""
        out = self._runtime.to_device(a)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a):
        """Return `a` as a NumPy array."""
        return self._runtime.to_host(a)

    def rows(self, a):
        """Return `a` in the layout that the other methods read fastest."""
        return self._runtime.contiguous(a)

    # -- memory -----------------------------------------------------------------------

    def fits_in_memory(self, T, held=0):
        """Return whether the kernel matrix of T leaves room for the rest.

        So many bytes as are `held` can be had beside what is free.
        """
        return T.shape[0] <= self.direct_rows(T, held)

    def direct_rows(self, T, held=0):
        """Return up to how many rows like those of T to factorise is best."""
        free = _MATRIX_SHARE * (self._runtime.free_memory() + held)
        return int((free / self._itemsize(T)) ** 0.5)

    def require_memory(self, n_rows, like):
        """Raise MemoryError where a square matrix does not fit."""
        self._runtime.release()
        free = self._runtime.free_memory()
        require_free(n_rows, self._itemsize(like), free, " of the GPU's memory")

    def elements_of_strip(self, like):
        """Return how many elements are computed at a time."""
        free = _STRIP_SHARE * self._runtime.free_memory()
        return int(min(_MOST_ELEMENTS, free / (_TEMPORARIES * self._itemsize(like))))

    def rows_of_strip(self, width, like):
        """Return how many rows of so many elements are computed at a time."""
        return min(_MOST_ROWS, super().rows_of_strip(width, like))

    def each_strip(self, function, n_rows, step):
        """Call a function of (start, stop) for all rows, some at a time.

        Where memory runs out all is done again in smaller strips, once.
        """
        try:
            return super().each_strip(function, n_rows, step)
        except self._runtime.out_of_memory:
            pass  # its traceback holds arrays: they are gone once it is
        self._runtime.release()
        try:
            smaller = max(1, min(step, n_rows) // _SMALLER)
            super().each_strip(function, n_rows, smaller)
        except self._runtime.out_of_memory as error:
            raise MemoryError(
                f"The GPU's memory does not suffice, {gigabytes(self._free())} are "
                f"free: {error} Fit on fewer rows, or pass device='cpu'."
            ) from error

    def _free(self):
        self._runtime.release()
        return self._runtime.free_memory()

    def release(self):
        """Give back the memory that nothing holds."""
        self._runtime.release()

    # -- algebra ----------------------------------------------------------------------

    def cholesky(self, block, row):
        """Return the lower factor of a block that starts at some row."""
        try:
            return self._runtime.cholesky(block)
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(row) from error

    def invert_lower(self, factor):
        """Return the inverse of a lower triangular matrix."""
        return self._runtime.invert_lower(factor)

    # -- pairs of rows ----------------------------------------------------------------

    def square_distances(self, t, z, t_norms, z_norms):
        """Return ‖t − z‖² of all pairs, from differences where they are near."""
        u = t @ z.T
        (m, n), d = u.shape, t.shape[1]
        grid = _ceil(n, _THREADS), min(m, _MOST_ROWS)
        nearness = NEARNESS[8 * self._itemsize(u)]
        arrays = u, *map(self.rows, (t, z, t_norms, z_norms))
        numbers = nearness, m, n, d
        self.launch(
            "pairs.square_distances", grid, (_THREADS, 1), *arrays, *numbers, like=u
        )
        return u

    def power_sums(self, t, z, p):
        """Return Σ |t_l − z_l|^p of all pairs."""
        (m, d), n = t.shape, z.shape[0]
        out = self.empty((m, n), t)
        name = f"pairs.power_sums_{_INSTANCES.get(float(p), 0)}"
        grid = _ceil(n, _PAIRS), _ceil(m, _PAIRS)
        arrays = self.rows(t), self.rows(z), out
        self.launch(name, grid, (16, 16), *arrays, float(p), m, n, d, like=t)
        return out

    def values(self, kernel, u, bandwidth):
        """Return the kernel of distance powers, which may be overwritten."""
        profile = kernel.profile(bandwidth)
        if profile is None:
            return super().values(kernel, u, bandwidth)
        self.launch_by_number("pairs.values", u, u, *map(float, profile[:2]))
        return u

    def both(self, kernel, u, bandwidth):
        """Return the kernel and the slopes of distance powers."""
        profile = kernel.profile(bandwidth)
        if profile is None:
            return super().both(kernel, u, bandwidth)
        w = self.xp.empty_like(u)
        name = "pairs.values_and_slopes"
        self.launch_by_number(name, u, u, w, *map(float, profile))
        return u, w

    def coordinate_gradients(self, t, z, slopes, coef, p):
        """Return Σ_j slopes_ij coef_jo |δ|^(p−1) sign δ, δ = t_il − z_jl: (b, c, d)."""
        (m, d), (n, c) = t.shape, coef.shape
        out = self.empty((m, c, d), t)
        name = f"pairs.gradients_{_INSTANCES.get(float(p), 0)}"
        grid = _ceil(d, _COORDINATES), _ceil(m, _COORDINATES), _ceil(c, _OUTPUTS)
        arrays = *map(self.rows, (t, z, slopes, coef)), out
        numbers = float(p), m, n, d, c
        self.launch(name, grid, (_COORDINATES, 8), *arrays, *numbers, like=t)
        return out

    def launch_by_number(self, name, out, *arguments):
        """Run a kernel that has a thread for each number of `out`.

        The last of its arguments is how many there are.
        """
        grid = (min(_MOST_BLOCKS, _ceil(out.size, _THREADS)), 1)
        arguments = *arguments, np.uint64(out.size)
        self.launch(name, grid, (_THREADS, 1), *arguments, like=out)

    def launch(self, name, grid, block, *arguments, like):
        """Run a kernel by its file and name, in the precision of an array.

        Python's floats become REAL, and its integers int.
        """
        if 0 in grid:
            return
        itemsize = self._itemsize(like)
        kinds = {float: {4: np.float32, 8: np.float64}[itemsize], int: np.int32}
        arguments = [kinds[type(a)](a) if type(a) in kinds else a for a in arguments]
        self._runtime.launch(name, grid, block, itemsize, *arguments)
