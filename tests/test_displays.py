"""Displays of skrfm.inspection, drawn without a screen."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from skrfm import LinRFMCompleter, RFMClassifier, RFMRegressor
from skrfm.inspection import (
    CompletionDisplay,
    CoverageDisplay,
    FeatureImportancesDisplay,
    FeatureMetricDisplay,
    HistoryDisplay,
    MetricSpectrumDisplay,
)


@pytest.fixture(autouse=True)
def no_screen():
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    plt.close("all")
    matplotlib.use(backend)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": rng.normal(size=300),
            "kind": pd.Categorical(rng.choice(["a", "b"], 300)),
            "shop": pd.Categorical(rng.integers(0, 40, 300)),
            "age": rng.normal(size=300),
        }
    )
    y = np.sin(2 * X["size"].to_numpy()) + (X["kind"] == "b") - 0.3 * X["age"]
    X.loc[::7, "size"] = np.nan
    X.loc[::9, "kind"] = None
    return X, y


@pytest.fixture(scope="module")
def model(table):
    return RFMRegressor(kernel="laplace", random_state=0).fit(*table)


def drawn(display):
    display.figure_.canvas.draw()
    return display


@pytest.mark.parametrize("scaling", ["clipped", "quantile"])
@pytest.mark.parametrize("statistics", [None, "targets", "targets+numbers"])
def test_every_column_of_the_metric_has_a_name(table, scaling, statistics):
    X, y = table
    model = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        scaling=scaling,
        level_statistics=statistics,
        max_iter=1,
    ).fit(X, y)
    names = list(model.metric_names_)
    assert len(names) == model.X_fit_.shape[1] == len(set(names))
    assert names[:2] == ["size", "age"]
    assert {"size (missing)", "kind=a", "kind=b", "kind (missing)"} <= set(names)
    assert {f"shop={level}" for level in range(40)} <= set(names)
    assert ("age (quantile)" in names) == (scaling == "quantile")
    assert ("shop (mean target)" in names) == (statistics is not None)
    assert ("age (within shop)" in names) == (statistics == "targets+numbers")


def test_names_belong_to_their_columns(table, model):
    X, _ = table
    rows = pd.DataFrame(np.asarray(model.X_fit_), columns=model.metric_names_)
    kind = X["kind"].to_numpy(dtype=object)
    assert np.array_equal(rows["kind=b"] > 0, kind == "b")
    assert np.array_equal(rows["kind (missing)"] > 0, pd.isna(kind))
    missing = X["size"].isna().to_numpy()
    indicator = rows["size (missing)"].to_numpy()
    assert indicator[missing].min() > indicator[~missing].max()
    order = np.argsort(rows["age"], kind="stable")
    assert np.all(np.diff(X["age"].to_numpy()[order]) >= 0)


def test_rare_levels_that_share_a_column_are_named_other():
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.arange(1100), np.arange(300)])
    X = np.column_stack([rng.normal(size=1400), levels])
    model = RFMRegressor(
        kernel="l1_laplace",
        alpha=0.1,
        validation=None,
        max_iter=0,
        categorical_features=[1],
    ).fit(X, X[:, 0])
    names = list(model.metric_names_)
    assert len(names) == model.X_fit_.shape[1]
    assert names[0] == "x0" and names[1] == "x1=0.0" and names[-1] == "x1=other"


def test_importances_have_the_names_of_features_largest_first(model):
    display = drawn(FeatureImportancesDisplay.from_estimator(model, max_features=3))
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    widths = [bar.get_width() for bar in display.bars_]
    expected = pd.Series(model.feature_importances_, model.feature_names_in_)
    expected = expected.sort_values(ascending=False)[:3]
    assert names == list(expected.index)
    assert np.allclose(widths, expected)


def test_importances_of_other_estimators_and_arrays():
    X, y = load_diabetes(return_X_y=True)
    forest = RandomForestRegressor(n_estimators=5, random_state=0).fit(X, y)
    display = drawn(FeatureImportancesDisplay.from_estimator(forest))
    assert len(display.bars_) == 10
    with pytest.raises(TypeError, match="Ridge has no attribute feature_importances_"):
        FeatureImportancesDisplay.from_estimator(Ridge().fit(X, y))


@pytest.mark.parametrize("metric_type", ["full", "diag"])
def test_the_heat_map_shows_the_metric_in_the_order_of_its_weights(table, metric_type):
    X, y = table
    model = RFMRegressor(
        kernel="laplace", alpha=0.1, validation=None, metric_type=metric_type
    ).fit(X, y)
    display = drawn(FeatureMetricDisplay.from_estimator(model, max_columns=4))
    shown = display.im_.get_array()
    assert shown.shape == (4, 4)
    assert np.all(np.diff(np.diag(shown)) <= 0)
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    places = [list(model.metric_names_).index(name) for name in names]
    metric = model.metric_ if model.metric_.ndim == 2 else np.diag(model.metric_)
    assert np.allclose(shown, metric[np.ix_(places, places)])


def test_the_spectrum_sums_to_the_trace(model):
    display = drawn(MetricSpectrumDisplay.from_estimator(model))
    metric = model.metric_
    trace = metric.sum() if metric.ndim == 1 else np.trace(metric)
    assert np.isclose(np.sum(display.eigenvalues), trace)
    assert np.isclose(np.nansum(display.line_.get_ydata()), 1)


def test_eigenvalues_of_0_are_not_drawn_on_a_logarithmic_axis():
    display = drawn(MetricSpectrumDisplay([3.0, 1.0, 1e-4, 0.0]).plot())
    assert display.ax_.get_yscale() == "log"
    assert np.isnan(display.line_.get_ydata()).tolist() == [False] * 3 + [True]
    display = drawn(MetricSpectrumDisplay([3.0, 1.0, 0.0]).plot())
    assert display.line_.get_ydata().tolist() == [0.75, 0.25, 0.0]


def test_the_history_has_a_line_for_each_kernel(table):
    X, y = table
    model = RFMClassifier(random_state=0).fit(X, y > 0)
    display = drawn(HistoryDisplay.from_estimator(model))
    assert len(display.lines_) > 1
    best = max(line.get_ydata().max() for line in display.lines_.values())
    assert np.isclose(best, np.nanmax(model.history_["score"]))


def test_completion():
    rng = np.random.default_rng(0)
    full = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 50))
    X = full + 0.1 * rng.normal(size=full.shape)
    X[rng.random(X.shape) < 0.4] = np.nan
    completer = LinRFMCompleter(random_state=0).fit(X)
    display = drawn(CompletionDisplay.from_estimator(completer))
    ranks, errors = display.lines_["hide"].get_data()
    hidden = completer.history_["stage"] == "hide"
    assert np.isclose(min(errors), completer.history_["score"][hidden].min())
    assert set(ranks) <= set(completer.history_["rank"])
    display = drawn(CompletionDisplay.from_estimator(completer, kind="singular_values"))
    (line,) = display.lines_.values()
    assert np.allclose(line.get_ydata(), completer.factors_[1])
    with pytest.raises(ValueError, match="kind must be"):
        display.plot(kind="rank")


def test_coverage(table):
    X, y = table
    rng = np.random.default_rng(0)
    noisy = y + 0.2 * rng.normal(size=len(y))
    model = RFMRegressor(kernel="laplace", random_state=0).fit(X[:200], noisy[:200])
    display = drawn(CoverageDisplay.from_estimator(model, X[200:], noisy[200:]))
    assert np.all(np.diff(display.coverage) >= 0)
    assert 0.8 < display.coverage[display.levels == 0.9] <= 1
    y = rng.normal(size=20_000)
    halved = CoverageDisplay.from_predictions(y, 0 * y, 0 * y + 0.5, levels=[0.95])
    assert np.isclose(halved.coverage[0], 0.673, atol=0.01)
    with pytest.raises(ValueError, match="one shape"):
        CoverageDisplay.from_predictions(y, y[:-1], y)
    with pytest.raises(ValueError, match="between 0 and 1"):
        CoverageDisplay.from_predictions(y, y, y, levels=[90])


def test_axes_that_are_given_are_drawn_on(model):
    _, ax = plt.subplots()
    display = FeatureImportancesDisplay.from_estimator(model, ax=ax)
    assert display.ax_ is ax and display.figure_ is ax.figure


def test_a_missing_matplotlib_is_named(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="extra `plot`"):
        MetricSpectrumDisplay.from_estimator(model)
