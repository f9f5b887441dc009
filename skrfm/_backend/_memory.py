"""How much memory there is, and an error that says so before it runs out."""

import os
from pathlib import Path


def available_memory():
    """Return the bytes that can be allocated now, or None where unknown."""
    candidates = [_system_memory(), _cgroup_memory()]
    return min((c for c in candidates if c is not None), default=None)


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


def gigabytes(count):
    """Return a byte count as text in GB."""
    return f"{count / 1e9:.3g} GB"


# processors factorise up to so many rows; beyond, iterations take less time
DIRECT_ROWS = 10_000
# share of the free memory that a kernel matrix may take where there is another way
_SHARE = 0.6


def fits_in_memory(n_rows, itemsize, held):
    """Return whether a matrix of n_rows x n_rows leaves room for the rest.

    So many bytes as are `held` can be had beside what is free.
    """
    free = available_memory()
    return free is None or itemsize * n_rows**2 <= _SHARE * (free + held)


def require_memory(n_rows, itemsize):
    """Raise MemoryError if a matrix of n_rows x n_rows does not fit."""
    require_free(n_rows, itemsize, available_memory())


def require_free(n_rows, itemsize, free, where=""):
    """Raise MemoryError if it does not fit in so many free bytes (None: unknown).

    `where` says what memory they are of.
    """
    needed = itemsize * n_rows**2
    if free is None or needed <= free:
        return
    raise MemoryError(
        f"The kernel matrix of {n_rows} rows needs {gigabytes(needed)}, and "
        f"{gigabytes(free)}{where} are free. Fit on fewer rows (about "
        f"{int((free / itemsize) ** 0.5)} fit), pass solver='pcg', which for "
        "a kernel of a distance does not hold it, or grow a tree with XRFMRegressor or "
        "XRFMClassifier" + ("; X in float32 halves it." if itemsize == 8 else ".")
    )
