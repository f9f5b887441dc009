"""Cholesky factors in place, in the threads of the package, by routines of BLAS.

SciPy's Python functions for BLAS hold the GIL. Here the same routines are taken from
SciPy's interface for Cython, as functions of pointers: ctypes releases the GIL for
the call.
"""

import ctypes
from ctypes import byref, c_int, c_void_p
from functools import cache, partial

import numpy as np
from scipy.linalg import (
    cython_blas,  # pyright: ignore[reportAttributeAccessIssue]
    cython_lapack,  # pyright: ignore[reportAttributeAccessIssue]
    lapack,
)

from ..exceptions import NotPositiveDefiniteError
from ._threads import for_each
from ._tiles import block_ranges
from ._types import Array, FloatArray

# Columns of a panel in the Cholesky factorisation, and rows that a thread updates at a
# time: large blocks suit BLAS, small ones are shared more evenly among threads.
PANEL, _UPDATE_ROWS = 384, 256


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
    for k, end in block_ranges(n, PANEL):
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
