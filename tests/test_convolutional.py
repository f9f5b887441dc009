"""CNTK: against values of other software, and against plain loops.

data/ntk_reference.npz was made with neural-tangents, which loses about half of the
digits of the tangent kernel where two patches are equal; see its key `note`.
"""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skrfm.kernels import CNTK

READOUTS = {"flat": "flatten", "gap": "mean"}
every_kind = pytest.mark.parametrize("nngp", [True, False])


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parent / "data" / "ntk_reference.npz") as file:
        return dict(file)


def relu(k, a, c):
    """E[φ(u) φ(v)] and E[φ'(u) φ'(v)] for the ReLU that keeps the variance."""
    r = math.sqrt(a * c)
    if r == 0:
        return 0.0, 0.0
    theta = math.acos(min(max(k / r, -1.0), 1.0))
    value = r * (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / math.pi
    return value, (math.pi - theta) / math.pi


class Layer:
    """One convolution: the pixels that its windows read, `None` beyond the border."""

    def __init__(self, n, m, kernel):
        self.kernel, self.sizes = kernel, (n, m)
        counts = [self._count(size) for size in self.sizes]
        self.pixels = list(itertools.product(*map(range, counts)))

    def _count(self, size):
        k, s = self.kernel.filter_size, self.kernel.stride
        return (size - k) // s + 1 if self.kernel.padding == "valid" else -(-size // s)

    def window(self, pixel):
        k, s = self.kernel.filter_size, self.kernel.stride
        first = []
        for size, index in zip(self.sizes, pixel, strict=True):
            missing = max((self._count(size) - 1) * s + k - size, 0)
            pad = 0 if self.kernel.padding == "valid" else missing // 2
            first.append(index * s - pad)
        for offset in itertools.product(range(k), range(k)):
            yield self._inside([f + o for f, o in zip(first, offset, strict=True)])

    def _inside(self, index):
        if self.kernel.padding == "circular":
            return tuple(p % size for p, size in zip(index, self.sizes, strict=True))
        inside = all(0 <= p < size for p, size in zip(index, self.sizes, strict=True))
        return tuple(index) if inside else None


def windows_mean(values, layer, p, q):
    """The mean of values[s, t] over the windows of p and q, offset by offset."""
    pairs = list(zip(layer.window(p), layer.window(q), strict=True))
    return sum(values.get(pair, 0.0) for pair in pairs) / len(pairs)


def slow_kernel(kernel, x, z):
    """NNGP and NTK of two images; covariances are dicts of pairs of pixels."""
    n, m = x.shape[:2]
    pixels = list(itertools.product(range(n), range(m)))
    images = {"xz": (x, z), "xx": (x, x), "zz": (z, z)}
    K = {
        name: {(p, q): float(np.mean(u[p] * v[q])) for p in pixels for q in pixels}
        for name, (u, v) in images.items()
    }
    T = dict.fromkeys(K["xz"], 0.0)
    for _ in range(kernel.depth):
        layer = Layer(n, m, kernel)
        every = list(itertools.product(layer.pixels, layer.pixels))
        K = {
            name: {pair: windows_mean(k, layer, *pair) for pair in every}
            for name, k in K.items()
        }
        T = {pair: windows_mean(T, layer, *pair) + K["xz"][pair] for pair in every}
        for p, q in every:
            value, slope = relu(K["xz"][p, q], K["xx"][p, p], K["zz"][q, q])
            K["xz"][p, q] = value
            T[p, q] *= slope
        # of "xx" and "zz" only the variances are needed, which a ReLU keeps
        n, m = (1 + max(p[axis] for p in layer.pixels) for axis in (0, 1))
    if kernel.readout == "flatten":
        every = [(p, p) for p in layer.pixels]
    nngp = float(np.mean([K["xz"][pair] for pair in every]))
    return nngp, nngp + float(np.mean([T[pair] for pair in every]))


# -- values -----------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("padding", ["same", "valid", "circular"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reference_values(reference, depth, padding, readout, nngp):
    kernel = CNTK(depth, padding=padding, readout=READOUTS[readout], nngp=nngp)
    name = f"conv_relu_L{depth}_{padding.upper()}_{readout}"
    K = kernel.kernel(reference["I"], reference["J"])
    expected = reference[f"{name}_{'nngp' if nngp else 'ntk'}"]
    # J[0] equals I[0], where the reference loses its digits
    assert_allclose(K, expected, rtol=1e-8)
    same = np.zeros(K.shape, dtype=bool)
    same[0, 0] = True
    assert_allclose(K[~same], expected[~same], rtol=1e-13)


@every_kind
def test_reference_values_with_a_stride(reference, nngp):
    K = CNTK(2, stride=2, nngp=nngp).kernel(reference["I"], reference["J"])
    name = f"conv_relu_L2_SAME_flat_stride2_{'nngp' if nngp else 'ntk'}"
    assert_allclose(K, reference[name], rtol=1e-8)


def test_five_layers_of_stride_two(reference):
    # the reference sums over windows, and has a second linear layer
    nngp, ntk = (
        CNTK(5, stride=2, nngp=nngp).kernel(reference["P32"]) for nngp in (True, False)
    )
    assert_allclose(nngp * 9**5, reference["kernel_tf_cntk_nngp"], rtol=1e-12)
    assert_allclose((ntk + nngp) * 9**5, reference["kernel_tf_cntk_ntk"], rtol=1e-7)


@pytest.mark.parametrize("readout", ["flatten", "mean"])
@pytest.mark.parametrize("padding", ["same", "valid", "circular"])
@pytest.mark.parametrize("filter_size, stride", [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_values_equal_plain_loops(padding, readout, filter_size, stride):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 7, 8, 2))
    x[:2] = 0  # pixels without any variance, as in the background of a drawing
    x[3, :3] = z[3, :3]
    kernel = CNTK(2, filter_size, padding, readout=readout, stride=stride)
    nngp, ntk = slow_kernel(kernel, x, z)
    assert_allclose(kernel.kernel([x], [z]), [[ntk]], rtol=1e-7)
    assert_allclose(kernel.set_params(nngp=True).kernel([x], [z]), [[nngp]], rtol=1e-13)


@pytest.mark.parametrize("padding", ["valid", "circular"])
def test_tangent_kernel_of_an_image_with_itself(padding):
    x = np.random.default_rng(0).normal(size=(1, 7, 7, 3))
    nngp, ntk = (
        CNTK(4, 2, padding, nngp=nngp).kernel(x, x.copy()) for nngp in (True, False)
    )
    # all angles are 0, so each of the five layers of weights adds as much
    assert_allclose(ntk, 5 * nngp, rtol=1e-14)


def test_nearly_equal_images_keep_their_digits():
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2))
    for kernel in (CNTK(3), CNTK(3, padding="circular", readout="mean")):
        longer = kernel.kernel(x, (1 + 1e-6) * x)
        assert_allclose(longer, (1 + 1e-6) * kernel.kernel(x), rtol=1e-10)


# -- properties -------------------------------------------------------------------


@pytest.mark.parametrize("readout", ["flatten", "mean"])
def test_symmetric_kernel_matrix(readout):
    images = np.random.default_rng(0).normal(size=(7, 6, 5, 1))
    kernel = CNTK(2, readout=readout)
    K = kernel.kernel(images)
    assert_array_equal(K, K.T)
    assert_allclose(K, kernel.kernel(images, images), rtol=1e-12)
    assert np.linalg.eigvalsh(K)[0] > 0
    assert_allclose(kernel.kernel(3 * images), 9 * K, rtol=1e-12)


def test_images_in_blocks(monkeypatch):
    images = np.random.default_rng(0).normal(size=(9, 6, 6, 2))
    whole = CNTK(2).kernel(images)
    monkeypatch.setattr("skrfm.kernels._pixel_loops.HostLoops.max_elements", 2 * 36)
    assert_allclose(CNTK(2).kernel(images), whole, rtol=1e-14)


def test_precision_of_the_kernel_matrix():
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 2))
    single = images.astype(np.float32)
    before = single.copy()
    assert CNTK().kernel(single).dtype == np.float32
    assert CNTK().kernel(single, images).dtype == np.float64
    assert CNTK().kernel((9 * images).astype(int)).dtype == np.float64
    assert_allclose(CNTK().kernel(single), CNTK().kernel(images), rtol=1e-6)
    assert_array_equal(single, before)


def test_circular_mean_is_invariant_to_shifts():
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 2))
    kernel = CNTK(2, padding="circular", readout="mean")
    shifted = np.roll(images[1:], (2, 3), axis=(1, 2))
    expected = kernel.kernel(images[:1], images[1:])
    assert_allclose(kernel.kernel(images[:1], shifted), expected, rtol=1e-12)


def test_clone_and_repr():
    kernel = CNTK(depth=2, stride=2)
    assert clone(kernel).get_params() == kernel.get_params()
    assert repr(kernel) == "CNTK(depth=2, stride=2)"


@pytest.mark.parametrize(
    "name, value",
    [
        ("depth", 0),
        ("filter_size", 1.5),
        ("padding", "zero"),
        ("readout", "max"),
        ("activation", "tanh"),
        ("stride", 0),
        ("nngp", "yes"),
    ],
)
def test_parameter_error_messages(name, value):
    with pytest.raises(ValueError, match=name):
        CNTK(**{name: value}).kernel(np.ones((1, 3, 3, 1)))


@pytest.mark.parametrize(
    "images, message",
    [
        (np.ones((3, 3)), "must have shape"),
        (np.ones((0, 3, 3, 1)), "empty"),
        (np.full((1, 3, 3, 1), np.nan), "NaN"),
        (np.full((1, 3, 3, 1), np.inf), "infinity"),
        (np.ones((1, 3, 3, 1)) * 1j, "complex"),
    ],
)
def test_image_error_messages(images, message):
    with pytest.raises(ValueError, match=f"I .*{message}"):
        CNTK().kernel(images)
    with pytest.raises(ValueError, match=f"J .*{message}"):
        CNTK().kernel(np.ones((1, 3, 3, 1)), images)


def test_images_of_different_sizes():
    with pytest.raises(ValueError, match="one size"):
        CNTK().kernel(np.ones((1, 3, 3, 1)), np.ones((1, 3, 4, 1)))
    with pytest.raises(ValueError, match=r"layer 2 of 3.*2 x 2.*Lower depth"):
        CNTK(padding="valid").kernel(np.ones((1, 4, 4, 1)))


@pytest.mark.parametrize("readout", ["flatten", "mean"])
def test_images_in_any_order_of_memory(readout, rng):
    images = rng.normal(size=(4, 3, 6, 7))
    images = np.moveaxis(images, 1, -1)  # channels came first
    kernel = CNTK(depth=2, readout=readout)
    expected = kernel.kernel(np.ascontiguousarray(images))
    for same in (images, np.asfortranarray(images), np.repeat(images, 2, axis=0)[::2]):
        assert_allclose(kernel.kernel(same), expected, rtol=1e-13)
