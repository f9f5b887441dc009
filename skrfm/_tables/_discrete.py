"""Numbers whose values are levels: the mean target jumps from one value to the next.

A kernel takes the target for a smooth function of a number. Where values repeat, each
may have an effect of its own, as amounts in a tax form or codes have, and the mean of
the target over the rows of a value says what that is.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from .._backend import FloatArray, IntArray

# A number is discrete if so many values are between the least and the largest.
_LEAST_VALUES = 3
# Its mean targets differ from those of the values next to them so many times as much as
# noise does, in the mean of the squares, and by so many standard errors. On the
# choosing half of the tables the mean log-loss fell from .3338 to .3299 (adult .308 to
# .281, sick .038 to .032) and the accuracy rose from .8487 to .8508, R² was the same;
# with a ratio of 2 or 1.5 the scores were the same (benchmarks/variants.py).
_LEAST_RATIO, _LEAST_ERRORS = 3.0, 4.0
# the variance of targets about their means, as a share of the mean of their squares
_LEAST_NOISE = 1e-12
# Two encoded numbers, in units of about a standard deviation, are equal up to this:
# rows to predict may have another precision.
_TOLERANCE = 1e-6


def find_discrete_numbers(
    X: FloatArray, Y: FloatArray, weight: FloatArray, columns: list[int]
) -> tuple[int, ...]:
    """Return which columns are discrete numbers, those of the largest jumps first.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Encoded numbers of training rows.
    Y : ndarray of shape (n, c)
    weight : ndarray of shape (n,)
    columns : list of int
        The columns whose values repeat.
    """
    found = {}
    for column in columns:
        values, codes = np.unique(X[:, column], return_inverse=True)
        size = len(values)
        if size < _LEAST_VALUES + 2:
            continue
        ratio = squared_jumps(Y, weight, codes, size).mean()
        # neighbours share values: the variance of a square is 4 in place of 2
        error = 2 / np.sqrt(size - 2)
        if ratio >= max(_LEAST_RATIO, 1 + _LEAST_ERRORS * error):
            found[column] = ratio
    return tuple(sorted(found, key=lambda column: -found[column]))


def squared_jumps(
    Y: FloatArray, weight: FloatArray, codes: IntArray, size: int
) -> FloatArray:
    """Return squared differences of mean targets to those of the values next to them.

    In units of their variance: where the targets are a smooth function of the number,
    and noise, the mean of the squares is 1.

    Parameters
    ----------
    Y : ndarray of shape (n, c)
    weight : ndarray of shape (n,)
        Numbers of repeats.
    codes : ndarray of int of shape (n,)
        The value of each row, by its rank.
    size : int
        The number of values.

    Returns
    -------
    ndarray of shape (size - 2, c)
        Of all values but the least and the largest.
    """
    total, sums = sums_of_levels(Y, weight, codes, size)
    means = sums / total[:, None]
    variance = weight @ (Y - means[codes]) ** 2 / max(total.sum() - size, 1)
    beside = (total[:-2] + total[2:])[:, None]
    differences = means[1:-1] - (sums[:-2] + sums[2:]) / beside
    # targets may be a function of the number, without noise
    least = _LEAST_NOISE * (weight @ Y**2 / total.sum())
    noise = np.maximum(variance, least) * (1 / total[1:-1, None] + 1 / beside)
    return differences**2 / np.where(noise > 0, noise, np.inf)


def sums_of_levels(
    values: FloatArray, weight: FloatArray, codes: IntArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """Return the weights (size,) and the weighted sums (size, q) of levels."""
    n = len(codes)
    by_level = csr_array((weight, (codes, np.arange(n))), shape=(size, n))
    total = np.bincount(codes, weight, minlength=size)
    return np.asarray(total, dtype=np.float64), by_level @ values


@dataclass(frozen=True)
class DiscreteNumbers:
    """Discrete numbers and their values in the training rows.

    Attributes
    ----------
    columns : tuple of int
        Which columns of encoded rows they are.
    values : tuple of ndarray
        Their values, rising.
    """

    columns: tuple[int, ...] = ()
    values: tuple[FloatArray, ...] = ()

    @classmethod
    def of_rows(cls, X: FloatArray, columns: tuple[int, ...]) -> "DiscreteNumbers":
        """Return the discrete numbers of encoded training rows."""
        return cls(columns, tuple(np.unique(X[:, column]) for column in columns))

    def codes(self, X: FloatArray) -> list[IntArray]:
        """Return the values of rows by their ranks; an unseen one is after the last."""
        found = []
        for column, values in zip(self.columns, self.values, strict=True):
            x = X[:, column]
            above = np.searchsorted(values, x).clip(max=len(values) - 1)
            below = np.maximum(above - 1, 0)
            nearer = np.abs(values[below] - x) < np.abs(values[above] - x)
            nearest = np.where(nearer, below, above)
            known = np.abs(values[nearest] - x) <= _TOLERANCE
            found.append(np.where(known, nearest, len(values)))
        return found

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of values."""
        return tuple(map(len, self.values))
