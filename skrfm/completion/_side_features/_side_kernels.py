"""Kernels between the rows of a matrix: of features, of own entries, or given.

The columns of a matrix are the rows of its transpose, so the same classes serve both.
"""

from typing import Protocol

import numpy as np

from ... import _jit
from ..._backend import BoolArray, FloatArray, IntArray
from ...kernels import NTK
from ._rows import NewRows

_ALL = slice(None)


class CrossKernel(Protocol):
    """The kernel between rows to predict and the fitted rows of a side."""

    def __len__(self) -> int:
        """Return the number of rows to predict."""
        ...

    def diagonal(self, column: int) -> FloatArray:
        """Return the kernel of each row with itself, for the prediction of a column."""
        ...

    def block(self, column: int, rows: IntArray) -> FloatArray:
        """Return the kernel with some fitted rows, for the prediction of a column."""
        ...

    def dot(self, coef: FloatArray, observed: BoolArray) -> FloatArray:
        """Return the kernel times coefficients.

        Both arguments have shape (n_fitted_rows, n_columns); coefficients are 0 where
        `observed` is false.
        """
        ...


class Side(Protocol):
    """A kernel between the rows of a matrix, or between its columns.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features)
        Unit-length features of the fitted rows; without columns where there are none.
    n_features : int
        Number of features that a new row must have; 0 where new rows are not
        described by features.
    per_column : bool
        Whether the prediction of each column has a kernel of its own.
    needs_positions : bool
        Whether rows without features of their own have to be rows of the fitted
        matrix.
    accepts_entries : bool
        Whether the kernel can be extended by the entries of the rows.
    """

    n_features: int
    per_column: bool
    needs_positions: bool
    accepts_entries: bool

    @property
    def features(self) -> FloatArray:
        """Unit-length features of the fitted rows."""
        ...

    def gram(self, rows: IntArray | slice = _ALL, column: int = 0) -> FloatArray:
        """Return the kernel between some rows, for the prediction of a column."""
        ...

    def cross(self, rows: NewRows) -> CrossKernel:
        """Return the kernel between rows to predict and the fitted rows."""
        ...

    def release(self) -> None:
        """Free matrices that are computed again when they are needed."""
        ...


def unit_rows(X: FloatArray) -> FloatArray:
    """Return the rows divided by their norms; rows of zeros stay as they are."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


def _cosines(inner, left_squares, right_squares):
    """Return inner products divided by the norms; 0 where a norm is 0."""
    scale = np.sqrt(left_squares)[:, None] * np.sqrt(right_squares)
    return np.divide(inner, scale, out=np.zeros_like(inner), where=scale > 0)


def self_kernel(ntk: NTK) -> float:
    """Return the kernel of a unit vector with itself."""
    return float(ntk.of_cosines(np.ones(1))[0])


class GivenSide:
    """A kernel matrix that the user passed.

    Parameters
    ----------
    K : ndarray of shape (n_rows, n_rows)
        Symmetric and positive semidefinite.
    """

    per_column = False
    needs_positions = True
    accepts_entries = False
    n_features = 0

    def __init__(self, K: FloatArray):
        self._K = K
        self.features = np.zeros((len(K), 0))

    def gram(self, rows: IntArray | slice = _ALL, column: int = 0) -> FloatArray:
        """Return the kernel between some rows."""
        return self._K[rows][:, rows]

    def cross(self, rows: NewRows) -> CrossKernel:
        """Return the kernel between rows of the fitted matrix and all its rows."""
        positions = rows.positions
        return _SharedCross(self._K[positions], np.diag(self._K)[positions])

    def release(self) -> None:
        """Keep the matrix, which cannot be computed again."""


class FeatureSide:
    """The tangent kernel of unit-length [unit features | identity · e_i].

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    identity : float
        Length of the indicator e_i of each fitted row.
    ntk : NTK
    """

    per_column = False
    accepts_entries = True

    def __init__(self, features: FloatArray, *, identity: float, ntk: NTK):
        self.features = unit_rows(features)
        self.n_features = features.shape[1]
        self.needs_positions = self.n_features > 0
        self._identity, self._ntk = identity, ntk
        self._squares = self._square_norms(self.features)
        self._gram: FloatArray | None = None

    def _square_norms(self, features):
        return np.sum(features**2, axis=1) + self._identity**2

    def gram(self, rows: IntArray | slice = _ALL, column: int = 0) -> FloatArray:
        """Return the kernel between some rows."""
        if self._gram is None:
            positions = np.arange(len(self.features))
            self._gram = self._cross(self.features[positions], positions).kernel
        return self._gram[rows][:, rows]

    def release(self) -> None:
        """Drop the kernel matrix; it is computed again when it is needed."""
        self._gram = None

    def cross(self, rows: NewRows) -> CrossKernel:
        """Return the kernel between rows to predict and the fitted rows.

        Rows with a position in the fitted matrix have the indicator of that row, other
        rows have none.
        """
        if rows.positions is None:
            return self._cross(unit_rows(rows.features))
        return self._cross(self.features[rows.positions], rows.positions)

    def _cross(self, features, positions=None):
        inner = features @ self.features.T
        cosines = _cosines(inner, self._square_norms(features), self._squares)
        if positions is not None:
            cosines[np.arange(len(positions)), positions] = 1
        diagonal = self._ntk.of_cosines(np.ones(len(features)))
        return _SharedCross(self._ntk.of_cosines(cosines), diagonal)


class _SharedCross:
    """A kernel with fitted rows that is the same for all columns."""

    def __init__(self, kernel, diagonal):
        self.kernel, self._diagonal = kernel, diagonal

    def __len__(self):
        return len(self.kernel)

    def diagonal(self, column):
        """Return the kernel of each row with itself."""
        return self._diagonal

    def block(self, column, rows):
        """Return the kernel with some fitted rows."""
        return np.take(self.kernel, rows, axis=1)

    def dot(self, coef, observed):
        """Return the kernel times coefficients."""
        return self.kernel @ coef


class EntrySide:
    """The kernel of [unit features | weight · entries | identity · e_i | 1].

    The entries of a row are its observed entries less the means of the columns, with
    zeros elsewhere, divided by the root mean square of their norms over rows. These
    vectors keep their norms, which measure how far a row is from the mean: the kernel
    is the product of two norms and the tangent kernel of the cosine, divided by the
    mean square norm. For the prediction of a column the entries of that column are left
    out, so that rows where it is observed look like rows where it is not.

    Parameters
    ----------
    entries : ndarray of shape (n_rows, n_columns)
    features : ndarray of shape (n_rows, n_features)
    weight : float
    identity : float
    ntk : NTK
    """

    per_column = True
    accepts_entries = True

    def __init__(
        self,
        entries: FloatArray,
        features: FloatArray,
        *,
        weight: float,
        identity: float,
        ntk: NTK,
    ):
        self.features = unit_rows(features)
        self.n_features = features.shape[1]
        self.needs_positions = self.n_features > 0
        self._ntk, self._identity = ntk, identity
        square = np.mean(np.sum(entries**2, axis=1))
        self._scale = weight / np.sqrt(square if square > 0 else 1)
        self.vectors = _EntryVectors(entries * self._scale, self.features)
        self._mean_square = np.mean(self._with_identity(self.vectors.squares))
        self._inner: FloatArray | None = None

    def _with_identity(self, squares):
        return squares + self._identity**2

    def release(self) -> None:
        """Drop the inner products; they are computed again when they are needed."""
        self._inner = None

    def gram(self, rows: IntArray | slice = _ALL, column: int | None = 0) -> FloatArray:
        """Return the kernel between some rows, for the prediction of a column.

        Where column is None, it is the kernel of all their entries.
        """
        if self._inner is None:
            self._inner = self.vectors.products(self.vectors)
        vectors = self.vectors
        K = self._kernel(self._inner[rows], vectors, rows, column=column, rows=rows)
        K[np.diag_indices_from(K)] = self.self_values(vectors, column, rows)
        return K

    def _kernel(self, inner, left, left_rows, *, column, rows):
        """Return the kernel of some vectors with some fitted rows, for one column."""
        u, a = left.left_out(column, left_rows)
        v, c = self.vectors.left_out(column, rows)
        a, c = self._with_identity(a), self._with_identity(c)
        network = self._ntk.network()
        if network is None:  # an activation without compiled code
            cosines = _cosines(inner[:, rows] - np.outer(u, v), a, c)
            K = self._ntk.of_cosines(cosines) * np.sqrt(np.outer(a, c))
        else:
            columns = np.arange(inner.shape[1])[rows]
            K = np.empty((len(inner), len(columns)))
            _jit.left_out_values(inner, columns, u, v, a, c, network, K)
        K /= self._mean_square
        return K

    def cross(self, rows: NewRows) -> CrossKernel:
        """Return the kernel between rows to predict and the fitted rows.

        Rows to predict have no indicator of a fitted row.
        """
        features = unit_rows(rows.features)
        return _EntryCross(self, _EntryVectors(rows.entries * self._scale, features))

    def cross_block(self, inner, new, *, column, rows):
        """Return the kernel of new vectors with some fitted rows, for one column.

        `inner` (n_new, n_rows) has the inner products of the vectors, which include the
        entries of the column.
        """
        return self._kernel(inner, new, _ALL, column=column, rows=rows)

    def self_values(self, vectors, column, rows: IntArray | slice = _ALL):
        """Return the kernel of some vectors with themselves, for one column."""
        squares = self._with_identity(vectors.left_out(column, rows)[1])
        return self_kernel(self._ntk) * squares / self._mean_square


class _EntryVectors:
    """Vectors [features | entries | 1] and their squared norms."""

    def __init__(self, entries, features):
        self.entries = entries
        self._vectors = np.hstack([features, entries, np.ones((len(entries), 1))])
        self.squares = np.sum(self._vectors**2, axis=1)

    def products(self, others):
        """Return the inner products with other vectors."""
        return self._vectors @ others._vectors.T

    def left_out(self, column: int | None, rows: IntArray | slice = _ALL):
        """Return the entries of a column, and the squared norms without them.

        Where column is None, nothing is left out.
        """
        if column is None:
            squares = self.squares[rows]
            return np.zeros_like(squares), squares
        entries = self.entries[rows, column]
        return entries, self.squares[rows] - entries**2


class _EntryCross:
    """A kernel with the fitted rows of an EntrySide, which differs by column."""

    def __init__(self, side, vectors):
        self._side, self._vectors = side, vectors
        self._inner = vectors.products(side.vectors)

    def __len__(self):
        return len(self._inner)

    def diagonal(self, column):
        """Return the kernel of each row with itself, for the prediction of a column."""
        return self._side.self_values(self._vectors, column)

    def block(self, column, rows):
        """Return the kernel with some fitted rows, for the prediction of a column."""
        return self._side.cross_block(
            self._inner, self._vectors, column=column, rows=rows
        )

    def dot(self, coef, observed):
        """Return the kernel of each column times its coefficients."""
        out = np.zeros((len(self), observed.shape[1]))
        for column, mask in enumerate(observed.T):
            rows = np.flatnonzero(mask)
            if len(rows) > 0:
                out[:, column] = self.block(column, rows) @ coef[rows, column]
        return out
