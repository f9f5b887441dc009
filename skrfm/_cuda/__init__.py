"""What runs on a GPU of NVIDIA: kernels in CUDA C++, and CuPy around them."""

from ._runtime import REALS, Runtime, find_runtime, source

__all__ = ["REALS", "Runtime", "find_runtime", "source"]
