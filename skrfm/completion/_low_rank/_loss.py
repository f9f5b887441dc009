"""The losses as reweighted squares, and the size of residuals."""

import numpy as np

from ..._backend import Array

# Residuals beyond so many robust standard deviations get smaller weights.
_BOUND_IN_DEVIATIONS = 2.0
# The standard deviation of a normal distribution over its median absolute value.
_DEVIATION_OF_MEDIAN = 1.4826
# The 90th percentile of the absolute value of a standard normal variable.
_TOP_TENTH = 1.6449


def reweighted(weight: Array, residuals: Array, loss: str) -> Array:
    """Return the weights of squares with the same slope as a loss at the residuals.

    Huber's loss is taken at the scale of the bulk of the residuals, which falls as the
    fit gets better: if the other entries can be matched exactly, it becomes the ℓ1
    loss.

    Parameters
    ----------
    weight, residuals : arrays of shape (n_entries,)
    loss : {"squared", "huber"}
    """
    if loss == "squared":
        return weight
    return weight * huber_weight(huber_bound(residuals), residuals)


def huber_bound(residuals: Array) -> float:
    """Return the size of residuals above which Huber's loss is linear."""
    bound = _BOUND_IN_DEVIATIONS * robust_deviation(residuals)
    return max(bound, float(np.finfo(residuals.dtype).tiny))


def huber_weight(bound: float, residuals: Array) -> Array:
    """Return the weight of each residual in Huber's loss."""
    return (bound / np.maximum(np.abs(residuals), bound)).astype(residuals.dtype)


def robust_deviation(residuals: Array) -> float:
    """Return the standard deviation of residuals, from the median of their size."""
    return _DEVIATION_OF_MEDIAN * float(np.median(np.abs(residuals)))


def mean_square(weight: Array, residuals: Array, loss: str) -> float:
    """Return the mean square of residuals; for Huber's loss, a robust estimate of it.

    The estimate comes from the 90th percentile of their size: the largest tenth has
    no effect on it.
    """
    if loss == "squared":
        return float(np.average(residuals**2, weights=weight))
    return deviation_of_top_tenth(residuals) ** 2


def deviation_of_top_tenth(residuals: Array) -> float:
    """Return the standard deviation of residuals, from the 90th percentile of size."""
    return float(np.quantile(np.abs(residuals), 0.9) / _TOP_TENTH)
