"""The losses as reweighted squares, and the size of residuals."""

import numpy as np
from scipy.special import expit

from ..._backend import Array, FloatArray

# Residuals beyond so many robust standard deviations get smaller weights.
_BOUND_IN_DEVIATIONS = 2.0
# The standard deviation of a normal distribution over its median absolute value.
_DEVIATION_OF_MEDIAN = 1.4826
# The 90th percentile of the absolute value of a standard normal variable.
_TOP_TENTH = 1.6449

# Where entries may be wrong, those of more deviations than this weigh less at first.
_LARGE = 3.0
# The least weight of an entry: a row of wrong entries alone still has a system.
_LEAST_WEIGHT = 1e-12


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
    """Return the mean square of residuals; for a robust loss, an estimate of it.

    With Huber's loss it comes from the 90th percentile of their size: the largest tenth
    has no effect on it. With "absolute" it comes from their median.
    """
    if loss == "absolute":
        return robust_deviation(residuals) ** 2
    if loss == "squared":
        return float(np.average(residuals**2, weights=weight))
    return deviation_of_top_tenth(residuals) ** 2


def deviation_of_top_tenth(residuals: Array) -> float:
    """Return the standard deviation of residuals, from the 90th percentile of size."""
    return float(np.quantile(np.abs(residuals), 0.9) / _TOP_TENTH)


def first_weight(values: FloatArray) -> FloatArray:
    """Return the weights of entries before it is known which ones are wrong.

    Values are in units of the deviation of their bulk.
    """
    return (_LARGE / np.maximum(np.abs(values), _LARGE)) ** 2


def probability_right(
    squares: FloatArray, *, noise: float, wrong_share: float, wrong_variance: float
) -> FloatArray:
    """Return the probability that entries are right, in a contaminated normal model.

    Parameters
    ----------
    squares : ndarray of shape (n_entries,)
        The expected squares of their errors.
    noise, wrong_variance : float
        The variances of right and of wrong entries.
    wrong_share : float
        The share of wrong entries.
    """
    precision = 1 / noise - 1 / wrong_variance
    log_odds = np.log((1 - wrong_share) / wrong_share) - squares * precision / 2
    right = expit(log_odds + np.log(wrong_variance / noise) / 2)
    return np.maximum(right, _LEAST_WEIGHT)
