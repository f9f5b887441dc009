"""CNTKInpainter: the missing pixels of an image, by a neural tangent kernel."""

import warnings
from itertools import product
from numbers import Integral, Real

import numpy as np
from scipy.ndimage import binary_opening
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..._sklearn import Interval, StrOptions, restored_on_error
from ..._tables import DEVICES, outer_placement_of, to_host
from ._gaps import fill_by_cholesky, fill_by_iterations
from ._image_kernel import torus_kernel

_UPSAMPLING = ("bilinear", "nearest")
# what "auto" tries
_TANGENT = (0.0, 1e-3, 0.03, 1.0)
# missing pixels in squares of that size are a hole, not single ones
_HOLE = 9
# the share of observed pixels that may be hidden to choose a kernel
_LEAST_HIDDEN, _MOST_HIDDEN = 0.02, 0.5
_SHIFTS = 10
# as exact as predictions that are compared need to be, where iterations take time
_ROUGH_TOL, _MANY_PIXELS = 1e-3, 10_000
_RANGE = np.nanmin, np.nanmax


class CNTKInpainter(TransformerMixin, BaseEstimator):
    """Fills in the missing pixels of an image by a convolutional neural tangent kernel.

    A convolutional network of infinite width that samples noise down and up again, and
    is trained on the observed pixels alone, predicts the others as kernel regression
    does. The kernel tells how alike pixels are by where they are. It does not depend
    on the image, so it is computed once; nothing is trained but a linear system.

    Unlike in the paper the kernel is averaged over the places where the grid of the
    coarsest pixels may begin, which leaves no trace of the grid, and makes it a
    function of the offset of two pixels. So the system is solved by fast Fourier
    transforms.

    Parameters
    ----------
    n_levels : int, default=4
        How often the network halves the size of the image, and doubles it again. Pixels
        nearer than 2^n_levels to an observed one are told well.
    n_layers : int, default=1
        Number of convolutions, each followed by a ReLU, at each size.
    filter_size : int, default=3
        Height and width of the filters.
    upsampling : {"auto", "bilinear", "nearest"}, default="auto"
        How the size is doubled. "bilinear" gives smooth images, "nearest" rough ones.
        "auto" adds up the predictions of both, with weights that fit observed pixels
        which are hidden.
    tangent : float or "auto", default="auto"
        The share of the tangent kernel, which trains all layers, as in the paper; the
        rest is that of the last layer alone, which gives smoother images. Between 0
        and 1; "auto" adds up the predictions of several, as `upsampling` does.
    alpha : float, default=1e-8
        The ridge, relative to the variance of a pixel.
    max_dense : int, default=500
        Up to so many observed pixels the system is solved by a Cholesky factorisation,
        beyond by conjugate gradients.
    tol : float, default=1e-4
        Conjugate gradients end where the residual is below this share of what it is at
        their start.
    max_iter : int, default=2000
        The most iterations.
    clip : bool, default=True
        Whether predictions are kept within the range of the observed pixels.
    device : {"cpu", "cuda", None}, default=None
        Where systems are solved: ``"cuda"`` on a GPU, by CuPy. None follows arrays of
        CuPy; results are such arrays for such input.
    random_state : int, RandomState instance or None, default=None
        Determines which observed pixels "auto" hides to choose by.

    Attributes
    ----------
    weights_ : dict
        The weights of the predictions that are added up, by (upsampling, tangent).
    validation_scores_ : dict
        R² on the hidden pixels of each of them; empty where both are given.

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import CNTKInpainter
    >>> x, y = np.meshgrid(*2 * [np.linspace(0, 3, 40)])
    >>> image = np.sin(x) * np.cos(y**2)
    >>> missing = np.random.default_rng(0).random(image.shape) < 0.7
    >>> inpainter = CNTKInpainter(n_levels=3, random_state=0)
    >>> filled = inpainter.fit_transform(np.where(missing, np.nan, image))
    >>> bool(np.sqrt(np.mean((filled - image) ** 2)) < 0.01)
    True
    """

    _parameter_constraints = {
        "n_levels": [Interval(Integral, 1, 6, closed="both")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "filter_size": [Interval(Integral, 1, None, closed="left")],
        "upsampling": [StrOptions({"auto", *_UPSAMPLING})],
        "tangent": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "max_dense": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "clip": ["boolean"],
        "device": [StrOptions(set(DEVICES)), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        n_levels=4,
        n_layers=1,
        filter_size=3,
        upsampling="auto",
        tangent="auto",
        alpha=1e-8,
        max_dense=500,
        tol=1e-4,
        max_iter=2000,
        clip=True,
        device=None,
        random_state=None,
    ):
        self.n_levels = n_levels
        self.n_layers = n_layers
        self.filter_size = filter_size
        self.upsampling = upsampling
        self.tangent = tangent
        self.alpha = alpha
        self.max_dense = max_dense
        self.tol = tol
        self.max_iter = max_iter
        self.clip = clip
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Weigh the kernels by observed pixels that are hidden.

        Parameters
        ----------
        X : array-like of shape (height, width) or (height, width, channels)
            An image, with NaN where pixels are missing. Channels may miss different
            pixels.
        y : None
            Ignored; there for pipelines.

        Returns
        -------
        self : object
            The fitted inpainter.
        """
        with restored_on_error(self):
            backend = outer_placement_of(self.device, X).backend
            image = check_image(to_host(X))
            choices = self._choices()
            if len(choices) == 1:
                self.weights_, self.validation_scores_ = {choices[0]: 1.0}, {}
            else:
                self._compare(image, choices, backend)
            backend.release()
        return self

    def _choices(self):
        """Return the pairs (upsampling, tangent) to compare."""
        upsampling = _UPSAMPLING if self.upsampling == "auto" else (self.upsampling,)
        tangent = _TANGENT if self.tangent == "auto" else (float(self.tangent),)
        return list(product(upsampling, tangent))

    def _compare(self, image, choices, backend):
        """Weigh the predictions of all choices, on pixels that are hidden."""
        random_state = check_random_state(self.random_state)
        hidden = hidden_pixels(~np.isnan(image), random_state)
        partial = np.where(hidden, np.nan, image)
        centre = np.broadcast_to(_means(partial), image.shape)[hidden]
        y = image[hidden] - centre
        many = np.sum(~np.isnan(image[:, :, 0])) >= _MANY_PIXELS
        tol = max(self.tol, _ROUGH_TOL) if many else self.tol
        found = [
            self._fill(partial, choice, tol, backend)[0][hidden] - centre
            for choice in choices
        ]
        weights = nnls(np.column_stack(found), y)[0]
        if not weights.any():
            weights[-1] = 1
        self.weights_ = {
            choice: float(weight)
            for choice, weight in zip(choices, weights, strict=True)
            if weight > 0
        }
        total = max(np.sum(y**2), np.finfo(float).tiny)
        self.validation_scores_ = {
            choice: float(1 - np.sum((y - part) ** 2) / total)
            for choice, part in zip(choices, found, strict=True)
        }

    def transform(self, X):
        """Fill in the missing pixels of an image.

        Parameters
        ----------
        X : array-like of shape (height, width) or (height, width, channels)
            The image of `fit` or another one, with NaN where pixels are missing.

        Returns
        -------
        ndarray of the shape of X
            The observed pixels as they are, and predictions of the others.
        """
        check_is_fitted(self)
        placement, X = outer_placement_of(self.device, X), to_host(X)
        image = check_image(X)
        observed = ~np.isnan(image)
        means = _means(image)
        total, ended = np.zeros_like(image), True
        for choice, weight in self.weights_.items():
            filled, converged = self._fill(image, choice, self.tol, placement.backend)
            total += weight * (filled - means)
            ended &= converged
        total += means
        if self.clip:
            total = np.clip(total, *(f(image, axis=(0, 1)) for f in _RANGE))
        total[observed] = image[observed]
        if not ended:
            warnings.warn(
                f"The iterations did not converge within max_iter={self.max_iter}. "
                "Increase max_iter, tol or alpha.",
                ConvergenceWarning,
                stacklevel=3,  # past the wrapper of set_output
            )
        total = total.reshape(np.shape(X)).astype(_dtype(X), copy=False)
        return placement.to_caller(total)

    def _fill(self, image, choice, tol, backend):
        """Return an image of three axes without gaps, and whether iterations ended."""
        upsampling, tangent = choice
        sizes = self.n_levels, self.n_layers, self.filter_size
        nngp, ntk = torus_kernel(image.shape[:2], *sizes, upsampling)
        kernel = (1 - tangent) * nngp + tangent * ntk
        filled, ended = image.copy(), True
        for mask, channels in equal_masks(~np.isnan(image)):
            part = image[:, :, channels]
            mean = part[mask].mean(axis=0)
            given = part[mask] - mean, mask, kernel
            found, converged = self._solve(*given, tol, backend)
            part[~mask] = found + mean
            filled[:, :, channels] = part
            ended &= converged
        return filled, ended

    def _solve(self, values, mask, kernel, tol, backend):
        """Return predictions at the missing pixels, and whether iterations ended."""
        if mask.all():
            return np.zeros((0, values.shape[1])), True
        if len(values) <= self.max_dense:
            return fill_by_cholesky(values, mask, kernel, self.alpha, backend), True
        options = self.alpha, tol, self.max_iter
        return fill_by_iterations(values, mask, kernel, *options, backend)


def check_image(X):
    """Return an image in float64, with an axis of channels."""
    X = np.asarray(X)
    if np.iscomplexobj(X):
        raise ValueError("X is complex; pass its real and imaginary part as channels.")
    X = X.astype(np.float64)
    if X.ndim not in (2, 3):
        raise ValueError(
            f"X must be one image, of shape (height, width) or (height, width, "
            f"channels), got {X.shape}. Call fit_transform on each image of several."
        )
    if not X.size:
        raise ValueError(f"X is empty: its shape is {X.shape}.")
    if np.isinf(X).any():
        raise ValueError("X contains infinity. Put NaN where pixels are missing.")
    image = X.reshape(*X.shape[:2], -1)
    missing = np.isnan(image).all(axis=(0, 1))
    if missing.any():
        which = f"channel {np.argmax(missing)} of X" if X.ndim == 3 else "X"
        raise ValueError(
            f"All pixels of {which} are missing. Pass an image with observed pixels, "
            "or leave the channel out."
        )
    return image


def _dtype(X):
    """Return the precision of what is made of X."""
    dtype = getattr(X, "dtype", None)
    return np.float32 if dtype == np.float32 else np.float64


def _means(image):
    """Return the mean of the observed pixels of each channel."""
    return np.nanmean(image, axis=(0, 1))


def equal_masks(observed):
    """Yield masks and the channels that have them."""
    channels = np.moveaxis(observed, -1, 0)
    masks, which = np.unique(channels, axis=0, return_inverse=True)
    for index, mask in enumerate(masks):
        yield mask, np.flatnonzero(which.ravel() == index)


def hidden_pixels(observed, random_state):
    """Return which observed pixels to hide, so that a kernel can be chosen by them.

    A tenth of them; or where the missing ones are mostly holes, the same holes in
    another place.
    """
    hidden = np.zeros_like(observed)
    for mask, channels in equal_masks(observed):
        chosen = _moved_holes(mask, random_state)
        if chosen is None:
            chosen = mask & (random_state.random_sample(mask.shape) < 0.1)
        if chosen.sum() < mask.sum():
            hidden[:, :, channels] = chosen[:, :, None]
    return hidden


def _moved_holes(mask, random_state):
    """Return observed pixels where holes would be after a shift, if there are any."""
    holes = binary_opening(~mask, np.ones((_HOLE, _HOLE)))
    if 2 * holes.sum() <= np.sum(~mask):
        return None
    for _ in range(_SHIFTS):
        shift = tuple(random_state.randint(size) for size in mask.shape)
        chosen = np.roll(~mask, shift, axis=(0, 1)) & mask
        if _LEAST_HIDDEN * mask.sum() <= chosen.sum() <= _MOST_HIDDEN * mask.sum():
            return chosen
    return None
