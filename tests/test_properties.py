"""What must hold for every table: symmetries of the machine, searched by hypothesis.

Tables are drawn by a seed and a shape, so that a failure is a short line to repeat.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor
from skrfm.kernels import Gaussian, GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace

KERNELS = [
    Laplace(),
    GeneralizedLaplace(exponent=0.7),
    GeneralizedLaplace(exponent=1.6),
    Gaussian(),
    L1Laplace(),
    LpqLaplace(p=1.4, q=0.9),
]
RADIAL = [kernel for kernel in KERNELS if not kernel.coordinatewise]

kernels = st.sampled_from(KERNELS)
dtypes = st.sampled_from([np.float32, np.float64])
n_rounds = st.integers(0, 3)
# a few examples each, the same ones in every run
few = settings(max_examples=15, deadline=None, derandomize=True, database=None)


@st.composite
def tables(draw, max_outputs=1, min_rows=6):
    """(X, y, new rows), well conditioned: features and targets of order 1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(min_rows, 25)), draw(st.integers(1, 5))
    outputs = draw(st.integers(1, max_outputs))
    X, new = rng.normal(size=(n, d)), rng.normal(size=(6, d))
    Y = np.sin(2 * X[:, :1]) + 0.3 * rng.normal(size=(n, outputs))
    return X, (Y[:, 0] if outputs == 1 else Y), new


def machine_of(kernel, max_iter=2, **parameters):
    parameters = {
        "alpha": 0.1,
        "validation": None,
        "bandwidth": "median",
        "scaling": None,
    } | parameters
    return RFMRegressor(kernel=kernel, max_iter=max_iter, **parameters)


def assert_same(got, expected):
    """Equal up to rounding that a few rounds have passed on."""
    assert_allclose(got, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


# -- shapes and types ---------------------------------------------------------------


@few
@given(tables(max_outputs=3), kernels, n_rounds, dtypes)
def test_shapes_and_types_of_the_regressor(table, kernel, max_iter, dtype):
    X, y, new = table
    X, new = X.astype(dtype), new.astype(dtype)
    machine = machine_of(kernel, max_iter).fit(X, y)
    (n, d), outputs = X.shape, y.shape[1:]
    predicted, std = machine.predict(new, return_std=True)
    k = machine.components_.shape[0]
    assert predicted.shape == std.shape == (6, *outputs)
    assert machine.dual_coef_.shape == (n, *outputs)
    assert machine.metric_.shape == (d, d) and machine.components_.shape == (k, d)
    assert machine.transform(new).shape == (6, k)
    assert machine.feature_importances_.shape == (d,)
    for array in (predicted, std, machine.dual_coef_, machine.metric_):
        assert array.dtype == dtype
        assert np.isfinite(array).all()
    assert (machine.feature_importances_ >= 0).all()
    assert abs(machine.feature_importances_.sum() - 1) < 1e-5
    assert machine.best_iter_ == max_iter


@few
@given(tables(min_rows=10), kernels, st.integers(2, 4), dtypes)
def test_shapes_and_types_of_the_classifier(table, kernel, n_classes, dtype):
    X, _, new = table
    X, new = X.astype(dtype), new.astype(dtype)
    labels = np.array(["a", "b", "c", "d"])[np.arange(len(X)) % n_classes]
    machine = RFMClassifier(kernel=kernel, alpha=0.1, max_iter=1, cv=2)
    machine.fit(X, labels)
    scores, proba = machine.decision_function(new), machine.predict_proba(new)
    assert scores.shape == ((6,) if n_classes == 2 else (6, n_classes))
    assert proba.shape == (6, n_classes)
    assert scores.dtype == proba.dtype == dtype
    assert ((proba >= 0) & (proba <= 1)).all()
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert set(machine.predict(new)) <= set(labels)


# -- symmetries ---------------------------------------------------------------------


@few
@given(tables(max_outputs=2), kernels, n_rounds)
def test_the_order_of_the_rows_means_nothing(table, kernel, max_iter):
    X, y, new = table
    order = np.random.default_rng(0).permutation(len(X))
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X, y).predict(new)
    assert_same(machine.fit(X[order], y[order]).predict(new), expected)


@few
@given(tables(), kernels, n_rounds)
def test_the_order_of_the_features_means_nothing(table, kernel, max_iter):
    X, y, new = table
    order = np.random.default_rng(0).permutation(X.shape[1])
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X, y).predict(new)
    metric = machine.metric_
    assert_same(machine.fit(X[:, order], y).predict(new[:, order]), expected)
    assert_allclose(machine.metric_, metric[np.ix_(order, order)], atol=1e-6)


@few
@given(tables(), st.sampled_from(RADIAL), n_rounds)
def test_radial_kernels_do_not_see_a_rotation(table, kernel, max_iter):
    X, y, new = table
    d = X.shape[1]
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))
    # round 1 and later divide the metric by its largest diagonal entry, which a
    # rotation changes; a bandwidth in units of the median follows it
    machine = machine_of(kernel, max_iter, bandwidth="median")
    expected = machine.fit(X, y).predict(new)
    assert_same(machine.fit(X @ Q, y).predict(new @ Q), expected)


@few
@given(tables(), kernels, n_rounds, st.floats(-3, 3))
def test_the_scale_of_X_means_nothing_to_a_median_bandwidth(
    table, kernel, max_iter, log_scale
):
    X, y, new = table
    scale = 10.0**log_scale
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X, y).predict(new)
    assert_same(machine.fit(scale * X, y).predict(scale * new), expected)


@few
@given(tables(), kernels, n_rounds, st.floats(0.1, 10))
def test_a_bandwidth_of_the_users_scales_with_X(table, kernel, max_iter, scale):
    X, y, new = table
    machine = machine_of(kernel, max_iter)
    expected = machine.set_params(bandwidth=1.5).fit(X, y).predict(new)
    machine.set_params(bandwidth=1.5 * scale).fit(scale * X, y)
    assert_same(machine.predict(scale * new), expected)


@few
@given(tables(), kernels, n_rounds, st.floats(-1000, 1000))
def test_a_shift_of_X_means_nothing(table, kernel, max_iter, shift):
    X, y, new = table
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X, y).predict(new)
    assert_same(machine.fit(X + shift, y).predict(new + shift), expected)


@few
@given(tables(max_outputs=2), kernels, n_rounds, st.floats(-3, 3), st.floats(-9, 9))
def test_predictions_follow_the_targets(table, kernel, max_iter, log_scale, shift):
    """A linear map of y is one of the predictions; the spread scales with it."""
    X, y, new = table
    scale = 10.0**log_scale
    machine = machine_of(kernel, max_iter)
    expected, std = machine.fit(X, y).predict(new, return_std=True)
    machine.fit(X, scale * (y + shift))
    got, got_std = machine.predict(new, return_std=True)
    assert_same(got / scale - shift, expected)
    assert_same(got_std / scale, std)


@few
@given(tables(), kernels, n_rounds)
def test_a_repeated_output_changes_nothing(table, kernel, max_iter):
    X, y, new = table
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X, y).predict(new)
    got = machine.fit(X, np.column_stack([y, -y, y])).predict(new)
    assert_same(got, expected[:, None] * [1, -1, 1])


@few
@given(tables(), kernels, n_rounds)
def test_a_constant_feature_changes_nothing(table, kernel, max_iter):
    X, y, new = table
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X, y).predict(new)
    machine.fit(np.column_stack([X, np.full(len(X), 7.0)]), y)
    assert_same(machine.predict(np.column_stack([new, np.full(6, 7.0)])), expected)


# -- weights ------------------------------------------------------------------------


@few
@given(tables(), kernels, n_rounds, st.integers(0, 2**32 - 1))
def test_weights_are_repeats_and_none_is_absence(table, kernel, max_iter, seed):
    X, y, new = table
    counts = np.random.default_rng(seed).integers(0, 4, size=len(X))
    counts[:3] = 1
    repeated = np.repeat(np.arange(len(X)), counts)
    machine = machine_of(kernel, max_iter)
    expected = machine.fit(X[repeated], y[repeated]).predict(new)
    assert_same(machine.fit(X, y, sample_weight=counts).predict(new), expected)


@few
@given(tables(), kernels, n_rounds, st.floats(0.01, 100))
def test_the_scale_of_the_weights_is_one_of_the_ridge(table, kernel, max_iter, scale):
    X, y, new = table
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    expected = machine_of(kernel, max_iter).fit(X, y, weight).predict(new)
    machine = machine_of(kernel, max_iter, alpha=0.1 * scale)
    assert_same(machine.fit(X, y, scale * weight).predict(new), expected)


@few
@given(tables(), kernels, st.sampled_from(["cv", "loo", "holdout"]))
def test_weights_of_1_are_no_weights(table, kernel, validation):
    X, y, new = table
    machine = machine_of(
        kernel, validation=validation, cv=3, alpha="auto", random_state=0
    )
    expected = machine.fit(X, y).predict(new)
    got = machine.fit(X, y, sample_weight=np.ones(len(X))).predict(new)
    assert_array_equal(got, expected)


@few
@given(tables(), kernels)
def test_a_huge_weight_is_an_interpolation(table, kernel):
    X, y, _ = table
    weight = np.ones(len(X))
    weight[2] = 1e9
    machine = machine_of(kernel, 0).fit(X, y, weight)
    assert abs(machine.predict(X[2:3])[0] - y[2]) < 1e-6
