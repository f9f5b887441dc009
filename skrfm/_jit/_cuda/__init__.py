"""Code for NVIDIA GPUs: kernels in CUDA C++, and the access to them through CuPy."""

from ._runtime import REALS, Runtime, find_runtime, source

__all__ = ["REALS", "Runtime", "find_runtime", "source"]
