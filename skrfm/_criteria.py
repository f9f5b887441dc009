"""What a fit is judged by, and the temperature of a classifier's probabilities.

A criterion scores the outputs of kernel machines on rows they were not fitted on:
pooled out-of-fold outputs, leave-one-out outputs or those on a validation set.
Everything here is NumPy in float64: a table of scores is small.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

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

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows."""
        return [self.score(outputs[p], targets[p], weight[p]) for p in parts]


class ClassificationCriterion:
    """Minus the weighted log-loss of the probabilities at their temperature.

    The temperature is that of the least log-loss on the rows and on one more, which may
    be of any class: however well n rows are told apart, a doubt of 1 / (n + 1) is left.
    """

    name = "neg_log_loss"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c) against coded targets (m, c)."""
        logits, chosen = _classes(outputs, targets)
        temperature = self.temperature(outputs, targets, weight)
        likelihood, _ = _log_likelihoods(temperature * logits, chosen)
        return float(weight @ likelihood / weight.sum())

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows, at one temperature of all."""
        logits, chosen = _classes(outputs, targets)
        temperature = self.temperature(outputs, targets, weight)
        likelihood, _ = _log_likelihoods(temperature * logits, chosen)
        return [float(weight[p] @ likelihood[p] / weight[p].sum()) for p in parts]

    def temperature(self, outputs, targets, weight):
        """Return the factor on the outputs that makes logits of them."""
        logits, chosen = _classes(outputs, targets)
        total = weight.sum()
        doubt = 1 / (total + 1)

        def loss(log_temperature):
            own, any_ = _log_likelihoods(np.exp(log_temperature) * logits, chosen)
            return -float(weight @ ((1 - doubt) * own + doubt * any_)) / total

        found = minimize_scalar(
            loss,
            bounds=np.log(_TEMPERATURES),
            method="bounded",
            options={"xatol": 1e-4},
        )
        return float(np.exp(found.x))


def _classes(outputs, targets):
    """Return outputs with a column for each class, and the numbers of the classes."""
    if outputs.shape[1] > 1:
        return outputs, targets.argmax(axis=1)
    return np.hstack([np.zeros_like(outputs), outputs]), (targets[:, 0] > 0).astype(int)


def _log_likelihoods(logits, chosen):
    """Return those of the class of each row, and their means over all classes."""
    logs = log_softmax(logits, axis=1)
    return logs[np.arange(len(logs)), chosen], logs.mean(axis=1)


def probabilities(outputs, temperature):
    """Return class probabilities (m, n_classes) from outputs (m, c), as NumPy."""
    scaled = temperature * outputs.astype(np.float64)
    if scaled.shape[1] > 1:
        return softmax(scaled, axis=1)
    return expit(np.hstack([-scaled, scaled]))
