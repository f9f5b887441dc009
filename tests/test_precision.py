"""Small distances in float32: duplicated rows, offsets and tiny spacings.

The oracle computes in float64 from the same float32 numbers as the package, so that
only errors of the computation count, not errors of rounding the input.
"""

import numpy as np
import pytest
from _kernels import DISTANCE
from _oracles import dense_slopes, dense_values, norm_order
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

from skrfm import LinRFMRegressor, RFMClassifier, RFMRegressor
from skrfm.kernels import GeneralizedLaplace, L1Laplace, Laplace


def duplicated(rng):
    X = rng.normal(size=(60, 20))
    return np.concatenate([X, X[:30]])


def with_offset(rng):
    return duplicated(rng) + 1e4


def tiny_spacings(rng):
    """Clusters of rows that are 1e-4 apart, between rows of norm 1 to 10."""
    centers = rng.normal(size=(9, 20))
    return np.concatenate([c + 1e-4 * rng.normal(size=(10, 20)) for c in centers])


def spacings_of_every_size(rng):
    """Rows from 1e-4 to 1 apart, across the switch from differences to products."""
    sizes = np.geomspace(1e-4, 1, 90)
    return rng.normal(size=20) + sizes[:, None] * rng.normal(size=(90, 20))


def one_scale_among_large_ones(rng):
    """One feature in steps of 1e-4 while another one is of the order of 1e3."""
    X = rng.normal(size=(90, 3))
    X[:, 1] = 1e3 * rng.integers(3, size=90)
    X[:, 2] = 1e-4 * rng.integers(5, size=90)
    X[:, 0] = 0
    return X


TABLES = [
    duplicated,
    with_offset,
    tiny_spacings,
    spacings_of_every_size,
    one_scale_among_large_ones,
]

every_table = pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
every_kernel = pytest.mark.parametrize("kernel", DISTANCE, ids=repr)


def exact_powers(kernel, X):
    """‖x_i − x_j‖_p^p in float64."""
    p, X = norm_order(kernel), X.astype(np.float64)
    return cdist(X, X, "minkowski", p=p) ** p


@every_table
@every_kernel
def test_distances_of_different_rows_are_positive(make, kernel, backend, rng):
    X = make(rng).astype(np.float32)
    got = backend.to_numpy(backend.distance_powers(kernel, backend.asarray(X)))
    assert got.dtype == np.float32
    got, exact = np.tril(got), np.tril(exact_powers(kernel, X))
    assert_array_equal(got[exact == 0], 0)
    assert (got[exact > 0] > 0).all()
    assert_allclose(got, exact, rtol=1e-4)


@every_table
@every_kernel
def test_values_and_slopes_of_close_rows(make, kernel, backend, rng):
    X = make(rng).astype(np.float32)
    exact = exact_powers(kernel, X)
    L = float(np.median(exact[exact > 0]) ** (1 / norm_order(kernel)))
    T = backend.asarray(X)
    values = backend.to_numpy(backend.cross(kernel, T, T, L))
    expected = dense_values(kernel, X, X, L)
    # a squared distance from products has a relative error of a few eps / 1e-2, that
    # is 5e-5; the error that this causes in exp(-v) is largest at v = 1: 5e-5 / e
    assert_allclose(values, expected, rtol=2e-5, atol=5e-5 / np.e)
    if kernel.coordinatewise:
        return
    eye = backend.asarray(np.eye(len(X)), T.dtype)
    slopes = backend.to_numpy(backend.gram(kernel, T, L).slope_product(eye))
    # within 1e-3 L the slope for an exponent below 1 is bounded on purpose, and the
    # relative error of exp(-v) grows with v
    sound = (exact == 0) | ((exact > (1e-3 * L) ** 2) & (expected > 1e-3))
    assert_allclose(slopes[sound], dense_slopes(kernel, X, L)[sound], rtol=1e-4)


@pytest.mark.parametrize("kernel", [Laplace(), L1Laplace()], ids=repr)
@pytest.mark.parametrize("make", TABLES[:4], ids=lambda make: make.__name__)
def test_float32_predictions_agree_with_float64(make, kernel, rng):
    X = make(rng).astype(np.float32)
    y = np.sin(X[:, 0] - X[:, 0].mean()) + (X[:, 1] > X[:, 1].mean())
    model = RFMRegressor(kernel=kernel, alpha=0.01, validation=None, max_iter=2)
    narrow = model.fit(X, y).predict(X)
    wide = model.fit(X.astype(np.float64), y).predict(X.astype(np.float64))
    assert narrow.dtype == np.float32 and wide.dtype == np.float64
    assert_allclose(narrow, wide, atol=1e-3 * np.abs(wide).max())


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_float32_predictions_of_training_rows(kernel, rng):
    """Near interpolation, wrong distances of rows to themselves cost accuracy."""
    X = with_offset(rng)[:60].astype(np.float32)
    y = rng.normal(size=60)
    model = RFMRegressor(kernel=kernel, alpha=1e-5, validation=None, max_iter=1)
    assert_allclose(model.fit(X, y).predict(X), y, atol=1e-3)


def test_float32_predictions_with_a_large_mean_of_y(rng):
    X = rng.normal(size=(50, 3)).astype(np.float32)
    y = X[:, 0].astype(np.float64)
    model = RFMRegressor(kernel="laplace", alpha=0.01, validation=None, max_iter=1)
    plain = model.fit(X, y).predict(X)
    offset = model.fit(X, y + 1000).predict(X)
    # 6e-5 is one unit in the last place of a float32 at 1000
    assert_allclose(offset - 1000.0, plain, atol=5e-4)


def test_float32_attributes_and_outputs(classes):
    X, labels = classes
    model = RFMClassifier(kernel="laplace", alpha=0.1, cv=2, max_iter=1)
    model.fit(X.astype(np.float32), labels)
    for name in ("X_fit_", "dual_coef_", "metric_", "components_"):
        assert getattr(model, name).dtype == np.float32, name
    assert model.predict_proba(X).dtype == np.float32
    assert model.decision_function(X).dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32


# -- batches ------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("d", [3, 20, 100])
@pytest.mark.parametrize(("dtype", "eps"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_a_sharp_kernel_knows_its_training_rows_in_any_batch(
    exponent, d, dtype, eps, rng
):
    """A row of the training table is at distance 0 of itself, whatever is beside it.

    At the other rows, squared distances have five digits in float32.
    """
    X, y = rng.normal(size=(70, d)).astype(dtype), rng.normal(size=70)
    kernel = GeneralizedLaplace(exponent=exponent)
    model = RFMRegressor(
        kernel=kernel, alpha=0.01, max_iter=2, validation=None, random_state=0
    ).fit(X, y)
    expected = model.predict(X)
    size = eps * np.abs(expected).max()
    for rows in ([5], [69], [0, 64], np.arange(63, 3, -1), np.arange(1, 66)):
        assert_allclose(model.predict(X[rows]), expected[rows], rtol=0, atol=size)


@pytest.mark.parametrize("offset", [0.0, 1e9, -3e12])
def test_linear_predictions_do_not_depend_on_the_batch(offset, rng):
    X = rng.normal(size=(70, 3)) + offset * np.array([0, 1, 0])
    model = LinRFMRegressor(alpha=1e-3).fit(X, X[:, 1] - offset + X[:, 2])
    expected = model.predict(X)
    for rows in ([5], [69], [0, 64], np.arange(63, 3, -1)):
        assert_allclose(model.predict(X[rows]), expected[rows], rtol=0, atol=1e-13)
    by_hand = X @ model.coef_ + model.intercept_
    rounding = 1e-15 * abs(offset) * np.abs(model.coef_).max()
    assert_allclose(by_hand, expected, rtol=0, atol=1e-13 + rounding)
