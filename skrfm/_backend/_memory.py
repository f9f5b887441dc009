"""How much memory there is, and whether a kernel matrix fits in it."""

import os
from pathlib import Path

# Up to this number of rows a CPU factorises; from there on the iterative solvers take
# less time (benchmarks/solvers.py).
DIRECT_ROWS = 10_000
# The share of the free memory that a kernel matrix may take where a solver without one
# exists; the remainder is for everything else that runs.
_MEMORY_SHARE = 0.6
# matrices up to so many bytes are allocated without asking how much memory is free
UNCHECKED_BYTES = 1 << 24


def available_memory():
    """Return the number of bytes that can be allocated now, None where unknown."""
    bounds = [_system_memory(), _cgroup_memory()]
    return min((bound for bound in bounds if bound is not None), default=None)


def _system_memory():
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:  # physical memory is an upper bound on systems without /proc
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _cgroup_memory():
    try:
        folder = Path("/sys/fs/cgroup")
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        return max(limit - used, 0)
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return None


def gigabytes(n_bytes):
    """Return a number of bytes as text in GB."""
    return f"{n_bytes / 1e9:.3g} GB"


def fits_in_memory(n_rows, itemsize, reusable_bytes):
    """Return whether a matrix of n_rows x n_rows fits, with room for everything else.

    Parameters
    ----------
    n_rows : int
    itemsize : int
        Bytes of an element.
    reusable_bytes : int
        Bytes of an earlier matrix, which are free for this one.
    """
    free = available_memory()
    if free is None:
        return True
    return itemsize * n_rows**2 <= _MEMORY_SHARE * (free + reusable_bytes)


def require_memory(n_rows, itemsize):
    """Raise MemoryError if a matrix of n_rows x n_rows does not fit."""
    require_free(n_rows, itemsize, available_memory())


def require_free(n_rows, itemsize, free, device=""):
    """Raise MemoryError if a matrix of n_rows x n_rows needs more than `free` bytes.

    Parameters
    ----------
    n_rows, itemsize : int
    free : int or None
        Free bytes, None where unknown.
    device : str, default=""
        Named in the message after the free bytes, such as " of the GPU's memory".
    """
    needed = itemsize * n_rows**2
    if free is None or needed <= free:
        return
    raise MemoryError(
        f"The kernel matrix of {n_rows} rows needs {gigabytes(needed)}, and "
        f"{gigabytes(free)}{device} are free. Fit on fewer rows (about "
        f"{int((free / itemsize) ** 0.5)} fit), pass solver='pcg', which holds no "
        "matrix for kernels of a distance, or grow a tree with XRFMRegressor or "
        "XRFMClassifier" + ("; X in float32 halves it." if itemsize == 8 else ".")
    )
