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
    ) -> float:
        """Return the score of outputs (m, c) against coded targets (m, c)."""
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
    """Minus the weighted log-loss of the best calibrated probabilities."""

    name = "neg_log_loss"

    def score(self, outputs, targets, weight):
        """Return the score of outputs (m, c) against coded targets (m, c)."""
        (score,) = self.part_scores(outputs, targets, weight, [slice(None)])
        return score

    def part_scores(self, outputs, targets, weight, parts):
        """Return the scores of slices of the rows, with one calibration of all rows."""
        calibration = Calibration.fit(outputs, targets, weight)
        likelihood = calibration.log_likelihood(outputs, targets)
        return [float(weight[p] @ likelihood[p] / weight[p].sum()) for p in parts]
