"""BLAS and LAPACK routines that let other threads run meanwhile.

SciPy's Python functions for BLAS hold the GIL. Here the same routines are taken from
SciPy's interface for Cython, as functions of pointers: ctypes releases the GIL for
the call. Matrices are column-major, as BLAS has them; a row-major matrix is passed as
its transpose.
"""

import ctypes
from functools import cache

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

_SCALARS = {"s": ctypes.c_float, "d": ctypes.c_double}


@cache
def _routine(name):
    """Return a routine by its full name, such as "dgemm"."""
    for module in (cython_blas, cython_lapack):
        if name in module.__pyx_capi__:
            capsule = module.__pyx_capi__[name]
            break
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None)(get_pointer(capsule, get_name(capsule)))


def _int(value):
    return ctypes.byref(ctypes.c_int(value))


def _flag(letter):
    return ctypes.c_char_p(letter.encode())


class Matrix:
    """A square row-major matrix, whose blocks are handed to BLAS by their corner.

    In the methods `i` and `j` are the row and column of the corner of a block. Blocks
    must not overlap where one of them is written.
    """

    def __init__(self, array):
        self.array = array
        self.n = array.shape[0]
        self._letter = "s" if array.dtype == np.float32 else "d"
        scalar = _SCALARS[self._letter]
        self._one, self._minus, self._zero = (
            ctypes.byref(scalar(value)) for value in (1, -1, 0)
        )
        self._ld = _int(array.shape[1])

    def _at(self, i, j):
        offset = (i * self.array.shape[1] + j) * self.array.itemsize
        return ctypes.c_void_p(self.array.ctypes.data + offset)

    def _call(self, name, *arguments):
        _routine(self._letter + name)(*arguments)

    def cholesky_block(self, k, size):
        """Factorise the diagonal block at k, lower triangle; return LAPACK's info."""
        info = ctypes.c_int(0)
        self._call(
            "potrf",
            _flag("U"),
            _int(size),
            self._at(k, k),
            self._ld,
            ctypes.byref(info),
        )
        return info.value

    def solve_panel(self, k, size, i0, i1):
        """Rows i0…i1 of the panel at column k: B ← B L⁻ᵀ, L the factor at (k, k)."""
        flags = [_flag(letter) for letter in "LUTN"]
        sizes = [_int(size), _int(i1 - i0), self._one]
        triangle, panel = self._at(k, k), self._at(i0, k)
        self._call("trsm", *flags, *sizes, triangle, self._ld, panel, self._ld)

    def update(self, k, size, i0, i1, j0):
        """Subtract P_i P_jᵀ, P the panel at k, from rows i0…i1, columns j0…i1.

        Of the diagonal block (columns i0…i1) only the lower triangle is touched.
        """
        rows, depth = _int(i1 - i0), _int(size)
        panel = self._at(i0, k), self._ld
        if i0 > j0:
            flags = _flag("T"), _flag("N")
            sizes = _int(i0 - j0), rows, depth, self._minus
            left = self._at(j0, k), self._ld
            block = self._one, self._at(i0, j0), self._ld
            self._call("gemm", *flags, *sizes, *left, *panel, *block)
        flags = _flag("U"), _flag("T")
        block = self._one, self._at(i0, i0), self._ld
        self._call("syrk", *flags, rows, depth, self._minus, *panel, *block)

    def solve_columns(self, j, X):
        """X ← L⁻¹ X for the rows j… of the lower factor L; X is (n − j, b)."""
        flags = [_flag(letter) for letter in "RUNN"]
        rows, columns = X.shape
        sizes = [_int(columns), _int(rows), self._one]
        block = ctypes.c_void_p(X.ctypes.data), _int(columns)
        self._call("trsm", *flags, *sizes, self._at(j, j), self._ld, *block)

    def symmetric_product(self, V, out, j0, j1, *, upper):
        """Write out = A V for columns j0…j1; A is held in one of the triangles."""
        if j1 == j0:
            return
        sizes = _int(j1 - j0), _int(self.n), self._one, self._at(0, 0), self._ld
        left, right = (
            (ctypes.c_void_p(a.ctypes.data + j0 * a.itemsize), _int(a.shape[1]))
            for a in (V, out)
        )
        triangle = _flag("L" if upper else "U")
        self._call("symm", _flag("R"), triangle, *sizes, *left, self._zero, *right)
