"""The rows of a matrix from their observed entries, with a metric already learned."""

import numpy as np

from ._iterates import entry_weights
from ._loss import bound_of, weight_beyond

# rows of fewer entries than unknowns are still solved: the least penalty, by precision
_LEAST_PENALTY = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-5}
# reweightings of the rows that a Huber loss is solved for
_REWEIGHTINGS = 30


def row_model(iterate, exponent, loss):
    """Return what rows are solved with: directions, their penalties, and a bound.

    The directions V (n, k) and penalties are those of the metric of the iterate; the
    bound is that of Huber's loss, infinite for squares.
    """
    V, penalty = iterate.row_metric(exponent)
    dtype = V.dtype
    bound = np.inf
    if loss == "huber":  # weights of rounding size would leave the penalty alone
        bound = max(bound_of(iterate.residuals), 100 * _LEAST_PENALTY[dtype])
    return V, np.maximum(penalty, _LEAST_PENALTY[dtype]).astype(dtype), bound


def fitted_rows(iterate, exponent, model):
    """Return Z with W = Z Vᵀ + means for the rows that the iterate was fitted to."""
    weight = iterate.weight
    if iterate.penalty > 0:
        base = iterate.eps ** (2 * exponent)
        weight, _ = entry_weights(weight, base, iterate.penalty)
    entries = iterate.entries
    entries = entries if iterate.mean is None else entries.less(iterate.mean)
    return entries.row_solves(model[0], model[1], weight)


def new_rows(entries, model):
    """Return Z with W = Z Vᵀ for any rows."""
    V, penalty, bound = model
    weight = entries.weight
    Z = entries.row_solves(V, penalty, weight)
    for _ in range(_REWEIGHTINGS if np.isfinite(bound) else 0):
        residuals = entries.values - entries.products(Z, V)
        weight = entries.weight * weight_beyond(bound, residuals)
        Z = entries.row_solves(V, penalty, weight)
    return Z
