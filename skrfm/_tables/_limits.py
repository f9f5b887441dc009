"""How many rows are held, and are centres, within a limit of memory."""

import numpy as np

# Rows of the sample that the encoding is learned from, the search runs on and centres
# are taken from: the standard error of a median of so many is .16 % of the rows.
SAMPLE_ROWS = 100_000
# n_centers="auto" makes all rows centres up to so many, and else takes so many. On two
# real tables of 32 000 and 36 000 rows 4000 centres lost .01 and .08 of R² against all
# rows, whose cost grows with n². Where the costs cross was not measured.
_ALL_ROWS, _CENTERS = 50_000, 5000
# A memory budget for fewer centres than this is an error.
_FEWEST_CENTERS = 10
# Bytes of a centre for each other one: two factors in float64, and their matrix while
# it is made. Shares of the memory that factors, a sample and a search may take; what
# they do not is for blocks of rows, threads and the predictor. A fit to a million rows
# of 20 columns held .31 GB with 0.3, and .40 with shares of .25 and .4.
BYTES_OF_PAIR = 28
_SHARE_OF_CENTERS, _SHARE_OF_SAMPLE, _SHARE_OF_SEARCH = 0.6, 0.1, 0.15
# Of a tree: the shares of the kernel matrices of its leaves, and of a table in memory.
_SHARE_OF_LEAVES, _SHARE_OF_TABLE = 0.6, 0.3
# copies of a row of the sample, of which three are in float64
_COPIES_IN_DOUBLE, _COPIES = 3, 3
_GIGABYTE = 1e9


def most_centers(memory_budget):
    """Return how many centres a number of gigabytes holds; None where unlimited."""
    if memory_budget is None:
        return None
    n_bytes = _SHARE_OF_CENTERS * memory_budget * _GIGABYTE
    return int((n_bytes / BYTES_OF_PAIR) ** 0.5)


def rows_of_sample(n_centers, n_columns, itemsize, memory_budget, most=SAMPLE_ROWS):
    """Return the number of rows of a sample: more than centres are taken from it.

    Parameters
    ----------
    n_centers : int
    n_columns : int
    itemsize : int
        Bytes of a number of X.
    memory_budget : float or None
        Gigabytes.
    most : int, default=100_000
    """
    rows = most
    if memory_budget is not None:
        share = _SHARE_OF_SAMPLE * memory_budget
        rows = min(rows, _rows_held(share, n_columns, itemsize))
    return max(rows, n_centers + 1)


def _rows_held(gigabytes, n_columns, itemsize):
    """Return how many rows are held, with their copies while they are encoded."""
    of_row = n_columns * (8 * _COPIES_IN_DOUBLE + itemsize * _COPIES)
    return int(gigabytes * _GIGABYTE / of_row)


def rows_in_memory(n_columns, itemsize, memory_budget):
    """Return the largest number of rows of a table that a tree holds in memory."""
    return _rows_held(_SHARE_OF_TABLE * memory_budget, n_columns, itemsize)


def rows_of_leaf(itemsize, memory_budget):
    """Return the number of rows whose kernel matrix a leaf may hold."""
    n_bytes = _SHARE_OF_LEAVES * memory_budget * _GIGABYTE
    return int((n_bytes / itemsize) ** 0.5)


def _most_as_centers(memory_budget):
    """Return up to how many rows n_centers="auto" makes all of them centres."""
    if memory_budget is None:
        return _ALL_ROWS
    # one triangle is held, which in double precision is as large as both in single
    return min(_ALL_ROWS, rows_of_leaf(4, memory_budget))


def search_rows(memory_budget, itemsize):
    """Return the number of rows whose kernel matrix a search may hold, or None."""
    if memory_budget is None:
        return None
    n_bytes = _SHARE_OF_SEARCH * memory_budget * _GIGABYTE
    return int((n_bytes / itemsize) ** 0.5)


def resolve_centers(n_centers, n_rows, memory_budget):
    """Return the number of centres for so many rows; None makes all rows centres.

    Parameters
    ----------
    n_centers : int, "auto" or None
    n_rows : int
    memory_budget : float or None
        Gigabytes.

    Raises
    ------
    ValueError
        For more centres than the memory holds, and where it holds hardly any.
    """
    most = most_centers(memory_budget)
    if n_centers == "auto":
        if n_rows <= _most_as_centers(memory_budget):
            return None
        if most is not None and most < _FEWEST_CENTERS:
            raise ValueError(
                f"memory_budget={memory_budget} allows {most} centres, fewer than "
                f"{_FEWEST_CENTERS}: raise it, or give n_centers."
            )
        return _CENTERS if most is None else min(_CENTERS, most)
    if n_centers is None or n_centers >= n_rows:
        return None
    if most is not None and n_centers > most:
        needed = n_centers**2 * BYTES_OF_PAIR / _SHARE_OF_CENTERS / _GIGABYTE
        raise ValueError(
            f"n_centers={n_centers} takes a memory_budget of {needed:.2g} gigabytes; "
            f"memory_budget={memory_budget} allows {most}. Lower n_centers, or raise "
            "memory_budget."
        )
    return n_centers


def centers_at_most(n_centers):
    """Return the number of centres of a table of any size; None makes all centres."""
    return resolve_centers(n_centers, np.inf, None)
