"""Variances of errors that are products of a factor of the row and of the column.

A row or column of few entries is near the others, and how near they all are is learned:
factors have a scaled inverse chi-squared prior, whose weight and size are those of the
largest marginal likelihood (G. K. Smyth, "Linear models and empirical Bayes methods for
assessing differential expression in microarray experiments", Statistical Applications
in Genetics and Molecular Biology 3, 2004).
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from .._backend import FloatArray, IntArray
from ._entries import ObservedEntries

# Alternations of the factors of rows and columns; they change by less than 1e-3 then.
# Priors are learned in the first ones: they hardly change later.
_N_ALTERNATIONS, _N_LEARNED = 20, 3
# The weight of a prior, in entries, and its size, relative to the mean square: where
# the search starts, and the least and the largest of each.
_START = 10.0, 1.0
_LIMITS = (1.0, 1e4), (1e-6, 1e2)
# The variance of a square of a normal variable, relative to its squared mean.
_NORMAL_SPREAD = 2.0
# Priors are learned from so many rows or columns, evenly spaced: bounds the time.
_MOST_LEARNED = 10_000


@dataclass(frozen=True)
class NoiseFactors:
    """Factors whose products are the variances of errors.

    Attributes
    ----------
    rows, columns : ndarray of shape (m,) and (n,)
        The mean of those of the rows is about 1. Rows and columns without entries have
        the mean of the others.
    left_out : ndarray of shape (n_entries,)
        The products at the entries, by factors without the square of the entry itself.
    """

    rows: FloatArray
    columns: FloatArray
    left_out: FloatArray

    @classmethod
    def of(cls, entries: ObservedEntries, squares: FloatArray) -> "NoiseFactors":
        """Return the factors of the squares of errors.

        Parameters
        ----------
        entries : ObservedEntries
            Tells where the errors are.
        squares : ndarray of shape (n_entries,)
        """
        mean = float(np.mean(squares, dtype=np.float64))
        if mean == 0:
            rows, columns = np.ones(entries.shape[0]), np.zeros(entries.shape[1])
            return cls(rows, columns, np.zeros(len(squares)))
        relative = squares.astype(np.float64) / mean
        sides = [
            _Side.equal(index, size)
            for index, size in zip(
                (entries.rows, entries.cols), entries.shape, strict=True
            )
        ]
        for number in range(_N_ALTERNATIONS):
            for axis in (1, 0):
                scaled = relative / sides[1 - axis].at_entries
                if number < _N_LEARNED:
                    sides[axis] = sides[axis].learned(scaled)
                else:
                    sides[axis] = sides[axis].updated(scaled)
        rows, columns = sides
        left_out = mean * columns.without_own(relative / rows.at_entries)
        left_out *= rows.without_own(relative / columns.at_entries)
        return cls(rows.factors, mean * columns.factors, left_out)


@dataclass(frozen=True)
class _Side:
    """The factors of rows or of columns.

    Attributes
    ----------
    index : ndarray of int of shape (n_entries,)
        The row or column of each entry.
    sums, counts : ndarray of shape (m,)
        Of squares and of entries, with those of the prior.
    prior : tuple of (float, float)
        The weight of the prior in entries, and its size.
    unit : float
        What an entry counts as.
    """

    index: IntArray
    sums: FloatArray
    counts: FloatArray
    prior: tuple[float, float] = _START
    unit: float = 1.0

    @classmethod
    def equal(cls, index: IntArray, size: int) -> Self:
        """Return factors of 1."""
        return cls(index, np.ones(size), np.ones(size))

    @property
    def factors(self) -> FloatArray:
        """The factor of each row or column."""
        found, known = self.sums / self.counts, np.zeros(len(self.sums), dtype=bool)
        known[self.index] = True
        # the size of the prior is less than the mean of what is drawn from it
        return np.where(known, found, found[known].mean())

    @property
    def at_entries(self) -> FloatArray:
        """The factor of each entry."""
        return self.factors[self.index]

    def without_own(self, squares: FloatArray) -> FloatArray:
        """Return the factor of each entry as it would be without its square."""
        sums = self.sums[self.index] - self.unit * squares
        return sums / (self.counts[self.index] - self.unit)

    def learned(self, squares: FloatArray) -> Self:
        """Return the factors of squares, by a prior that is learned from them.

        The sum of n squares of errors with heavy tails varies like that of fewer normal
        ones.
        """
        relative = squares / self.at_entries
        spread = float(np.var(relative)) / float(np.mean(relative)) ** 2
        unit = 1 / max(1.0, spread / _NORMAL_SPREAD)
        sums, counts = self._totals(squares)
        prior = likeliest_prior(unit * sums, unit * counts, self.prior)
        return replace(self, prior=prior, unit=unit).updated(squares)

    def updated(self, squares: FloatArray) -> Self:
        """Return the factors of squares, by the same prior."""
        sums, counts = self._totals(squares)
        weight, size = self.prior
        return replace(
            self,
            sums=self.unit * sums + weight * size,
            counts=self.unit * counts + weight,
        )

    def _totals(self, squares):
        size = len(self.sums)
        counts = np.bincount(self.index, minlength=size)
        return np.bincount(self.index, squares, size), counts


def likeliest_prior(
    sums: FloatArray, counts: FloatArray, start: tuple[float, float] = _START
) -> tuple[float, float]:
    """Return the weight and the size of the prior of the largest marginal likelihood.

    Parameters
    ----------
    sums, counts : ndarray of shape (m,)
        Of squares of normal errors, whose variance is a draw from the prior.
    start : tuple of (float, float)
        Where the search starts.
    """
    known = np.flatnonzero(counts > 0)
    known = known[:: -(-len(known) // _MOST_LEARNED)]
    S, n = sums[known], counts[known]

    def loss(logs):
        """Return the loss at the logarithms of weight and size, and its gradient."""
        weight, size = np.exp(logs)
        half, total = (weight + n) / 2, weight * size
        log_likelihood = gammaln(half) - gammaln(weight / 2) - half * np.log(total + S)
        value = np.mean(log_likelihood) + weight / 2 * np.log(total)
        share = total * np.mean(half / (total + S))  # of the prior in all squares
        logs = digamma(half) - digamma(weight / 2) + np.log(total / (total + S))
        slope = weight / 2 * (np.mean(logs) + 1) - share
        return -value, -np.array([slope, weight / 2 - share])

    found = minimize(
        loss, np.log(start), jac=True, method="L-BFGS-B", bounds=np.log(_LIMITS)
    )
    weight, size = np.exp(found.x)
    return float(weight), float(size)
