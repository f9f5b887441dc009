"""What fits are judged by, against scikit-learn's metrics and a search by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, mean_squared_error, r2_score

from skrfm._criteria import (
    ClassificationCriterion,
    RegressionCriterion,
    probabilities,
)


@pytest.fixture
def weight(rng):
    return rng.uniform(0.2, 3, size=40)


@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_is_judged_by_r2(outputs, weight, rng):
    targets = rng.normal(size=(40, outputs)) * [1.0, 10.0, 0.1][:outputs] + 5
    predictions = targets + rng.normal(size=targets.shape)
    got = RegressionCriterion().score(predictions, targets, weight)
    expected = r2_score(targets, predictions, sample_weight=weight)
    assert got == pytest.approx(expected, rel=1e-12)


def test_a_constant_target_is_judged_by_its_error(weight, rng):
    targets = np.column_stack([np.full(40, 1e6), rng.normal(size=40)])
    predictions = targets + rng.normal(size=(40, 2))
    got = RegressionCriterion().score(predictions, targets, weight)
    error = mean_squared_error(targets[:, 0], predictions[:, 0], sample_weight=weight)
    r2 = r2_score(targets[:, 1], predictions[:, 1], sample_weight=weight)
    assert got == pytest.approx((r2 - error) / 2, rel=1e-9)


def classification(n_classes, rng):
    """Codes, targets as the classifier codes them, and outputs that know a little."""
    codes = rng.integers(n_classes, size=40)
    if n_classes == 2:
        targets = (2.0 * codes - 1)[:, None]
    else:
        targets = np.eye(n_classes)[codes]
    return codes, targets, 0.3 * targets + 0.2 * rng.normal(size=targets.shape)


def by_hand(outputs, factor):
    if outputs.shape[1] > 1:
        return softmax(factor * outputs, axis=1)
    positive = expit(factor * outputs[:, 0])
    return np.column_stack([1 - positive, positive])


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_classification_is_judged_by_the_log_loss(n_classes, weight, rng):
    codes, targets, outputs = classification(n_classes, rng)

    def loss(factor):
        """The log-loss with another row, a share of which is of each class."""
        proba, n = by_hand(outputs, factor), weight.sum()
        plain = log_loss(codes, proba, sample_weight=weight)
        other = np.average(-np.log(proba).mean(axis=1), weights=weight)
        return (n * plain + other) / (n + 1)

    best = minimize_scalar(loss, bounds=(0.5, 60), options={"xatol": 1e-6})
    criterion = ClassificationCriterion()
    temperature = criterion.temperature(outputs, targets, weight)
    assert temperature == pytest.approx(best.x, rel=1e-3)
    got = criterion.score(outputs, targets, weight)
    proba = by_hand(outputs, temperature)
    assert got == pytest.approx(-log_loss(codes, proba, sample_weight=weight))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_doubt_is_left_about_separable_outputs(n_classes, rng):
    _, targets, _ = classification(n_classes, rng)
    for n in (40, 4000):
        rows = np.resize(targets, (n, targets.shape[1]))
        temperature = ClassificationCriterion().temperature(rows, rows, np.ones(n))
        doubt = (1 - by_hand(rows, temperature).max(axis=1)).mean()
        assert doubt == pytest.approx((1 - 1 / n_classes) / (n + 1), rel=0.01)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_useless_outputs_have_a_bounded_temperature(n_classes, rng):
    _, targets, _ = classification(n_classes, rng)
    temperature = ClassificationCriterion().temperature(-targets, targets, np.ones(40))
    assert 0.1 <= temperature < 0.2


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities(n_classes, dtype, rng):
    _, _, outputs = classification(n_classes, rng)
    got = probabilities(outputs.astype(dtype), 3.0)
    assert got.shape == (40, n_classes)
    assert_allclose(got.sum(axis=1), 1, rtol=1e-12)
    assert_allclose(got, by_hand(outputs.astype(dtype).astype(float), 3.0), rtol=1e-10)
