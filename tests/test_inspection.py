"""The scaling law of scores, and its plot."""

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ShuffleSplit, learning_curve
from threadpoolctl import threadpool_limits

from skrfm import TransferKernel
from skrfm.inspection import ScalingLaw, ScalingLawDisplay, scaling_law

matplotlib.use("agg")


@pytest.fixture
def task(rng):
    X = rng.normal(size=(120, 6))
    source = Ridge().fit(X, X.sum(axis=1))
    y = X.sum(axis=1) + X[:, 0] + 0.3 * rng.normal(size=120)
    return TransferKernel(source, Ridge(), method="translation"), X, y


def test_law_is_a_least_squares_line(rng):
    sizes = np.array([5, 10, 40, 80])
    noise = rng.normal(size=(4, 30)) * 1e-3
    scores = 0.2 * np.log(sizes)[:, None] + 0.1 + noise
    scores[0, 0] = np.nan
    law = ScalingLaw.fit(sizes, {"model": scores})
    means = np.nanmean(scores, axis=1)
    (slope, intercept), covariance = np.polyfit(np.log(sizes), means, 1, cov=True)
    assert_allclose([law.slope["model"], law.intercept["model"]], [slope, intercept])
    errors = np.sqrt(np.diag(covariance))
    assert_allclose([law.slope_error["model"], law.intercept_error["model"]], errors)
    assert_allclose(law.predict("model", sizes), slope * np.log(sizes) + intercept)
    residuals = means - law.predict("model", sizes)
    assert_allclose(law.error["model"], np.sqrt(np.mean(residuals**2)))


def test_law_of_two_sizes_has_no_errors():
    law = ScalingLaw.fit([10, 100], {"x": [[0.0], [1.0]]})
    assert law.slope["x"] == pytest.approx(1 / np.log(10))
    assert np.isnan(law.slope_error["x"]) and law.error["x"] < 1e-12


def test_scores_equal_those_of_learning_curve(task):
    model, X, y = task
    sizes = [10, 20, 50]
    law = scaling_law(model, X, y, train_sizes=sizes, n_repeats=4, random_state=1)
    splits = ShuffleSplit(4, test_size=0.25, random_state=1)
    for name, method in (("transfer", "translation"), ("no transfer", "none")):
        expected = learning_curve(
            model.set_params(method=method), X, y, train_sizes=sizes, cv=splits
        )[2]
        assert_array_equal(law.scores[name], expected)
    assert law.scores["transfer"][0].mean() > law.scores["no transfer"][0].mean()


def test_classifiers_by_name():
    X, y = load_iris(return_X_y=True)
    models = {"weak": LogisticRegression(C=1e-2), "strong": LogisticRegression()}
    options = {"train_sizes": [20, 60], "n_repeats": 3, "random_state": 0}
    with threadpool_limits(1):  # small fits, in which threads of BLAS only wait
        law = scaling_law(models, X, y, scoring="neg_log_loss", **options)
        single = scaling_law(models["weak"], X, y, **options)
    assert list(law.slope) == ["weak", "strong"]
    assert law.scores["strong"].mean() > law.scores["weak"].mean()
    assert list(single.scores) == ["LogisticRegression"]


def test_default_number_of_repeats(task):
    law = scaling_law(*task, train_sizes=[10, 20], random_state=0)
    assert law.scores["transfer"].shape == (2, 20)


def test_display(task):
    model, X, y = task
    display = ScalingLawDisplay.from_estimator(
        model, X, y, train_sizes=[10, 20, 50], n_repeats=3, score_name="R²"
    )
    assert display.ax_.get_ylabel() == "R²" and display.ax_.get_xscale() == "log"
    for name, line in display.line_.items():
        x, drawn = line.get_data()
        assert_allclose(drawn, display.law.predict(name, x))
        points = display.errorbar_[name].lines[0].get_ydata()
        assert_allclose(points, display.law.scores[name].mean(axis=1))
        assert name in line.get_label()
    again = ScalingLawDisplay(display.law).plot(ax=display.ax_)
    assert again.figure_ is display.figure_
    matplotlib.pyplot.close("all")


def test_error_messages(task):
    model, X, y = task
    with pytest.raises(ValueError, match="two different sizes"):
        scaling_law(model, X, y, train_sizes=[20], n_repeats=2)
    with pytest.raises(ValueError, match="reaches 200, but only 90 rows"):
        scaling_law(model, X, y, train_sizes=[20, 200], n_repeats=2)
