"""Class probabilities, against formulas and searches by hand."""

import numpy as np
import pytest
from _oracles import SOFTNESSES, calibrated
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from skrfm._search import Calibration, ClassificationCriterion


@pytest.fixture
def weight(rng):
    return rng.uniform(0.2, 3, size=40)


def classification(n_classes, rng):
    """Codes, targets as the classifier codes them, and outputs that know a little."""
    codes = rng.integers(n_classes, size=40)
    if n_classes == 2:
        targets = (2.0 * codes - 1)[:, None]
    else:
        targets = np.eye(n_classes)[codes]
    return codes, targets, 0.3 * targets + 0.2 * rng.normal(size=targets.shape)


@pytest.mark.parametrize("softness", SOFTNESSES)
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_temperature_has_the_least_loss(n_classes, softness, weight, rng):
    codes, targets, outputs = classification(n_classes, rng)

    def loss(factor):
        """The log-loss with another row, a share of which is of each class."""
        proba, n = calibrated(outputs, factor, softness), weight.sum()
        plain = log_loss(codes, proba, sample_weight=weight)
        other = np.average(-np.log(proba).mean(axis=1), weights=weight)
        return (n * plain + other) / (n + 1)

    largest = 60 if softness == np.inf else 10
    best = minimize_scalar(loss, bounds=(0.1, largest), options={"xatol": 1e-6})
    found = Calibration.fit(outputs, targets, weight, (softness,))
    assert found.softness == softness
    assert found.temperature == pytest.approx(best.x, rel=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_criterion_of_classification_is_the_log_loss(n_classes, weight, rng):
    codes, targets, outputs = classification(n_classes, rng)
    found = Calibration.fit(outputs, targets, weight)
    proba = calibrated(outputs, found.temperature, found.softness)
    got, losses = ClassificationCriterion().score(outputs, targets, weight)
    assert got == pytest.approx(-log_loss(codes, proba, sample_weight=weight))
    assert np.average(losses, weights=weight) == pytest.approx(-got)
    parts = [slice(0, 15), slice(15, 40)]
    got = ClassificationCriterion().part_scores(outputs, targets, weight, parts)
    for part, score in zip(parts, got, strict=True):
        expected = log_loss(codes[part], proba[part], sample_weight=weight[part])
        assert score == pytest.approx(-expected)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_softness_fits_best(n_classes, rng):
    """Probabilities as estimates need a smaller softness than logits do."""
    n = 5000
    q = rng.dirichlet(np.full(n_classes, 0.1), size=n)
    codes = (q.cumsum(axis=1) < rng.uniform(size=(n, 1))).sum(axis=1)
    logits = rng.normal(size=(n, n_classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    for outputs, chosen, expected in ((q, codes, 0.05), (logits, labels, np.inf)):
        targets = np.eye(n_classes)[chosen]
        if n_classes == 2:
            outputs, targets = outputs[:, 1:] - outputs[:, :1], 2 * targets[:, 1:] - 1
        found = Calibration.fit(outputs, targets, np.ones(n))
        assert found.softness == expected


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_have_the_order_of_the_outputs(n_classes, rng):
    outputs = 3 * rng.normal(size=(200, n_classes))
    for softness in SOFTNESSES:
        proba = Calibration(0.1, softness).probabilities(outputs)
        assert np.array_equal(np.argsort(proba), np.argsort(outputs))
        assert (proba > 0).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_outputs_have_probabilities_below_1(n_classes, rng):
    _, targets, _ = classification(n_classes, rng)
    for n in (40, 4000):
        rows = np.resize(targets, (n, targets.shape[1]))
        for softness in SOFTNESSES:
            found = Calibration.fit(rows, rows, np.ones(n), (softness,))
            doubt = (1 - found.probabilities(rows).max(axis=1)).mean()
            assert doubt == pytest.approx((1 - 1 / n_classes) / (n + 1), rel=0.01)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_useless_outputs_have_a_bounded_temperature(n_classes, rng):
    _, targets, _ = classification(n_classes, rng)
    found = Calibration.fit(-targets, targets, np.ones(40), (np.inf,))
    assert 0.1 <= found.temperature < 0.2


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities(n_classes, dtype, rng):
    _, _, outputs = classification(n_classes, rng)
    got = Calibration(3.0).probabilities(outputs.astype(dtype))
    assert got.shape == (40, n_classes)
    assert_allclose(got.sum(axis=1), 1, rtol=1e-12)
    assert_allclose(
        got, calibrated(outputs.astype(dtype).astype(float), 3.0), rtol=1e-10
    )


def test_scores_far_below_zero():
    scores = np.array([[0.5], [-2000.0], [3000.0], [-0.5]])
    for softness in SOFTNESSES:
        proba = Calibration(1.0, softness).probabilities(scores)
        assert np.isfinite(proba).all() and (proba >= 0).all()
        assert proba[1, 0] > 0.999 and proba[2, 1] > 0.999
