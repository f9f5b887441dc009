"""Losses by reweighting: what an outlier's weight is."""

import numpy as np

# residuals beyond so many robust standard deviations are weighted down
_BOUND = 2.0
# of a normal distribution, the standard deviation over the median size
_NORMAL = 1.4826
# the size that a tenth of normal residuals exceeds, over their standard deviation
_NORMAL_TENTH = 1.6449


def reweighted(weight, residuals, loss):
    """Return the weights of squares that stand for a loss at these residuals.

    Huber's loss is taken at the scale of the bulk of the residuals, which falls as the
    fit gets better: on entries that can be matched exactly it ends as the ℓ1 loss.
    """
    if loss == "squared":
        return weight
    return weight * weight_beyond(bound_of(residuals), residuals)


def bound_of(residuals):
    """Return the size of residuals beyond which Huber's loss is linear."""
    return max(_BOUND * robust_scale(residuals), float(np.finfo(residuals.dtype).tiny))


def weight_beyond(bound, residuals):
    """Return the weight of each residual in Huber's loss."""
    return (bound / np.maximum(np.abs(residuals), bound)).astype(residuals.dtype)


def robust_scale(residuals):
    """Return the standard deviation of residuals whose bulk is normal."""
    return _NORMAL * float(np.median(np.abs(residuals)))


def mean_square(weight, residuals, loss):
    """Return the mean square of residuals; for Huber's loss, of all but a tenth."""
    if loss == "squared":
        return float(np.average(residuals**2, weights=weight))
    return float(np.quantile(np.abs(residuals), 0.9) / _NORMAL_TENTH) ** 2
