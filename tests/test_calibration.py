"""Class probabilities, against formulas and searches by hand."""

import numpy as np
import pytest
from _oracles import SOFTNESSES, calibrated
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from sklearn.metrics import log_loss

from skrfm._search import Calibration, ClassificationCriterion
from skrfm._search._calibration import LogOddsCurve


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


# -- the curve of two classes ---------------------------------------------------------


def two_classes(n, curve, rng):
    """Outputs of which a curve of 4 q has the log-odds of the classes, and targets."""
    outputs = rng.normal(size=(n, 1))
    second = rng.uniform(size=(n, 1)) < expit(curve(4 * outputs))
    return outputs, np.where(second, 1.0, -1.0)


def bent(z):
    """Log-odds that are too large for the second class."""
    return np.where(z > 0, z / 3, z)


def test_a_curve_finds_log_odds_that_are_wrong_on_one_side(rng):
    known = *two_classes(20_000, bent, rng), np.ones(20_000)
    plain = Calibration.fit(*known)
    found = plain.with_curve(*known)
    outputs = np.linspace(-1.5, 1.5, 31)[:, None]
    truth = expit(bent(4 * outputs[:, 0]))
    errors = [
        np.abs(model.probabilities(outputs)[:, 1] - truth).max()
        for model in (plain, found)
    ]
    assert errors[1] < errors[0] / 2  # most of the rest is at the bend, at 0


@pytest.mark.parametrize("n", [30, 300, 3000])
def test_right_log_odds_stay_as_they_are(n):
    changed = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        known = *two_classes(n, lambda z: z, rng), np.ones(n)
        plain = Calibration.fit(*known, (np.inf,))
        outputs = rng.normal(size=(2000, 1))
        before, after = (
            model.probabilities(outputs)[:, 1]
            for model in (plain, plain.with_curve(*known))
        )
        changed.append(np.abs(after - before).max())
    assert np.median(changed) == 0
    assert max(changed) < 0.1


def test_a_curve_keeps_the_order_and_the_classes(rng):
    """Even where the classes turn round."""
    known = *two_classes(2000, lambda z: np.sin(2 * z), rng), np.ones(2000)
    found = Calibration.fit(*known).with_curve(*known)
    outputs = np.linspace(-8, 8, 2001)[:, None]
    proba = found.probabilities(outputs)
    assert (np.diff(proba[:, 1]) > 0).all()
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert_array_equal(proba.argmax(axis=1)[1001:], 1)
    assert_array_equal(proba.argmax(axis=1)[:1000], 0)
    assert proba[1000, 1] == 0.5


def test_the_coefficients_of_a_curve_have_the_largest_likelihood_times_prior(rng):
    """Against the optimum that a general search finds with the same splines."""
    outputs, targets = two_classes(1500, bent, rng)
    weight = rng.uniform(0.5, 2, size=1500)
    odds, second = 4 * outputs[:, 0], targets[:, 0] > 0
    curve = LogOddsCurve.fit(odds, second, weight)
    knots, degree = curve.spline.t, curve.spline.k
    inner = knots[degree:-degree]
    assert_allclose(
        inner,
        np.quantile(odds, np.linspace(0, 1, 6), weights=weight, method="inverted_cdf"),
    )
    basis = BSpline(knots, np.eye(len(knots) - degree - 1), degree)
    design = basis(odds) - basis(np.zeros(1))
    smoothing = 1 / (weight.sum() + 1)

    def minus(coef, precision):
        proba = expit(odds + design @ coef)
        share = (1 - smoothing) * second + smoothing / 2
        losses = -share * np.log(proba) - (1 - share) * np.log(1 - proba)
        return weight @ losses + precision * coef @ coef / 2

    distances = []
    for precision in (0.1, 1.0, 10.0, 100.0):
        best = minimize(minus, np.zeros(design.shape[1]), args=(precision,))
        distances.append(np.abs(best.x - curve.spline.c).max())
    assert min(distances) < 1e-3


def test_repeated_rows_bend_a_curve_as_weights_do(rng):
    outputs, targets = two_classes(500, bent, rng)
    counts = rng.integers(0, 4, size=500)
    found = [
        Calibration.fit(*known).with_curve(*known)
        for known in (
            (outputs, targets, counts.astype(float)),
            (
                outputs.repeat(counts, 0),
                targets.repeat(counts, 0),
                np.ones(counts.sum()),
            ),
        )
    ]
    assert found[0].curve is not None
    proba = [model.probabilities(outputs) for model in found]
    assert_allclose(*proba, rtol=1e-7)


@pytest.mark.parametrize("softness", SOFTNESSES)
def test_slopes_of_a_curve(softness, rng):
    known = *two_classes(2000, bent, rng), np.ones(2000)
    found = Calibration.fit(*known, (softness,)).with_curve(*known)
    assert found.curve is not None
    # inside and beyond the knots, and not where they are
    outputs, h = np.linspace(-6, 6, 97)[:, None] + 0.01, 1e-5
    _, slopes = found.logits(outputs)
    moved = [found.logits(outputs + s * h)[0] for s in (1, -1)]
    # of the estimate of the first class the derivative by the output is -1/2
    expected = (moved[0] - moved[1]) / h * [-1, 1]
    assert_allclose(slopes, expected, rtol=1e-4, atol=1e-6)


def test_few_different_outputs_have_no_curve(rng):
    outputs, targets = two_classes(200, bent, rng)
    known = np.sign(outputs), targets, np.ones(200)
    assert Calibration.fit(*known).with_curve(*known).curve is None


@pytest.mark.filterwarnings("ignore:(invalid|overflow|divide)")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_have_no_curve(value, rng):
    outputs, targets = two_classes(200, bent, rng)
    outputs[0] = value
    known = outputs, targets, np.ones(200)
    assert Calibration.fit(*known).with_curve(*known).curve is None


def test_more_than_two_classes_have_no_curve(rng):
    _, targets, outputs = classification(3, rng)
    plain = Calibration.fit(outputs, targets, np.ones(40))
    assert plain.with_curve(outputs, targets, np.ones(40)) is plain
