"""The scores of outputs on validation rows.

A criterion scores the outputs of kernel machines on rows they were not fitted to:
pooled out-of-fold outputs, leave-one-out outputs or those on a validation set.
Everything here is NumPy in float64.
"""

from typing import Protocol

import numpy as np

from ._calibration import Calibration


class Criterion(Protocol):
    """Scores of outputs on validation rows; larger is better."""

    def score(
        self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray
    ) -> tuple[float, np.ndarray | None]:
        """Return the score of outputs (m, c) against coded targets (m, c).

        And the losses of the rows, of shape (m,): the larger the score, the smaller
        their weighted mean. None where there are no such losses.
        """
        ...


class PartCriterion(Criterion, Protocol):
    """A criterion that scores parts of the validation rows, such as folds, as well."""

    def part_scores(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weight: np.ndarray,
        parts: list[slice],
    ) -> list[float]:
        """Return the scores of slices of the rows."""
        ...


class RegressionCriterion:
    """The weighted R², averaged over the outputs.

    An output that is constant on the rows scores minus its mean squared error.
    """

    name = "r2"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c), and squared errors by the variance."""
        weight = weight[:, None] / weight.sum()
        mean = (weight * targets).sum(0)
        variance = (weight * (targets - mean) ** 2).sum(0)
        constant = variance <= 1e-24 * (1 + mean**2)
        errors = (targets - outputs) ** 2 / np.where(constant, 1.0, variance)
        scores = np.where(constant, 0.0, 1.0) - (weight * errors).sum(0)
        return float(scores.mean()), errors.mean(1)

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows."""
        return [self.score(outputs[p], targets[p], weight[p])[0] for p in parts]


class ClassificationCriterion:
    """Minus the weighted log-loss of the best calibrated probabilities."""

    name = "neg_log_loss"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c), and the log-losses of the rows."""
        calibration = Calibration.fit(outputs, targets, weight)
        losses = -calibration.log_likelihood(outputs, targets)
        return -float(weight @ losses / weight.sum()), losses

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows, with one calibration of all rows."""
        calibration = Calibration.fit(outputs, targets, weight)
        likelihood = calibration.log_likelihood(outputs, targets)
        return [float(weight[p] @ likelihood[p] / weight[p].sum()) for p in parts]
