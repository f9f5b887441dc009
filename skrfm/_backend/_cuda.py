"""The backend of GPUs: array code, with CUDA kernels for fused loops."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .._jit._cuda import Runtime
from ..exceptions import NotPositiveDefiniteError
from ._array_api import ArrayAPIBackend
from ._memory import gigabytes, require_free
from ._protocols import Kernel
from ._tiles import NEARNESS
from ._types import Array

# Threads of a block, and the most blocks, of kernels with a thread for each element;
# beyond that many, each thread computes several elements.
_THREADS, _MOST_BLOCKS = 256, 1 << 15
# The limit that CUDA sets to the second and third dimension of a grid.
_MOST_GRID_ROWS = 65535
# Pairs, coordinates and outputs of a block, as in pairs.cu.
_PAIRS, _COORDINATES, _OUTPUTS = 64, 32, 4
# The kernels compiled for an order p have the number 4 p; that of any other order is 0.
_ORDER_NUMBERS = {number / 4: number for number in range(4, 9)}
# The share of the free memory that a block of rows may take together with its temporary
# arrays, the number of arrays that counts, and the most elements of a block.
_BLOCK_SHARE, _ARRAYS = 0.25, 4
_MOST_ELEMENTS = 1 << 28
# The share of the free memory that a kernel matrix may take.
_MATRIX_SHARE = 0.9
# The factor by which blocks become smaller when memory runs out.
_SMALLER = 8


def _ceil(a, b):
    return -(-a // b)


class CudaBackend(ArrayAPIBackend):
    """Arrays of CuPy on a GPU.

    Parameters
    ----------
    runtime : Runtime
        The access to the GPU.
    """

    def __init__(self, runtime: Runtime):
        super().__init__(runtime.xp, runtime.device)
        self._runtime = runtime

    # -- arrays -----------------------------------------------------------------------

    def asarray(self, a: Array, dtype: Any = None) -> Array:
        """Return `a` as an array of this backend."""
        out = self._runtime.to_device(a)
        return out if dtype is None else self.xp.astype(out, dtype, copy=False)

    def to_numpy(self, a: Array) -> np.ndarray:
        """Return `a` as a NumPy array."""
        return self._runtime.to_host(a)

    def rows(self, a: Array) -> Array:
        """Return `a` in the layout that the other methods read fastest."""
        return self._runtime.contiguous(a)

    # -- memory -----------------------------------------------------------------------

    def fits_in_memory(self, T: Array, reusable_bytes: int = 0) -> bool:
        """Return whether the kernel matrix of the rows of T fits in memory.

        `reusable_bytes` are those of an earlier matrix, which are free for this one.
        """
        return T.shape[0] <= self.direct_rows(T, reusable_bytes)

    def direct_rows(self, T: Array, reusable_bytes: int = 0) -> int:
        """Return the largest number of rows like those of T to factorise."""
        free = _MATRIX_SHARE * (self._runtime.free_memory() + reusable_bytes)
        return int((free / self._itemsize(T)) ** 0.5)

    def require_memory(self, n_rows: int, like: Array) -> None:
        """Raise MemoryError if a square matrix of `n_rows` does not fit."""
        free = self._free_memory()
        require_free(n_rows, self._itemsize(like), free, " of the GPU's memory")

    def block_elements(self, like: Array) -> int:
        """Return the number of elements to compute at a time."""
        free = _BLOCK_SHARE * self._runtime.free_memory()
        return int(min(_MOST_ELEMENTS, free / (_ARRAYS * self._itemsize(like))))

    def block_rows(self, width: int, like: Array) -> int:
        """Return the number of rows of `width` elements to compute at a time."""
        return min(_MOST_GRID_ROWS, super().block_rows(width, like))

    def for_each_block(
        self, function: Callable[[int, int], None], n_rows: int, size: int
    ) -> None:
        """Call a function of (start, stop) for blocks of `size` of all rows.

        Where memory runs out, all rows are computed again in smaller blocks, once.
        """
        try:
            return super().for_each_block(function, n_rows, size)
        except self._runtime.out_of_memory:
            pass  # the traceback of the error holds arrays: leaving it frees them
        self._runtime.release()
        try:
            smaller = max(1, min(size, n_rows) // _SMALLER)
            super().for_each_block(function, n_rows, smaller)
        except self._runtime.out_of_memory as error:
            raise MemoryError(
                f"The GPU's memory does not suffice, {gigabytes(self._free_memory())} "
                f"are free: {error} Fit on fewer rows, or pass device='cpu'."
            ) from error

    def _free_memory(self) -> int:
        self._runtime.release()
        return self._runtime.free_memory()

    def release(self) -> None:
        """Free unused memory."""
        self._runtime.release()

    # -- algebra ----------------------------------------------------------------------

    def cholesky(self, block: Array, row: int) -> Array:
        """Return the lower Cholesky factor of a block.

        `row` is the first row of the block in its matrix, for the error.
        """
        try:
            return self._runtime.cholesky(block)
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(row) from error

    def invert_lower(self, factor: Array) -> Array:
        """Return the inverse of a lower triangular matrix."""
        return self._runtime.invert_lower(factor)

    # -- pairs of rows ----------------------------------------------------------------

    def squared_distances(
        self, t: Array, z: Array, t_squares: Array, z_squares: Array
    ) -> Array:
        """Return ‖t − z‖² of all pairs, from differences where they are near."""
        u = t @ z.T
        (m, n), d = u.shape, t.shape[1]
        self.launch(
            "pairs.squared_distances",
            (_ceil(n, _THREADS), min(m, _MOST_GRID_ROWS)),
            (_THREADS, 1),
            u,
            self.rows(t),
            self.rows(z),
            self.rows(t_squares),
            self.rows(z_squares),
            NEARNESS[8 * self._itemsize(u)],
            m,
            n,
            d,
            like=u,
        )
        return u

    def power_sums(self, t: Array, z: Array, p: float) -> Array:
        """Return Σ_l |t_l − z_l|^p of all pairs of rows of t (m, d) and z (n, d)."""
        (m, d), n = t.shape, z.shape[0]
        out = self.empty((m, n), t)
        self.launch(
            f"pairs.power_sums_{_ORDER_NUMBERS.get(float(p), 0)}",
            (_ceil(n, _PAIRS), _ceil(m, _PAIRS)),
            (16, 16),
            self.rows(t),
            self.rows(z),
            out,
            float(p),
            m,
            n,
            d,
            like=t,
        )
        return out

    def kernel_values(self, kernel: Kernel, u: Array, bandwidth: float) -> Array:
        """Return the kernel of distance powers, which may be overwritten."""
        profile = kernel.profile(bandwidth)
        if profile is None:
            return super().kernel_values(kernel, u, bandwidth)
        scale, exponent, _, _ = map(float, profile)
        self.launch_by_number("pairs.values", u, u, scale, exponent)
        return u

    def kernel_values_and_slopes(
        self, kernel: Kernel, u: Array, bandwidth: float
    ) -> tuple[Array, Array]:
        """Return the kernel and the slopes of distance powers, which may change."""
        profile = kernel.profile(bandwidth)
        if profile is None:
            return super().kernel_values_and_slopes(kernel, u, bandwidth)
        w = self.xp.empty_like(u)
        scale, exponent, order, floor = map(float, profile)
        self.launch_by_number(
            "pairs.values_and_slopes", u, u, w, scale, exponent, order, floor
        )
        return u, w

    def coordinate_gradients(
        self, t: Array, z: Array, slopes: Array, coef: Array, p: float
    ) -> Array:
        """Return Σ_j slopes_ij coef_jo |δ|^(p−1) sign δ, δ = t_il − z_jl: (b, c, d)."""
        (m, d), (n, c) = t.shape, coef.shape
        out = self.empty((m, c, d), t)
        self.launch(
            f"pairs.gradients_{_ORDER_NUMBERS.get(float(p), 0)}",
            (_ceil(d, _COORDINATES), _ceil(m, _COORDINATES), _ceil(c, _OUTPUTS)),
            (_COORDINATES, 8),
            self.rows(t),
            self.rows(z),
            self.rows(slopes),
            self.rows(coef),
            out,
            float(p),
            m,
            n,
            d,
            c,
            like=t,
        )
        return out

    # -- CUDA kernels -----------------------------------------------------------------

    def launch_by_number(self, name: str, out: Array, *arguments: Any) -> None:
        """Run a CUDA kernel that has a thread for each element of `out`.

        The number of elements is appended to the arguments of the kernel.
        """
        grid = (min(_MOST_BLOCKS, _ceil(out.size, _THREADS)), 1)
        count = np.uint64(out.size)
        self.launch(name, grid, (_THREADS, 1), *arguments, count, like=out)

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *arguments: Any,
        like: Array,
    ) -> None:
        """Run a CUDA kernel in the precision of an array.

        Parameters
        ----------
        name : str
            File and function, such as "pairs.values".
        grid, block : tuple of int
            Numbers of blocks, and of threads of a block.
        *arguments : arrays and numbers
            The arguments of the kernel. A float is passed as REAL, an int as int.
        like : array
            One with the dtype of REAL.
        """
        if 0 in grid:
            return
        itemsize = self._itemsize(like)
        kinds = {float: {4: np.float32, 8: np.float64}[itemsize], int: np.int32}
        typed = [kinds[type(a)](a) if type(a) in kinds else a for a in arguments]
        self._runtime.launch(name, grid, block, itemsize, *typed)
