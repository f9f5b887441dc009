"""Kernels between the rows of a matrix: of features, of their own entries, or given.

A side has `gram(rows, columns)`, the kernel between some of its rows for the prediction
of some columns; `new(...)` returns what gives the kernel between other rows and these.
"""

import numpy as np


def unit_rows(X):
    """Return the rows divided by their norms; those of zeros stay."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


def _cosines(inner, left, right):
    """Return inner products divided by norms, of which the squares are given."""
    scale = np.sqrt(left)[:, None] * np.sqrt(right)
    return np.divide(inner, scale, out=np.zeros_like(inner), where=scale > 0)


class GivenSide:
    """A kernel matrix that the user gave."""

    by_column = False

    def __init__(self, K):
        self._K = K

    def gram(self, rows=slice(None), columns=None):
        """Return the kernel between some rows."""
        return self._K[rows][:, rows]

    def forget(self):
        """Keep the kernel, which could not be computed again."""

    def matched(self, positions):
        """Return the rows at these positions."""
        return _Cross(self._K[positions], np.diag(self._K)[positions])


class FeatureSide:
    """The tangent kernel of [unit features | identity · e_i], these normalised."""

    by_column = False

    def __init__(self, features, identity, kernel):
        self.features = unit_rows(features)
        self._identity, self._kernel = identity, kernel
        self._squares = self._lengths(self.features)
        self._gram = None

    def _lengths(self, features):
        return np.sum(features**2, axis=1) + self._identity**2

    def gram(self, rows=slice(None), columns=None):
        """Return the kernel between some rows."""
        if self._gram is None:
            everywhere = np.arange(len(self.features))
            self._gram = self.matched(everywhere).kernel
        return self._gram[rows][:, rows]

    def forget(self):
        """Drop the kernel matrix; it is computed again when it is needed."""
        self._gram = None

    def new(self, features):
        """Return rows that have no identity of this side."""
        return self._cross(unit_rows(features))

    def matched(self, positions):
        """Return the rows at these positions, that are themselves."""
        return self._cross(self.features[positions], positions)

    def _cross(self, features, positions=None):
        inner = features @ self.features.T
        cosines = _cosines(inner, self._lengths(features), self._squares)
        if positions is not None:
            cosines[np.arange(len(positions)), positions] = 1
        own = self._kernel.of_cosines(np.ones(len(features)))
        return _Cross(self._kernel.of_cosines(cosines), own)


class _Cross:
    """The kernel between other rows and those of a side, the same for all columns."""

    def __init__(self, kernel, own):
        self.kernel, self._own = kernel, own

    def own(self, j):
        """Return the kernel of each row with itself."""
        return self._own

    def column(self, j, picked, rows):
        """Return the kernel between picked rows and some rows of the side."""
        return self.kernel[np.ix_(picked, rows)]

    def __len__(self):
        return len(self.kernel)


class EntrySide:
    """The kernel of [unit features | weight · entries | identity · e_i | 1].

    The entries of a row are those that were observed, less the means of the columns,
    with zeros elsewhere, and divided by the root mean square of their lengths. These
    vectors keep their lengths, which say how far a row is from the mean: the kernel is
    the product of two lengths and the tangent kernel of the cosine, divided by the mean
    square length. For the prediction of a column its own entry is left out, so that
    rows where it is observed look like those where it is not.
    """

    by_column = True

    def __init__(self, entries, features, weight, identity, kernel):
        self.features = unit_rows(features)
        self._kernel, self._identity = kernel, identity
        square = np.mean(np.sum(entries**2, axis=1))
        self._scale = weight / np.sqrt(square if square > 0 else 1)
        self._rows = _Rows(entries * self._scale, self.features)
        self._mean_square = np.mean(self._lengths(self._rows.squares))
        self._inner = None

    def _lengths(self, squares):
        return squares + self._identity**2

    def forget(self):
        """Drop the inner products; they are computed again when they are needed."""
        self._inner = None

    def gram(self, rows, columns):
        """Return the kernel between some rows, for one column."""
        if self._inner is None:
            self._inner = self._rows.products(self._rows)
        column, squares = self._rows.without(columns[0], rows)
        lengths = self._lengths(squares)
        inner = self._inner[rows][:, rows] - np.outer(column, column)
        inner[np.diag_indices(len(rows))] = lengths
        return self._of_inner(inner, lengths, lengths)

    def _of_inner(self, inner, left, right):
        K = self._kernel.of_cosines(_cosines(inner, left, right))
        return K * (np.sqrt(np.outer(left, right)) / self._mean_square)

    def new(self, entries, features):
        """Return rows that have no identity of this side."""
        return _EntryCross(self, _Rows(entries * self._scale, unit_rows(features)))

    def cross_kernel(self, inner, left, right):
        """Return the kernel between rows, each (column, squares) less a column."""
        inner = inner - np.outer(left[0], right[0])
        return self._of_inner(
            inner, *(self._lengths(part[1]) for part in (left, right))
        )


class _Rows:
    """Rows [features | entries | 1], and their squared lengths."""

    def __init__(self, entries, features):
        self.entries = entries
        self._all = np.hstack([features, entries, np.ones((len(entries), 1))])
        self.squares = np.sum(self._all**2, axis=1)

    def products(self, others):
        """Return the inner products with other rows."""
        return self._all @ others._all.T

    def without(self, j, picked):
        """Return a column of picked rows, and the squared lengths without it."""
        column = self.entries[picked, j]
        return column, self.squares[picked] - column**2


class _EntryCross:
    """The kernel between other rows and those of an EntrySide, column by column."""

    def __init__(self, side, rows):
        self._side, self._rows = side, rows
        self._inner = rows.products(side._rows)
        self._one = float(side._kernel.of_cosines(np.ones(1))[0])

    def own(self, j):
        """Return the kernel of each row with itself, for a column."""
        everyone = np.arange(len(self._rows.squares))
        squares = self._side._lengths(self._rows.without(j, everyone)[1])
        return self._one * squares / self._side._mean_square

    def column(self, j, picked, rows):
        """Return the kernel between picked rows and some rows of the side."""
        left, right = self._rows.without(j, picked), self._side._rows.without(j, rows)
        return self._side.cross_kernel(self._inner[np.ix_(picked, rows)], left, right)

    def __len__(self):
        return len(self._rows.squares)
