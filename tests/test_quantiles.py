"""Quantiles beside the numbers of a table, and the choice of the scaling."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn import config_context
from sklearn.preprocessing import QuantileTransformer

from skrfm import RFMClassifier, RFMClassifierCV, RFMRegressor, XRFMClassifier
from skrfm._tables import TableEncoder
from skrfm._tables._quantiles import Quantiles

# -- the encoder ----------------------------------------------------------------------


def encoded(X, scaling, mask=None, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    encoder = TableEncoder.fit(X, mask, weight, scaling=scaling, xp=np)
    return encoder.transform(X, np), encoder


def slow_quantile(values, weight, x):
    """The quantile of the normal distribution at a value, by sums over the rows."""
    if x <= values.min():
        return -3.0
    if x >= values.max():
        return 3.0
    below, at = weight[values < x].sum(), weight[values == x].sum()
    share = (below + at / 2) / weight.sum()
    return np.clip(norm.ppf(share), -3, 3)


def test_quantiles_are_those_of_the_weight_below(rng):
    values = np.round(rng.exponential(2, size=90), 1)
    weight = rng.uniform(0.2, 3, size=90)
    quantiles = Quantiles.fit(values, weight)
    expected = [slow_quantile(values, weight, x) for x in values]
    assert_allclose(quantiles(values, np), expected, rtol=1e-12)
    low, high = np.unique(values)[[4, 5]]
    between = quantiles(np.array([low, (low + 3 * high) / 4, high]), np)
    assert between[1] == pytest.approx((between[0] + 3 * between[2]) / 4)
    outside = quantiles(np.array([-1e9, 1e9, np.nan]), np)
    assert_array_equal(outside, [-3, 3, np.nan])
    counts = rng.integers(1, 4, size=90)
    repeated = Quantiles.fit(np.repeat(values, counts), np.ones(counts.sum()))
    weighted = Quantiles.fit(values, counts.astype(float))
    assert_allclose(repeated.scores, weighted.scores, rtol=1e-12)


def test_quantiles_of_many_values_are_nearly_those_of_scikit_learn(rng):
    values = rng.lognormal(size=20_000)
    quantiles = Quantiles.fit(values, np.ones(20_000))
    assert len(quantiles.values) <= 1000
    expected = QuantileTransformer(output_distribution="normal", subsample=None)
    expected = norm.cdf(expected.fit_transform(values[:, None])[:, 0])
    assert_allclose(norm.cdf(quantiles(values, np)), expected, atol=2e-3)
    same = Quantiles.fit(np.log(values), np.ones(20_000))
    assert_allclose(same.values, np.log(quantiles.values), rtol=1e-9, atol=1e-12)
    assert_array_equal(same.scores, quantiles.scores)


@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_are_columns_after_the_numbers(weighted, rng):
    X = rng.lognormal(size=(60, 3))
    X[::5, 1] = np.nan
    X[:, 2] = np.arange(60) % 4  # codes of levels
    weight = rng.uniform(0.5, 2, size=60) if weighted else np.ones(60)
    mask = np.array([False, False, True])
    Z, encoder = encoded(X, "quantile", mask, weight)
    plain, clipped = encoded(X, "clipped", mask, weight)
    assert Z.shape == (60, 4 + 1 + 4)
    assert_array_equal(encoder.origins, [0, 1, 0, 1, 1, 2, 2, 2, 2])
    assert_allclose(np.delete(Z, [2, 3], axis=1), plain, atol=1e-12)
    known = ~np.isnan(X[:, 1])
    quantile = Quantiles.fit(X[known, 1], weight[known])(X[:, [1]], np)
    expected, _ = encoded(quantile, "clipped", weight=weight)
    assert_allclose(Z[:, 3], expected[:, 0], atol=1e-12)
    # "auto" has them as well, and is one or the other in the end
    both, auto = encoded(X, "auto", mask, weight)
    assert_array_equal(both, Z)
    assert auto.scalings == ("clipped", "quantile")
    assert auto.quantile_columns == (2, 4)
    assert_array_equal(auto.scaled("quantile").transform(X, np), Z)
    assert_array_equal(auto.scaled("clipped").transform(X, np), plain)
    assert_array_equal(auto.scaled("clipped").origins, clipped.origins)


def test_numbers_of_two_values_have_no_other_quantiles(rng):
    X = rng.integers(0, 2, size=(50, 3)).astype(float)
    assert encoded(X, "auto")[1].scalings == ("clipped",)
    X[0, 0] = 7
    assert encoded(X, "auto")[1].scalings == ("clipped", "quantile")


# -- the choice -----------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["auto", "quantile", "clipped"])
def test_a_table_of_categories_alone_has_none(scaling, rng):
    X = rng.integers(0, 3, size=(60, 2)).astype(float)
    model = RFMClassifier(
        scaling=scaling, categorical_features=[0, 1], max_iter=1, random_state=0
    ).fit(X, X[:, 0] > 0)
    assert model.X_fit_.shape == (60, 6) and model.score(X, X[:, 0] > 0) == 1
    assert len(set(model.history_["scaling"])) == 1


def test_a_number_that_is_always_missing_or_constant_is_left_out(rng):
    X = np.c_[rng.lognormal(size=50), np.full(50, np.nan), np.full(50, 7.0)]
    Z, _ = encoded(X, "quantile")
    assert_array_equal(Z[:, [1, 2, 4, 5]], 0)
    assert np.isfinite(Z).all()


def of_orders(rng, n=400):
    """A number over many orders of magnitude, what matters is its rank; and noise."""
    X = np.c_[np.exp(6 * rng.normal(size=n)), rng.normal(size=n)]
    return X, np.sin(3 * np.log(X[:, 0]) / 6) > 0


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout", None])
def test_the_scaling_is_chosen(validation, rng):
    X, y = of_orders(rng)
    settings = {"max_iter": 2, "random_state": 0, "validation": validation}
    settings |= {"kernel": "laplace", "alphas": (0.01, 1.0)}
    auto = RFMClassifier(**settings).fit(X, y)
    assert auto.scaling_ == "quantile" and auto.X_fit_.shape == (400, 4)
    assert auto.feature_importances_.shape == (2,)
    assert auto.feature_importances_[0] > 0.9
    # the same as if it had been given, and scores are those of both
    for scaling in ("clipped", "quantile"):
        given = RFMClassifier(scaling=scaling, **settings).fit(X, y)
        rows = auto.history_["scaling"] == scaling
        found, expected = scores(auto.history_, rows), scores(given.history_)
        both = found.keys() & expected.keys()
        assert both
        for key in both:
            assert_allclose(found[key], expected[key], rtol=1e-9)
    assert_allclose(auto.predict_proba(X), given.predict_proba(X), rtol=1e-6)
    assert_allclose(auto.transform(X), given.transform(X), atol=1e-8)


def test_any_array_library_has_the_same_quantiles(rng):
    import array_api_strict as xp

    X, _ = of_orders(rng)
    weight = np.ones(len(X))
    X_xp, weight = xp.asarray(X), xp.asarray(weight)
    with config_context(array_api_dispatch=True):
        encoder = TableEncoder.fit(X_xp, None, weight, scaling="quantile", xp=xp)
        Z = encoder.transform(X_xp, xp)
    assert_allclose(np.asarray(Z), encoded(X, "quantile")[0], atol=1e-12)


def scores(history, rows=slice(None)):
    columns = [history[name][rows] for name in ("kernel", "alpha", "iter", "score")]
    return {row[:3]: row[3] for row in zip(*columns, strict=True)}


def test_given_validation_rows_choose_the_scaling(rng):
    X, y = of_orders(rng)
    model = RFMClassifier(max_iter=1, random_state=0)
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert model.scaling_ == "quantile"
    assert model.score(X[300:], y[300:]) > 0.9
    regressor = RFMRegressor(scaling="auto", max_iter=1, random_state=0)
    assert regressor.fit(X, 1.0 * y).scaling_ == "quantile"
    assert RFMRegressor(max_iter=1).fit(X, 1.0 * y).scaling_ == "clipped"


def test_machines_of_an_average_may_differ_in_scaling(rng):
    X, y = of_orders(rng)
    X[:, 1] = np.abs(X[:, 1])
    y = y ^ (rng.random(400) < 0.1) ^ (X[:, 1] > 1)
    model = RFMClassifierCV(n_candidates=12, cv=3, max_iter=1, random_state=0)
    model.fit(X[:250], y[:250])
    assert set(model.cv_results_["param_scaling"]) == {"clipped", "quantile"}
    scores = [machine.decision_function(X[250:]) for machine in model.machines_]
    averaged = np.average(scores, axis=0, weights=model.machine_weights_)
    assert_allclose(model.decision_function(X[250:]), averaged, rtol=1e-9)
    best = RFMClassifier(**model.best_params_, validation=None, random_state=0)
    best.fit(X[:250], y[:250])
    assert best.scaling_ == model.best_params_["scaling"]
    assert_allclose(best.decision_function(X[250:]), scores[0], rtol=1e-7)


def test_a_tree_splits_clipped_numbers_or_has_quantiles(rng):
    X, y = of_orders(rng)
    for leaf, columns in ((None, 2), (RFMClassifier(scaling="quantile"), 4)):
        model = XRFMClassifier(leaf, max_leaf_size=150, random_state=0).fit(X, y)
        machines = [
            m for tree in model.estimators_ for m in tree if hasattr(m, "X_fit_")
        ]
        assert {m.X_fit_.shape[1] for m in machines} == {columns}
        assert model.feature_importances_.shape == (2,)
