"""The GPU, where there is one, and a stand-in for it that is everywhere.

The stand-in has the kernels compiled for the host, and its memory apart: arrays are
those of array_api_strict on a device of their own, so that code which mixes them with
NumPy's fails as it does on a GPU.
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
from scipy.linalg import solve_triangular

from skrfm._cuda import Runtime, find_runtime, source

_HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void\s+(\w+)(?:##ORDER)?\(')
_OF_ORDER = re.compile(r"^OF_ORDER\((\d)\)", re.M)

compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(not compiler, reason="there is no C++ compiler")


class OutOfMemory(MemoryError):
    """What the stand-in raises where CuPy raises its OutOfMemoryError."""


def kernel_names():
    """Return the names of all kernels."""
    names = []
    for name in _KERNEL.findall(source()):
        instances = _OF_ORDER.findall(source()) if name.endswith("_") else [""]
        names += [name + instance for instance in instances]
    return names


@cache
def _library(real):
    """Return the kernels for "float" or "double", compiled for the host."""
    exported = "\n".join(f"HOST_KERNEL({name})" for name in kernel_names())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cpp"
        path.write_text(f'#include "gpu.hpp"\n{source()}\n{exported}\n')
        options = ["-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra"]
        output = path.with_suffix(".so")
        subprocess.run(
            [compiler, *options, f"-DREAL={real}", f"-I{_HERE}", path, "-o", output],
            check=True,
        )
        return ctypes.CDLL(str(output))


class HostRuntime:
    """What `skrfm._cuda.Runtime` is, without a GPU."""

    xp = array_api_strict
    out_of_memory = OutOfMemory

    def __init__(self, memory=4e9):
        self.device, self.memory, self.launches = (
            array_api_strict.Device("device1"),
            memory,
            [],
        )
        self.released = 0

    def owns(self, a):
        return isinstance(a, type(self.xp.empty(0))) and a.device == self.device

    def to_device(self, a):
        if isinstance(a, type(self.xp.empty(0))):
            return self.xp.asarray(a, device=self.device)
        return self.xp.asarray(np.asarray(a), device=self.device)

    def to_host(self, a):
        return np.array(a._array) if hasattr(a, "_array") else np.asarray(a)

    def contiguous(self, a):
        return self.xp.asarray(np.ascontiguousarray(a._array), device=self.device)

    def invert_lower(self, factor):
        eye = np.eye(factor.shape[0], dtype=factor._array.dtype)
        out = solve_triangular(factor._array, eye, lower=True)
        return self.xp.asarray(out, device=self.device)

    def free_memory(self):
        return self.memory

    def release(self):
        self.released += 1

    def launch(self, name, grid, block, like, *arguments):
        itemsize = like._array.itemsize
        library = _library({4: "float", 8: "double"}[itemsize])
        held = [self._argument(a, itemsize) for a in arguments]
        self._check_sizes(library, name, held)
        pointers = (ctypes.c_void_p * len(held))(*(a.ctypes.data for a in held))
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
        """Return what a pointer to an argument points to, as an array of one item."""
        if not hasattr(a, "_array"):
            assert isinstance(a, np.generic), f"{a!r} has no size"
            return np.array([a])
        assert a.device == self.device
        assert a._array.flags.c_contiguous
        assert a._array.itemsize == itemsize
        return np.array([a._array.ctypes.data], dtype=np.uintp)

    @staticmethod
    def _check_sizes(library, name, held):
        sizes = (ctypes.c_int * 32)()
        count = getattr(library, f"sizes_{name}")(sizes)
        assert [a.itemsize for a in held] == list(sizes[:count]), name


class GpuRuntime(Runtime):
    """The GPU; it notes what is launched, as the stand-in does."""

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
    """Return whether there is a GPU that CuPy reaches."""
    try:
        find_runtime()
    except (ImportError, RuntimeError):
        return False
    return True


RUNTIMES = {"host": HostRuntime, "gpu": GpuRuntime}


def runtimes(prefix=""):
    """Return the names of those that are there, as parameters of tests."""
    found = [pytest.param(f"{prefix}host", marks=needs_compiler)]
    if has_gpu():
        found.append(pytest.param(f"{prefix}gpu", marks=pytest.mark.gpu))
    return found
