"""Columns that are levels of categories: at most one nonzero in a row and category."""

from functools import cached_property
from itertools import pairwise

import numpy as np

from .. import _jit

# Sums over the rows of a level are a product of matrices for categories of at most so
# many levels. In float32 that takes a fifth of the time of a loop over rows with two
# levels, and as long with 16 to 24.
_MATRIX_LEVELS = 16


class Levels:
    """The levels of categories in each row, and the distance powers that they add.

    Two rows of different levels of a category are apart by the powers of both levels;
    a lookup replaces the columns of zeros and weights.

    Parameters
    ----------
    columns : ndarray of shape (n, l)
        The weight of the level that a row has in each category, zero elsewhere.
    category_sizes : tuple of int
        Numbers of levels of the categories, whose columns follow each other.
    p : float
        Order of the norm.

    Attributes
    ----------
    codes : ndarray of shape (n, n_categories)
        The column of the level of each row, −1 without one.
    powers : ndarray of shape (n, n_categories)
        Its weight to the power p.
    """

    def __init__(self, columns, category_sizes, p):
        n, self._columns = columns.shape[0], columns
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
        # the power p − 1 of the weight of each level, of which gradients are multiples
        self._factors = np.where(weights > 0, above ** (p - 1), 0).astype(columns.dtype)
        few = np.array(category_sizes) <= _MATRIX_LEVELS
        self._columns_of_few = np.flatnonzero(np.repeat(few, category_sizes))
        self._codes_of_many = np.ascontiguousarray(self.codes.T[~few])
        self._codes_by_category = np.ascontiguousarray(self.codes.T)
        self._powers_by_category = np.ascontiguousarray(self.powers.T)

    def take(self, rows):
        """Return the levels of some rows, which `add_distances` can be called on."""
        taken = object.__new__(Levels)
        taken.codes, taken.powers = self.codes[rows], self.powers[rows]
        return taken

    @cached_property
    def _indicators(self):
        """Which row has which level of the categories of few levels: ones and zeros."""
        present = self._columns[:, self._columns_of_few] != 0
        return present.astype(self._columns.dtype)

    def add_distances(self, others, i0, i1, j0, out):
        """Add the share of the categories to a tile of distance powers.

        Parameters
        ----------
        others : Levels
            Those of the rows of the columns of the tile.
        i0, i1 : int
            The range of rows of the tile.
        j0 : int
            Its first column.
        out : ndarray of shape (i1 - i0, n_columns)
            Distance powers of the other columns; changed in place.
        """
        _jit.add_level_distances(
            self.codes[i0:i1],
            self.powers[i0:i1],
            others._codes_by_category,
            others._powers_by_category,
            j0,
            out,
        )

    def gradients(self, rows, slopes, coef):
        """Return the gradients along the levels at some rows.

        The gradient along level l is a factor of l times a sum of slope · coefficient.
        The sum is over the rows without level l if the row has it, and minus the sum
        over the rows with level l if the row has it not.

        Parameters
        ----------
        rows : ndarray of shape (b,)
            Indices of the rows.
        slopes : ndarray of shape (b, n)
        coef : ndarray of shape (c, n)

        Returns
        -------
        ndarray of shape (b, c, l)
        """
        out = np.zeros((len(rows), len(coef), len(self._factors)), slopes.dtype)
        _jit.subtract_level_sums(slopes, self._codes_of_many, coef, out)
        if len(self._columns_of_few):
            for o, coef_of_output in enumerate(coef):
                sums = (slopes * coef_of_output) @ self._indicators
                out[:, o, self._columns_of_few] = -sums
        totals = slopes @ coef.T
        for codes in self.codes[rows].T:
            known = np.flatnonzero(codes >= 0)
            out[known, :, codes[known]] += totals[known]
        out *= self._factors
        return out
