"""Kernel values, slopes and gradients against loops and finite differences."""

import numpy as np
import pytest
from _kernels import DISTANCE_SHAPES, NETWORK, Cauchy
from _oracles import (
    NaiveRFM,
    dense_slopes,
    dense_values,
    kernel_gradient,
    kernel_matrix,
    norm_order,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skrfm import RFMRegressor, kernels
from skrfm.kernels import (
    Gaussian,
    GeneralizedLaplace,
    Kernel,
    L1Laplace,
    Laplace,
    LpqLaplace,
    get_kernel,
)

BANDWIDTH = 1.7

every_shape = pytest.mark.parametrize("kernel", DISTANCE_SHAPES, ids=repr)


@pytest.fixture
def rows(rng):
    """Rows with a duplicate, and pairs that share single coordinates."""
    T = rng.normal(size=(14, 5))
    T[3] = T[7]
    T[5, 2] = T[6, 2]
    T[8, 0], T[9, 0] = T[2, 0], T[2, 0]
    return T


def pair_gradients(backend, kernel, T, L):
    """Return the gradients of k(t_i, t_j) by t_i as the package computes them."""
    gram = backend.gram(kernel, T, L)
    eye = backend.asarray(np.eye(T.shape[0]), T.dtype)
    if kernel.coordinatewise:
        positions = np.arange(T.shape[0])
        blocks = [
            backend.to_numpy(J) for _, J in gram.coordinate_gradients(positions, eye)
        ]
        return np.concatenate(blocks)
    W, T = backend.to_numpy(gram.slope_product(eye)), backend.to_numpy(T)
    return W[:, :, None] * (T[:, None, :] - T[None, :, :])


@every_shape
def test_values_equal_the_loops(kernel, backend, rows, rng):
    others = rng.normal(size=(6, 5))
    T, Z = backend.asarray(rows), backend.asarray(others)
    expected = kernel_matrix(kernel, rows, others, BANDWIDTH)
    got = backend.to_numpy(backend.cross(kernel, T, Z, BANDWIDTH))
    assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", [*DISTANCE_SHAPES, *NETWORK], ids=repr)
def test_kernel_matrix_equals_the_loops(kernel, rows, rng):
    others = rng.normal(size=(6, 5))
    got = kernel.kernel_matrix(rows, others, bandwidth=BANDWIDTH)
    expected = kernel_matrix(kernel, rows, others, BANDWIDTH)
    assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
    same = kernel.kernel_matrix(rows, bandwidth=BANDWIDTH)
    assert_allclose(same, kernel.kernel_matrix(rows, rows, bandwidth=BANDWIDTH))
    narrow = kernel.kernel_matrix(rows.astype("f4"), others)
    assert narrow.dtype == np.float32


@every_shape
def test_equal_rows_have_the_value_1(kernel, backend, rows):
    T = backend.asarray(rows)
    K = backend.to_numpy(backend.cross(kernel, T, T, BANDWIDTH))
    assert_array_equal(np.diag(K), 1)
    assert K[3, 7] == 1 and K[7, 3] == 1
    assert_allclose(K, K.T, rtol=1e-15)


@every_shape
def test_gradients_equal_the_loops(kernel, backend, rows):
    got = pair_gradients(backend, kernel, backend.asarray(rows), BANDWIDTH)
    for i, t in enumerate(rows):
        for j, z in enumerate(rows):
            expected = kernel_gradient(kernel, t, z, BANDWIDTH)
            assert_allclose(got[i, j], expected, rtol=1e-11, atol=1e-15)


@every_shape
def test_gradients_equal_finite_differences_of_the_values(kernel, backend, rows):
    step, d = 1e-6, rows.shape[1]
    got = pair_gradients(backend, kernel, backend.asarray(rows), BANDWIDTH)
    T = backend.asarray(rows)
    for axis in range(d):
        shift = step * np.eye(d)[axis]
        above = backend.cross(kernel, backend.asarray(rows + shift), T, BANDWIDTH)
        below = backend.cross(kernel, backend.asarray(rows - shift), T, BANDWIDTH)
        expected = backend.to_numpy(above - below) / (2 * step)
        assert_allclose(got[:, :, axis], expected, atol=1e-8)


@every_shape
def test_float32_values_and_gradients(kernel, backend, rows):
    xp = backend.xp
    narrow = rows.astype(np.float32)
    T = backend.asarray(narrow)
    K = backend.cross(kernel, T, T, BANDWIDTH)
    assert K.dtype == xp.float32
    wide = narrow.astype(np.float64)
    expected = kernel_matrix(kernel, wide, wide, BANDWIDTH)
    assert_allclose(backend.to_numpy(K), expected, rtol=3e-6)
    J = pair_gradients(backend, kernel, T, BANDWIDTH)
    assert J.dtype == np.float32
    for i, t in enumerate(wide):
        for j, z in enumerate(wide):
            gradient = kernel_gradient(kernel, t, z, BANDWIDTH)
            scale = np.abs(gradient).max()
            assert_allclose(J[i, j], gradient, rtol=1e-5, atol=1e-5 * scale)


@every_shape
def test_bandwidth_scales_the_rows(kernel, backend, rows):
    T = backend.asarray(rows)
    plain = backend.to_numpy(backend.cross(kernel, T, T, 1.0))
    scaled = backend.to_numpy(backend.cross(kernel, 3 * T, 3 * T, 3.0))
    assert_allclose(scaled, plain, rtol=1e-12)


@pytest.mark.parametrize(
    "kernel",
    [
        GeneralizedLaplace(exponent=0.5),
        GeneralizedLaplace(exponent=0.9),
        LpqLaplace(p=1.0, q=0.5),
        LpqLaplace(p=1.0, q=0.8),
        LpqLaplace(p=1.5, q=0.75),
        LpqLaplace(p=1.5, q=0.4),
    ],
    ids=repr,
)
def test_gradients_for_exponents_below_1_are_bounded_near_ties(kernel, backend):
    # rows at these shares of the bandwidth from the first; the bound is at 1e-3
    shares = np.array([0, 1e-3, 1e-4, 1e-5, 1e-6])
    rows = np.column_stack([shares * BANDWIDTH, np.zeros((5, 2))])
    J = pair_gradients(backend, kernel, backend.asarray(rows), BANDWIDTH)
    sizes = np.abs(J[0]).max(axis=-1)
    assert sizes[0] == 0
    expected = np.abs(kernel_gradient(kernel, rows[0], rows[1], BANDWIDTH)).max()
    assert_allclose(sizes[1], expected, rtol=1e-6)
    # nearer rows have that slope times their own value, which is at most 1
    bound = sizes[1] / kernel_matrix(kernel, rows[:1], rows[1:2], BANDWIDTH).item()
    assert (sizes[2:] > 0).all()
    assert (sizes[2:] <= bound * (1 + 1e-9)).all()


def test_special_cases_equal_other_kernels(backend, rows):
    T = backend.asarray(rows)

    def values(kernel, L=BANDWIDTH):
        return backend.to_numpy(backend.cross(kernel, T, T, L))

    laplace = values(Laplace())
    assert_allclose(values(GeneralizedLaplace(exponent=1.0)), laplace, rtol=1e-12)
    assert_allclose(values(LpqLaplace(p=2.0, q=1.0)), laplace, rtol=1e-12)
    assert_allclose(
        values(GeneralizedLaplace(exponent=2.0)),
        values(Gaussian(), BANDWIDTH / 2**0.5),
        rtol=1e-12,
    )
    assert_allclose(values(LpqLaplace(p=1, q=1)), values(L1Laplace()), rtol=1e-12)


@every_shape
def test_dense_oracles_equal_the_loops(kernel, rows):
    """The oracles for large matrices, used in other files, are checked here."""
    values = kernel_matrix(kernel, rows, rows, BANDWIDTH)
    assert_allclose(dense_values(kernel, rows, rows, BANDWIDTH), values, rtol=1e-12)
    W, p = dense_slopes(kernel, rows, BANDWIDTH), norm_order(kernel)
    for i, t in enumerate(rows):
        for j, z in enumerate(rows):
            gradient = W[i, j] * np.abs(t - z) ** (p - 1) * np.sign(t - z)
            expected = kernel_gradient(kernel, t, z, BANDWIDTH)
            assert_allclose(gradient, expected, rtol=1e-11, atol=1e-15)


# -- custom kernels -----------------------------------------------------------------


def test_fit_with_a_custom_kernel_of_value_and_slope(rng):
    X, new = rng.normal(size=(30, 3)), rng.normal(size=(7, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    model = RFMRegressor(
        kernel=Cauchy(),
        bandwidth=BANDWIDTH,
        alpha=0.1,
        validation=None,
        fit_intercept=False,
        scaling=None,
        max_iter=2,
    )
    got = model.fit(X, y).predict(new)
    naive = NaiveRFM(Cauchy(), BANDWIDTH, 0.1, rounds=2).fit(X, y[:, None])
    assert_allclose(got, naive.predict(new)[:, 0], rtol=1e-8)


# -- objects and names --------------------------------------------------------------


def test_get_kernel_by_name():
    for name, cls in kernels.KERNELS.items():
        assert type(get_kernel(name)) is cls


def test_get_kernel_returns_a_kernel_object_unchanged():
    kernel = GeneralizedLaplace(exponent=0.7)
    assert get_kernel(kernel) is kernel


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("laplas", r"Unknown kernel 'laplas': pass one of .*'laplace'.* or an object"),
        ("laplacian", r"scikit-learn's \"laplacian\" is \"l1_laplace\".*1/gamma"),
        ("rbf", r"\"rbf\" is \"gaussian\" here"),
        ("precomputed", r"needs the gradients of the kernel"),
        (Laplace, r"kernel must be a name or an object from skrfm.kernels"),
        (3, r"kernel must be a name or an object from skrfm.kernels, got 3"),
        (GeneralizedLaplace(exponent=0), r"exponent of Generali.*\(0, 2\], got 0"),
        (GeneralizedLaplace(exponent=2.1), r"exponent .* in \(0, 2\], got 2.1"),
        (GeneralizedLaplace(exponent="1"), r"must be a number in \(0, 2\], got '1'"),
        (GeneralizedLaplace(exponent=np.nan), r"in \(0, 2\], got nan"),
        (LpqLaplace(p=0.9), r"p of LpqLaplace must be a number in \[1, 2\], got 0.9"),
        (LpqLaplace(p=2.5), r"p of LpqLaplace must be a number in \[1, 2\], got 2.5"),
        (LpqLaplace(p=None), r"p of LpqLaplace must be a number .* got None"),
        (LpqLaplace(q=0), r"q of LpqLaplace must be a number in \(0, 1.5\], got 0"),
        (LpqLaplace(p=1.2, q=1.3), r"q of LpqLaplace .* in \(0, 1.2\], got 1.3"),
    ],
    ids=repr,
)
def test_get_kernel_error_messages(kernel, message):
    with pytest.raises(ValueError, match=message):
        get_kernel(kernel)


@pytest.mark.parametrize("kernel", [GeneralizedLaplace(0.8), LpqLaplace(1.2, 0.9)])
def test_clone_and_set_params(kernel):
    copy = clone(kernel)
    assert copy is not kernel and copy.get_params() == kernel.get_params()
    name = next(iter(kernel.get_params()))
    copy.set_params(**{name: 1.1})
    assert getattr(copy, name) == 1.1 and getattr(kernel, name) != 1.1


def test_kernel_parameters_are_shape_only():
    for cls in kernels.KERNELS.values():
        shape = {"exponent", "p", "q", "depth", "activation", "bias"}
        assert set(cls().get_params()) <= shape
        assert isinstance(cls(), Kernel)


def test_kernel_parameters_are_nested_parameters_of_estimators():
    model = RFMRegressor(kernel=GeneralizedLaplace(exponent=1.3))
    assert model.get_params()["kernel__exponent"] == 1.3
    model.set_params(kernel__exponent=0.6)
    assert model.kernel.exponent == 0.6


def test_fit_does_not_change_the_kernel_object(table):
    X, y = table
    kernel = LpqLaplace(p=1.3, q=0.9)
    before = dict(vars(kernel))
    RFMRegressor(kernel=kernel, alpha=0.1, validation=None).fit(X, y)
    assert vars(kernel) == before
