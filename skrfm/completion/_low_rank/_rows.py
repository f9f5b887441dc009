"""The rows of a matrix from their observed entries, with a metric already learned."""

from dataclasses import replace

import numpy as np

from ..._backend import Array
from .._entries import Entries
from ._iterates import Iterate, RowModel, entry_weights
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


def new_rows(entries: Entries, model: RowModel) -> Array:
    """Return Z (m, k) with W = Z Vᵀ for any rows."""
    weight = entries.weight
    Z = entries.row_solves(model.V, model.penalty, weight)
    for _ in range(_N_REWEIGHTINGS if np.isfinite(model.bound) else 0):
        residuals = entries.values - entries.products(Z, model.V)
        weight = entries.weight * huber_weight(model.bound, residuals)
        Z = entries.row_solves(model.V, model.penalty, weight)
    return Z
