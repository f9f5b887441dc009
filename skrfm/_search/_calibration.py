"""Class probabilities from the outputs of kernel machines.

Least squares on coded classes estimates their probabilities, but nothing keeps the
estimates between 0 and 1. Everything here is NumPy in float64.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

# bounds of the search for the temperature
_TEMPERATURES = (0.1, 100.0)
# The smaller the softness, the more an estimate near 0 lowers a probability, as rare
# classes need. Chosen on the choosing half of the tables (benchmarks/calibration.py).
_SOFTNESSES = (0.05, 0.2, np.inf)
# below it softplus(x) equals exp(x) in float64, and its logarithm x
_EXPONENTIAL_BELOW = -40.0


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(temperature · φ(q)) of the estimates q.

    φ(q) is log softplus(q / softness): about log q where q is far above the softness,
    and linear in q below 0. With an infinite softness φ(q) is q. Every φ keeps the
    order of the classes.
    """

    temperature: float = 1.0
    softness: float = np.inf

    @classmethod
    def fit(cls, outputs, targets, weight, softnesses=_SOFTNESSES):
        """Return the calibration of the least log-loss.

        One more row is added, which belongs to each class in equal parts: however well
        n rows are separated, a probability of 1 / (n + 1) of an error remains.

        Parameters
        ----------
        outputs, targets : ndarray of shape (m, c)
            Outputs on validation rows, and their coded classes.
        weight : ndarray of shape (m,)
        softnesses : iterable of float
        """
        fits = [_temperature(outputs, targets, weight, s) for s in softnesses]
        best = int(np.argmin([loss for loss, _ in fits]))
        return cls(fits[best][1], softnesses[best])

    def probabilities(self, outputs):
        """Return class probabilities (m, n_classes) from outputs (m, c)."""
        return softmax(self._logits(outputs), axis=1)

    def logits(self, outputs):
        """Return the logits (m, n_classes), and their derivatives by the estimates."""
        q = _estimates(outputs)
        if np.isinf(self.softness):
            slopes = np.ones_like(q)
        else:
            # below the bound the derivative is 1 / softness, as at the bound
            z = np.maximum(q / self.softness, _EXPONENTIAL_BELOW)
            slopes = expit(z) / np.logaddexp(0, z) / self.softness
        return self._logits(outputs), self.temperature * slopes

    def log_likelihood(self, outputs, targets):
        """Return the log-probabilities (m,) of the classes of the targets."""
        logs = log_softmax(self._logits(outputs), axis=1)
        return logs[np.arange(len(logs)), _classes(targets)]

    def _logits(self, outputs):
        return self.temperature * _features(outputs, self.softness)


def _temperature(outputs, targets, weight, softness):
    """Return the least loss at a softness, and its temperature."""
    phi = _features(outputs, softness)
    share = weight / weight.sum()
    smoothing = 1 / (weight.sum() + 1)
    own = phi[np.arange(len(phi)), _classes(targets)]
    largest = phi.max(axis=1)
    slope = share @ ((1 - smoothing) * own + smoothing * phi.mean(axis=1) - largest)
    phi -= largest[:, None]

    def loss(log_temperature):
        temperature = np.exp(log_temperature)
        total = np.exp(temperature * phi).sum(axis=1)
        return share @ np.log(total) - temperature * slope

    bounds = np.log(_TEMPERATURES)
    options = {"xatol": 1e-4}
    minimum = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
    return minimum.fun, float(np.exp(minimum.x))


def _features(outputs, softness):
    """Return φ of the estimates, a new array (m, n_classes)."""
    q = _estimates(outputs)
    if np.isinf(softness):
        return q
    q /= softness
    # far below the bound the exponential would be 0, which has no logarithm
    softplus = np.logaddexp(0, np.maximum(q, _EXPONENTIAL_BELOW))
    return np.where(q < _EXPONENTIAL_BELOW, q, np.log(softplus))


def _estimates(outputs):
    """Return the estimates of the probabilities, a new array (m, n_classes)."""
    q = outputs.astype(np.float64)
    if q.shape[1] == 1:  # two classes, coded ±1
        q = np.hstack([1 - q, 1 + q]) / 2
    return q


def _classes(targets):
    """Return the numbers of the classes of coded targets."""
    if targets.shape[1] == 1:
        return (targets[:, 0] > 0).astype(int)
    return targets.argmax(axis=1)
