"""How everything here is compiled."""

from numba import njit

EXACT = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
# sums may be reordered, which is what makes SIMD code of them
OPTIONS = EXACT | {"fastmath": {"contract", "nsz", "reassoc"}}


def jit(function):
    """Compile `function`, cached on disk wherever a cache can be written."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # a read-only install without a user cache
        return njit(**OPTIONS)(function)
