"""Distances of the training rows: their median, and what recipes share of them."""

import re

import numpy as np

_MEDIAN_ROWS = 1000
# the most memory that distances of the rows of one part of the data may take
_MOST_BYTES = 1 << 26
_MEDIAN = re.compile(r"\s*(?:(?P<multiple>[^*]+?)\s*\*)?\s*median\s*")


class Distances:
    """What all recipes of one distance share of rows that no metric has mapped.

    Their median, of any multiple of it, and the distances themselves, for any
    bandwidth, exponent and ridge, where to compute them takes longer than to read.

    Parameters
    ----------
    shared : bool, default=False
        Whether there are several recipes.
    """

    def __init__(self, shared=False):
        self._shared = shared
        self._medians = {}
        self._norm = self._powers = None

    def median(self, recipe, T, weight, backend, *, mapped):
        """Return the median distance of the rows of T."""
        norm, kernel = _norm(recipe), recipe.kernel
        if not mapped and norm in self._medians:
            return self._medians[norm]
        where = backend, recipe.seed, recipe.looked_up
        median = median_distance(kernel, T, weight, *where)
        if not mapped:
            self._medians[norm] = median
        return median

    def powers(self, recipe, T, backend, *, mapped):
        """Return ‖t_i − t_j‖_p^p for i >= j, or None where that gains nothing.

        Those of one distance are held at a time: recipes that have it follow each
        other.
        """
        if mapped or not self._shared or not _gains(recipe.kernel, T, backend):
            return None
        norm = _norm(recipe)
        if norm != self._norm:
            self._norm = self._powers = None  # its memory comes back first
            widths = recipe.looked_up
            self._powers = backend.distance_powers(recipe.kernel, T, widths)
            self._norm = norm
        return self._powers


def _norm(recipe):
    kernel = recipe.kernel
    return kernel.norm_order, kernel.coordinatewise, recipe.looked_up


def _gains(kernel, T, backend):
    """Return whether distances are slow to compute, with roots, and not too many."""
    rooted = kernel.coordinatewise and kernel.norm_order not in (1, 2)
    size = T.shape[0] ** 2 * backend.xp.finfo(T.dtype).bits // 8
    return rooted and size <= _MOST_BYTES


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


def median_distance(kernel, T, weight, backend, seed, widths=()):
    """Return the weighted median distance of the rows of T, in the kernel's norm.

    Pairs have weight w_i w_j; zero distances are left out. Beyond 1000 rows, a
    seeded subsample of 1000 is taken. 1 if all rows are equal. The last columns of T
    are categories of so many levels as `widths` says.
    """
    if T.shape[0] > _MEDIAN_ROWS:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(T.shape[0], _MEDIAN_ROWS, replace=False))
        T, weight = backend.take(T, rows), backend.take(weight, rows)
    powers = backend.to_numpy(backend.distance_powers(kernel, T, widths))
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
