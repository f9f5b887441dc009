"""The GPU through CuPy: arrays, memory, and kernels that are compiled on first use."""

from functools import cache
from importlib.resources import files

from ..._sklearn import cupy_namespace

_OPTIONS = ("--std=c++14",)
#: the type REAL of the kernels, by its bytes
REALS = {4: "float", 8: "double"}


def source(name):
    """Return the source of a file of kernels in CUDA C++."""
    return files("skrfm._jit._cuda").joinpath(f"{name}.cu").read_text("utf-8")


@cache
def _module(cupy, name, real):
    """Return the compiled kernels of a file for "float" or "double"."""
    options = (*_OPTIONS, f"-DREAL={real}")
    return cupy.RawModule(code=source(name), options=options)


class Runtime:
    """The current GPU.

    Attributes
    ----------
    xp : namespace
        CuPy with the functions of the array API standard.
    device : cupy.cuda.Device
    out_of_memory : type
        The error that CuPy raises when an allocation does not fit.
    """

    def __init__(self, cupy):
        self._cupy, self.xp = cupy, cupy_namespace()
        self.device = cupy.cuda.Device()
        self.out_of_memory = cupy.cuda.memory.OutOfMemoryError

    def to_device(self, a):
        """Return an array of NumPy or CuPy on the GPU."""
        return self._cupy.asarray(a)

    def to_host(self, a):
        """Return an array as one of NumPy."""
        return self._cupy.asnumpy(a)

    def contiguous(self, a):
        """Return an array in C order."""
        return self._cupy.ascontiguousarray(a)

    def launch(self, name, grid, block, itemsize, *arguments):
        """Run a kernel, as `CudaBackend.launch`; `itemsize` bytes of REAL."""
        file, name = name.split(".")
        module = _module(self._cupy, file, REALS[itemsize])
        module.get_function(name)(grid, block, tuple(arguments))

    def cholesky(self, A):
        """Return the lower Cholesky factor of a matrix, or raise LinAlgError."""
        import cupyx  # pyright: ignore[reportMissingImports]

        with cupyx.errstate(linalg="raise"):  # else CuPy returns NaN silently
            return self._cupy.linalg.cholesky(A)

    def invert_lower(self, factor):
        """Return the inverse of a lower triangular matrix."""
        from cupyx.scipy.linalg import (  # pyright: ignore[reportMissingImports]
            solve_triangular,
        )

        eye = self._cupy.eye(len(factor), dtype=factor.dtype)
        return solve_triangular(factor, eye, lower=True, overwrite_b=True)

    def free_memory(self):
        """Return the bytes that can be allocated now."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return free + self._cupy.get_default_memory_pool().free_bytes()

    def release(self):
        """Free the memory that CuPy's pool keeps for later arrays."""
        self._cupy.get_default_memory_pool().free_all_blocks()


def find_runtime():
    """Return the Runtime, or raise an error that names what is missing."""
    try:
        import cupy  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "Computing on a GPU requires CuPy: install skrfm[gpu-cuda12] or "
            "skrfm[gpu-cuda13], for the CUDA version that `nvidia-smi` shows, or pass "
            "device='cpu'."
        ) from error
    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"CuPy {cupy.__version__} cannot use a GPU ({error}). Check that "
            "`nvidia-smi` shows one, and a CUDA version at least as new as that of the "
            "CuPy package, or pass device='cpu'."
        ) from error
    if n_devices == 0:
        raise RuntimeError("CuPy found no GPU on this machine: pass device='cpu'.")
    return Runtime(cupy)
