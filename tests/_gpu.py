"""A GPU where there is one, and a simulated GPU on every machine.

The simulated GPU runs the CUDA kernels compiled for the host (gpu.hpp). Its arrays are
those of array_api_strict on a device of its own, so that code which mixes them with
arrays of NumPy fails as it does on a GPU.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import solve_triangular

from skrfm._jit._cuda import REALS, Runtime, find_runtime, source

_HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void\s+(\w+)(?:##ORDER)?\(')
_OF_ORDER = re.compile(r"^OF_ORDER\((\d)\)", re.M)

compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(not compiler, reason="there is no C++ compiler")


class OutOfMemory(MemoryError):
    """The error of the simulated GPU in place of CuPy's OutOfMemoryError."""


def kernel_names(file):
    """Return the names of all kernels of a file."""
    names = []
    for name in _KERNEL.findall(source(file)):
        instances = _OF_ORDER.findall(source(file)) if name.endswith("_") else [""]
        names += [name + instance for instance in instances]
    return names


@cache
def _library(file, real):
    """Return the kernels of a file for "float" or "double", compiled for the host."""
    exported = "\n".join(f"HOST_KERNEL({name})" for name in kernel_names(file))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cpp"
        path.write_text(f'#include "gpu.hpp"\n{source(file)}\n{exported}\n')
        options = ["-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra"]
        # its checks do not allow a jump to another stack
        options.append("-U_FORTIFY_SOURCE")
        output = path.with_suffix(".so")
        subprocess.run(
            [compiler, *options, f"-DREAL={real}", f"-I{_HERE}", path, "-o", output],
            check=True,
        )
        return ctypes.CDLL(str(output))


class SimulatedRuntime:
    """`skrfm._jit._cuda.Runtime` on a simulated GPU.

    Parameters
    ----------
    memory : float, default=4e9
        Its free bytes.

    Attributes
    ----------
    launches : list of str
        The names of the kernels that were run.
    released : int
        How often unused memory was released.
    """

    xp = array_api_strict
    out_of_memory = OutOfMemory

    def __init__(self, memory=4e9):
        self.device = array_api_strict.Device("device1")
        self.memory, self.launches, self.released = memory, [], 0

    def owns(self, a):
        """Return whether an array is on this GPU."""
        return isinstance(a, type(self.xp.empty(0))) and a.device == self.device

    def to_device(self, a):
        if isinstance(a, type(self.xp.empty(0))):
            return self.xp.asarray(a, device=self.device)
        return self.xp.asarray(np.asarray(a), device=self.device)

    def to_host(self, a):
        return np.array(a._array) if hasattr(a, "_array") else np.asarray(a)

    def contiguous(self, a):
        return self.xp.asarray(np.ascontiguousarray(a._array), device=self.device)

    def cholesky(self, A):
        return self.xp.linalg.cholesky(A)

    def invert_lower(self, factor):
        eye = np.eye(factor.shape[0], dtype=factor._array.dtype)
        out = solve_triangular(factor._array, eye, lower=True)
        return self.xp.asarray(out, device=self.device)

    def free_memory(self):
        return self.memory

    def release(self):
        self.released += 1

    def launch(self, name, grid, block, itemsize, *arguments):
        file, name = name.split(".")
        library = _library(file, REALS[itemsize])
        values = [self._argument(a, itemsize) for a in arguments]
        self._check_sizes(library, name, values)
        pointers = (ctypes.c_void_p * len(values))(*(a.ctypes.data for a in values))
        shapes = [
            (ctypes.c_uint * 3)(*shape, *[1] * (3 - len(shape)))
            for shape in (grid, block)
        ]
        assert max(grid[1:]) <= 65535
        assert np.prod(block) <= 1024
        error = getattr(library, f"launch_{name}")(*shapes, pointers)
        assert not error, f"{name}: some threads wait for others that have ended"
        self.launches.append(name)

    def _argument(self, a, itemsize):
        """Return the value of an argument, or its address, in an array of one item."""
        if not hasattr(a, "_array"):
            assert isinstance(a, np.generic), f"{a!r} has no size"
            return np.array([a])
        assert a.device == self.device
        assert a._array.flags.c_contiguous
        assert a._array.itemsize == itemsize or a._array.dtype.kind in "iu"
        return np.array([a._array.ctypes.data], dtype=np.uintp)

    @staticmethod
    def _check_sizes(library, name, values):
        sizes = (ctypes.c_int * 32)()
        count = getattr(library, f"sizes_{name}")(sizes)
        assert [a.itemsize for a in values] == list(sizes[:count]), name


class Guarded(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array that cannot be mixed with other NumPy arrays, like one of CuPy."""

    device = "guarded"

    def __init__(self, array):
        self._array = array

    def __array__(self, *_, **__):
        raise TypeError("arrays of a GPU are not converted implicitly")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        assert method == "__call__"
        return _guard(getattr(ufunc, method)(*_bare(inputs), **_bare(options)))

    def __array_function__(self, function, _, arguments, options):
        return _guard(function(*_bare(arguments), **_bare(options)))

    def __getitem__(self, key):
        return _guard(self._array[_bare(key)])

    def __setitem__(self, key, value):
        self._array[_bare(key)] = _bare(value)

    def __len__(self):
        return len(self._array)

    def __bool__(self):
        return bool(self._array)

    def __float__(self):
        return float(self._array)

    def __int__(self):
        return int(self._array)

    __index__ = __int__

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._array, name)
        if not callable(found):
            return _guard(found)
        return lambda *a, **options: _guard(found(*_bare(a), **_bare(options)))


def _guard(a):
    """Return a result as guarded arrays; NumPy scalars too, as in CuPy."""
    if isinstance(a, tuple):
        return (
            type(a)(*map(_guard, a)) if hasattr(a, "_fields") else tuple(map(_guard, a))
        )
    if isinstance(a, np.ndarray | np.generic):
        return Guarded(np.asarray(a))
    return a


def _bare(a):
    """Return guarded arrays as NumPy arrays, which must not be among the arguments."""
    if isinstance(a, tuple | list):
        return type(a)(map(_bare, a))
    if isinstance(a, dict):
        return {name: _bare(value) for name, value in a.items()}
    if isinstance(a, np.ndarray):
        raise TypeError("a NumPy array was mixed with arrays of the GPU")
    return a._array if isinstance(a, Guarded) else a


class _GuardedNamespace:
    """The functions of a NumPy namespace on guarded arrays."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if name == "linalg":
            return _GuardedNamespace(found)
        if name in ("finfo", "float32", "float64", "int64"):
            return found

        def function(*arguments, device=None, **options):
            assert device in (None, Guarded.device)
            return _guard(found(*_bare(arguments), **_bare(options)))

        return function


class GuardedRuntime(SimulatedRuntime):
    """A simulated GPU for code that calls functions of NumPy, as CuPy allows."""

    xp = _GuardedNamespace(np)

    def __init__(self, memory=4e9):
        super().__init__(memory)
        self.device = Guarded.device

    def owns(self, a):
        return isinstance(a, Guarded)

    def to_device(self, a):
        return a if isinstance(a, Guarded) else Guarded(np.array(a))

    def contiguous(self, a):
        return Guarded(np.ascontiguousarray(a._array))

    def invert_lower(self, factor):
        eye = np.eye(len(factor), dtype=factor.dtype)
        return Guarded(solve_triangular(factor._array, eye, lower=True))


class GpuRuntime(Runtime):
    """The real GPU; it records its kernel launches, as the simulated one does."""

    def __init__(self):
        import cupy

        super().__init__(cupy)
        self.launches, self.released = [], 0

    def owns(self, a):
        return isinstance(a, self._cupy.ndarray)

    def launch(self, name, *arguments):
        self.launches.append(name)
        super().launch(name, *arguments)

    def release(self):
        self.released += 1
        super().release()


@cache
def has_gpu():
    """Return whether there is a GPU that CuPy can use."""
    try:
        find_runtime()
    except (ImportError, RuntimeError):
        return False
    return True


RUNTIMES = {
    "simulated": SimulatedRuntime,
    "guarded": GuardedRuntime,
    "gpu": GpuRuntime,
}


def runtimes(prefix="", simulated="simulated"):
    """Return the names of the runtimes on this machine, as parameters of tests."""
    names = [pytest.param(f"{prefix}{simulated}", marks=needs_compiler)]
    if has_gpu():
        names.append(pytest.param(f"{prefix}gpu", marks=pytest.mark.gpu))
    return names


def use_runtime(name, monkeypatch):
    """Make estimators find a runtime when they look for a GPU, and return it."""
    runtime = RUNTIMES[name]()
    monkeypatch.setattr("skrfm._tables._device.find_runtime", lambda: runtime)
    monkeypatch.setattr("skrfm._tables._device.is_gpu_array", runtime.owns)
    return runtime


def same(got, expected, tolerance=1e-10):
    """Compare NumPy arrays, relative to the largest element."""
    assert isinstance(got, np.ndarray)
    assert got.dtype == expected.dtype
    assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())
