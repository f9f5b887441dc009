"""Kernels between the rows of a matrix: of features, of their own entries, or given.

A side has `gram(rows, columns)`, the kernel between some of its rows for the prediction
of some columns; `new(...)` returns what gives the kernel between other rows and these.
"""

import numpy as np

# squared norms below this share of what they are the difference of are rounding errors
_ROUNDING = 1e-12


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
        self.kernel, self.own = kernel, own

    def column(self, j, picked, rows):
        """Return the kernel between picked rows and some rows of the side."""
        return self.kernel[np.ix_(picked, rows)]


class EntrySide:
    """The kernel of [unit features | weight · unit entries | identity · e_i].

    The entries of a row are those that were observed, less the means of the columns,
    with zeros elsewhere. For the prediction of a column its own entry is left out, so
    that rows where it is observed look like those where it is not.
    """

    by_column = True

    def __init__(self, entries, features, weight, identity, kernel):
        self.entries, self.features = entries, unit_rows(features)
        self._weight, self._identity, self._kernel = weight, identity, kernel
        self._rows = _Rows(self.entries, self.features)
        self._products = None

    def forget(self):
        """Drop the inner products; they are computed again when they are needed."""
        self._products = None

    def gram(self, rows, columns):
        """Return the kernel between some rows, for one column."""
        if self._products is None:
            self._products = self._inner(self._rows)
        entries, features = (part[rows][:, rows] for part in self._products)
        here = self._rows.without(columns[0], rows)
        cosines = self._column_cosines(entries, features, here, here)
        cosines[np.diag_indices(len(rows))] = 1
        return self._kernel.of_cosines(cosines)

    def _inner(self, rows):
        """Return inner products of entries and of features with those of this side."""
        return rows.entries @ self.entries.T, rows.features @ self.features.T

    def new(self, entries, features):
        """Return rows that have no identity of this side."""
        return _EntryCross(self, _Rows(entries, unit_rows(features)))

    def cross_kernel(self, products, left, right):
        """Return the kernel between two sets of rows, each less the same column."""
        return self._kernel.of_cosines(self._column_cosines(*products, left, right))

    def _column_cosines(self, entries, features, left, right):
        inner = entries - np.outer(left.column, right.column)
        inner = features + self._weight**2 * _cosines(inner, left.rest, right.rest)
        lengths = [
            part.features + self._weight**2 * (part.rest > 0) + self._identity**2
            for part in (left, right)
        ]
        return _cosines(inner, *lengths)


class _Rows:
    """Rows with entries and features, and their squared norms."""

    def __init__(self, entries, features):
        self.entries, self.features = entries, features
        self._entry_squares = np.sum(entries**2, axis=1)
        self._feature_squares = np.sum(features**2, axis=1)

    def without(self, j, picked):
        """Return what is left of picked rows without a column."""
        column, squares = self.entries[picked, j], self._entry_squares[picked]
        rest = squares - column**2
        rest = np.where(rest > _ROUNDING * squares, rest, 0)
        return _Rest(column, rest, self._feature_squares[picked])


class _Rest:
    def __init__(self, column, rest, features):
        self.column, self.rest, self.features = column, rest, features


class _EntryCross:
    """The kernel between other rows and those of an EntrySide, column by column."""

    def __init__(self, side, rows):
        self._side, self._rows = side, rows
        self._products = side._inner(rows)
        self.own = side._kernel.of_cosines(np.ones(len(rows.entries)))

    def column(self, j, picked, rows):
        """Return the kernel between picked rows and some rows of the side."""
        products = [part[np.ix_(picked, rows)] for part in self._products]
        left = self._rows.without(j, picked)
        return self._side.cross_kernel(
            products, left, self._side._rows.without(j, rows)
        )
