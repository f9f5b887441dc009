"""CNTKInpainter: its kernel against naive matrices, its solvers against each other."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skrfm._backend import NumpyBackend
from skrfm.completion import CNTKInpainter
from skrfm.completion._images._image_kernel import image_kernel, torus_kernel
from skrfm.completion._images._masks import hidden_pixels
from skrfm.completion._images._missing_pixels import (
    fill_by_cholesky,
    fill_by_iterations,
)

NUMPY = NumpyBackend()

every_upsampling = pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])


# -- naive kernels: covariances of all pixels, layers as matrices ---------------------


def upsampling_matrix(n, upsampling):
    """The matrix that interpolates n points on a circle at 2n."""
    U = np.zeros((2 * n, n))
    for i in range(n):
        if upsampling == "nearest":
            U[2 * i, i] = U[2 * i + 1, i] = 1
        else:
            U[2 * i, i] = U[2 * i + 1, i] = 0.75
            U[2 * i, (i - 1) % n] = U[2 * i + 1, (i + 1) % n] = 0.25
    return U


def convolve(K, n, size):
    """The mean over windows, on a grid of n by n pixels that wraps around."""
    pixels = np.arange(n * n).reshape(n, n)
    total = 0
    for i in range(size):
        for j in range(size):
            shift = (size - 1) // 2 - i, (size - 1) // 2 - j
            moved = np.roll(pixels, shift, axis=(0, 1)).ravel()
            total = total + K[np.ix_(moved, moved)]
    return total / size**2


def relu(K, T):
    deviation = np.sqrt(np.diag(K))
    r = np.outer(deviation, deviation)
    cosine = np.clip(K / r, -1, 1)
    np.fill_diagonal(cosine, 1)
    theta = np.arccos(cosine)
    F = r * (np.sin(theta) + (np.pi - theta) * cosine) / np.pi
    return F, T * (np.pi - theta) / np.pi


def layer(K, T, n, size):
    K, T = convolve(K, n, size), convolve(T, n, size)
    return K, T + K


def naive_kernels(n, levels, n_layers, size, upsampling):
    """The two kernels of an n by n image, as matrices of all pairs of pixels."""
    K = np.eye(n * n)
    T = np.zeros_like(K)
    for level in range(levels + 1):
        for _ in range(n_layers):
            K, T = relu(*layer(K, T, n, size))
        if level < levels:
            kept = np.arange(n * n).reshape(n, n)[::2, ::2].ravel()
            K, T, n = K[np.ix_(kept, kept)], T[np.ix_(kept, kept)], n // 2
    for _ in range(levels):
        U = upsampling_matrix(n, upsampling)
        U, n = np.kron(U, U), 2 * n
        K, T = U @ K @ U.T, U @ T @ U.T
        for _ in range(n_layers):
            K, T = relu(*layer(K, T, n, size))
    return layer(K, T, n, size)


def mean_by_offset(K, n):
    """The mean over all pixels of their kernel with the pixel at an offset."""
    K = K.reshape(n, n, n, n)
    rows, cols = np.ogrid[:n, :n]
    return np.array(
        [
            [K[rows, cols, (rows + i) % n, (cols + j) % n].mean() for j in range(n)]
            for i in range(n)
        ]
    )


@every_upsampling
@pytest.mark.parametrize("levels, n_layers, size", [(1, 1, 3), (1, 2, 2), (2, 1, 3)])
def test_kernel_equals_the_naive_matrices(levels, n_layers, size, upsampling):
    fast = image_kernel(levels, n_layers, size, upsampling)
    n = len(fast[0])
    for kernel, K in zip(
        fast, naive_kernels(n, levels, n_layers, size, upsampling), strict=True
    ):
        assert_allclose(kernel, mean_by_offset(K, n), rtol=1e-7)
        assert not kernel.flags.writeable


@every_upsampling
def test_kernel_beyond_its_reach(upsampling):
    # far beyond the offsets for which the kernel is computed
    n = torus_kernel((22, 22), 1, 1, 3, upsampling)[0].shape[0]
    expected = naive_kernels(n, 1, 1, 3, upsampling)
    for kernel, K in zip(
        torus_kernel((22, 22), 1, 1, 3, upsampling), expected, strict=True
    ):
        K = mean_by_offset(K, n)
        assert_allclose(kernel, K / K[0, 0], rtol=1e-7)


@every_upsampling
@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (32, 32)])
def test_kernel_symmetries(shape, upsampling):
    for kernel in torus_kernel(shape, 3, 1, 3, upsampling):
        assert all(n >= m for n, m in zip(kernel.shape, shape, strict=True))
        back = np.roll(kernel[::-1, ::-1], (1, 1), axis=(0, 1))
        assert_allclose(kernel, back, rtol=1e-10)
        turned = torus_kernel(shape[::-1], 3, 1, 3, upsampling)
        assert any(np.allclose(kernel.T, other, rtol=1e-10) for other in turned)
        assert np.fft.fft2(kernel).real.min() > 0


# -- solvers ----------------------------------------------------------------------


@every_upsampling
@pytest.mark.parametrize("alpha", [1e-6, 1e-2])
def test_conjugate_gradients_agree_with_cholesky(alpha, upsampling):
    rng = np.random.default_rng(0)
    observed = rng.random((17, 23)) < 0.4
    observed[4:9, 6:14] = False
    values = rng.normal(size=(observed.sum(), 2))
    values[:, 1] = 0
    _, kernel = torus_kernel(observed.shape, 2, 1, 3, upsampling)
    found, converged = fill_by_iterations(
        values,
        observed,
        kernel,
        alpha=alpha,
        tol=1e-12,
        max_iter=2000,
        backend=NUMPY,
    )
    expected = fill_by_cholesky(values, observed, kernel, alpha=alpha, backend=NUMPY)
    assert converged
    assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    assert_array_equal(found[:, 1], 0)


def test_cholesky_solves_kernel_regression():
    rng = np.random.default_rng(0)
    observed = rng.random((5, 6)) < 0.5
    values = rng.normal(size=(observed.sum(), 1))
    kernel = torus_kernel(observed.shape, 1, 1, 3, "bilinear")[1]
    pixels = np.argwhere(np.ones_like(observed))
    K = np.array([[kernel[tuple(p - q)] for q in pixels] for p in pixels])
    o, m = observed.ravel(), ~observed.ravel()
    expected = K[np.ix_(m, o)] @ np.linalg.solve(
        K[np.ix_(o, o)] + 0.1 * np.eye(o.sum()), values
    )
    predicted = fill_by_cholesky(values, observed, kernel, alpha=0.1, backend=NUMPY)
    assert_allclose(predicted, expected)


# -- the estimator ----------------------------------------------------------------


def picture(height=40, width=48, channels=None, dtype=np.float64):
    y, x = np.mgrid[:height, :width] / 12
    planes = [np.sin(x + k) * np.cos(y * x / 2 + k) for k in range(channels or 1)]
    image = np.stack(planes, axis=-1) if channels else planes[0]
    return image.astype(dtype)


def with_missing(image, share=0.5, seed=0):
    missing = np.random.default_rng(seed).random(image.shape[:2]) < share
    X = image.copy()
    X[missing] = np.nan
    return X


def inpainter(**options):
    return CNTKInpainter(**{"n_levels": 2, "random_state": 0, **options})


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_smooth_image_is_recovered(channels, dtype):
    image = picture(channels=channels, dtype=dtype)
    X = with_missing(image)
    before = X.copy()
    filled = inpainter().fit_transform(X)
    assert filled.dtype == dtype and filled.shape == image.shape
    assert_array_equal(X, before)
    seen = ~np.isnan(X)
    assert_array_equal(filled[seen], image[seen])
    # pixels at the border have observed neighbours on one side only
    assert np.sqrt(np.mean((filled - image) ** 2)) < 0.02 * image.std()


def test_channels_are_independent():
    image = picture(channels=3)
    X = image.copy()
    for k in range(2):
        X[..., k] = with_missing(image[..., k], seed=k)
    X[..., 2] = X[..., 0] * 2 - 1
    model = inpainter(upsampling="bilinear", tangent=1.0, tol=1e-9).fit(X)
    together = model.transform(X)
    for k in range(3):
        assert_allclose(together[..., k], model.transform(X[..., k]), atol=1e-7)
    assert_allclose(together[..., 2], together[..., 0] * 2 - 1, atol=1e-7)


def test_solvers_give_the_same_image():
    X = with_missing(picture())
    options = {"upsampling": "nearest", "tangent": 0.5, "tol": 1e-10}
    dense = inpainter(max_dense=10_000, **options).fit_transform(X)
    iterated = inpainter(max_dense=0, **options).fit_transform(X)
    assert_allclose(iterated, dense, atol=1e-6)


def test_weights_and_scores_of_auto():
    X = with_missing(picture())
    model = inpainter().fit(X)
    assert len(model.validation_scores_) == 8
    assert set(model.weights_) <= set(model.validation_scores_)
    assert max(model.validation_scores_.values()) > 0.9
    assert all(weight > 0 for weight in model.weights_.values())
    again = inpainter().fit(X)
    assert again.weights_ == model.weights_
    half = inpainter(upsampling="nearest").fit(X)
    assert {upsampling for upsampling, _ in half.validation_scores_} == {"nearest"}
    given = inpainter(upsampling="nearest", tangent=1).fit(X)
    assert given.weights_ == {("nearest", 1.0): 1.0}
    assert given.validation_scores_ == {}


def test_transform_of_an_image_of_another_size():
    model = inpainter().fit(with_missing(picture()))
    other = picture(30, 25, 2)
    filled = model.transform(with_missing(other, seed=1))
    assert np.abs(filled - other).max() < 0.1


def test_predictions_follow_shift_and_scale_of_the_values():
    X = with_missing(picture())
    model = inpainter(upsampling="bilinear", tangent=1.0, tol=1e-8).fit(X)
    expected = 100 * model.transform(X) + 1e3
    assert_allclose(model.transform(100 * X + 1e3), expected, rtol=1e-6)


def test_predictions_are_clipped_to_the_observed_range():
    X = np.full((8, 8), np.nan)
    X[2:6, 2:6] = np.arange(16.0).reshape(4, 4) ** 2
    options = {"upsampling": "bilinear", "tangent": 0.0}
    free = inpainter(clip=False, **options).fit_transform(X)
    kept = inpainter(**options).fit_transform(X)
    assert free.max() > 225 or free.min() < 0
    assert_allclose(kept, np.clip(free, 0, 225))


def test_complete_and_constant_images():
    image = picture(6, 7)
    assert_array_equal(inpainter().fit_transform(image), image)
    constant = np.where(np.eye(6, dtype=bool), np.nan, 3.0)
    assert_allclose(inpainter().fit_transform(constant), 3.0)
    one = np.full((5, 4), np.nan)
    one[2, 2] = 7
    model = inpainter()
    assert_allclose(model.fit_transform(one), 7.0)
    assert list(model.weights_.values()) == [1.0]  # no pixel can be hidden


def test_hidden_pixels_have_the_shape_of_the_missing_ones():
    observed = np.ones((64, 64, 1), dtype=bool)
    observed[10:30, 20:40] = False
    hidden = hidden_pixels(observed, np.random.RandomState(0))
    assert not (hidden & ~observed).any()
    rows, cols = np.nonzero(hidden[..., 0])
    # the square is shifted on a torus, so the border may cut it into pieces
    assert 100 < hidden.sum() <= 400
    assert len(np.unique(rows)) <= 20 and len(np.unique(cols)) <= 20
    scattered = np.random.default_rng(0).random((64, 64, 1)) < 0.5
    hidden = hidden_pixels(scattered, np.random.RandomState(0))
    assert not (hidden & ~scattered).any()
    assert 0.05 < hidden.sum() / scattered.sum() < 0.15


def test_convergence_warning():
    X = with_missing(picture())
    model = inpainter(upsampling="bilinear", tangent=0.0, max_iter=2, max_dense=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2") as caught:
        model.fit(X).transform(X)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "X, message",
    [
        (np.full((4, 4), np.nan), "All pixels of X are missing"),
        (np.stack([np.ones((3, 3)), np.full((3, 3), np.nan)], 2), "channel 1 of X"),
        (np.ones((4, 4)) * 1j, "X is complex"),
        (np.ones(4), r"X must be one image.*\(4,\)"),
        (np.ones((2, 4, 4, 3)), "fit_transform on each"),
        (np.ones((0, 4)), "X is empty"),
        (np.array([[1, np.inf]]), "infinity.*NaN"),
    ],
)
def test_bad_images_are_errors(X, message):
    with pytest.raises(ValueError, match=message):
        inpainter().fit(X)
    model = inpainter().fit(picture(6, 6))
    with pytest.raises(ValueError, match=message):
        model.transform(X)


@pytest.mark.parametrize(
    "name, value",
    [
        ("n_levels", 0),
        ("n_levels", 7),
        ("n_layers", 0),
        ("filter_size", 0),
        ("upsampling", "cubic"),
        ("tangent", 1.5),
        ("alpha", 0),
        ("max_dense", -1),
        ("tol", 0),
        ("max_iter", 0),
        ("clip", 1.5),
    ],
)
def test_bad_parameters_are_errors(name, value):
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        inpainter(**{name: value}).fit(picture(6, 6))


def test_clone_tags_and_failed_fits():
    model = inpainter(n_levels=3)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.transform(picture(6, 6))
    assert model.__sklearn_tags__().input_tags.allow_nan
    fitted = model.fit(with_missing(picture()))
    weights = fitted.weights_
    with pytest.raises(ValueError, match="empty"):
        fitted.fit(np.ones((0, 3)))
    assert fitted.weights_ == weights
