"""The criteria of validation, against scikit-learn's metrics."""

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error, r2_score

from skrfm._search import RegressionCriterion


@pytest.fixture
def weight(rng):
    return rng.uniform(0.2, 3, size=40)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_criterion_of_regression_is_r2(outputs, weight, rng):
    targets = rng.normal(size=(40, outputs)) * [1.0, 10.0, 0.1][:outputs] + 5
    predictions = targets + rng.normal(size=targets.shape)
    got, losses = RegressionCriterion().score(predictions, targets, weight)
    expected = r2_score(targets, predictions, sample_weight=weight)
    assert got == pytest.approx(expected, rel=1e-12)
    assert 1 - np.average(losses, weights=weight) == pytest.approx(expected, rel=1e-12)


def test_the_criterion_of_a_constant_target_is_its_error(weight, rng):
    targets = np.column_stack([np.full(40, 1e6), rng.normal(size=40)])
    predictions = targets + rng.normal(size=(40, 2))
    got, _ = RegressionCriterion().score(predictions, targets, weight)
    error = mean_squared_error(targets[:, 0], predictions[:, 0], sample_weight=weight)
    r2 = r2_score(targets[:, 1], predictions[:, 1], sample_weight=weight)
    assert got == pytest.approx((r2 - error) / 2, rel=1e-9)
