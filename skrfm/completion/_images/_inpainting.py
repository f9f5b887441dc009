"""CNTKInpainter: the missing pixels of an image, by a neural tangent kernel."""

from itertools import product
from numbers import Integral, Real
from typing import Self

import numpy as np
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..._backend import Array, Backend, FloatArray, Vector
from ..._sklearn import Interval, StrOptions, restored_on_error, warn
from ..._tables import DEVICES, outer_placement_of, read_numbers, to_host
from ._image_kernel import torus_kernel
from ._masks import equal_masks, hidden_pixels
from ._missing_pixels import fill_by_cholesky, fill_by_iterations

_UPSAMPLING = ("bilinear", "nearest")
# shares of the tangent kernel that "auto" combines, chosen on crops of six of the
# images in benchmarks/inpainting.py
_TANGENT = (0.0, 1e-3, 0.03, 1.0)
# for images of many pixels, where iterations take long, predictions that are only
# compared are solved to a coarser tolerance
_COMPARISON_TOL, _MANY_PIXELS = 1e-3, 10_000


class CNTKInpainter(TransformerMixin, BaseEstimator):
    """Fill in the missing pixels of an image by a convolutional neural tangent kernel.

    A convolutional network of infinite width that downsamples and upsamples an input of
    noise, trained on the observed pixels of the image alone, predicts the missing
    pixels exactly as kernel regression does. The kernel of two pixels depends on their
    positions and not on the image, so it is computed once, and training amounts to the
    solution of a linear system.

    Unlike in the paper, the kernel is averaged over all positions where the grid of the
    coarsest pixels may begin. Predictions then show no trace of the grid, and the
    kernel is a function of the offset between two pixels, so that the system is solved
    by fast Fourier transforms.

    Parameters
    ----------
    n_levels : int, default=4
        How often the network halves the size of the image, and doubles it again. Pixels
        within 2^n_levels of an observed one are predicted well.
    n_layers : int, default=1
        Number of convolutions, each followed by a ReLU, at each size.
    filter_size : int, default=3
        Height and width of the filters.
    upsampling : {"auto", "bilinear", "nearest"}, default="auto"
        How the size is doubled. "bilinear" gives smooth images, "nearest" rough ones.
        "auto" is a weighted sum of both predictions, with weights fitted to observed
        pixels that are hidden.
    tangent : float or "auto", default="auto"
        Share of the tangent kernel, which corresponds to training all layers, as in the
        paper; the remainder is the kernel of training the last layer only, which gives
        smoother images. Between 0 and 1; "auto" is a weighted sum of the predictions
        with several shares, as for `upsampling`.
    alpha : float, default=1e-8
        The ridge, relative to the variance of a pixel.
    max_dense : int, default=500
        Up to this number of observed pixels the system is solved by a Cholesky
        factorisation, beyond it by conjugate gradients.
    tol : float, default=1e-4
        Tolerance of conjugate gradients, which stop when the norm of the residual is
        below `tol` times its first value.
    max_iter : int, default=2000
        Maximum number of iterations of conjugate gradients.
    clip : bool, default=True
        Whether to clip predictions to the range of the observed pixels.
    device : {"cpu", "cuda", None}, default=None
        Where linear systems are solved: ``"cuda"`` uses a GPU through CuPy. None
        follows the input: arrays of CuPy are processed on the GPU, and results are
        arrays of CuPy.
    random_state : int, RandomState instance or None, default=None
        Determines the observed pixels that "auto" hides.

    Attributes
    ----------
    weights_ : dict
        Weights of the predictions that are summed, by (upsampling, tangent).
    validation_scores_ : dict
        R² of each candidate on the hidden pixels, by (upsampling, tangent); empty if
        neither parameter is "auto".

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    Of an image with values between -1 and 1, 70 % of the pixels are missing:

    >>> import numpy as np
    >>> from skrfm import CNTKInpainter
    >>> x, y = np.meshgrid(*2 * [np.linspace(0, 3, 40)])
    >>> image = np.sin(x) * np.cos(y**2)
    >>> missing = np.random.default_rng(0).random(image.shape) < 0.7
    >>> inpainter = CNTKInpainter(n_levels=3, random_state=0)
    >>> filled = inpainter.fit_transform(np.where(missing, np.nan, image))
    >>> float(np.sqrt(np.mean((filled - image)[missing] ** 2)))
    0.005
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
    def fit(self, X: Vector, y: None = None) -> Self:
        """Weight the candidate kernels by their predictions of hidden pixels.

        Parameters
        ----------
        X : array-like of shape (height, width) or (height, width, channels)
            An image, with NaN where pixels are missing. Different pixels may be missing
            in different channels.
        y : None
            Ignored; present for compatibility with pipelines.

        Returns
        -------
        self : object
            The fitted inpainter.
        """
        with restored_on_error(self):
            backend = outer_placement_of(self.device, X).backend
            image = check_image(to_host(X))
            candidates = self._candidates()
            if len(candidates) == 1:
                self.weights_, self.validation_scores_ = {candidates[0]: 1.0}, {}
            else:
                self._compare(image, candidates, backend)
            backend.release()
        return self

    def _candidates(self) -> list[tuple[str, float]]:
        """Return the pairs (upsampling, tangent) to compare."""
        upsampling = _UPSAMPLING if self.upsampling == "auto" else (self.upsampling,)
        tangent = _TANGENT if self.tangent == "auto" else (float(self.tangent),)
        return list(product(upsampling, tangent))

    def _compare(
        self, image: FloatArray, candidates: list[tuple[str, float]], backend: Backend
    ) -> None:
        """Set the weights and the scores of all candidates, from hidden pixels."""
        random_state = check_random_state(self.random_state)
        hidden = hidden_pixels(~np.isnan(image), random_state)
        partial = np.where(hidden, np.nan, image)
        means = np.broadcast_to(_means(partial), image.shape)[hidden]
        y = image[hidden] - means
        n_observed = np.sum(~np.isnan(image[:, :, 0]))
        tol = self.tol
        if n_observed >= _MANY_PIXELS:
            tol = max(self.tol, _COMPARISON_TOL)
        predicted = []
        for upsampling, tangent in candidates:
            filled, _ = self._fill(
                partial, upsampling, tangent, tol=tol, backend=backend
            )
            predicted.append(filled[hidden] - means)
        weights = _nonnegative_weights(np.column_stack(predicted), y)
        self.weights_ = {
            candidate: float(weight)
            for candidate, weight in zip(candidates, weights, strict=True)
            if weight > 0
        }
        total = max(np.sum(y**2), np.finfo(float).tiny)
        self.validation_scores_ = {
            candidate: float(1 - np.sum((y - values) ** 2) / total)
            for candidate, values in zip(candidates, predicted, strict=True)
        }

    def transform(self, X: Vector) -> Array:
        """Fill in the missing pixels of an image.

        Parameters
        ----------
        X : array-like of shape (height, width) or (height, width, channels)
            The image of `fit` or another one, with NaN where pixels are missing.

        Returns
        -------
        ndarray of the shape of X
            The image with observed pixels unchanged and missing pixels predicted.
        """
        check_is_fitted(self)
        placement, X = outer_placement_of(self.device, X), to_host(X)
        image = check_image(X)
        observed, means = ~np.isnan(image), _means(image)
        total, all_converged = np.zeros_like(image), True
        for (upsampling, tangent), weight in self.weights_.items():
            filled, converged = self._fill(
                image, upsampling, tangent, tol=self.tol, backend=placement.backend
            )
            total += weight * (filled - means)
            all_converged &= converged
        total += means
        if self.clip:
            lowest, highest = (
                np.nanmin(image, axis=(0, 1)),
                np.nanmax(image, axis=(0, 1)),
            )
            total = np.clip(total, lowest, highest)
        total[observed] = image[observed]
        if not all_converged:
            warn(
                f"The iterations did not converge within max_iter={self.max_iter}. "
                "Increase max_iter, tol or alpha.",
                ConvergenceWarning,
            )
        total = total.reshape(np.shape(X)).astype(_dtype(X), copy=False)
        return placement.to_caller(total)

    def _fill(
        self,
        image: FloatArray,
        upsampling: str,
        tangent: float,
        *,
        tol: float,
        backend: Backend,
    ) -> tuple[FloatArray, bool]:
        """Return the completed image of one kernel, and whether iterations converged.

        Both images have shape (height, width, channels).
        """
        nngp, ntk = torus_kernel(
            image.shape[:2],
            n_levels=self.n_levels,
            n_layers=self.n_layers,
            filter_size=self.filter_size,
            upsampling=upsampling,
        )
        kernel = (1 - tangent) * nngp + tangent * ntk
        filled, all_converged = image.copy(), True
        for mask, channels in equal_masks(~np.isnan(image)):
            part = image[:, :, channels]
            mean = part[mask].mean(axis=0)
            predicted, converged = self._solve(
                part[mask] - mean, mask, kernel, tol=tol, backend=backend
            )
            part[~mask] = predicted + mean
            filled[:, :, channels] = part
            all_converged &= converged
        return filled, all_converged

    def _solve(self, values, mask, kernel, *, tol, backend):
        """Return predictions of the missing pixels, and whether iterations converged.

        `values` (n_observed, n_channels) belong to the pixels where `mask` is true.
        """
        if mask.all():
            return np.zeros((0, values.shape[1])), True
        if len(values) <= self.max_dense:
            predicted = fill_by_cholesky(
                values, mask, kernel, alpha=self.alpha, backend=backend
            )
            return predicted, True
        return fill_by_iterations(
            values,
            mask,
            kernel,
            alpha=self.alpha,
            tol=tol,
            max_iter=self.max_iter,
            backend=backend,
        )


def _nonnegative_weights(predicted: FloatArray, y: FloatArray) -> FloatArray:
    """Return the weights of the columns whose sum fits y; the last one if none does."""
    weights = np.zeros(predicted.shape[1])
    if len(y) > 0:  # without rows, nnls returns uninitialised memory
        weights = nnls(predicted, y)[0]
    if not weights.any():
        weights[-1] = 1
    return weights


def check_image(X: Array) -> FloatArray:
    """Return an image in float64, of shape (height, width, channels)."""
    X = np.asarray(read_numbers(X) if hasattr(X, "columns") else X)
    if np.iscomplexobj(X):
        raise ValueError("X is complex: pass its real and imaginary parts as channels.")
    X = X.astype(np.float64)
    if X.ndim not in (2, 3):
        raise ValueError(
            f"X must be one image, of shape (height, width) or (height, width, "
            f"channels), got {X.shape}. To fill in several images, call fit_transform "
            "on each of them."
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
    """Return the dtype of results for X: float32 stays, all else is float64."""
    dtype = getattr(X, "dtype", None)
    return np.float32 if dtype == np.float32 else np.float64


def _means(image):
    """Return the mean of the observed pixels of each channel."""
    return np.nanmean(image, axis=(0, 1))
