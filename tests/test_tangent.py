"""The kernels of wide networks, against values of other software and textbooks.

``data/ntk_reference.npz`` has values that neural-tangents and mpmath computed; its key
``note`` describes how. All digits of the values of mpmath are right; values of
neural-tangents lose half of their digits where rows are nearly parallel.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from _oracles import network_self_value, network_value
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skrfm import RFMClassifier, RFMRegressor
from skrfm._backend import ArrayAPIBackend, NumpyBackend
from skrfm._backend._angles import Directions, inner_gradients
from skrfm._backend._tiles import pair_tiles
from skrfm.kernels import NNGP, NTK, DualActivation, get_kernel
from skrfm.kernels._duals import Relu, get_activation

with np.load(Path(__file__).parent / "data" / "ntk_reference.npz") as file:
    REFERENCE = {key: file[key] for key in file.files}

KINDS = {"ntk": NTK, "nngp": NNGP}
# the reference does not scale the leaky rectifier to keep the variance
ACTIVATIONS = {
    "relu": "relu",
    "leaky02": Relu(slope=0.2, gain=(1 + 0.2**2) / 2),
    "erf": "erf",
    "sin": "sin",
}
CONNECTED = re.compile(r"(mp_)?fc_(\w+)_L(\d+)_b([\d.]+)_(ntk|nngp)")
ROOT = np.sqrt(REFERENCE["X"].shape[1])


def keys_of(exact):
    matches = (CONNECTED.fullmatch(key) for key in REFERENCE)
    return [m for m in matches if m and bool(m[1]) == exact]


def kernel_of(match):
    _, activation, depth, bias, kind = match.groups()
    return KINDS[kind](int(depth), ACTIVATIONS[activation], float(bias))


def gradient_of(kernel, X, Z, bandwidth=1.0):
    """Return the gradients of k(x, z) by x, of shape (n, m, d)."""
    rows = (Directions(kernel.augment(A, bandwidth, np), np) for A in (X, Z))
    _, W, D = inner_gradients(kernel, *rows, bandwidth, np)
    return D[:, :, None] * X[:, None] - W[:, :, None] * Z[None]


# -- values -------------------------------------------------------------------------


@pytest.mark.parametrize("match", keys_of(exact=True), ids=lambda m: m[0])
def test_values_equal_mpmath(match):
    """Among the rows are equal, opposite, nearly parallel ones and multiples."""
    X, Z, expected = REFERENCE["X"], REFERENCE["Z"], REFERENCE[match[0]]
    kernel = kernel_of(match)
    got = kernel.kernel_matrix(X, Z, bandwidth=ROOT)
    assert_allclose(got, expected, rtol=1e-14, atol=1e-16 * expected.max())
    single = kernel.kernel_matrix(X.astype("f4"), Z.astype("f4"), bandwidth=ROOT)
    assert single.dtype == np.float32
    # rounding the inputs loses values that are small beside the norms of the rows
    sizes = np.sqrt(
        np.outer(*(np.diag(kernel.kernel_matrix(A, bandwidth=ROOT)) for A in (X, Z)))
    )
    assert np.abs((single - expected) / sizes).max() < 1e-6


@pytest.mark.parametrize("match", keys_of(exact=False), ids=lambda m: m[0])
def test_values_equal_neural_tangents(match):
    X, Z, expected = REFERENCE["X"], REFERENCE["Z"], REFERENCE[match[0]]
    got = kernel_of(match).kernel_matrix(X, Z, bandwidth=ROOT)
    assert_allclose(got, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_values_and_gradients_without_normalised_inputs(depth):
    X, Z = REFERENCE["X"], REFERENCE["Z"]
    for kind, cls in KINDS.items():
        got = cls(depth).kernel_matrix(X, Z)
        expected = REFERENCE[f"aradha_relu_L{depth}_{kind}"]
        assert_allclose(got, expected, rtol=1e-8, atol=1e-11)
    kernel, Zg = NTK(depth), REFERENCE["Zg"]
    values = REFERENCE[f"aradha_relu_L{depth}_ntk_Zg"]
    assert_allclose(kernel.kernel_matrix(X, Zg), values, rtol=1e-12)
    expected = REFERENCE[f"aradha_relu_L{depth}_ntk_grad"]
    assert_allclose(gradient_of(kernel, X, Zg), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_gradients_with_a_bias(activation):
    X, Z = REFERENCE["X"], REFERENCE["Zg"]
    got = gradient_of(NTK(3, activation, 0.3), X, Z, ROOT)
    expected = REFERENCE[f"fc_{activation}_L3_b0.3_ntk_grad"]
    assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


rows = st.integers(1, 5)


@settings(max_examples=30, deadline=None)
@given(rows, rows, st.integers(1, 4), st.integers(1, 6), st.sampled_from([0, 0.1, 2]))
def test_values_equal_the_textbook_formulas(m, n, d, depth, bias):
    rng = np.random.default_rng([m, n, d, depth])
    X, Z = rng.normal(size=(m, d + 1)), rng.normal(size=(n, d + 1))
    for cls in (NTK, NNGP):
        kernel = cls(depth, bias=bias)
        got = kernel.kernel_matrix(X, Z, bandwidth=1.7)
        expected = [[network_value(kernel, x, z, 1.7).real for z in Z] for x in X]
        assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
        own = [network_self_value(kernel, x, 1.7) for x in X]
        assert_allclose(np.diag(kernel.kernel_matrix(X, bandwidth=1.7)), own)


def test_of_cosines(rng):
    X = rng.normal(size=(6, 4))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    for kernel in (NTK(2), NTK(1, "erf", 0.4), NNGP(3, bias=1.0)):
        expected = kernel.kernel_matrix(X)
        assert_allclose(kernel.of_cosines(X @ X.T), expected, rtol=1e-6)
    many = np.clip(rng.uniform(-1.0001, 1.0001, size=(7, 50)), -1.01, 1.01)
    for kernel in (NTK(1), NTK(3, bias=0.3), NNGP(2, "leaky_relu(0.2)")):
        compiled = kernel.of_cosines(many)
        kernel.network = lambda: None
        assert_allclose(compiled, kernel.of_cosines(many), rtol=1e-12, atol=1e-14)
    c = np.linspace(-1, 1, 9)
    angle, pi = np.arccos(c), np.pi
    first = c * (pi - angle) / pi
    expected = first + np.sqrt(1 - c**2) / pi + first
    assert_allclose(NTK().of_cosines(c), expected, rtol=1e-12, atol=1e-15)


def test_values_are_homogeneous_without_a_bias(rng):
    X, Z = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    for scale in (1e-100, 1e-3, 1e100):
        got = NTK(3).kernel_matrix(scale * X, Z)
        assert_allclose(got, scale * NTK(3).kernel_matrix(X, Z), rtol=1e-12)


def test_rows_of_zeros():
    X = np.vstack([np.zeros(3), np.eye(3)])
    assert_allclose(NTK(2).kernel_matrix(X)[0], 0)
    assert np.isfinite(NTK(2, bias=0.5).kernel_matrix(X)).all()
    assert np.isfinite(gradient_of(NTK(2), X, X)).all()
    assert np.isfinite(gradient_of(NTK(1, "hermite(2)"), X, X)).all()


# -- other activations --------------------------------------------------------------


class Cube(DualActivation):
    """E[u³ v³] = 6 K³ + 9 K a c."""

    def value(self, K, a, c, xp):
        return 6 * K**3 + 9 * K * a * c

    def slope(self, K, a, c, xp):
        return 18 * K**2 + 9 * a * c

    def gradients(self, K, a, c, xp):
        return 9 * K * c, 36 * K, 9 * c, 45 * a**2


@pytest.mark.parametrize(
    "activation",
    ["leaky_relu", "leaky_relu(0.3)", "erf", "sin", "hermite(1)", "hermite(3)", Cube()],
)
@pytest.mark.parametrize("cls", [NTK, NNGP])
@pytest.mark.parametrize("bias", [0.0, 0.6])
def test_gradients_equal_finite_differences(cls, activation, bias, rng):
    kernel, L = cls(2, activation, bias), 1.3
    X, Z = rng.normal(size=(3, 4)), rng.normal(size=(4, 4))
    got, step = gradient_of(kernel, X, Z, L), 1e-6
    for axis, shift in enumerate(step * np.eye(4)):
        above, below = (
            kernel.kernel_matrix(X + s, Z, bandwidth=L) for s in (shift, -shift)
        )
        expected = (above - below) / (2 * step)
        tolerance = 1e-7 * np.abs(got).max()
        assert_allclose(got[:, :, axis], expected, atol=tolerance)


FUNCTIONS = {
    "relu": lambda u: np.sqrt(2) * np.maximum(u, 0),
    "leaky_relu(0.3)": lambda u: np.sqrt(2 / 1.09) * np.maximum(u, 0.3 * u),
    "sin": np.sin,
    "hermite(2)": lambda u: (u**2 - 1) / np.sqrt(2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dual_activations_equal_integrals(name):
    """By the trapezoidal rule for E[f(u) f(v)] over two normal variables."""
    grid = np.linspace(-9, 9, 1801)
    density = np.exp(-(grid**2) / 2)
    density /= density.sum()
    u, v = np.meshgrid(grid, grid, indexing="ij")
    f, cos = FUNCTIONS[name], 0.4
    products = f(u) * f(cos * u + np.sqrt(1 - cos**2) * v)
    moment = density @ products @ density
    dual = get_activation(name).dual(*map(np.asarray, (1 - cos, 1 + cos, 1.0, 1.0)), np)
    # the kink of a rectifier leaves an error of the size of the squared step
    assert dual.value == pytest.approx(moment, rel=1e-4 if "relu" in name else 1e-12)


def test_an_activation_without_gradients(rng):
    class Plain(Cube):
        gradients = DualActivation.gradients

    X = rng.normal(size=(6, 2))
    kernel = NTK(activation=Plain())
    assert np.isfinite(kernel.kernel_matrix(X)).all()
    with pytest.raises(NotImplementedError, match="no method `gradients`"):
        RFMRegressor(kernel=kernel).fit(X, X[:, 0])


# -- in backends and estimators ----------------------------------------------------


@pytest.mark.parametrize("kernel", [NTK(2), NNGP(1, "erf", 0.5)], ids=repr)
def test_products_with_values_and_gradients(kernel, backend, rng):
    """Products with all rows and with some, in all backends."""
    n, L = 300, 1.4
    T, V = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    directions = Directions(kernel.augment(T, L, np), np)
    K, W, D = inner_gradients(kernel, directions, directions, L, np)
    gram = backend.gram(kernel, backend.asarray(T), L)
    rows, v = rng.permutation(n)[:120], backend.asarray(V)
    for got, expected in (
        (gram.slope_product(v), W @ V),
        (gram.slope_rows_product(rows, v), W[rows] @ V),
        (gram.radial_product(rows, v), D[rows] @ V),
        (backend.cross(kernel, gram.T, gram.T, L), K),
        (backend.cross_dot(kernel, gram.T, gram.T, L, v), K @ V),
        (backend.self_values(kernel, gram.T, L), np.diag(K)),
        (gram.diagonal, np.diag(K)),
    ):
        assert_allclose(backend.to_numpy(got), expected, rtol=1e-8, atol=1e-9)


def test_standard_deviations_are_smaller_at_training_rows(rng):
    X = rng.normal(size=(60, 3))
    y = X[:, 0] ** 2 + 0.1 * rng.normal(size=60)
    model = RFMRegressor(
        kernel="ntk", alpha=0.01, validation=None, scaling="standard"
    ).fit(X, y)
    _, near = model.predict(X, return_std=True)
    _, far = model.predict(10 * X, return_std=True)
    assert (near > 0).all() and np.median(far) > 3 * np.median(near)


def test_estimators_with_network_kernels(rng):
    X = rng.normal(size=(200, 5))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=200)
    options = {"cv": 2, "max_iter": 2, "random_state": 0}
    model = RFMRegressor(kernel=NTK(bias=0.5), **options).fit(X[:120], y[:120])
    assert model.score(X[120:], y[120:]) > 0.9
    assert np.argmax(model.feature_importances_) == 0
    single = RFMRegressor(kernel="ntk", **options)
    single.fit(X[:80].astype("f4"), y[:80].astype("f4"))
    assert single.predict(X[80:].astype("f4")).dtype == np.float32
    named, given = (
        RFMRegressor(kernel=kernel, **options).fit(X, y).predict(X)
        for kernel in ("nngp", NNGP())
    )
    assert_allclose(named, given)
    classes = RFMClassifier(kernel="nngp", **options).fit(X, y > 0.7)
    assert classes.score(X, y > 0.7) > 0.8


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"depth": 0}, "depth of NTK must be an integer of at least 1"),
        ({"depth": 1.5}, "depth of NTK must be an integer"),
        ({"bias": -0.1}, "bias of NTK must be a number from 0 up"),
        ({"activation": "tanh"}, 'activation must be "relu"'),
        ({"activation": "hermite(0)"}, 'activation must be "relu"'),
        ({"activation": "leaky_relu(x)"}, 'activation must be "relu"'),
    ],
)
def test_parameter_error_messages(parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        get_kernel(NTK(**parameters))
    with pytest.raises(ValueError, match=re.escape(message)):
        NTK(**parameters).kernel_matrix(np.eye(2))


def test_rows_of_different_lengths():
    with pytest.raises(ValueError, match="have 2 and 3"):
        NTK().kernel_matrix(np.eye(2), np.eye(3))


def test_backends_agree(rng):
    xp = pytest.importorskip("array_api_strict")
    X, Z = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    Z[0], Z[1] = X[0], -X[1]
    portable = ArrayAPIBackend(xp)
    for kernel in (
        NTK(3, bias=0.1),
        NTK(2, "erf"),
        NNGP(2, "sin"),
        NTK(1, "hermite(2)"),
    ):
        got = portable.cross(kernel, xp.asarray(X), xp.asarray(Z), 1.2)
        expected = NumpyBackend().cross(kernel, X, Z, 1.2)
        assert_allclose(portable.to_numpy(got), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("gain", [1.0, 0.7])
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("bias", [0.0, 0.4])
@pytest.mark.parametrize("cls", [NTK, NNGP])
def test_compiled_code_equals_array_code(cls, bias, slope, gain, dtype, rng):
    """Rows that are equal, opposite, zero and nearly parallel among them."""
    X = rng.normal(size=(40, 3))
    X[1], X[2], X[3], X[4] = X[0], -X[0], 0, 3 * X[0] + 1e-4
    X = X.astype(dtype)
    kernel, L = cls(3, Relu(slope, gain), bias), 1.3
    rows = Directions(kernel.augment(X, L, np), np)
    tiles = pair_tiles(kernel, X, X, L)
    assert tiles.network is not None
    expected = inner_gradients(kernel, rows, rows, L, np)
    got = tiles.gradients(0, 40, 0, 40)
    unit = np.finfo(dtype).eps
    for value, reference in zip(got, expected, strict=True):
        size = np.abs(reference).max()
        # second derivatives are unbounded at an angle of 0, which rounding changes
        assert_allclose(value, reference, atol=100 * unit**0.5 * size)
    steps = tiles.values(0, 40, 0, 40)
    assert_allclose(steps, expected[0], atol=20 * unit * np.abs(expected[0]).max())
    assert_allclose(got[0], steps, atol=20 * unit * np.abs(steps).max())
