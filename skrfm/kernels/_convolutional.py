"""Kernels of images, of convolutional networks of infinite width."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator

from .._sklearn import Interval, StrOptions
from .._tables import DEVICES, outer_placement_of, to_host
from ._pixel_loops import GpuLoops, HostLoops

# as much work as a row of a kernel machine, when threads are worth their while
_PIXELS_PER_ROW = 500
# the axes of rows and columns, as in _jit/_patches.py
_OWN, _THEIRS = (1, 3), (2, 4)


class CNTK(BaseEstimator):
    """Neural tangent kernel of a convolutional network of infinite width.

    The network has `depth` layers, each a convolution without bias and an activation,
    and a readout. Its kernel compares patches of two images, then patches of patches:
    the covariances of pixels are averaged over windows, and pass the activation.

    Parameters
    ----------
    depth : int, default=3
        Number of convolutions, each followed by the activation.
    filter_size : int, default=3
        Height and width of the filters.
    padding : {"same", "valid", "circular"}, default="same"
        What is beyond the border: zeros, nothing (the image shrinks by each layer) or
        the image itself from the other side.
    readout : {"flatten", "mean"}, default="flatten"
        "flatten" has a weight for each pixel, and compares pixels of equal position;
        "mean" averages over the image before, and compares all pixels with all:
        it costs the number of pixels times as much.
    activation : {"relu"}, default="relu"
        The activation, scaled so that it keeps the variance.
    stride : int, default=1
        The step of the filters.
    nngp : bool, default=False
        Whether to return the kernel of the Gaussian process that the network is at
        initialisation, in place of the tangent kernel.
    device : {"cpu", "cuda", None}, default=None
        Where to compute: ``"cuda"`` on a GPU, by CuPy. None follows arrays of CuPy;
        the kernel matrix is such an array for such images.

    References
    ----------
    S. Arora, S. S. Du, W. Hu, Z. Li, R. Salakhutdinov and R. Wang, "On exact
    computation with an infinitely wide neural net", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.kernels import CNTK
    >>> images = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    >>> K = CNTK(depth=2).kernel(images)
    >>> K.shape
    (4, 4)
    >>> bool(np.linalg.eigvalsh(K)[0] > 0)
    True
    """

    _parameter_constraints = {
        "depth": [Interval(Integral, 1, None, closed="left")],
        "filter_size": [Interval(Integral, 1, None, closed="left")],
        "padding": [StrOptions({"same", "valid", "circular"})],
        "readout": [StrOptions({"flatten", "mean"})],
        "activation": [StrOptions({"relu"})],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "nngp": ["boolean"],
        "device": [StrOptions(set(DEVICES)), None],
    }

    def __init__(
        self,
        depth=3,
        filter_size=3,
        padding="same",
        readout="flatten",
        activation="relu",
        stride=1,
        nngp=False,
        device=None,
    ):
        self.depth = depth
        self.filter_size = filter_size
        self.padding = padding
        self.readout = readout
        self.activation = activation
        self.stride = stride
        self.nngp = nngp
        self.device = device

    def kernel(self, I, J=None):  # noqa: E741
        """Return the kernel matrix between two sets of images.

        Parameters
        ----------
        I : array-like of shape (n_I, height, width, channels)
            Images.
        J : array-like of shape (n_J, height, width, channels), default=None
            Images of the same size; None takes those of `I`.

        Returns
        -------
        ndarray of shape (n_I, n_J)
            In float32 where both `I` and `J` are, in float64 otherwise.
        """
        self._validate_params()
        placement = outer_placement_of(self.device, I)
        left, dtype = _check_images(to_host(I), "I")
        right, same = left, J is None
        if not same:
            right, other = _check_images(to_host(J), "J")
            dtype = np.promote_types(dtype, other)
            _check_alike(left, right)
        out = self._kernel(left, right, same, placement)
        return placement.to_caller(out.astype(dtype, copy=False))

    def _kernel(self, left, right, same, placement):
        """Return the kernel of checked images, as NumPy."""
        backend = placement.backend
        left, right = backend.asarray(left), backend.asarray(right)
        loops = GpuLoops(backend, left) if placement.on_gpu else HostLoops()
        layers = self._layers(left.shape[1:3])
        a, c = (self._variances(images, layers, loops) for images in (left, right))
        out = np.empty((len(left), len(right)))

        def fill(i, start, stop):
            part = slice(start, stop)
            others = right[part], [variance[part] for variance in c]
            own = left[i], [variance[i] for variance in a]
            out[i, part] = backend.to_numpy(self._row(own, others, layers, loops))

        pixels = left[0, ..., 0].size ** (2 if self.readout == "mean" else 1)
        size = max(loops.most // pixels, 1)
        tasks = [
            (i, start, min(start + size, len(right)))
            for i in range(len(left))
            for start in range(i if same else 0, len(right), size)
        ]
        work = out.size * pixels * self.depth // _PIXELS_PER_ROW
        loops.run(fill, tasks, work)
        backend.release()
        return np.triu(out) + np.triu(out, 1).T if same else out

    def _layers(self, shape):
        """Return, per layer, which rows and which columns its windows read."""
        layers = []
        for layer in range(self.depth):
            if self.padding == "valid" and min(shape) < self.filter_size:
                raise ValueError(
                    f"The images are too small: layer {layer + 1} of {self.depth} gets "
                    f"{shape[0]} x {shape[1]} pixels, fewer than its filters have "
                    f"({self.filter_size} x {self.filter_size}). Lower depth, "
                    'filter_size or stride, or choose padding="same".'
                )
            taps = tuple(
                _taps(n, self.filter_size, self.stride, self.padding) for n in shape
            )
            layers.append(taps)
            shape = tuple(map(len, taps))
        return layers

    def _variances(self, images, layers, loops):
        """Return the variance of each pixel that enters a layer, and of the result."""
        variances = [np.mean(np.square(images), axis=3)]
        for taps in layers:
            square = _add_zero(variances[-1][:, :, None, :, None], _OWN)
            square = loops.convolve(square, taps, pairs=False)
            variances.append(square[:, :, 0, :, 0])  # the activation keeps it
        return variances

    def _row(self, own, others, layers, loops):
        """Return the kernel of one image with some others."""
        pairs = self.readout == "mean"
        theirs = _THEIRS if pairs else _OWN
        gap = _pixel_gaps(own[0], others[0], pairs)
        tangent = np.zeros_like(gap)
        a, c = _spread(own[1][0], others[1][0], pairs)
        for taps, *variances in zip(layers, own[1][1:], others[1][1:], strict=True):
            wide = (_add_zero(a, _OWN) + _add_zero(c, theirs)) / 2
            wide[tuple(map(slice, gap.shape))] = gap
            gap = loops.convolve(wide, taps, pairs)
            tangent = _add_zero(tangent, {*_OWN, *theirs})
            tangent = loops.convolve(tangent, taps, pairs)
            a, c = _spread(*variances, pairs)
            loops.relu(gap, tangent, a, c, pairs)
        covariance = _mean((a + c) / 2) - _mean(gap)
        return covariance if self.nngp else covariance + _mean(tangent)


def _check_images(images, name):
    """Return images in float64, and the precision of what is computed from them."""
    images = np.asarray(images)
    if np.iscomplexobj(images):
        raise ValueError(f"{name} is complex; pass real images, such as its modulus.")
    dtype = np.float32 if images.dtype == np.float32 else np.float64
    images = images.astype(np.float64, copy=False)
    if images.ndim != 4:
        raise ValueError(
            f"{name} must have shape (n, height, width, channels), got {images.shape}. "
            "Reshape it; images of one channel have a last axis of length 1."
        )
    if not images.size:
        raise ValueError(f"{name} is empty: its shape is {images.shape}.")
    if not np.isfinite(images).all():
        raise ValueError(f"{name} contains NaN or infinity; fill them in first.")
    return images, dtype


def _check_alike(left, right):
    """Raise ValueError unless all images have the same size."""
    if left.shape[1:] != right.shape[1:]:
        raise ValueError(
            f"The images of I and J must have one size and number of channels; they "
            f"have {left.shape[1:]} and {right.shape[1:]}."
        )


def _taps(n, size, stride, padding):
    """Return what each window along an axis of length n reads; n is a zero."""
    if padding == "valid":
        count, first = (n - size) // stride + 1, 0
    else:
        count = -(-n // stride)
        first = -(max((count - 1) * stride + size - n, 0) // 2)
    taps = first + stride * np.arange(count)[:, None] + np.arange(size)
    if padding == "circular":
        return taps % n
    return np.where((taps >= 0) & (taps < n), taps, n)


def _pixel_gaps(image, others, pairs):
    """Return half the mean square difference of pixels, which loses no digits."""
    if pairs:
        image = image[None, :, None, :, None, :]
        others = others[:, None, :, None, :, :]
    else:
        image = image[None, :, None, :, None, :]
        others = others[:, :, None, :, None, :]
    total = 0.0
    for channel in range(image.shape[-1]):
        total = total + np.square(image[..., channel] - others[..., channel])
    return total / (2 * image.shape[-1])


def _spread(a, c, pairs):
    """Return variances of one image and of others, to be broadcast over pixels."""
    a = a[None, :, None, :, None]
    return a, c[:, None, :, None, :] if pairs else c[:, :, None, :, None]


def _add_zero(x, axes):
    """Return an array with one more pixel along some axes, which is zero."""
    return np.pad(x, [(0, axis in axes) for axis in range(x.ndim)])


def _mean(x):
    """Return the mean over pixels."""
    return x.mean(axis=(1, 2, 3, 4))
