"""Columns that describe the levels of a category by means over their rows.

A kernel of indicator columns learns each of many levels from the few rows it has. The
mean of the target over these rows, shrunken to the mean of all, is one column for all
levels; and numbers centred by the means of a level tell what is unusual within it.
Means of a row of the training table are those of other rows, so that no column holds
the target of its own row. The values of discrete numbers are taken as levels, too.
"""

from dataclasses import dataclass, replace

import numpy as np

from .._backend import Array, Backend, BoolArray, FloatArray, IntArray
from ._discrete import DiscreteNumbers, sums_of_levels

#: what means of levels are taken of: of the targets, or of the numbers as well
LEVEL_STATISTICS = ("targets", "targets+numbers")
# Categories of more levels have statistics. With 8, which is 4 categories of the table
# adult, its log-loss rose from .3084 to .3097; of made tables with 40 to 300 levels, R²
# rose by as much as .1 (tests/test_level_statistics.py).
_LEAST_LEVELS = 32
# Columns of statistics at most: a bound on the time of a fit.
_MOST_COLUMNS = 100
# Parts of the training rows, each with the means of the others, and standard deviations
# at which the columns are softly clipped: those of scikit-learn's TargetEncoder, and of
# the other numbers.
_PARTS, _CLIP = 5, 3.0


def kinds_of_statistics(category_sizes, n_numbers, n_outputs, n_discrete=0):
    """Return the kinds of `LEVEL_STATISTICS` that a table can have.

    Parameters
    ----------
    category_sizes : tuple of int
        Numbers of levels of the categories.
    n_numbers : int
        The number of columns before those of levels.
    n_outputs : int
    n_discrete : int, default=0
        How many of the numbers are discrete.
    """
    n_large = np.count_nonzero(np.array(category_sizes) > _LEAST_LEVELS)
    means = (n_large + n_discrete) * n_outputs
    columns = {"targets": means, "targets+numbers": means + n_large * n_numbers}
    if n_large == 0 or n_numbers == 0:
        del columns["targets+numbers"]
    return tuple(kind for kind, n in columns.items() if 0 < n <= _MOST_COLUMNS)


def most_discrete_numbers(category_sizes, n_outputs):
    """Return how many discrete numbers may have statistics."""
    n_large = np.count_nonzero(np.array(category_sizes) > _LEAST_LEVELS)
    return max(_MOST_COLUMNS // n_outputs - n_large, 0)


@dataclass(frozen=True)
class LevelStatistics:
    """Statistics of the levels of the large categories, for rows to predict.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of levels of all categories, whose columns come last.
    means : tuple of ndarray of shape (n_levels + 1, n_means) or None
        For each category the means of its levels, then those of an unseen one: of the
        targets first, then of the numbers. None for small categories. Those of the
        values of discrete numbers follow, of the targets.
    n_outputs : int
        The number of means of targets.
    center, factor : ndarray of shape (n_columns,)
        What is subtracted from the columns, and what they are then multiplied by.
    discrete : DiscreteNumbers
    """

    sizes: tuple[int, ...]
    means: tuple[FloatArray | None, ...]
    n_outputs: int
    center: FloatArray
    factor: FloatArray
    discrete: DiscreteNumbers = DiscreteNumbers()

    def append(self, X: FloatArray) -> FloatArray:
        """Return encoded rows with the columns of the statistics before the levels."""
        numbers, codes = _split(X, self.sizes, self.discrete)
        columns = _columns(numbers, codes, self.means, self.n_outputs)
        return self._insert(X, columns)

    def _insert(self, X, columns):
        scaled = (columns - self.center) * self.factor
        scaled /= np.sqrt(1 + (scaled / _CLIP) ** 2)
        first = X.shape[1] - sum(self.sizes)
        parts = [X[:, :first], scaled.astype(X.dtype), X[:, first:]]
        return np.concatenate(parts, axis=1)

    def origins(self, number_origins: IntArray, categories: IntArray) -> IntArray:
        """Return the columns of the table that the columns of statistics come from.

        Parameters
        ----------
        number_origins : ndarray of int
            Those of the numbers.
        categories : ndarray of int
            Those of the categories.
        """
        parts = []
        columns = [*categories, *number_origins[list(self.discrete.columns)]]
        for column, means in zip(columns, self.means, strict=True):
            if means is not None:
                parts.append(np.full(self.n_outputs, column))
                parts.append(number_origins[: means.shape[1] - self.n_outputs])
        return np.concatenate(parts)


def with_level_statistics(
    data,
    kind: str,
    sizes,
    *,
    discrete: tuple[int, ...] = (),
    seed: int,
    backend: Backend,
):
    """Return Data with the columns of the statistics, and the LevelStatistics.

    Parameters
    ----------
    data : Data
        Training rows.
    kind : {"targets", "targets+numbers"}
    sizes : tuple of int
        Numbers of levels of the categories.
    discrete : tuple of int, default=()
        Which of the numbers are discrete.
    seed : int
        Seeds the parts of the rows.
    backend : Backend
    """
    X, weight = backend.to_numpy(data.X), _to_float64(data.weight, backend)
    found = DiscreteNumbers.of_rows(X, discrete)
    numbers, codes = _split(X, sizes, found)
    Y = _to_float64(data.Y, backend)
    n_outputs = Y.shape[1]
    described = np.concatenate([Y, numbers], axis=1) if kind != "targets" else Y
    values = [described] * len(sizes) + [Y] * len(discrete)
    described_sizes = [size if size > _LEAST_LEVELS else None for size in sizes]
    described_sizes += found.sizes

    def means_of(rows):
        return tuple(
            None
            if size is None
            else level_means(value[rows], weight[rows], code[rows], size + 1)
            for value, code, size in zip(values, codes, described_sizes, strict=True)
        )

    parts = np.random.default_rng(seed).permutation(len(X)) % _PARTS
    columns = None
    for part in range(_PARTS):
        rows, other_codes = parts == part, [code[parts == part] for code in codes]
        means = means_of(~rows)
        part_columns = _columns(numbers[rows], other_codes, means, n_outputs)
        if columns is None:
            columns = np.empty((len(X), part_columns.shape[1]))
        columns[rows] = part_columns
    center, factor = _center_and_factor(columns, weight)
    every_row = np.ones(len(X), dtype=bool)
    statistics = LevelStatistics(
        sizes, means_of(every_row), n_outputs, center, factor, found
    )
    X = statistics._insert(X, columns)
    return replace(data, X=backend.rows(backend.asarray(X))), statistics


def level_means(
    values: FloatArray, weight: FloatArray, codes: IntArray, size: int
) -> FloatArray:
    """Return the means (size, q) of values over the rows of each level, shrunken.

    A mean of W rows is moved to the mean of all by the factor W / (W + v / t), the best
    for normal levels and noise: v is the variance within levels and t the variance of
    their true means, both from an analysis of variance. Where they cannot be told
    apart, as with one row a level, all means are that of all rows.

    Parameters
    ----------
    values : ndarray of shape (n, q)
    weight : ndarray of shape (n,)
        Numbers of repeats.
    codes : ndarray of int of shape (n,)
    size : int
        The number of levels.
    """
    n_rows = weight.sum()
    if not n_rows > 0:
        return np.zeros((size, values.shape[1]))
    mean = weight @ values / n_rows
    total, sums = sums_of_levels(values - mean, weight, codes, size)
    seen = total > 0
    means = np.where(seen[:, None], sums, 0.0)
    means /= np.where(seen, total, 1.0)[:, None]
    between = total @ means**2
    within = np.maximum(weight @ (values - mean) ** 2 - between, 0)
    spare, n_levels = n_rows - seen.sum(), np.count_nonzero(seen)
    if not spare > 0:
        return np.tile(mean, (size, 1))
    noise = within / spare
    effective = n_rows - total @ total / n_rows
    signal = np.maximum(between - (n_levels - 1) * noise, 0)
    # W / (W + v / t), with t = signal / effective
    gain = total[:, None] * signal
    return mean + means * gain / np.where(gain > 0, gain + noise * effective, 1.0)


def _split(X, sizes, discrete):
    """Return the numbers of encoded rows, and the codes of categories and values.

    An unseen level has the code after the last.
    """
    first, codes = X.shape[1] - sum(sizes), []
    start = first
    for size in sizes:
        levels: BoolArray = X[:, start : start + size] > 0
        codes.append(np.where(levels.any(axis=1), levels.argmax(axis=1), size))
        start += size
    return X[:, :first].astype(np.float64), codes + discrete.codes(X)


def _columns(numbers, codes, means, n_outputs):
    """Return the columns of the statistics, before they are scaled."""
    parts = []
    for code, table in zip(codes, means, strict=True):
        if table is not None:
            found = table[code]
            centred = numbers[:, : found.shape[1] - n_outputs] - found[:, n_outputs:]
            parts += [found[:, :n_outputs], centred]
    return np.concatenate(parts, axis=1)


def _center_and_factor(columns, weight):
    """Return the means of columns, and what makes their variance 1; 0 if constant."""
    share = weight / weight.sum()
    center = share @ columns
    deviation = np.sqrt(share @ (columns - center) ** 2)
    constant = deviation <= 1e-10 * (1 + np.abs(center))
    return center, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))


def _to_float64(a: Array, backend: Backend) -> FloatArray:
    return backend.to_numpy(a).astype(np.float64)
