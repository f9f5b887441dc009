"""How the functions of this package are compiled, and how a user learns of it."""

import logging
from typing import Any

from numba import njit
from numba.core import event

# Options that keep the order of sums. Nothing calls the functions from C, and a wrapper
# for that takes a sixth of the time of compiling them.
EXACT: Any = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
    "no_cfunc_wrapper": True,
}
# Sums may be reordered, without which LLVM makes no SIMD code of them.
OPTIONS: Any = EXACT | {"fastmath": {"contract", "nsz", "reassoc"}}

_PACKAGE = __name__.partition(".")[0]


def jit(function, **options):
    """Compile a function, cached on disk where a cache can be written."""
    try:
        return njit(cache=True, **OPTIONS, **options)(function)
    except RuntimeError:  # a read-only install without a user cache
        return njit(**OPTIONS, **options)(function)


def jit_helper(function):
    """Do the same for a function that only compiled functions call."""
    return jit(function, no_cpython_wrapper=True)


def inlined(function):
    """Compile a function into the loops that call it.

    LLVM leaves calls of long functions as they are, and a loop with a call is not
    turned into SIMD code.
    """
    return njit(inline="always", **OPTIONS)(function)


class _Announcement(event.Listener):
    """Logs that functions of this package are compiled, once in a process.

    Numba reports a compilation only where its cache has no entry. Loggers show
    warnings, and nothing less, to those who have not set them up: the first fit after
    an installation would seem to hang.
    """

    is_made = False

    def on_start(self, event):
        """Log a message, if the function is of this package and none was logged."""
        dispatcher = event.data["dispatcher"]
        if self.is_made or not dispatcher.py_func.__module__.startswith(_PACKAGE):
            return
        self.is_made = True
        folder = dispatcher.stats.cache_path
        logger = logging.getLogger(_PACKAGE)
        if folder is None:
            logger.warning(
                "Compiling loops, which takes some seconds in every process, because "
                "no cache can be written: set NUMBA_CACHE_DIR to a folder for it."
            )
        else:
            logger.warning(
                "Compiling loops, which takes some seconds once; they are kept in %s.",
                folder,
            )

    def on_end(self, event):
        """Do nothing at the end."""


event.register("numba:compile", _Announcement())
