"""What a fit is judged by, and the temperature of a classifier's probabilities.

A criterion scores the outputs of kernel machines on rows they were not fitted on:
pooled out-of-fold outputs, leave-one-out outputs or those on a validation set.
Everything here is NumPy in float64: a table of scores is small.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax

_TEMPERATURES = (0.1, 100.0)


class RegressionCriterion:
    """The weighted R², averaged over the outputs.

    An output that is constant on the rows scores minus its mean squared error.
    """

    name = "r2"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c) against targets (m, c)."""
        weight = weight[:, None] / weight.sum()
        error = (weight * (targets - outputs) ** 2).sum(0)
        mean = (weight * targets).sum(0)
        variance = (weight * (targets - mean) ** 2).sum(0)
        constant = variance <= 1e-24 * (1 + mean**2)
        scores = np.where(
            constant, -error, 1 - error / np.where(constant, 1.0, variance)
        )
        return float(scores.mean())


class ClassificationCriterion:
    """Minus the weighted log-loss of the probabilities at their best temperature."""

    name = "neg_log_loss"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c) against coded targets (m, c)."""
        return -self._fit(outputs, targets, weight)[1]

    def temperature(self, outputs, targets, weight):
        """Return the factor on the outputs that minimises the log-loss."""
        return self._fit(outputs, targets, weight)[0]

    def _fit(self, outputs, targets, weight):
        weight = weight / weight.sum()
        binary = outputs.shape[1] == 1
        chosen = targets[:, 0] > 0 if binary else targets.argmax(1)
        rows = np.arange(outputs.shape[0])

        def loss(log_temperature):
            scaled = np.exp(log_temperature) * outputs
            if binary:
                likelihood = log_expit(np.where(chosen, 1, -1) * scaled[:, 0])
            else:
                likelihood = log_softmax(scaled, axis=1)[rows, chosen]
            return -float(weight @ likelihood)

        found = minimize_scalar(
            loss,
            bounds=np.log(_TEMPERATURES),
            method="bounded",
            options={"xatol": 1e-4},
        )
        return float(np.exp(found.x)), float(found.fun)


def probabilities(outputs, temperature):
    """Return class probabilities (m, n_classes) from outputs (m, c), as NumPy."""
    scaled = temperature * outputs.astype(np.float64)
    if scaled.shape[1] > 1:
        return softmax(scaled, axis=1)
    return expit(np.hstack([-scaled, scaled]))
