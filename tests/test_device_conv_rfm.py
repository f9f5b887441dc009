"""Convolutional RFMs on a GPU: CUDA kernels, results equal to those of the CPU."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from _gpu import OutOfMemory, has_gpu, needs_compiler, same, use_runtime
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrfm import ConvRFMClassifier, ConvRFMRegressor
from skrfm._backend import CudaBackend
from skrfm.conv_rfm import _ridge
from skrfm.conv_rfm._layers import filtered
from skrfm.kernels import _image_loops, _patch_kernel
from skrfm.kernels._image_loops import GpuImageLoops, HostImageLoops
from skrfm.kernels._patch_kernel import PatchKernel

every_padding = pytest.mark.parametrize("padding", ["same", "valid", "circular"])
PARAMETERS = [
    {"max_iter": 1, "random_state": 0},
    {"max_iter": 1, "depth": 1, "n_layers": 2, "n_filters": 3, "random_state": 0},
    {"max_iter": 1, "pool_size": 2, "random_state": 0},
]


def make_images(n=30):
    """Digits of 8 x 8 pixels, and their labels."""
    X, y = load_digits(return_X_y=True)
    return X[:n].reshape(-1, 8, 8) / 16, y[:n]


def make_kernels(runtime, depth, size, padding, **options):
    """The same kernel on the host and on the GPU, and images with empty parts."""
    loops = GpuImageLoops(CudaBackend(runtime))
    here, there = (
        PatchKernel(depth=depth, size=size, padding=padding, loops=loops, **options)
        for loops in (HostImageLoops(), loops)
    )
    images = np.random.default_rng(0).normal(size=(5, 8, 7, 2))
    images[:, :2], images[4], images[3] = 0, images[1], 2 * images[2]
    return here, there, images


# -- kernels --------------------------------------------------------------------------


@every_padding
@pytest.mark.parametrize(
    ("depth", "size", "pool_size"), [(1, 3, 1), (2, 2, 3), (2, 3, "global"), (3, 3, 1)]
)
def test_kernels_and_gradients(depth, size, pool_size, padding, numpy_gpu):
    options = {"pool_size": pool_size}
    here, there, images = make_kernels(numpy_gpu, depth, size, padding, **options)
    rng = np.random.default_rng(1)
    components, coef = rng.normal(size=(3, 2 * size**2)), rng.normal(size=(5, 2))
    rows, weight = np.array([0, 2, 4]), np.array([1.0, 2.0, 0.5])
    for A in (None, components):
        same(there.gram(images, A), here.gram(images, A), 1e-13)
        got = there.dot(images[:3], images, A, coef)
        same(got, here.dot(images[:3], images, A, coef), 1e-12)
        got = there.gradients(images[:3], images, A, coef)
        same(got, here.gradients(images[:3], images, A, coef), 1e-10)
        options = {"rows": rows, "weight": weight}
        got = there.gradient_products(images, A, coef, **options)
        same(got, here.gradient_products(images, A, coef, **options), 1e-10)
    kernels = {"relu_values", "relu_derivatives"}
    kernels |= {"axis_means"} if depth > 1 else set()
    assert {name.split(".")[-1] for name in numpy_gpu.launches} == kernels


def test_windows_that_turn_around_several_times(numpy_gpu):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    loops = GpuImageLoops(CudaBackend(numpy_gpu))
    for wrap in (True, False):
        options = (-4, 9, wrap, (2, 3))
        got = numpy_gpu.to_host(loops.windows(numpy_gpu.to_device(x), *options))
        same(got, HostImageLoops().windows(x, *options))


def test_single_precision(numpy_gpu):
    rng, backend = np.random.default_rng(0), CudaBackend(numpy_gpu)
    left, right = rng.normal(size=(2, 3, 4, 5))
    left[2], right[2], right[1] = left[1], left[1], 0
    S = np.einsum("hik,hjk->hij", left, right)[:, None]
    variances = [np.einsum("hik,hik->hi", a, a)[:, None] for a in (left, right)]
    roots = [np.sqrt(a) for a in variances]
    inverses = [np.divide(1, a, out=np.zeros_like(a), where=a > 0) for a in roots]
    arrays = [S, S + 1, *roots, *inverses]
    numbers = [np.uint64(4), np.uint64(4)]
    found = {}
    for dtype in (np.float64, np.float32):
        there = [numpy_gpu.to_device(a.astype(dtype)) for a in arrays]
        outs = [numpy_gpu.to_device(np.ones(S.shape, dtype)) for _ in range(3)]
        options = [*there, *outs, *numbers]
        backend.launch_by_number("images.relu_derivatives", outs[0], *options)
        backend.launch_by_number("images.relu_values", there[0], *there, *numbers)
        found[dtype] = [numpy_gpu.to_host(a) for a in (*outs, *there[:2])]
    for narrow, wide in zip(*reversed(found.values()), strict=True):
        assert narrow.dtype == np.float32
        assert_allclose(narrow, wide, atol=2e-5 * np.abs(wide).max())


def test_small_tiles_and_memory_that_runs_out(numpy_gpu, monkeypatch):
    here, there, images = make_kernels(numpy_gpu, 2, 3, "same")
    coef, rows = np.random.default_rng(1).normal(size=(5, 2)), np.arange(5)
    options = {"rows": rows, "weight": np.ones(5)}
    expected = here.gradient_products(images, None, coef, **options)
    monkeypatch.setattr(_patch_kernel, "_MOST_GRADIENTS", 4000)
    monkeypatch.setattr(_image_loops, "_MOST_PATCHES", 3000)
    there.loops.max_patches = 3000
    monkeypatch.setattr(_image_loops, "_ARRAYS_PER_BLOCK", 2**17)
    assert there.loops.tile_shape(56) == (2, 2)
    got = there.gradient_products(images, None, coef, **options)
    same(got, expected)
    monkeypatch.undo()
    failed, launch = [], numpy_gpu.launch

    def limited(name, *arguments):
        if "derivatives" in name and name not in failed:
            failed.append(name)
            raise OutOfMemory
        launch(name, *arguments)

    monkeypatch.setattr(numpy_gpu, "launch", limited)
    got = there.gradient_products(images, None, coef, **options)
    same(got, expected)
    assert failed == ["images.relu_derivatives"]


def test_filters_on_the_gpu(numpy_gpu):
    here, there, images = make_kernels(numpy_gpu, 1, 3, "same")
    filters = np.random.default_rng(1).normal(size=(4, 18))
    expected = filtered(images, filters, here)
    same(filtered(images, filters, there), expected)


# -- estimators -----------------------------------------------------------------------


@pytest.mark.parametrize("parameters", PARAMETERS, ids=["one layer", "deep", "pooled"])
@pytest.mark.parametrize("estimator", [ConvRFMRegressor, ConvRFMClassifier])
def test_results_equal_those_of_the_cpu(estimator, parameters, numpy_gpu):
    X, y = make_images()
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(y))
    here = estimator(**parameters).fit(X, y, weight)
    assert not numpy_gpu.launches
    there = estimator(**parameters, device="cuda").fit(X, y, weight)
    assert numpy_gpu.launches
    assert there.alpha_ == here.alpha_
    assert (there.best_layer_, there.best_iter_) == (here.best_layer_, here.best_iter_)
    same(there.metric_, here.metric_, 1e-8)
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(here, method):
            same(getattr(there, method)(X), getattr(here, method)(X), 1e-8)


def test_arrays_of_the_gpu_give_arrays_of_the_gpu(numpy_gpu):
    X, y = make_images()
    there = numpy_gpu.to_device(X)
    model = ConvRFMClassifier(max_iter=0)
    expected = clone(model).fit(X, y)
    model.fit(there, numpy_gpu.to_device(y), numpy_gpu.to_device(np.ones(len(y))))
    assert numpy_gpu.launches
    for method in ("predict_proba", "decision_function", "predict"):
        got = getattr(model, method)(there)
        assert numpy_gpu.owns(got)
        here = getattr(expected, method)(X)
        assert_allclose(numpy_gpu.to_host(got), here, atol=1e-8)
        # fitted arrays are those of NumPy: the images say what computes
        assert isinstance(getattr(model, method)(X), np.ndarray)
    text = np.array(list("abcdefghij"))[y]
    assert isinstance(clone(model).fit(there, text).predict(there), np.ndarray)
    assert isinstance(model.metric_, np.ndarray)


def test_device_cpu_copies_arrays_of_the_gpu(numpy_gpu):
    X, y = make_images()
    model = ConvRFMRegressor(max_iter=0, device="cpu")
    got = model.fit(numpy_gpu.to_device(X), y).predict(numpy_gpu.to_device(X))
    assert isinstance(got, np.ndarray)
    assert not numpy_gpu.launches


def test_a_model_of_the_gpu_moves_to_the_host(numpy_gpu):
    X, y = make_images()
    model = ConvRFMRegressor(max_iter=1, random_state=0, device="cuda").fit(X, y)
    expected = model.predict(X)
    model = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    numpy_gpu.launches.clear()
    same(model.predict(X), expected)
    assert not numpy_gpu.launches


def test_a_decomposition_that_fails_silently_is_repeated_on_the_host(numpy_gpu):
    there = CudaBackend(numpy_gpu)

    def eigh(K):
        return there.asarray(np.full(len(K), np.nan)), K

    broken = SimpleNamespace(
        xp=SimpleNamespace(linalg=SimpleNamespace(eigh=eigh)),
        asarray=there.asarray,
        to_numpy=there.to_numpy,
    )
    K = np.cov(np.random.default_rng(0).normal(size=(6, 9)))
    values, vectors = map(numpy_gpu.to_host, _ridge._eigh(K, broken))
    assert_allclose(vectors * values @ vectors.T, K, atol=1e-12)


@needs_compiler
@parametrize_with_checks([ConvRFMClassifier(max_iter=0, device="cuda")])
def test_estimator_checks(estimator, check, monkeypatch):
    if not has_gpu():
        use_runtime("guarded", monkeypatch)
    check(estimator)
