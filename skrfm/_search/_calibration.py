"""Class probabilities from the outputs of kernel machines.

Least squares on coded classes estimates their probabilities, but nothing keeps the
estimates between 0 and 1. Everything here is NumPy in float64.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

_TEMPERATURES = (0.1, 100.0)
# the smaller, the more is said by an estimate near 0: of rare classes, for one
_SOFTNESSES = (0.05, 0.2, np.inf)
# softplus(x) is exp(x) to all digits below
_FAR_BELOW = -40.0


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(temperature · φ(q)) of the estimates q.

    φ(q) is log softplus(q / softness), which is nearly log q where q is far above the
    softness, and linear below 0. An infinite softness has φ(q) = q. All of them keep
    the order of the classes.
    """

    temperature: float = 1.0
    softness: float = np.inf

    @classmethod
    def fit(cls, outputs, targets, weight, softnesses=_SOFTNESSES):
        """Return the one of the least log-loss.

        The loss is on the rows and on one more, which may be of any class: however well
        n rows are told apart, a doubt of 1 / (n + 1) is left.

        Parameters
        ----------
        outputs, targets : ndarray of shape (m, c)
            Outputs on rows not fitted to, and the coded classes of those.
        weight : ndarray of shape (m,)
        softnesses : iterable of float
        """
        found = [_temperature(outputs, targets, weight, s) for s in softnesses]
        softness = int(np.argmin([loss for loss, _ in found]))
        return cls(found[softness][1], softnesses[softness])

    def probabilities(self, outputs):
        """Return class probabilities (m, n_classes) from outputs (m, c)."""
        return softmax(self._logits(outputs), axis=1)

    def log_likelihood(self, outputs, targets):
        """Return the log-probabilities (m,) of the classes of the targets."""
        logs = log_softmax(self._logits(outputs), axis=1)
        return logs[np.arange(len(logs)), _classes(targets)]

    def _logits(self, outputs):
        return self.temperature * _features(outputs, self.softness)


def _temperature(outputs, targets, weight, softness):
    """Return the least loss at a softness, and the temperature that has it."""
    phi = _features(outputs, softness)
    share = weight / weight.sum()
    doubt = 1 / (weight.sum() + 1)
    own = phi[np.arange(len(phi)), _classes(targets)]
    largest = phi.max(axis=1)
    slope = share @ ((1 - doubt) * own + doubt * phi.mean(axis=1) - largest)
    phi -= largest[:, None]

    def loss(log_temperature):
        temperature = np.exp(log_temperature)
        total = np.exp(temperature * phi).sum(axis=1)
        return share @ np.log(total) - temperature * slope

    bounds = np.log(_TEMPERATURES)
    options = {"xatol": 1e-4}
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
    return found.fun, float(np.exp(found.x))


def _features(outputs, softness):
    """Return φ of the estimates (m, n_classes), in memory of its own."""
    q = outputs.astype(np.float64)
    if q.shape[1] == 1:  # two classes, coded ±1
        q = np.hstack([1 - q, 1 + q]) / 2
    if np.isinf(softness):
        return q
    q /= softness
    return np.where(q < _FAR_BELOW, q, np.log(np.logaddexp(0, q)))


def _classes(targets):
    """Return the numbers of the classes of coded targets."""
    if targets.shape[1] == 1:
        return (targets[:, 0] > 0).astype(int)
    return targets.argmax(axis=1)
