"""How the functions of this package are compiled."""

from typing import Any

from numba import njit

# Options that keep the order of sums.
EXACT: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
# Sums may be reordered, without which LLVM makes no SIMD code of them.
OPTIONS: Any = EXACT | {"fastmath": {"contract", "nsz", "reassoc"}}


def jit(function):
    """Compile a function, cached on disk where a cache can be written."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # a read-only install without a user cache
        return njit(**OPTIONS)(function)
