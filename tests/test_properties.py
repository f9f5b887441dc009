"""Invariances of the estimators on random tables, searched by hypothesis.

Tables are drawn by a seed and a shape, so that a failure can be repeated from a short
line.
"""

import numpy as np
import pytest
from _kernels import DISTANCE, RADIAL
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor

kernels = st.sampled_from(DISTANCE)
dtypes = st.sampled_from([np.float32, np.float64])
n_rounds = st.integers(0, 3)
# a few_examples examples each, the same ones in every run
few_examples = settings(max_examples=15, deadline=None, derandomize=True, database=None)


@st.composite
def tables(draw, max_outputs=1, min_rows=6):
    """(X, y, new rows), well conditioned: features and targets of order 1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(min_rows, 25)), draw(st.integers(1, 5))
    outputs = draw(st.integers(1, max_outputs))
    X, new = rng.normal(size=(n, d)), rng.normal(size=(6, d))
    Y = np.sin(2 * X[:, :1]) + 0.3 * rng.normal(size=(n, outputs))
    return X, (Y[:, 0] if outputs == 1 else Y), new


def regressor(kernel, max_iter=2, **parameters):
    parameters = {
        "alpha": 0.1,
        "validation": None,
        "bandwidth": "median",
        "scaling": None,
    } | parameters
    return RFMRegressor(kernel=kernel, max_iter=max_iter, **parameters)


def assert_same(got, expected):
    """Equal up to rounding errors, which grow over the rounds."""
    assert_allclose(got, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


# -- shapes and types ---------------------------------------------------------------


@few_examples
@given(tables(max_outputs=3), kernels, n_rounds, dtypes)
def test_shapes_and_types_of_the_regressor(table, kernel, max_iter, dtype):
    X, y, new = table
    X, new = X.astype(dtype), new.astype(dtype)
    model = regressor(kernel, max_iter).fit(X, y)
    (n, d), outputs = X.shape, y.shape[1:]
    predicted, std = model.predict(new, return_std=True)
    k, diagonal = model.components_.shape[0], model.components_.ndim == 1
    assert predicted.shape == std.shape == (6, *outputs)
    assert model.dual_coef_.shape == (n, *outputs)
    assert model.metric_.shape == ((d,) if diagonal else (d, d))
    assert model.components_.shape == ((d,) if diagonal else (k, d))
    assert model.transform(new).shape == (6, k)
    assert model.feature_importances_.shape == (d,)
    for array in (predicted, std, model.dual_coef_, model.metric_):
        assert array.dtype == dtype
        assert np.isfinite(array).all()
    assert (model.feature_importances_ >= 0).all()
    assert abs(model.feature_importances_.sum() - 1) < 1e-5
    assert model.best_iter_ == max_iter


@few_examples
@given(tables(min_rows=10), kernels, st.integers(2, 4), dtypes)
def test_shapes_and_types_of_the_classifier(table, kernel, n_classes, dtype):
    X, _, new = table
    X, new = X.astype(dtype), new.astype(dtype)
    labels = np.array(["a", "b", "c", "d"])[np.arange(len(X)) % n_classes]
    model = RFMClassifier(kernel=kernel, alpha=0.1, max_iter=1, cv=2)
    model.fit(X, labels)
    scores, proba = model.decision_function(new), model.predict_proba(new)
    assert scores.shape == ((6,) if n_classes == 2 else (6, n_classes))
    assert proba.shape == (6, n_classes)
    assert scores.dtype == proba.dtype == dtype
    assert ((proba >= 0) & (proba <= 1)).all()
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert set(model.predict(new)) <= set(labels)


# -- symmetries ---------------------------------------------------------------------


@few_examples
@given(tables(max_outputs=2), kernels, n_rounds)
def test_permuted_rows(table, kernel, max_iter):
    X, y, new = table
    order = np.random.default_rng(0).permutation(len(X))
    model = regressor(kernel, max_iter)
    expected = model.fit(X, y).predict(new)
    assert_same(model.fit(X[order], y[order]).predict(new), expected)


@few_examples
@given(tables(), kernels, n_rounds)
def test_permuted_features(table, kernel, max_iter):
    X, y, new = table
    order = np.random.default_rng(0).permutation(X.shape[1])
    model = regressor(kernel, max_iter)
    expected = model.fit(X, y).predict(new)
    metric = model.metric_
    assert_same(model.fit(X[:, order], y).predict(new[:, order]), expected)
    expected = metric[order] if metric.ndim == 1 else metric[np.ix_(order, order)]
    assert_allclose(model.metric_, expected, atol=1e-6)


@few_examples
@given(tables(), st.sampled_from(RADIAL), n_rounds)
def test_radial_kernels_are_invariant_to_rotations(table, kernel, max_iter):
    X, y, new = table
    d = X.shape[1]
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))
    # round 1 and later divide the metric by its largest diagonal entry, which a
    # rotation changes; a bandwidth in units of the median follows it
    model = regressor(kernel, max_iter, bandwidth="median")
    expected = model.fit(X, y).predict(new)
    assert_same(model.fit(X @ Q, y).predict(new @ Q), expected)


@few_examples
@given(tables(), kernels, n_rounds, st.floats(-3, 3))
def test_scale_of_X_with_a_median_bandwidth(table, kernel, max_iter, log_scale):
    X, y, new = table
    scale = 10.0**log_scale
    model = regressor(kernel, max_iter)
    expected = model.fit(X, y).predict(new)
    assert_same(model.fit(scale * X, y).predict(scale * new), expected)


@few_examples
@given(tables(), kernels, n_rounds, st.floats(0.1, 10))
def test_scale_of_X_with_a_scaled_bandwidth(table, kernel, max_iter, scale):
    X, y, new = table
    model = regressor(kernel, max_iter)
    expected = model.set_params(bandwidth=1.5).fit(X, y).predict(new)
    model.set_params(bandwidth=1.5 * scale).fit(scale * X, y)
    assert_same(model.predict(scale * new), expected)


@few_examples
@given(tables(), kernels, n_rounds, st.floats(-1000, 1000))
def test_shifted_X(table, kernel, max_iter, shift):
    X, y, new = table
    model = regressor(kernel, max_iter)
    expected = model.fit(X, y).predict(new)
    assert_same(model.fit(X + shift, y).predict(new + shift), expected)


@few_examples
@given(tables(max_outputs=2), kernels, n_rounds, st.floats(-3, 3), st.floats(-9, 9))
def test_scaled_and_shifted_targets(table, kernel, max_iter, log_scale, shift):
    """A linear map of y maps the predictions; the standard deviation scales."""
    X, y, new = table
    scale = 10.0**log_scale
    model = regressor(kernel, max_iter)
    expected, std = model.fit(X, y).predict(new, return_std=True)
    model.fit(X, scale * (y + shift))
    got, got_std = model.predict(new, return_std=True)
    assert_same(got / scale - shift, expected)
    assert_same(got_std / scale, std)


@few_examples
@given(tables(), kernels, n_rounds)
def test_repeated_outputs(table, kernel, max_iter):
    X, y, new = table
    model = regressor(kernel, max_iter)
    expected = model.fit(X, y).predict(new)
    got = model.fit(X, np.column_stack([y, -y, y])).predict(new)
    assert_same(got, expected[:, None] * [1, -1, 1])


@few_examples
@given(tables(), kernels, n_rounds)
def test_constant_feature(table, kernel, max_iter):
    X, y, new = table
    model = regressor(kernel, max_iter)
    expected = model.fit(X, y).predict(new)
    model.fit(np.column_stack([X, np.full(len(X), 7.0)]), y)
    assert_same(model.predict(np.column_stack([new, np.full(6, 7.0)])), expected)


# -- weights ------------------------------------------------------------------------


@few_examples
@given(tables(), kernels, n_rounds, st.integers(0, 2**32 - 1))
def test_weights_are_repeats_and_weight_0_is_absence(table, kernel, max_iter, seed):
    X, y, new = table
    counts = np.random.default_rng(seed).integers(0, 4, size=len(X))
    counts[:3] = 1
    repeated = np.repeat(np.arange(len(X)), counts)
    model = regressor(kernel, max_iter)
    expected = model.fit(X[repeated], y[repeated]).predict(new)
    assert_same(model.fit(X, y, sample_weight=counts).predict(new), expected)


@few_examples
@given(tables(), kernels, n_rounds, st.floats(0.01, 100))
def test_scale_of_the_weights_scales_the_ridge(table, kernel, max_iter, scale):
    X, y, new = table
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    expected = regressor(kernel, max_iter).fit(X, y, weight).predict(new)
    model = regressor(kernel, max_iter, alpha=0.1 * scale)
    assert_same(model.fit(X, y, scale * weight).predict(new), expected)


@few_examples
@given(tables(), kernels, st.sampled_from(["cv", "loo", "holdout"]))
def test_weights_of_1_equal_no_weights(table, kernel, validation):
    X, y, new = table
    model = regressor(kernel, validation=validation, cv=3, alpha="auto", random_state=0)
    expected = model.fit(X, y).predict(new)
    got = model.fit(X, y, sample_weight=np.ones(len(X))).predict(new)
    assert_array_equal(got, expected)


@few_examples
@given(tables(), kernels)
def test_a_huge_weight_interpolates_its_row(table, kernel):
    X, y, _ = table
    weight = np.ones(len(X))
    weight[2] = 1e9
    model = regressor(kernel, 0).fit(X, y, weight)
    assert abs(model.predict(X[2:3])[0] - y[2]) < 1e-6


# -- units ----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from([np.float64, np.float32]),
    exponents=st.lists(st.integers(-150, 150), min_size=4, max_size=4),
    scaling=st.sampled_from(["clipped", "quantile", "standard"]),
    kernel=st.sampled_from(["laplace", "l1_laplace", "ntk"]),
    seed=st.integers(0, 100),
)
def test_units_of_columns_and_targets_do_not_matter(
    dtype, exponents, scaling, kernel, seed
):
    """Powers of ten change predictions by rounding errors only."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 3))
    y = np.sin(X[:, 0]) + 0.3 * X[:, 1] + rng.normal()
    if dtype == np.float32:  # whose range is smaller
        exponents = [exponent // 5 for exponent in exponents]
    units = 10.0 ** np.array(exponents)
    model = RFMRegressor(
        kernel=kernel, scaling=scaling, alpha=0.1, max_iter=2, validation=None
    )
    expected = model.fit(X.astype(dtype), y).predict(X[:5].astype(dtype))
    scaled = (X * units[:3]).astype(dtype)
    got = model.fit(scaled, y * units[3]).predict(scaled[:5]) / units[3]
    tolerance = 1e-8 if dtype == np.float64 else 1e-3
    size = np.abs(expected).max()
    assert_allclose(got, expected, atol=tolerance * size)
    std = model.predict(scaled[:5], return_std=True)[1]
    assert np.isfinite(std).all()


@settings(max_examples=10, deadline=None)
@given(exponent=st.integers(-12, 12), seed=st.integers(0, 100))
def test_units_of_weights_do_not_matter_where_the_ridge_is_chosen(exponent, seed):
    """Weights that are whole numbers count rows; of others the ratios count."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 2))
    y = np.sin(2 * X[:, 0]) + 0.5 * rng.normal(size=40)
    weight = rng.uniform(0.1, 1, size=40)
    unit = 1.5 * 10.0**exponent
    settings = {"kernel": "laplace", "max_iter": 1, "cv": 3, "random_state": 0}
    model = RFMRegressor(**settings)
    expected = model.fit(X, y, sample_weight=weight).predict(X)
    alpha = model.alpha_
    got = model.fit(X, y, sample_weight=unit * weight)
    assert_allclose(got.predict(X), expected, rtol=1e-7)
    assert got.alpha_ == pytest.approx(unit * alpha)
    # a ridge that is given counts as it is
    given_ridge = RFMRegressor(**settings, alpha=got.alpha_)
    again = given_ridge.fit(X, y, sample_weight=unit * weight)
    assert_allclose(again.predict(X), expected, rtol=1e-7)
