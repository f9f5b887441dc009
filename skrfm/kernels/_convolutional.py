"""Kernels of images: convolutional networks of infinite width."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator

from .._backend import Array
from .._sklearn import Interval, StrOptions
from .._tables import DEVICES, outer_placement_of, to_host
from ._pixel_loops import GpuLoops, HostLoops
from ._windows import window_taps

# Pixels and layers that count as one row in the decision about threads, which is made
# for numbers of rows.
_PIXELS_PER_ROW = 500
# Axes of the rows and columns of pixels of the images I and J, as in _jit/_patches.py.
_AXES_I, _AXES_J = (1, 3), (2, 4)


@dataclass(kw_only=True)
class _Images:
    """Images, or one image, with the variances of their pixels.

    Attributes
    ----------
    pixels : array of shape (n, height, width, channels) or (height, width, channels)
    variances : list of arrays of shape (n, height, width) or (height, width)
        Variances of the inputs, and of the windows of each layer.
    """

    pixels: Array
    variances: list[Array]

    def __getitem__(self, index):
        return _Images(
            pixels=self.pixels[index], variances=[v[index] for v in self.variances]
        )


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
        What windows read beyond the border: zeros, nothing (each layer makes the image
        smaller) or the opposite side of the image.
    readout : {"flatten", "mean"}, default="flatten"
        "flatten" has a weight for each pixel, and compares pixels of equal position.
        "mean" averages over the image first, and compares all pairs of pixels, which
        multiplies the time by the number of pixels.
    activation : {"relu"}, default="relu"
        The activation, scaled to keep the variance.
    stride : int, default=1
        Step of the filters, in pixels.
    nngp : bool, default=False
        Whether to return the kernel of the Gaussian process that the network is at
        initialisation, in place of the tangent kernel.
    device : {"cpu", "cuda", None}, default=None
        Device of the computation: ``"cuda"`` is a GPU, by CuPy. None follows the
        images: arrays of CuPy are computed on the GPU. The kernel matrix of images in
        arrays of CuPy is such an array.

    References
    ----------
    S. Arora, S. S. Du, W. Hu, Z. Li, R. Salakhutdinov and R. Wang, "On exact
    computation with an infinitely wide neural net", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.kernels import CNTK
    >>> images = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    >>> CNTK(depth=2).kernel(images[:3]).round(3)
    array([[2.065, 0.529, 0.519],
           [0.529, 2.496, 0.672],
           [0.519, 0.672, 2.224]])
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
        *,
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

    def kernel(self, I: Array, J: Array = None) -> Array:  # noqa: E741
        """Return the kernel matrix between two sets of images.

        Parameters
        ----------
        I : array-like of shape (n_I, height, width, channels)
            Images.
        J : array-like of shape (n_J, height, width, channels), default=None
            Images of the same size; None compares `I` with itself.

        Returns
        -------
        ndarray of shape (n_I, n_J)
            In float32 where both `I` and `J` are, in float64 otherwise.
        """
        self._validate_params()
        placement = outer_placement_of(self.device, I)
        left, dtype = _check_images(to_host(I), "I")
        right, symmetric = left, J is None
        if not symmetric:
            right, other = _check_images(to_host(J), "J")
            dtype = np.promote_types(dtype, other)
            _check_same_size(left, right)
        out = self._kernel(left, right, symmetric, placement)
        return placement.to_caller(out.astype(dtype, copy=False))

    def _kernel(self, left, right, symmetric, placement):
        """Return the kernel of checked images, as NumPy."""
        backend = placement.backend
        left, right = backend.asarray(left), backend.asarray(right)
        loops = GpuLoops(backend, left) if placement.on_gpu else HostLoops()
        layers = self._layers(left.shape[1:3])
        left = self._with_variances(left, layers, loops)
        right = self._with_variances(right, layers, loops)
        n_left, n_right = len(left.pixels), len(right.pixels)
        out = np.empty((n_left, n_right))

        def fill(i, start, stop):
            row = self._row(left[i], right[start:stop], layers, loops)
            out[i, start:stop] = backend.to_numpy(row)

        pixels = left.pixels[0, ..., 0].size ** (2 if self.readout == "mean" else 1)
        size = max(loops.max_elements // pixels, 1)
        tasks = [
            (i, start, min(start + size, n_right))
            for i in range(n_left)
            for start in range(i if symmetric else 0, n_right, size)
        ]
        work = out.size * pixels * self.depth // _PIXELS_PER_ROW
        loops.run(fill, tasks, work)
        backend.release()
        return np.triu(out) + np.triu(out, 1).T if symmetric else out

    def _layers(self, shape):
        """Return the taps of each layer: the rows and the columns its windows read.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the images.

        Returns
        -------
        list of (ndarray of shape (n_rows, size), ndarray of shape (n_columns, size))
        """
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
                window_taps(n, self.filter_size, self.stride, self.padding)
                for n in shape
            )
            layers.append(taps)
            shape = tuple(map(len, taps))
        return layers

    def _with_variances(self, images, layers, loops):
        """Return images with the variance of each pixel before and in each layer."""
        variances = [np.mean(np.square(images), axis=3)]
        for taps in layers:
            # an activation keeps the variance, so only the windows change it
            square = _pad_zero(variances[-1][:, :, None, :, None], _AXES_I)
            square = loops.convolve(square, taps, all_pairs=False)
            variances.append(square[:, :, 0, :, 0])
        return _Images(pixels=images, variances=variances)

    def _row(self, image, others, layers, loops):
        """Return the kernel of one image with some others."""
        all_pairs = self.readout == "mean"
        axes_J = _AXES_J if all_pairs else _AXES_I
        gap = _pixel_gaps(image.pixels, others.pixels, all_pairs)
        tangent = np.zeros_like(gap)
        a, c = _broadcast(image.variances[0], others.variances[0], all_pairs)
        for number, taps in enumerate(layers, start=1):
            padded = _pad_zero(gap, {*_AXES_I, *axes_J})
            if all_pairs:  # pixels are compared with zeros beyond the border, too
                padded = (_pad_zero(a, _AXES_I) + _pad_zero(c, axes_J)) / 2
                padded[tuple(map(slice, gap.shape))] = gap
            gap = loops.convolve(padded, taps, all_pairs)
            tangent = _pad_zero(tangent, {*_AXES_I, *axes_J})
            tangent = loops.convolve(tangent, taps, all_pairs)
            a, c = _broadcast(
                image.variances[number], others.variances[number], all_pairs
            )
            loops.relu(gap, tangent, a=a, c=c, all_pairs=all_pairs)
        covariance = _mean((a + c) / 2) - _mean(gap)
        return covariance if self.nngp else covariance + _mean(tangent)


def _check_images(images, name):
    """Return images in float64, and the dtype of their kernel."""
    images = np.asarray(images)
    if np.iscomplexobj(images):
        raise ValueError(f"{name} is complex; pass real images, such as the modulus.")
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
        raise ValueError(
            f"{name} contains NaN or infinity; fill in these pixels first."
        )
    return images, dtype


def _check_same_size(left, right):
    """Raise ValueError unless all images have the same size and channels."""
    if left.shape[1:] != right.shape[1:]:
        raise ValueError(
            f"The images of I and J must have one size and number of channels; they "
            f"have {left.shape[1:]} and {right.shape[1:]}."
        )


def _pixel_gaps(image, others, all_pairs):
    """Return half the mean square difference of pixels, over the channels.

    It keeps the digits of nearly equal pixels, which covariances lose.
    """
    if all_pairs:
        image = image[None, :, None, :, None, :]
        others = others[:, None, :, None, :, :]
    else:
        image = image[None, :, None, :, None, :]
        others = others[:, :, None, :, None, :]
    total = 0.0
    for channel in range(image.shape[-1]):
        total = total + np.square(image[..., channel] - others[..., channel])
    return total / (2 * image.shape[-1])


def _broadcast(a, c, all_pairs):
    """Return the variances of one image and of others, ready to broadcast."""
    a = a[None, :, None, :, None]
    return a, c[:, None, :, None, :] if all_pairs else c[:, :, None, :, None]


def _pad_zero(x, axes):
    """Return an array with one more index along some axes, of zeros."""
    shape = [size + (axis in axes) for axis, size in enumerate(x.shape)]
    # the compiled loops take rows that are contiguous, whatever the order of the images
    padded = np.zeros_like(x, shape=tuple(shape), order="C")
    padded[tuple(map(slice, x.shape))] = x
    return padded


def _mean(x):
    """Return the mean over pixels."""
    return x.mean(axis=(1, 2, 3, 4))
