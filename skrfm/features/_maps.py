"""Linear maps of rows that an AGOP makes: reweighted columns, or further directions."""

from dataclasses import dataclass

import numpy as np

from .._backend import FloatArray
from ..agop import Agop, FeatureMetric

# Directions whose eigenvalue is below this share of the largest are not added to the
# columns: they vary little, and every further column is one more that a tree may split.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class FeatureMap:
    """A linear map x → L x.

    Attributes
    ----------
    matrix : ndarray of shape (k, d)
        L.
    names_kept : int
        How many of the mapped columns, from the first on, are columns of x, each times
        a factor.
    """

    matrix: FloatArray
    names_kept: int

    @classmethod
    def identity(cls, n_columns):
        """Return the map of rows to themselves."""
        return cls(np.eye(n_columns), n_columns)

    @property
    def is_identity(self):
        """Whether rows are mapped to themselves."""
        k, d = self.matrix.shape
        return k == d and np.array_equal(self.matrix, np.eye(d))

    def transform(self, X):
        """Return mapped rows (n, k)."""
        if self.is_identity:
            return X
        L = self.matrix.astype(X.dtype)
        d = X.shape[1]
        if self.names_kept == len(L) == d:
            return X * np.diagonal(L)
        if self.names_kept == d:  # columns, and directions after them
            return np.hstack([X, X @ L[d:].T])
        return X @ L.T


@dataclass(frozen=True)
class MapRule:
    """How an AGOP makes a map.

    Attributes
    ----------
    mode : {"scale", "concat"}
        Whether rows are multiplied by the root of the metric, or get its leading
        eigenvectors as further columns.
    metric_type : {"full", "diag"}
    n_components : int, float or None
    """

    mode: str
    metric_type: str
    n_components: int | float | None = None

    def __call__(self, G: FloatArray, covariance: FloatArray) -> FeatureMap | None:
        """Return the map of an AGOP, or None if that is zero or not finite.

        Columns are taken in units of their deviation, so the map does not depend on
        the units of the table but for the total variance of its rows, which stays what
        it is: a bandwidth that suits the table then suits the mapped rows.

        Parameters
        ----------
        G : ndarray of shape (d, d)
            The AGOP in the units of the table.
        covariance : ndarray of shape (d, d)
            That of the rows.
        """
        variance = np.diagonal(covariance)
        unit = np.sqrt(np.where(variance > 0, variance, 1.0))
        scaled = unit[:, None] * G * unit
        diagonal = self.metric_type == "diag"
        agop = Agop(squares=np.diag(scaled)) if diagonal else Agop(products=scaled)
        metric = FeatureMetric.from_agop(agop, self.n_components)
        if metric is None:
            return None
        if self.mode == "concat":
            return _with_directions(metric, unit)
        matrix = _root(metric, symmetric=self.n_components is None) / unit
        mapped = np.einsum("ij,jk,ik->", matrix, covariance, matrix)
        if not mapped > 0:
            return None
        matrix *= np.sqrt(variance.sum() / mapped)
        return FeatureMap(matrix, matrix.shape[1] if diagonal else 0)


def _root(metric, *, symmetric):
    """Return a root of a metric: the symmetric one, or its components as rows."""
    components = metric.components
    if components.ndim == 1:
        return np.diag(components)
    if not symmetric:
        return components
    # V √m Vᵀ has a column for each column of the table, as near to it as possible, and
    # so does what takes parameters by column
    norms = np.linalg.norm(components, axis=1)
    return components.T @ (components / norms[:, None])


def _with_directions(metric, unit):
    """Return the map to the columns and the leading eigenvectors of a metric."""
    components: FloatArray = metric.to_array()
    if components.ndim == 1:
        components = np.diag(components)
    norms = np.linalg.norm(components, axis=1)
    kept = norms**2 > _LEAST_SHARE * (norms**2).max()
    directions = components[kept] / norms[kept, None] / unit
    d = len(unit)
    return FeatureMap(np.vstack([np.eye(d), directions]), d)
