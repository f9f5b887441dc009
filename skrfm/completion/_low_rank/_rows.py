"""The rows of a matrix from their observed entries, with a metric already learned."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..._backend import Array, FloatArray
from .._entries import Entries, ObservedEntries
from ._iterates import Averages, ErrorModel, Iterate, RowModel, entry_weights, shrinkage
from ._loss import (
    first_weight,
    huber_bound,
    huber_weight,
    probability_right,
    robust_deviation,
)

# Bounds the penalties from below: rows with fewer entries than unknowns are solved too.
_LEAST_PENALTY = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-5}
# The bound of Huber's loss is at least so many least penalties: see row_model.
_LEAST_PENALTIES_OF_BOUND = 100
# Reweightings of each row for Huber's loss: more of them get closer to the minimum.
_N_REWEIGHTINGS = 30
# Levels of noise from the size of the entries to that of the errors, the least such
# size, and the share and relative variance of wrong entries on the way. With 60 levels
# all rows of 40 entries, a third of them wrong, were found.
_N_NOISES, _LEAST_NOISE = 60, 1e-7
_WRONG_SHARE, _LEAST_RATIO = 0.2, 4.0


def row_model(iterate: Iterate, loss: str) -> RowModel:
    """Return the regression that completes rows, with the metric of an iterate."""
    metric = iterate.row_metric()
    dtype = metric.V.dtype
    least = _LEAST_PENALTY[dtype]
    penalty = np.maximum(metric.penalty, least).astype(dtype)
    bound, errors = np.inf, None
    if loss == "huber":
        # weights of rounding size would leave the penalty alone
        bound = max(huber_bound(iterate.residuals), _LEAST_PENALTIES_OF_BOUND * least)
    if loss == "absolute" and iterate.rank > 0:
        errors = _error_model(iterate)
    return replace(metric, penalty=penalty, bound=bound, errors=errors)


def _error_model(iterate: Iterate) -> ErrorModel:
    """Return the size of the entries and their errors, and the prior of rows."""
    to_numpy = iterate.entries.to_numpy
    size = float(np.sqrt(np.mean(to_numpy(iterate.entries.values) ** 2)))
    noise = robust_deviation(to_numpy(iterate.residuals))
    s = to_numpy(iterate.s).astype(np.float64)
    s = np.maximum(s, np.finfo(s.dtype).eps ** 0.5 * s[0])
    return error_model(s**2 / iterate.entries.shape[0], size=size, noise=noise)


def error_model(variances: FloatArray, *, size: float, noise: float) -> ErrorModel:
    """Return the errors of rows with given variances of their coefficients."""
    return ErrorModel(size, max(noise, _LEAST_NOISE * size), np.diag(1 / variances))


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
        if iterate.averages is not None:
            return cls._of_average(iterate, iterate.averages)
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

    @classmethod
    def _of_average(cls, iterate: Iterate, averages: Averages) -> Self:
        """Return the model of an average of draws, which stays as it is.

        The coefficients of a row on V have about the variances s²/m, those of a column
        on U s²/n: ridges are the noise over these.
        """
        (m, n), s = iterate.entries.shape, iterate.s
        least = _LEAST_PENALTY[s.dtype]
        relative = averages.noise / np.maximum(s**2, np.finfo(s.dtype).tiny)
        of_rows = np.maximum(m * relative, least).astype(s.dtype)
        of_columns = np.maximum(n * relative, least).astype(s.dtype)
        return cls(
            factors=(iterate.U, s, iterate.V),
            row_model=RowModel(iterate.V, of_rows),
            column_penalty=of_columns,
            mean=iterate.mean,
            base=0.0,
            penalty=1.0,
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
    if model.errors is not None:
        host = entries.on_host()
        V = entries.to_numpy(model.V)
        _, right = annealed_rows(host, V, model.errors)
        weight = weight * entries.asarray(right.astype(weight.dtype))
    Z = entries.row_solves(model.V, model.penalty, weight)
    for _ in range(_N_REWEIGHTINGS if np.isfinite(model.bound) else 0):
        residuals = entries.values - entries.products(Z, model.V)
        weight = entries.weight * huber_weight(model.bound, residuals)
        Z = entries.row_solves(model.V, model.penalty, weight)
    return Z


def annealed_rows(
    entries: ObservedEntries, V: FloatArray, errors: ErrorModel
) -> tuple[FloatArray, FloatArray]:
    """Return the rows (m, k), and the probability that each entry is right.

    The noise falls from the size of the entries to that of the fit. With the final
    noise from the start, the first rows found would be those of wrong entries.
    """
    entries = entries.with_values(entries.values.astype(np.float64))
    n, k = V.shape
    columns = V.astype(np.float64), np.zeros((n, k, k))
    rows, weight = columns, first_weight(entries.values / errors.size)
    for noise in np.geomspace(errors.size, errors.noise, _N_NOISES) ** 2:
        rows, squares = entries.posterior_rows(
            columns, weight=weight, prior=errors.prior, noise=float(noise)
        )
        weight = probability_right(
            squares,
            noise=float(noise),
            wrong_share=_WRONG_SHARE,
            wrong_variance=max(errors.size**2, _LEAST_RATIO * float(noise)),
        )
    return rows[0], weight
