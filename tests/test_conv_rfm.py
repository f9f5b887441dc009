"""Convolutional RFMs: the kernel and its gradient against plain loops, and the fits."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skrfm import ConvRFMClassifier, ConvRFMRegressor
from skrfm._backend import NumpyBackend
from skrfm._search import RegressionCriterion
from skrfm.agop import FeatureMetric
from skrfm.conv_rfm._layers import filtered, random_filters
from skrfm.conv_rfm._ridge import RidgePath
from skrfm.kernels import CNTK, _image_loops, _patch_kernel
from skrfm.kernels._patch_kernel import PatchKernel

every_padding = pytest.mark.parametrize("padding", ["same", "valid", "circular"])
every_depth = pytest.mark.parametrize("depth", [1, 2, 3])


# -- the kernel and its gradient ------------------------------------------------------


def plain_windows(size, padding, shape):
    """A dict of the pixels of each window, some of which are beyond the border."""
    first = 0 if padding == "valid" else -((size - 1) // 2)
    lost = size - 1 if padding == "valid" else 0
    taps = list(itertools.product(range(first, first + size), repeat=2))
    found = {}
    for i, j in itertools.product(*(range(n - lost) for n in shape)):
        pixels = [(i + u, j + v) for u, v in taps]
        if padding == "circular":
            pixels = [(u % shape[0], v % shape[1]) for u, v in pixels]
        found[i, j] = pixels
    return found


def plain_means(values, windows):
    """The means of values of pairs of pixels (p, q), over the windows of both."""
    size = len(next(iter(windows.values())))
    return {
        (p, q): sum(
            values.get(pair, 0.0) for pair in zip(windows[p], windows[q], strict=True)
        )
        / size
        for p, q in itertools.product(windows, repeat=2)
    }


def plain_pools(pool_size, padding, shape):
    """Lists of the pixels of each pooling window that touches the image."""
    pixels = list(itertools.product(*map(range, shape)))
    if pool_size == "global":
        return [pixels]
    pools = []
    wraps = padding == "circular"
    starts = (range(0 if wraps else 1 - pool_size, n) for n in shape)
    for i, j in itertools.product(*starts):
        pool = itertools.product(range(i, i + pool_size), range(j, j + pool_size))
        if wraps:
            pool = [(u % shape[0], v % shape[1]) for u, v in pool]
        pools.append([p for p in pool if p in pixels])
    return pools


def plain_kernel(x, z, kernel):
    """The kernel of two images from their mapped patches (rows, columns, k).

    All pairs of pixels are computed, and those of a pooling window are summed.
    """
    shape, padding = x.shape[:2], kernel.padding
    pixels = list(itertools.product(*map(range, shape)))
    S, a, c = (
        {(p, q): float(u[p] @ v[q]) for p, q in itertools.product(pixels, repeat=2)}
        for u, v in ((x, z), (x, x), (z, z))
    )
    T = dict.fromkeys(S, 0.0)
    for layer in range(kernel.depth):
        if layer:
            windows = plain_windows(kernel.size, padding, shape)
            S, T, a, c = (plain_means(values, windows) for values in (S, T, a, c))
            shape = tuple(1 + max(p[axis] for p in windows) for axis in (0, 1))
        for p, q in S:
            r = math.sqrt(a[p, p] * c[q, q])
            T[p, q] += S[p, q]
            cosine = max(-1.0, min(1.0, S[p, q] / r)) if r else -1.0
            theta = math.acos(cosine)
            T[p, q] *= 1 - theta / math.pi
            bend = math.sin(theta) + (math.pi - theta) * cosine
            S[p, q] = r * bend / math.pi
    pools = plain_pools(kernel.pool_size, padding, shape)
    size = math.prod(shape) if kernel.pool_size == "global" else kernel.pool_size**2
    count = 1 if kernel.pool_size == "global" else math.prod(shape)
    total = sum(
        S[pair] + T[pair] for pool in pools for pair in itertools.product(pool, pool)
    )
    return total / (size**2 * count)


def make_problem(depth, size, padding, shape=(8, 7), **options):
    """A kernel, images with empty parts, a map of patches, and coefficients."""
    rng = np.random.default_rng(0)
    kernel = PatchKernel(depth=depth, size=size, padding=padding, **options)
    images = rng.normal(size=(4, *shape, 2))
    images[:, :2] = 0  # patches without any variance, as in the background of a drawing
    return kernel, images, rng.normal(size=(3, 2 * size**2)), rng.normal(size=(4, 2))


@every_padding
@every_depth
@pytest.mark.parametrize("size", [2, 3])
def test_without_a_metric_the_kernel_is_that_of_cntk(depth, size, padding):
    kernel, images, _, _ = make_problem(depth, size, padding)
    expected = CNTK(depth, size, padding).kernel(images) * 2 * size**2
    assert_allclose(kernel.gram(images, None), expected, rtol=1e-12)
    same = np.eye(len(images))
    assert_allclose(kernel.dot(images, images, None, same), expected, rtol=1e-12)


@every_padding
@pytest.mark.parametrize("depth", [1, 3])
def test_the_kernel_of_pooled_images_is_that_of_cntk(depth, padding):
    kernel, images, _, _ = make_problem(depth, 3, padding, pool_size="global")
    expected = CNTK(depth, 3, padding, readout="mean").kernel(images) * 18
    assert_allclose(kernel.gram(images, None), expected, rtol=1e-9)
    same = np.eye(len(images))
    assert_allclose(kernel.dot(images, images, None, same), expected, rtol=1e-9)


def predictor_of_patches(kernel, images, components, coef):
    """The predictor k(·, images) @ coef by plain loops, of mapped patches."""
    mapped = kernel.map(images, components).patches

    def predictor(patches):
        values = [
            plain_kernel(patches, mapped[:, :, j], kernel) for j in range(len(images))
        ]
        return np.array(values) @ coef

    return predictor


@every_padding
@pytest.mark.parametrize(
    ("depth", "pool_size"),
    [(1, 1), (2, 1), (3, 1), (1, 3), (2, 2), (2, 6), (2, "global")],
)
def test_values_and_gradients_equal_plain_loops(depth, pool_size, padding):
    size, shape = (2, (5, 4)) if depth == 3 else (3, (6, 5))
    problem = make_problem(depth, size, padding, shape, pool_size=pool_size)
    kernel, images, components, coef = problem
    images[1:] = images[1:, ::-1]  # the last image has no empty row above
    left = np.random.default_rng(1).normal(size=(1, *shape, 2))
    predictor = predictor_of_patches(*problem)
    own = kernel.map(left, components).patches[:, :, 0]
    found = kernel.dot(left, images, components, coef)[0]
    assert_allclose(found, predictor(own), rtol=1e-10)
    gradients = kernel.gradients(left, images, components, coef)[:, 0]
    gradients = gradients.reshape(*own.shape[:2], *gradients.shape[1:])
    scale, step = np.abs(gradients).max(), 3e-5
    for p, k in [((0, 0), 0), ((1, 1), 2), ((-1, -1), 1)]:
        change = np.zeros_like(own)
        change[p][k] = step
        expected = (predictor(own + change) - predictor(own - change)) / (2 * step)
        assert_allclose(gradients[p][:, k], expected, atol=1e-7 * scale)


def test_gradient_at_an_image_of_the_predictor_is_the_mean_of_both_sides():
    kernel, images, components, coef = make_problem(2, 3, "same", (5, 5))
    gradients = kernel.gradients(images[:1], images, components, coef)[:, 0]
    predictor = predictor_of_patches(kernel, images, components, coef)
    own, step = kernel.map(images, components).patches[:, :, 0], 1e-4
    for p, k in [((3, 1), 0), ((4, 2), 2)]:
        sides = []
        for sign in (1, -1):
            patches = own.copy()
            patches[p][k] += sign * step
            sides.append(predictor(patches))
        expected = (sides[0] - sides[1]) / (2 * step)
        found = gradients[5 * p[0] + p[1], :, k]
        assert_allclose(found, expected, atol=1e-4 * abs(gradients).max())


@pytest.mark.parametrize("pool_size", [1, 2])
def test_average_outer_product_in_blocks(pool_size, monkeypatch):
    problem = make_problem(2, 3, "same", pool_size=pool_size)
    kernel, images, components, coef = problem
    rows, weight = np.array([0, 2, 3]), np.array([1.0, 2.0, 0.5])
    gradients = kernel.gradients(images[rows], images, components, coef)
    expected = np.einsum("pnoi,pnoj,n->ij", gradients, gradients, weight)
    expected /= len(gradients) * weight.sum()
    K, dot = kernel.gram(images, None), kernel.dot(images, images, components, coef)
    arguments = {"rows": rows, "weight": weight}
    found = kernel.gradient_products(images, components, coef, **arguments)
    assert_allclose(found, expected, rtol=1e-12)
    for name, value in {"_MOST_GRADIENTS": 500, "_MOST_VALUES": 4}.items():
        monkeypatch.setattr(_patch_kernel, name, value)
    for name, value in {"_MOST_PATCHES": 500, "_TILE": 300, "_STRIP": 100}.items():
        monkeypatch.setattr(_image_loops, name, value)
    found = kernel.gradient_products(images, components, coef, **arguments)
    assert_allclose(found, expected, rtol=1e-12)
    assert_allclose(kernel.gram(images, None), K, rtol=1e-12)
    assert_allclose(kernel.dot(images, images, components, coef), dot, rtol=1e-12)


@pytest.mark.parametrize("pool_size", [1, 3])
def test_equal_images_have_an_angle_of_exactly_zero(pool_size):
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).repeat(2, axis=0)
    kernel = PatchKernel(depth=3, size=3, padding="same", pool_size=pool_size)
    K = kernel.gram(images, None)
    assert_allclose(K[0, 1], K[0, 0], rtol=1e-14)


# -- the ridge ------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leave_one_out_outputs_are_those_of_fits_without_a_row(fit_intercept):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    K, weight = X @ X.T, rng.uniform(0.5, 2, size=9)
    options = {"criterion": RegressionCriterion(), "fit_intercept": fit_intercept}
    options |= {"backend": NumpyBackend()}
    fit = RidgePath(K.copy(), Y, weight, **options).fit(0.3)
    for row in range(9):
        rest = np.delete(np.arange(9), row)
        small = RidgePath(K[np.ix_(rest, rest)], Y[rest], weight[rest], **options)
        other = small.fit(0.3)
        expected = K[row, rest] @ other.coef + other.intercept
        assert_allclose(fit.outputs[row], expected, rtol=1e-9)
    ridge = K + 0.3 * np.diag(1 / weight)
    assert_allclose(ridge @ fit.coef, Y - fit.intercept, rtol=1e-8)


def test_the_ridge_between_powers_of_ten_is_found():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    Y = X[:, :1] + rng.normal(size=(40, 1))
    options = {"criterion": RegressionCriterion(), "fit_intercept": True}
    options |= {"backend": NumpyBackend()}
    path = RidgePath(X @ X.T, Y, np.ones(40), **options)
    best, _ = path.best(None)
    near = [path.fit(best.alpha * factor).score for factor in (10**-0.5, 10**0.5)]
    assert best.score >= max(near)
    given, scores = path.best(np.array([0.01, 1.0]))
    assert given.score == max(scores) == path.fit(given.alpha).score


# -- estimators -----------------------------------------------------------------------


def digits(n=150):
    X, y = load_digits(return_X_y=True)
    return X[:n].reshape(-1, 8, 8) / 16, y[:n]


def planted(n, noise=0.0):
    """Images whose targets depend on the responses to one filter, and the filter."""
    rng = np.random.default_rng(0)
    w = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / np.sqrt(12)
    X = rng.normal(size=(n, 8, 8))
    patches = PatchKernel(depth=1, size=3, padding="same").patches(X[..., None])
    y = np.maximum(patches @ w.ravel(), 0).sum(axis=0)
    return X, y + noise * rng.normal(size=n), w


def test_the_filter_that_targets_depend_on_is_found():
    X, y, w = planted(350)
    model = ConvRFMRegressor(max_iter=2, random_state=0).fit(X[:250], y[:250])
    assert model.best_iter_ > 0
    assert abs(np.sum(model.filters_[0, :, :, 0] * w)) > 0.9
    plain = ConvRFMRegressor(max_iter=0).fit(X[:250], y[:250])
    gain = model.score(X[250:], y[250:]) - plain.score(X[250:], y[250:])
    assert gain > 0.05


def test_pooled_kernels_learn_what_is_anywhere():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    X = 0.2 * rng.normal(size=(200, 9, 9))
    bars = np.array([np.eye(3), np.eye(3)[::-1]])
    for image, label in zip(X, y, strict=True):
        row, column = rng.integers(7, size=2)
        image[row : row + 3, column : column + 3] += bars[label]
    scores = {}
    for pool_size in (1, 3, "global"):
        options = {"depth": 1, "max_iter": 1, "random_state": 0}
        model = ConvRFMClassifier(pool_size=pool_size, **options)
        scores[pool_size] = model.fit(X[:100], y[:100]).score(X[100:], y[100:])
    assert scores[1] < 0.7
    assert scores[3] > scores[1] + 0.15
    assert scores["global"] > 0.97


def test_attributes_describe_the_kept_round():
    X, y = digits()
    model = ConvRFMClassifier(max_iter=2, random_state=0).fit(X, y)
    assert model.history_["score"].argmax() == model.best_iter_ > 0
    assert model.alpha_ == model.history_["alpha"][model.best_iter_]
    assert_array_equal(model.history_["iter"], [0, 1, 2])
    assert model.n_iter_ == 3
    assert model.image_shape_ == (8, 8, 1)
    filters = model.filters_.reshape(9, 9)
    assert_allclose(filters @ filters.T, np.eye(9), atol=1e-10)
    largest = np.linalg.eigvalsh(model.metric_)[-1]
    expected = filters.T @ np.diag(model.eigenvalues_ * largest) @ filters
    assert_allclose(expected, model.metric_, atol=1e-10)
    assert model.metric_.diagonal().max() == pytest.approx(1)


@pytest.mark.parametrize(("pool_size", "readout"), [(1, "flatten"), ("global", "mean")])
def test_round_0_is_ridge_regression_with_the_kernel_of_cntk(pool_size, readout):
    X, y = digits(60)
    model = ConvRFMRegressor(max_iter=0, alphas=[0.1], pool_size=pool_size)
    model.fit(X[:40], y[:40])
    K = CNTK(depth=2, readout=readout).kernel(X[..., None])
    unit = np.diagonal(K)[:40].mean()
    coef = np.linalg.solve(
        K[:40, :40] / unit + 0.1 * np.eye(40), y[:40] - y[:40].mean()
    )
    expected = K[40:, :40] @ coef / unit + y[:40].mean()
    assert_allclose(model.predict(X[40:]), expected, rtol=1e-8)
    assert_array_equal(model.metric_, np.eye(9))
    assert model.filters_.shape == (9, 3, 3, 1)


def test_all_forms_of_the_same_images_give_one_model():
    X, y = digits(60)
    options = {"max_iter": 0, "random_state": 0}
    expected = ConvRFMRegressor(**options).fit(X, y).predict(X)
    for form, shape in [
        (X[..., None], None),
        (X.reshape(-1, 64), None),
        (X.reshape(-1, 64), (8, 8)),
        (X, (8, 8, 1)),
        (X.tolist(), None),
    ]:
        model = ConvRFMRegressor(image_shape=shape, **options).fit(form, y)
        assert_array_equal(model.predict(form), expected)
        assert_array_equal(model.predict(X.reshape(-1, 64)), expected)


def test_colours_and_rows_that_are_not_square():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 5, 4, 3)), rng.normal(size=30)
    options = {"max_iter": 1, "random_state": 0}
    model = ConvRFMRegressor(**options).fit(X, y)
    assert model.filters_.shape == (27, 3, 3, 3)
    flat = ConvRFMRegressor(image_shape=(5, 4, 3), **options)
    flat.fit(X.reshape(30, 60), y)
    assert_array_equal(flat.predict(X), model.predict(X))
    line = ConvRFMRegressor(**options).fit(X.reshape(30, 60), y)
    assert line.image_shape_ == (1, 60, 1)


def test_scale_of_pixels_and_of_targets_does_not_matter():
    X, y = digits()
    options = {"max_iter": 1, "random_state": 0}
    expected = ConvRFMRegressor(**options).fit(X, y).predict(X)
    found = ConvRFMRegressor(**options).fit(1e150 * X, 1e-200 * y)
    found = found.predict(1e150 * X) * 1e200
    assert_allclose(found, expected, atol=1e-4 * y.std())


def test_float32_stays_float32():
    X, y = digits(60)
    options = {"max_iter": 1, "random_state": 0}
    wide, narrow = (
        ConvRFMClassifier(**options).fit(A, y) for A in (X, X.astype(np.float32))
    )
    for method in ("decision_function", "predict_proba"):
        found = getattr(narrow, method)(X.astype(np.float32))
        assert found.dtype == np.float32
        assert_allclose(found, getattr(wide, method)(X), atol=1e-4)


def test_blank_images_and_constant_targets():
    y = np.arange(4.0)
    model = ConvRFMRegressor().fit(np.zeros((4, 3, 3)), y)
    assert_allclose(model.predict(np.zeros((1, 3, 3))), [1.5])
    X = np.random.default_rng(0).normal(size=(4, 3, 3))
    model = ConvRFMRegressor().fit(X, np.full(4, 7.0))
    assert_allclose(model.predict(X), 7)


def test_probabilities_are_calibrated():
    X, y = digits(400)
    model = ConvRFMClassifier(max_iter=0, random_state=0).fit(X[:200], y[:200])
    proba = model.predict_proba(X[200:])
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(proba.argmax(axis=1), model.predict(X[200:]))
    assert -np.log(proba[np.arange(200), y[200:]]).mean() < 0.5


# -- layers ---------------------------------------------------------------------------


def test_random_filters_have_the_covariance_of_the_metric():
    rng = np.random.RandomState(0)
    components = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])
    metric = FeatureMetric(components=components)
    filters = random_filters(metric, 3, 20000, rng)
    covariance = filters.T @ filters / 20000
    assert_allclose(covariance, components.T @ components, atol=0.05)
    assert random_filters(FeatureMetric(), 3, 5, rng).shape == (5, 3)


def test_filtered_images_are_positive_parts_of_a_convolution():
    rng = np.random.default_rng(0)
    X, filters = rng.normal(size=(2, 5, 6, 1)), rng.normal(size=(4, 9))
    found = filtered(X, filters, PatchKernel(depth=1, size=3, padding="same"))
    padded = np.pad(X[..., 0], [(0, 0), (1, 1), (1, 1)])
    window = padded[1, 2:5, 3:6].ravel()  # of the pixel in row 2 and column 3
    expected = np.maximum(filters @ window, 0) / 2
    assert_allclose(found[1, 2, 3], expected)


def test_a_second_layer_learns_products_of_pixels():
    X = np.random.default_rng(0).normal(size=(250, 6, 6))
    y = (X[:, 1:] * X[:, :-1]).sum(axis=(1, 2))
    options = {"depth": 1, "max_iter": 1, "random_state": 0}
    deep = ConvRFMRegressor(n_layers=2, n_filters=16, **options).fit(X[:150], y[:150])
    assert_array_equal(deep.history_["layer"], [0, 0, 1, 1])
    assert deep.history_["score"].argmax() == 3
    assert (deep.best_layer_, deep.best_iter_) == (1, 1)
    assert deep.metric_.shape == (9, 9)
    assert deep.n_iter_ == 4
    plain = ConvRFMRegressor(**options).fit(X[:150], y[:150])
    assert deep.score(X[150:], y[150:]) > plain.score(X[150:], y[150:]) + 0.03
    again = ConvRFMRegressor(n_layers=2, n_filters=16, **options).fit(X[:150], y[:150])
    assert_array_equal(again.predict(X), deep.predict(X))


# -- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"image_shape": (3, 4)}, r"image_shape=\(3, 4\) has 12 numbers.* 64 columns"),
        ({"image_shape": 8}, "image_shape"),
        ({"image_shape": (8, 4, 2, 1)}, "image_shape must be"),
        ({"image_shape": (8.0, 8.0)}, "image_shape must be"),
        ({"image_shape": (8, 0)}, "image_shape must be"),
        ({"alphas": [0.0, 1.0]}, "alphas must be positive"),
        ({"alphas": []}, "alphas must be positive"),
        ({"padding": "valid", "patch_size": 5, "depth": 3}, "too small.*Lower depth"),
        ({"padding": "zeros"}, "padding"),
        ({"depth": 0}, "depth"),
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": "mean"}, "pool_size.*'global'"),
    ],
)
def test_parameter_error_messages(parameters, message):
    X, y = digits(20)
    with pytest.raises(ValueError, match=message):
        ConvRFMRegressor(**parameters).fit(X.reshape(20, -1), y)


def test_image_error_messages():
    X, y = digits(20)
    with pytest.raises(ValueError, match="not the shape of the images"):
        ConvRFMRegressor(image_shape=(4, 16)).fit(X, y)
    with pytest.raises(ValueError, match="images in X are empty"):
        ConvRFMRegressor().fit(np.ones((20, 0, 8)), y)
    model = ConvRFMRegressor(max_iter=0).fit(X, y)
    with pytest.raises(ValueError, match=r"shape \(4, 16, 1\), but"):
        model.predict(X.reshape(20, 4, 16))
    with pytest.raises(ValueError, match="at least 2 images"):
        model.fit(X, y, sample_weight=np.eye(20)[0])


def test_a_warning_where_the_best_given_ridge_is_at_the_edge():
    X, y, _ = planted(100)
    with pytest.warns(UserWarning, match="smallest of alphas"):
        ConvRFMRegressor(max_iter=0, alphas=[10.0, 100.0]).fit(X, y)
