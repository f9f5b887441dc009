"""The kernel matrix and its slopes in one square buffer, factorised in place.

The kernel matrix K and the matrix of its slopes W are both symmetric, so one square
buffer holds them: K below the diagonal, W above it. The Cholesky factor overwrites K
and leaves W for the AGOP: a whole fit takes one n × n buffer.

SciPy's Python functions for BLAS hold the GIL. Here the same routines are taken from
SciPy's interface for Cython, as functions of pointers: ctypes releases the GIL for
the call.
"""

import ctypes
from collections.abc import Iterator
from ctypes import byref, c_int, c_void_p
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import (
    cython_blas,  # pyright: ignore[reportAttributeAccessIssue]
    cython_lapack,  # pyright: ignore[reportAttributeAccessIssue]
    eigh,
    lapack,
)

from .. import _jit
from ..exceptions import NotPositiveDefiniteError
from ._angles import self_pairs
from ._gram import TileGram
from ._memory import UNCHECKED_BYTES, require_memory
from ._threads import for_each
from ._tiles import block_ranges, lower_triangle_ranges, pair_tiles
from ._types import Array, FloatArray, IntArray

# Columns of a panel in the Cholesky factorisation, and rows that a thread updates at a
# time: large blocks suit BLAS, small ones are shared more evenly among threads.
_PANEL, _UPDATE_ROWS = 384, 256
# Up to this number of columns, compiled loops are 2 to 5 times as fast as BLAS, which
# packs the matrix for each product; above it, the product is left to BLAS.
FEW_COLUMNS = 32
# Up to this number of rows BLAS takes at most some 0.3 ms more, and the loops need not
# be compiled, which would take a quarter of the first fit after an installation.
_FEW_ROWS = 512
# The parts of such a product. Their sums are added in this order whatever the number of
# threads, so that results do not depend on it.
_PARTS = 8


@cache
def _routine(name):
    """Return a routine of BLAS or LAPACK by its full name, such as "dgemm"."""
    for module in (cython_blas, cython_lapack):
        if name in module.__pyx_capi__:
            capsule = module.__pyx_capi__[name]
            break
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None)(get_pointer(capsule, get_name(capsule)))


# BLAS has column-major matrices: a row-major one is passed as its transpose, so that
# its lower triangle is "upper" and a factor from the left is from the "right".
_UPPER, _LOWER = ctypes.c_char_p(b"U"), ctypes.c_char_p(b"L")
_LEFT, _RIGHT = ctypes.c_char_p(b"L"), ctypes.c_char_p(b"R")
_TRANSPOSED, _AS_IS = ctypes.c_char_p(b"T"), ctypes.c_char_p(b"N")
_NOT_UNIT = ctypes.c_char_p(b"N")


class BlasMatrix:
    """A square row-major matrix whose blocks are passed to BLAS by their corner.

    Blocks must not overlap where one of them is written. Methods that threads run have
    the range of their rows or columns as the last argument.

    Parameters
    ----------
    array : ndarray of shape (n, n), float32 or float64
    """

    def __init__(self, array):
        self._array = array  # alive as long as its address is used
        self._n, self._address = array.shape[0], array.ctypes.data
        self._row_bytes, self._itemsize = array.strides
        is_single = array.dtype == np.float32
        letter = "s" if is_single else "d"
        self._potrf = _routine(letter + "potrf")
        self._trsm = _routine(letter + "trsm")
        self._gemm = _routine(letter + "gemm")
        self._syrk = _routine(letter + "syrk")
        self._symm = _routine(letter + "symm")
        scalar = ctypes.c_float if is_single else ctypes.c_double
        self._zero, self._one = byref(scalar(0)), byref(scalar(1))
        self._minus_one = byref(scalar(-1))
        self._leading = byref(c_int(self._n))

    def cholesky_block(self, k, size):
        """Factorise the diagonal block at k, lower triangle; return LAPACK's info."""
        info = c_int(0)
        block = c_void_p(self._address + k * (self._row_bytes + self._itemsize))
        self._potrf(_UPPER, byref(c_int(size)), block, self._leading, byref(info))
        return info.value

    def solve_panel(self, k, size, rows):
        """Solve P Lᵀ = B for rows of the panel B at column k, L the block at (k, k)."""
        first, last = rows
        column = self._address + k * self._itemsize
        self._trsm(
            _LEFT,
            _UPPER,
            _TRANSPOSED,
            _NOT_UNIT,
            byref(c_int(size)),
            byref(c_int(last - first)),
            self._one,
            c_void_p(column + k * self._row_bytes),
            self._leading,
            c_void_p(column + first * self._row_bytes),
            self._leading,
        )

    def update(self, k, size, j0, rows):
        """Subtract P_i P_jᵀ, P the panel at k, from rows i and columns j0 ≤ j ≤ i."""
        first, last = rows
        n_rows, depth = byref(c_int(last - first)), byref(c_int(size))
        row = self._address + first * self._row_bytes
        panel = c_void_p(row + k * self._itemsize)
        if first > j0:
            self._gemm(
                _TRANSPOSED,
                _AS_IS,
                byref(c_int(first - j0)),
                n_rows,
                depth,
                self._minus_one,
                c_void_p(self._address + j0 * self._row_bytes + k * self._itemsize),
                self._leading,
                panel,
                self._leading,
                self._one,
                c_void_p(row + j0 * self._itemsize),
                self._leading,
            )
        self._syrk(
            _UPPER,
            _TRANSPOSED,
            n_rows,
            depth,
            self._minus_one,
            panel,
            self._leading,
            self._one,
            c_void_p(row + first * self._itemsize),
            self._leading,
        )

    def solve_columns(self, j, X):
        """X ← L⁻¹ X for the rows from j on of the lower factor L; X is (n − j, b)."""
        n_rows, n_columns = X.shape
        self._trsm(
            _RIGHT,
            _UPPER,
            _AS_IS,
            _NOT_UNIT,
            byref(c_int(n_columns)),
            byref(c_int(n_rows)),
            self._one,
            c_void_p(self._address + j * (self._row_bytes + self._itemsize)),
            self._leading,
            c_void_p(X.ctypes.data),
            byref(c_int(n_columns)),
        )

    def symmetric_product(self, V, out, upper, columns):
        """Write some columns of A V, for a symmetric A in one of the triangles."""
        first, last = columns
        if last == first:
            return
        self._symm(
            _RIGHT,
            _LOWER if upper else _UPPER,
            byref(c_int(last - first)),
            byref(c_int(self._n)),
            self._one,
            c_void_p(self._address),
            self._leading,
            c_void_p(V.ctypes.data + first * V.itemsize),
            byref(c_int(V.shape[1])),
            self._zero,
            c_void_p(out.ctypes.data + first * out.itemsize),
            byref(c_int(out.shape[1])),
        )


def factorize(A: FloatArray) -> None:
    """Overwrite the lower triangle of a symmetric A by its Cholesky factor.

    Panel by panel: the factor of the diagonal block, the panel below it, and the
    update of all columns to the right; threads share the rows.
    """
    matrix, n = BlasMatrix(A), len(A)
    for k, end in block_ranges(n, _PANEL):
        size = end - k
        info = matrix.cholesky_block(k, size)
        if info:
            raise NotPositiveDefiniteError(k + info - 1)
        rows = block_ranges(n, _UPDATE_ROWS, start=end)
        for_each(partial(matrix.solve_panel, k, size), rows)
        # the longest rows first, so that all threads end together
        for_each(partial(matrix.update, k, size, end), rows[::-1])


def solve_factorized(A: FloatArray, B: Array) -> FloatArray:
    """Return the inverse of a matrix times B, from what `factorize` left in A."""
    (potrs,) = lapack.get_lapack_funcs(("potrs",), (A,))
    return potrs(A.T, np.asfortranarray(B, dtype=A.dtype), lower=False)[0]


class TiledFactor:
    """The Cholesky factor of A + shift I, which overwrites the lower triangle of A.

    Parameters
    ----------
    A : ndarray of shape (n, n)
        A symmetric matrix, of which the upper triangle is not read.
    shift : float

    Attributes
    ----------
    smallest_pivot : float
        The smallest square of a diagonal entry of the factor.
    """

    def __init__(self, A, shift):
        self._A = A
        np.fill_diagonal(A, np.diagonal(A) + A.dtype.type(shift))
        factorize(A)
        self.smallest_pivot = float(np.diagonal(A).min()) ** 2

    def solve(self, B: Array) -> FloatArray:
        """Return the inverse of A + shift I times B."""
        return solve_factorized(self._A, B)


@lru_cache(maxsize=64)  # small fits take the same ranges in each round
def _equal_area_ranges(n_rows, *, upper):
    """Return ranges of rows that have as many entries each in a triangle."""
    below = (n_rows * np.sqrt(np.linspace(0, 1, _PARTS + 1))).astype(int)
    return list(pairwise((n_rows - below[::-1] if upper else below).tolist()))


class PackedGram(TileGram):
    """K and its slopes W on one set of rows, in one square buffer.

    `factorize` turns the lower triangle into the Cholesky factor of K + diag(ridge);
    `refill` computes K again.

    Parameters
    ----------
    kernel : Kernel
    T : ndarray of shape (n, k)
    bandwidth : float
    reusable : PackedGram or TriangleGram, default=None
        An earlier one: its buffer is taken if it serves, or its memory freed first.
    category_sizes : tuple of int, default=()
        Numbers of levels of the categories in the last columns, which are looked up.
    powers : ndarray of shape (n, n), default=None
        Distance powers of all pairs, if they are computed already.
    """

    def __init__(
        self, kernel, T, bandwidth, *, reusable=None, category_sizes=(), powers=None
    ):
        n = T.shape[0]
        self.T, self.kernel = T, kernel
        self._bandwidth, self._category_sizes = bandwidth, category_sizes
        self._powers = powers
        self._tiles = pair_tiles(kernel, T, T, bandwidth, category_sizes)
        self.n_dense = self._tiles.T.shape[1]
        if isinstance(reusable, PackedGram) and reusable._packed.shape == (n, n):
            self._packed = reusable._packed
        else:
            if reusable is not None:
                reusable.free()
            if n * n * T.dtype.itemsize > UNCHECKED_BYTES:
                require_memory(n, T.dtype.itemsize)
            self._packed = np.empty((n, n), dtype=T.dtype)
        self.diagonal = np.ones(n, dtype=T.dtype)
        self._slope_diagonal = np.zeros(n, dtype=T.dtype)
        if kernel.of_inner_products:
            self.diagonal, self._slope_diagonal = self_pairs(
                kernel, self._tiles.t, bandwidth, np
            )
        self.refill()

    @property
    def nbytes(self) -> int:
        """The bytes of its buffer."""
        return self._packed.nbytes

    def free(self) -> None:
        """Free the memory of the matrix, which is of no use then."""
        self._packed = np.empty((0, 0), dtype=self.T.dtype)

    def refill(self) -> None:
        """Compute K and W, also after K was overwritten."""
        pack_rows = partial(self._tiles.pack_rows, self._packed, self._powers)
        for_each(pack_rows, lower_triangle_ranges(self.T.shape[0]))

    def factorize(self, ridge: Array) -> None:
        """Overwrite K by the Cholesky factor of K + diag(ridge)."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        factorize(self._packed)

    def solve(self, B: Array) -> FloatArray:
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        return solve_factorized(self._packed, B)

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of the inverse, after `factorize`.

        Its entries are the squared norms of the columns of L⁻¹, computed in blocks.
        """
        matrix, n = BlasMatrix(self._packed), len(self.diagonal)
        out = np.empty(n, dtype=self._packed.dtype)

        def fill(columns):
            j0, j1 = columns
            X = np.zeros((n - j0, j1 - j0), dtype=self._packed.dtype)
            np.fill_diagonal(X, 1)
            matrix.solve_columns(j0, X)
            out[j0:j1] = np.einsum("ij,ij->j", X, X)

        for_each(fill, block_ranges(n, _PANEL))
        return out

    def eigh(self, ridge: Array) -> tuple[FloatArray, FloatArray]:
        """Return eigenvalues and eigenvectors of K + diag(ridge); K is not changed."""
        np.fill_diagonal(self._packed, self.diagonal + ridge)
        return eigh(self._packed.T, lower=False)

    def product(self, V: Array) -> FloatArray:
        """Return K @ V, before `factorize`."""
        return self._symmetric_product(self.diagonal, V, upper=False)

    def slope_product(self, V: Array) -> FloatArray:
        """Return W @ V."""
        return self._symmetric_product(self._slope_diagonal, V, upper=True)

    def _symmetric_product(self, diagonal, V, *, upper):
        if V.shape[1] > FEW_COLUMNS or len(V) <= _FEW_ROWS:
            return self._blas_product(diagonal, V, upper=upper)
        columns = np.ascontiguousarray(V.T)
        # each part of the rows has its own sum
        product = partial(_jit.triangle_product, self._packed, upper, columns)
        ranges = _equal_area_ranges(len(diagonal), upper=upper)
        total = sum(for_each(product, ranges))
        return np.ascontiguousarray((total + diagonal * columns).T)

    def _blas_product(self, diagonal, V, *, upper):
        np.fill_diagonal(self._packed, diagonal)
        matrix, V = BlasMatrix(self._packed), np.ascontiguousarray(V)
        out, n_columns = np.empty_like(V), V.shape[1]
        if len(V) <= _FEW_ROWS:
            matrix.symmetric_product(V, out, upper, (0, n_columns))
            return out
        # the parts do not depend on the number of threads, so neither do the results
        n_parts = 2 * max(1, min(n_columns, len(V) // 4) // 64)
        edges = [n_columns * part // n_parts for part in range(n_parts + 1)]
        write_columns = partial(matrix.symmetric_product, V, out, upper)
        for_each(write_columns, list(pairwise(edges)))
        return out

    def slope_rows_product(self, rows: IntArray, V: Array) -> FloatArray:
        """Return W[rows] @ V."""
        out = super().slope_rows_product(rows, V)
        out += self._slope_diagonal[rows, None] * V[rows]
        return out

    def coordinate_gradients(
        self, rows: IntArray, coef: Array
    ) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (positions, gradients) of blocks of `rows`.

        The gradients of all rows are computed at once, where they take no more memory
        than the kernel matrix: this visits each pair of rows once, not twice.
        """
        n, n_outputs = coef.shape
        fits = _PARTS * n_outputs * self.n_dense <= n
        if not fits or not np.array_equal(rows, np.arange(n)):
            yield from super().coordinate_gradients(rows, coef)
            return
        tiles, coef_rows = self._tiles, np.ascontiguousarray(coef.T)

        def partial_gradients(rows):
            out = np.zeros((n_outputs, self.n_dense, n), dtype=self.T.dtype)
            i0, i1 = rows
            weights = np.empty(_jit.GRADIENT_COLUMNS, dtype=out.dtype)
            _jit.pair_gradients(
                self._packed,
                tiles.columns,
                i0,
                i1,
                coef_rows,
                tiles.order,
                weights,
                out,
            )
            return out

        total: Any = sum(for_each(partial_gradients, _equal_area_ranges(n, upper=True)))
        gradients = np.ascontiguousarray(total.transpose(2, 0, 1))
        if tiles.t_levels is not None:
            along_levels = self.level_gradients(rows, coef)
            gradients = np.concatenate([gradients, along_levels], axis=2)
        yield slice(0, n), gradients

    def _slopes_of_rows(self, rows):
        def slopes(j0, j1):
            out = np.empty((len(rows), j1 - j0), dtype=self.T.dtype)
            _jit.unpack_slopes(self._packed, rows, j0, out)
            return out

        return slopes

    def radial_product(self, rows: IntArray, V: Array) -> FloatArray:
        """Return D[rows] @ V, for gradients D t − W z of kernels of inner products.

        D is not symmetric and not in the buffer: it is computed here. (For kernels of a
        distance D is W.)
        """
        out = np.zeros((len(rows), V.shape[1]), dtype=V.dtype)
        n, tiles = len(self.diagonal), self._tiles.take(rows)

        def fill(block):
            i0, i1 = block
            for j0, j1 in block_ranges(n):
                out[i0:i1] += tiles.gradients(i0, i1, j0, j1)[2] @ V[j0:j1]

        for_each(fill, block_ranges(len(rows)))
        return out
