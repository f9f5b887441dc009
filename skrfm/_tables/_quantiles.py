"""Quantiles of the numbers of a table, of the normal distribution."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ._device import to_host

# the largest quantile, and the smallest
_LARGEST = 3.0
# values of a number whose quantiles are held; others are interpolated
_KNOTS = 1000


@dataclass(frozen=True)
class Quantiles:
    """Values of a number, rising, and the quantiles of the normal distribution there.

    Quantiles are those of the weight below a value and half of that at it; they are -3
    at the least value and below, and 3 at the largest and above.
    """

    values: np.ndarray
    scores: np.ndarray

    @classmethod
    def fit(cls, x, weight):
        """Learn from a number and weights, NumPy, without missing values."""
        values, inverse = np.unique(x, return_inverse=True)
        at = np.bincount(inverse, weight)
        share = (np.cumsum(at) - at / 2) / at.sum()
        share[:1], share[-1:] = 0, 1
        scores = np.clip(ndtri(share), -_LARGEST, _LARGEST)
        if len(values) > _KNOTS:
            even = np.searchsorted(share, np.linspace(0, 1, _KNOTS))
            values, scores = (a[np.unique(even)] for a in (values, scores))
        return cls(values, scores.astype(values.dtype))

    def __call__(self, x, xp):
        """Return the quantiles of new values, of any shape; missing ones stay."""
        if len(self.values) < 2:
            return xp.zeros_like(x)
        device = {} if xp is np else {"device": x.device}
        values, scores = (xp.asarray(a, **device) for a in (self.values, self.scores))
        shape, x = x.shape, xp.reshape(x, (-1,))
        above = xp.clip(xp.searchsorted(values, x), 1, len(self.values) - 1)
        low, high = xp.take(values, above - 1), xp.take(values, above)
        share = xp.clip((x - low) / (high - low), 0, 1)
        below = xp.take(scores, above - 1)
        found = below + share * (xp.take(scores, above) - below)
        return xp.reshape(found, shape)


def quantiles_of(X, weight):
    """Return the Quantiles of the columns of X."""
    X, weight = np.asarray(to_host(X)), np.asarray(to_host(weight), np.float64)
    columns = zip(X.T, ~np.isnan(X.T), strict=True)
    found = [Quantiles.fit(x[known], weight[known]) for x, known in columns]
    # columns without ties have the same scores, which are kept and pickled once
    kept = {quantile.scores.tobytes(): quantile.scores for quantile in found}
    return tuple(Quantiles(q.values, kept[q.scores.tobytes()]) for q in found)


def with_quantiles(X, quantiles, xp):
    """Return X with its quantiles as further columns."""
    columns = (X[:, j : j + 1] for j in range(X.shape[1]))
    found = (quantile(x, xp) for quantile, x in zip(quantiles, columns, strict=True))
    return xp.concat([X, *found], axis=1)
