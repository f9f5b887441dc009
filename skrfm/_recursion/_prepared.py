"""Training rows made ready for all rounds, and what their distances are."""

import re
from dataclasses import dataclass, replace

import numpy as np

from .._backend import Array, Backend, lower_mask
from .._tables import RowBlocks

# The median is that of a subsample of so many rows: an eighth of a million distances.
_MEDIAN_ROWS = 500
# The most memory that the shared distances of one part of the data may take.
_MOST_BYTES = 1 << 26
# How many gradients max_agop_samples="auto" averages. On the choosing half of the
# tables scores were those of all rows, but for the noise.
_GRADIENTS, _GRADIENTS_OF_A_COLUMN, _LEAST_AGOP_ROWS = 4000, 10, 500
_MEDIAN = re.compile(r"\s*(?:(?P<multiple>[^*]+?)\s*\*)?\s*median\s*")


class Distances:
    """Distances of rows that no metric has mapped, shared by the candidates of a norm.

    The median distance serves every multiple of it; the distances themselves serve any
    bandwidth, exponent and ridge, where computing them takes longer than reading them.

    Parameters
    ----------
    shared : bool, default=False
        Whether there are several candidates.
    """

    def __init__(self, shared=False):
        self._shared = shared
        self._medians = {}
        self._norm = self._powers = None

    def bandwidth(self, candidate, T, weight, backend, *, mapped):
        """Return the bandwidth of a candidate for the rows of T.

        `mapped` says whether a metric has mapped them; if not, the median distance is
        shared.
        """
        factor, is_multiple = parse_bandwidth(candidate.bandwidth)
        if not is_multiple:
            return factor
        norm = _norm(candidate)
        median = None if mapped else self._medians.get(norm)
        if median is None:
            median = median_distance(
                candidate.kernel,
                T,
                weight,
                backend,
                seed=candidate.seed,
                category_sizes=candidate.lookup_sizes,
            )
        if not mapped:
            self._medians[norm] = median
        return factor * median

    def powers(self, candidate, T, backend, *, mapped):
        """Return ‖t_i − t_j‖_p^p for i >= j, or None where they are not shared.

        Those of one norm are held at a time: candidates that have it follow each
        other.
        """
        itemsize = backend.xp.finfo(T.dtype).bits // 8
        shares = shares_distances(candidate.kernel, T.shape[0], itemsize)
        if mapped or not self._shared or not shares:
            return None
        norm = _norm(candidate)
        if norm != self._norm:
            self._norm = self._powers = None  # frees its memory first
            self._powers = backend.distance_powers(
                candidate.kernel, T, category_sizes=candidate.lookup_sizes
            )
            self._norm = norm
        return self._powers


def _norm(candidate):
    kernel = candidate.kernel
    return kernel.norm_order, kernel.coordinatewise, candidate.lookup_sizes


def shares_distances(kernel, n_rows, itemsize):
    """Return whether distances are slow to compute, with powers, and not too many."""
    rooted = kernel.coordinatewise and kernel.norm_order not in (1, 2)
    return rooted and n_rows**2 * itemsize <= _MOST_BYTES


def parse_bandwidth(bandwidth):
    """Return a number, and whether it is a multiple of the median distance."""
    if isinstance(bandwidth, str):
        match = _MEDIAN.fullmatch(bandwidth)
        try:
            multiple = float(match["multiple"] or 1) if match else 0.0
        except ValueError:
            multiple = 0.0
        if multiple > 0 and np.isfinite(multiple):
            return multiple, True
    elif 0 < bandwidth < np.inf:
        return float(bandwidth), False
    raise ValueError(
        'bandwidth must be a positive number, "median", or a positive multiple of it '
        f'such as "2*median"; got {bandwidth!r}.'
    )


def median_distance(kernel, T, weight, backend, *, seed, category_sizes=()):
    """Return the weighted median distance of the rows of T, in the kernel's norm.

    Pairs have weight w_i w_j; zero distances are left out. Beyond 500 rows, a
    seeded subsample of 500 is taken. 1 if all rows are equal. The last columns of T
    are categories of so many levels as `category_sizes` says.
    """
    if T.shape[0] > _MEDIAN_ROWS:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(T.shape[0], _MEDIAN_ROWS, replace=False))
        T, weight = backend.take(T, rows), backend.take(weight, rows)
    powers = backend.to_numpy(
        backend.distance_powers(kernel, T, category_sizes=category_sizes)
    )
    weight = backend.to_numpy(weight).astype(np.float64)
    pairs = (powers > 0) & lower_mask(*powers.shape)
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


def sample_rows(n_rows, size, seed):
    """Return at most `size` of so many row indices, sorted."""
    if n_rows <= size:
        return np.arange(n_rows)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n_rows, size, replace=False))


def most_gradient_rows(max_agop_samples, n_rows, n_columns, n_outputs):
    """Return the number of rows that gradients are averaged over at most."""
    if max_agop_samples is None:
        return n_rows
    if max_agop_samples != "auto":
        return max_agop_samples
    gradients = max(_GRADIENTS, _GRADIENTS_OF_A_COLUMN * n_columns)
    return max(_LEAST_AGOP_ROWS, -(-gradients // n_outputs))


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Training rows made ready once for all rounds: centred, with their means.

    Attributes
    ----------
    X : array of shape (n, d)
    Y : array of shape (n, c)
    weight : array of shape (n,)
    center : array of shape (d,)
        The means of the columns; zeros for levels of categories.
    intercept : array of shape (c,)
    distances : Distances
    first : ndarray of int or None
        For each row the index of the first row that equals it; None if all differ.
    blocks : RowBlocks or None
        All rows, if these are a sample of them. Their targets are not centred.
    centers : array of shape (p, d) or None
        The centres of the kernel machine that the user gave, less the means.
    """

    X: Array
    Y: Array
    weight: Array
    center: Array
    intercept: Array
    distances: Distances
    first: np.ndarray | None = None
    blocks: RowBlocks | None = None
    centers: Array | None = None

    @property
    def n_rows(self):
        """The number of all rows."""
        return self.X.shape[0] if self.blocks is None else self.blocks.n_rows

    @classmethod
    def from_data(cls, data, fit_intercept, backend, *, shared=False):
        """Centre the rows and, with an intercept, the targets.

        Columns of categories stay as they are, mostly zeros. `shared` says whether
        several candidates are fitted to these rows, and share their distances.
        """
        xp = backend.xp
        share = data.weight / xp.sum(data.weight)
        center = xp.sum(share[:, None] * data.X, axis=0)
        if data.n_levels:
            center[center.shape[0] - data.n_levels :] = 0
        intercept, Y = _center_targets(data, fit_intercept, xp)
        X = backend.rows(data.X - center)
        return cls(
            X=X,
            Y=Y,
            weight=data.weight,
            center=center,
            intercept=intercept,
            distances=Distances(shared),
            first=_first_of_equals(backend.to_numpy(X)),
            blocks=data.with_step(_Centered(center, backend)).blocks,
            centers=None if data.centers is None else data.centers - center,
        )

    def subset(self, rows, backend):
        """Return some of the rows, centred by the means of all."""
        X, Y, weight = (backend.take(a, rows) for a in (self.X, self.Y, self.weight))
        return PreparedData(
            X=X,
            Y=Y,
            weight=weight,
            center=self.center,
            intercept=self.intercept,
            distances=Distances(),
            first=_first_of_equals(backend.to_numpy(X)),
        )

    def bandwidth(self, candidate, T, backend):
        """Return the bandwidth of a candidate for the mapped rows T."""
        return self.distances.bandwidth(
            candidate, T, self.weight, backend, mapped=T is not self.X
        )

    def mapped(self, metric, backend):
        """Return the rows mapped by a metric; equal rows stay equal to the bit.

        A matrix product may round equal rows differently, depending on their position,
        and a kernel with an unbounded slope would see two rows there.
        """
        T = metric.transform(self.X, backend)
        if self.first is None or T is self.X:
            return T
        return backend.take(T, self.first)


@dataclass(frozen=True)
class _Centered:
    """A step of blocks: rows minus a center."""

    center: Array
    backend: Backend

    def __call__(self, data):
        return replace(data, X=self.backend.rows(data.X - self.center))


def _first_of_equals(X):
    """Return the index of the first equal row of each row, or None if all differ."""
    bits = np.ascontiguousarray(X + 0.0)  # turns -0 into 0, which equals it
    rows = bits.view(np.dtype((np.void, bits.itemsize * bits.shape[1]))).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    return None if len(first) == len(rows) else first[inverse]


def _center_targets(data, fit_intercept, xp):
    """Return the weighted mean of the targets, or zeros, and the centred targets."""
    if not fit_intercept:
        return xp.zeros_like(data.Y[0, :]), data.Y
    w = data.weight[:, None]
    mean = xp.sum(w * data.Y, axis=0) / xp.sum(w)
    return mean, data.Y - mean
