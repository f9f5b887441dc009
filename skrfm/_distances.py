"""Distances of the training rows: held for more than one use, and their median."""

import re

import numpy as np

_MEDIAN_ROWS = 1000
# more rows than these gain nothing from distances that serve one kernel matrix and its
# median; and where they take more bytes, they are a small part of the work
_MOST_ROWS_OF_ONE = 2000
_MOST_BYTES = 1 << 25
_MEDIAN = re.compile(r"\s*(?:(?P<multiple>[^*]+?)\s*\*)?\s*median\s*")


class Distances:
    """Distance powers of all pairs of rows, held where they serve more than once.

    Parameters
    ----------
    shared : bool, default=False
        Whether several kernels will ask for those of the same rows.
    """

    def __init__(self, shared=False):
        self._shared = shared
        self._norm = self._powers = None

    def of(self, recipe, T, backend, *, mapped):
        """Return ‖t_i − t_j‖_p^p for i >= j, or None where that gains nothing.

        Those of rows that no metric has `mapped` are kept for all recipes of the same
        norm that come next, of any bandwidth, exponent and ridge.
        """
        kept = self._shared and not mapped
        if not self._gain(recipe, T, backend, kept):
            return None
        kernel, widths = recipe.kernel, recipe.looked_up
        if not kept:
            return backend.distance_powers(kernel, T, widths)
        norm = kernel.norm_order, kernel.coordinatewise, widths
        if norm != self._norm:
            self._norm = self._powers = None  # its memory comes back first
            self._powers = backend.distance_powers(kernel, T, widths)
            self._norm = norm
        return self._powers

    def _gain(self, recipe, T, backend, kept):
        """Return whether distances that are held are used twice, and are not many."""
        if parse_bandwidth(recipe.bandwidth)[1] is None:
            return False
        n = T.shape[0]
        if kept:
            return n**2 * backend.xp.finfo(T.dtype).bits <= 8 * _MOST_BYTES
        return n <= _MOST_ROWS_OF_ONE and not recipe.kernel.of_inner_products


def parse_bandwidth(bandwidth):
    """Return (value, None) for a number and (None, multiple) for "multiple*median"."""
    if isinstance(bandwidth, str):
        match = _MEDIAN.fullmatch(bandwidth)
        try:
            multiple = float(match["multiple"] or 1) if match else 0.0
        except ValueError:
            multiple = 0.0
        if multiple > 0 and np.isfinite(multiple):
            return None, multiple
    elif 0 < bandwidth < np.inf:
        return float(bandwidth), None
    raise ValueError(
        'bandwidth must be a positive number, "median", or a positive multiple of it '
        f'such as "2*median"; got {bandwidth!r}.'
    )


def median_distance(kernel, T, weight, backend, seed, widths=(), powers=None):
    """Return the weighted median distance of the rows of T, in the kernel's norm.

    Pairs have weight w_i w_j; zero distances are left out. Beyond 1000 rows, a
    seeded subsample of 1000 is taken. 1 if all rows are equal. The last columns of T
    are categories of so many levels as `widths` says; `powers` are the distance powers
    of all pairs of rows, if they are there.
    """
    if T.shape[0] > _MEDIAN_ROWS:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(T.shape[0], _MEDIAN_ROWS, replace=False))
        T, weight = backend.take(T, rows), backend.take(weight, rows)
        if powers is not None:
            powers = backend.to_numpy(backend.take(powers, rows))[:, rows]
    if powers is None:
        powers = backend.distance_powers(kernel, T, widths)
    powers = backend.to_numpy(powers)
    weight = backend.to_numpy(weight).astype(np.float64)
    pairs = (powers > 0) & np.tri(len(weight), k=-1, dtype=bool)
    if not pairs.any():
        return 1.0
    pair_weight = None
    if weight.min() < weight.max():
        pair_weight = np.multiply.outer(weight, weight)[pairs]
    median = _weighted_median(powers[pairs], pair_weight)
    return float(median) ** (1 / kernel.norm_order)


def _weighted_median(values, weights):
    """Return the smallest value at which half of the weight is reached.

    Weights of None are all equal.
    """
    if weights is None:
        middle = (values.size + 1) // 2 - 1
        return np.partition(values, middle)[middle]
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, reached[-1] / 2)]
