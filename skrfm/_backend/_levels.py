"""Columns that are levels of categories: at most one entry in a row and a block."""

from itertools import pairwise

import numpy as np

from .. import _jit


class Levels:
    """The codes of the levels of rows, numbered through all blocks, and their powers.

    Parameters
    ----------
    columns : ndarray of shape (n, l)
        Weights of the levels of rows, zeros elsewhere.
    category_sizes : tuple of int
        Numbers of levels of the categories, whose columns follow each other.
    p : float
        Order of the norm.
    """

    def __init__(self, columns, category_sizes, p):
        n = columns.shape[0]
        self.codes = np.empty((n, len(category_sizes)), dtype=np.int32)
        self.powers = np.empty((n, len(category_sizes)), dtype=columns.dtype)
        edges = np.cumsum([0, *category_sizes])
        for number, (start, stop) in enumerate(pairwise(edges)):
            block = np.abs(columns[:, start:stop])
            column = block.argmax(axis=1)
            weight = block[np.arange(n), column]
            self.codes[:, number] = np.where(weight > 0, start + column, -1)
            self.powers[:, number] = weight**p
        weights = np.abs(columns).max(axis=0, initial=0)
        above = np.where(weights > 0, weights, 1)
        self._factors = np.where(weights > 0, above ** (p - 1), 0).astype(columns.dtype)
        self._by_category = tuple(
            np.ascontiguousarray(a.T) for a in (self.codes, self.powers)
        )

    def part(self, rows):
        """Return the levels of some of the rows, for the rows of a tile."""
        other = object.__new__(Levels)
        other.codes, other.powers = self.codes[rows], self.powers[rows]
        return other

    def add_distances(self, others, i0, i1, j0, out):
        """Add what a tile of distance powers has from the categories."""
        own = self.codes[i0:i1], self.powers[i0:i1]
        _jit.add_level_distances(*own, *others._by_category, j0, out)

    def gradients(self, rows, slopes, coef):
        """Return the gradients (b, c, l) of outputs with coefficients (c, n).

        At rows that have slopes (b, n). The gradient along level l is the factor of l
        times the sum of slope · coefficient over the rows that have another level, if
        the row itself has level l; over those of level l, negative, if it has not.
        """
        out = np.zeros((len(rows), len(coef), len(self._factors)), slopes.dtype)
        _jit.subtract_level_sums(slopes, self._by_category[0], coef, out)
        totals = slopes @ coef.T
        for codes in self.codes[rows].T:
            known = np.flatnonzero(codes >= 0)
            out[known, :, codes[known]] += totals[known]
        out *= self._factors
        return out
