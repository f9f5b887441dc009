"""The rows of a matrix from their observed entries, with a metric already learned."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..._backend import Array
from .._entries import Entries
from ._iterates import Iterate, RowModel, entry_weights, shrinkage
from ._loss import huber_bound, huber_weight

# Bounds the penalties from below: rows with fewer entries than unknowns are solved too.
_LEAST_PENALTY = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-5}
# The bound of Huber's loss is at least so many least penalties: see row_model.
_LEAST_PENALTIES_OF_BOUND = 100
# Reweightings of each row for Huber's loss: more of them get closer to the minimum.
_N_REWEIGHTINGS = 30


def row_model(iterate: Iterate, loss: str) -> RowModel:
    """Return the regression that completes rows, with the metric of an iterate."""
    metric = iterate.row_metric()
    dtype = metric.V.dtype
    least = _LEAST_PENALTY[dtype]
    penalty = np.maximum(metric.penalty, least).astype(dtype)
    bound = np.inf
    if loss == "huber":
        # weights of rounding size would leave the penalty alone
        bound = max(huber_bound(iterate.residuals), _LEAST_PENALTIES_OF_BOUND * least)
    return replace(metric, penalty=penalty, bound=bound)


def fitted_rows(iterate: Iterate, model: RowModel) -> Array:
    """Return Z (m, k) with W = Z Vᵀ + means, for the rows that were fitted."""
    weight, entries = iterate.weight, iterate.entries
    if iterate.penalty > 0:
        weight, _ = entry_weights(weight, base=iterate.base, penalty=iterate.penalty)
    if iterate.mean is not None:
        entries = entries.subtract(iterate.mean)
    return entries.row_solves(model.V, model.penalty, weight)


def factors_of(iterate: Iterate, model: RowModel) -> tuple[Array, Array, Array]:
    """Return U (m, k), s (k,) and V (n, k) of the fitted rows in a metric."""
    left, triangle = np.linalg.qr(fitted_rows(iterate, model))
    u, s, vt = np.linalg.svd(triangle, full_matrices=False)
    return left @ u, s, model.V @ vt.T


@dataclass(frozen=True, kw_only=True)
class FactorModel:
    """A fit as two regressions: of the rows on V, and of the columns on U.

    Attributes
    ----------
    factors : tuple of arrays, of shapes (m, k), (k,) and (n, k)
        U, s and V: the singular triplets of the matrix of the fit.
    row_model : RowModel
        The regression that gave the rows.
    column_penalty : array of shape (k,)
        The penalties of the regression of the columns on U.
    mean : array of shape (n,) or None
        The means of the columns, which are added to the matrix.
    base, penalty : float
        The weight of directions that are not kept, and λ: see `entry_weights`.
    """

    factors: tuple[Array, Array, Array]
    row_model: RowModel
    column_penalty: Array
    mean: Array | None
    base: float
    penalty: float

    @classmethod
    def of(cls, iterate: Iterate, loss: str) -> Self:
        """Return the model of an iterate, whose rows are solved again."""
        model = row_model(iterate, loss)
        U, s, V = factors_of(iterate, model)
        powers = s ** (2 * iterate.exponent)
        if iterate.full_spectrum:  # its metric has ε in all directions
            powers = (s**2 + iterate.eps**2) ** iterate.exponent
        penalty = shrinkage(powers, base=iterate.base, penalty=iterate.penalty)
        return cls(
            factors=(U, s, V),
            row_model=model,
            column_penalty=np.maximum(penalty, _LEAST_PENALTY[s.dtype]),
            mean=iterate.mean,
            base=iterate.base,
            penalty=iterate.penalty,
        )

    def map_arrays(self, function: Callable[[Array], Array]) -> "FactorModel":
        """Return the same with a function applied to its arrays."""
        U, s, V = self.factors
        return replace(
            self,
            factors=(function(U), function(s), function(V)),
            row_model=self.row_model.map_arrays(function),
            column_penalty=function(self.column_penalty),
            mean=None if self.mean is None else function(self.mean),
        )

    def products(self, entries: Entries) -> Array:
        """Return the values of the matrix at the positions of `entries`."""
        U, s, V = self.factors
        products = entries.products(U * s, V)
        return products if self.mean is None else products + self.mean[entries.cols]


def new_rows(entries: Entries, model: RowModel) -> Array:
    """Return Z (m, k) with W = Z Vᵀ for any rows."""
    weight = entries.weight
    Z = entries.row_solves(model.V, model.penalty, weight)
    for _ in range(_N_REWEIGHTINGS if np.isfinite(model.bound) else 0):
        residuals = entries.values - entries.products(Z, model.V)
        weight = entries.weight * huber_weight(model.bound, residuals)
        Z = entries.row_solves(model.V, model.penalty, weight)
    return Z
