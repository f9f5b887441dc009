"""What the convolutional RFM estimators share."""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, NumpyBackend, Table, Vector
from .._search import Calibration, RegressionCriterion
from .._sklearn import Interval, StrOptions, restored_on_error, warn_of_edge
from .._tables import (
    DEVICES,
    NumericTargets,
    outer_placement_of,
    to_host,
    validate_numbers,
    validate_weight,
    weight_unit_of,
)
from ..kernels._image_loops import HostImageLoops, image_loops
from ..kernels._patch_kernel import PatchKernel
from ._images import ImageReader, as_rows
from ._layers import ImageLayer, Options, Round, Targets, filtered, random_filters


@dataclass(frozen=True, kw_only=True)
class FittedLayers:
    """The layers of random filters, and the kernel machine on the last of them.

    Attributes
    ----------
    kernel : PatchKernel
    filters : list of ndarray of shape (n_filters, n_patch)
        The random filters of each layer but the last.
    machine : Round
        The kernel machine on the images that these filters leave.
    images : ndarray of shape (n, height, width, channels)
        The training images as the machine takes them.
    unit : float
        What pixels are divided by.
    """

    kernel: PatchKernel
    filters: list[FloatArray]
    machine: Round
    images: FloatArray
    unit: float

    def outputs(self, images, loops):
        """Return the outputs (m, c) at new images (m, height, width, channels).

        `loops` are those of the device that computes.
        """
        kernel, images = replace(self.kernel, loops=loops), images / self.unit
        for filters in self.filters:
            images = filtered(images, filters, kernel)
        components = self.machine.metric.components
        coef = self.machine.coef
        out = kernel.dot(images, self.images, components, coef)
        return out + self.machine.fit.intercept


class BaseConvRFM(BaseEstimator):
    """The recursion on the patches of images; a subclass codes the targets."""

    _parameter_constraints: dict[str, list] = {
        "image_shape": ["array-like", None],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "depth": [Interval(Integral, 1, None, closed="left")],
        "padding": [StrOptions({"same", "valid", "circular"})],
        "pool_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"global"}),
        ],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "alphas": [StrOptions({"auto"}), "array-like"],
        "fit_intercept": ["boolean"],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_filters": [Interval(Integral, 1, None, closed="left")],
        "max_agop_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "device": [StrOptions(set(DEVICES)), None],
    }

    def __init__(
        self,
        *,
        image_shape=None,
        patch_size=3,
        depth=2,
        padding="same",
        pool_size=1,
        max_iter=3,
        alphas="auto",
        fit_intercept=True,
        n_layers=1,
        n_filters=32,
        max_agop_samples=50,
        random_state=None,
        device=None,
    ):
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.depth = depth
        self.padding = padding
        self.pool_size = pool_size
        self.max_iter = max_iter
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.n_layers = n_layers
        self.n_filters = n_filters
        self.max_agop_samples = max_agop_samples
        self.random_state = random_state
        self.device = device

    # -- what a subclass defines --------------------------------------------------

    #: how leave-one-out outputs are scored
    _criterion: Any = RegressionCriterion()
    #: whether y may have several columns
    _multi_output = True

    def _fit_targets(self, y, weight):
        """Return the coding of the targets."""
        return NumericTargets.fit(y, weight, centred=self.fit_intercept)

    def _calibrate(self, outputs, targets):
        """Return the calibration of leave-one-out outputs."""
        return Calibration()

    # -- fit ----------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Table, y: Vector, sample_weight: Vector | None = None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or \
                (n_samples, n_features)
            Images, or images as rows of pixels, see `image_shape`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; a classifier takes (n_samples,) labels only.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights. Whole numbers are counts: an image of weight k is as good as k
            equal images, one of weight 0 is left out. Of other weights only the ratios
            count.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, X)
            rows, own_shape = as_rows(X)
            rows, y = validate_numbers(
                self,
                rows,
                to_host(y),
                dtype=[np.float64, np.float32],
                multi_output=self._multi_output,
                y_numeric=self._multi_output,
                ensure_min_samples=2,
            )
            reader = ImageReader.of_rows(rows, own_shape, self.image_shape)
            weight = validate_weight(sample_weight, y)
            self._fit(reader, rows, y, weight, placement)
        return self

    def _fit(self, reader, rows, y, sample_weight, placement):
        """Fit to checked rows of pixels, and set the fitted attributes."""
        coding = self._fit_targets(y, sample_weight)
        Y, weight = coding.code(y, sample_weight)
        weight = weight / weight_unit_of(weight, sample_weight)
        keep = weight > 0
        if keep.sum() < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 images of positive "
                f"sample_weight, got {keep.sum()}."
            )
        targets = Targets(Y[keep], weight[keep])
        options = self._options(reader.shape, placement)
        images = reader.images(rows[keep])
        # products of very large or very small pixels would overflow or underflow
        unit = float(2.0 ** np.floor(np.log2(np.abs(images).max() or 1.0)))
        images /= unit
        rounds, layers = self._fit_layers(images, targets, options)
        placement.backend.release()
        scores = [found.fit.score for found in rounds]
        best = rounds[int(np.argmax(scores))]
        if options.alphas is not None:
            warn_of_edge(options.alphas, -np.array(best.alpha_scores))
        self._layers = FittedLayers(
            kernel=replace(options.kernel, loops=HostImageLoops()),
            filters=layers.filters[: best.layer],
            machine=best,
            images=layers.images[best.layer],
            unit=unit,
        )
        self._reader, self._coding = reader, coding
        self._calibration = self._calibrate(best.fit.outputs, targets)
        self._set_fitted(rounds, best, reader.shape)

    def _fit_layers(self, images, targets, options):
        """Return all rounds, and the images and filters of each layer."""
        rng = check_random_state(self.random_state)
        rounds, layers = [], Layers([images], [])
        for number in range(self.n_layers):
            images = layers.images[number]
            layer = ImageLayer(images, targets, options, number)
            rounds += layer.rounds(rng)
            if number + 1 < self.n_layers:
                metric = _best_of_layer(rounds, number).metric
                n_patch = self.patch_size**2 * images.shape[3]
                filters = random_filters(metric, n_patch, self.n_filters, rng)
                layers.filters.append(filters)
                layers.images.append(filtered(images, filters, options.kernel))
        return rounds, layers

    def _set_fitted(self, rounds, best, shape):
        """Set the attributes that describe the rounds."""
        first = _best_of_layer(rounds, 0) if best.layer else best
        self.image_shape_, self.alpha_ = shape, best.fit.alpha
        self.best_layer_, self.best_iter_ = best.layer, best.iteration
        self.n_iter_ = len(rounds)
        self.history_ = {
            "layer": np.array([found.layer for found in rounds]),
            "iter": np.array([found.iteration for found in rounds]),
            "alpha": np.array([found.fit.alpha for found in rounds]),
            "seconds": np.array([found.seconds for found in rounds]),
            "score": np.array([found.fit.score for found in rounds]),
        }
        n_patch = self.patch_size**2 * shape[2]
        components = first.metric.components
        self.metric_ = np.eye(n_patch)
        if components is not None:
            self.metric_ = components.T @ components
        # the metric of round 0 has no directions, but the predictor has
        agop = first.agop.products if components is None else self.metric_
        values, vectors = eigh(agop)
        vectors = vectors.T[::-1]
        largest = np.abs(vectors).argmax(axis=1)
        # the sign of an eigenvector is arbitrary: its largest entry is made positive
        vectors = vectors * np.sign(vectors[np.arange(n_patch), largest])[:, None]
        size = self.patch_size
        self.filters_ = vectors.reshape(n_patch, size, size, shape[2])
        self.eigenvalues_ = np.maximum(values[::-1], 0) / (values[-1] or 1.0)

    def _options(self, shape, placement):
        """Return the Options of the rounds for images of a shape."""
        alphas = None
        if not isinstance(self.alphas, str):
            alphas = np.sort(np.asarray(self.alphas, dtype=np.float64).ravel())
            if not (alphas.size and np.isfinite(alphas).all() and alphas[0] > 0):
                raise ValueError(
                    f"alphas must be positive numbers, or 'auto', got {self.alphas!r}."
                )
        kernel = PatchKernel(
            depth=self.depth,
            size=self.patch_size,
            padding=self.padding,
            pool_size=self.pool_size,
            loops=image_loops(placement),
        )
        for _ in range(self.n_layers):
            shape = kernel.grids(shape)[0]
        return Options(
            kernel=kernel,
            alphas=alphas,
            fit_intercept=self.fit_intercept,
            criterion=self._criterion,
            max_iter=self.max_iter,
            max_agop_samples=self.max_agop_samples,
            backend=placement.backend,
        )

    # -- predictions ----------------------------------------------------------------

    def _outputs(self, X):
        """Return the outputs (m, c) at new images in the precision of X, as NumPy.

        With them the placement of X is returned.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        rows = validate_numbers(
            self, self._reader.rows(X), dtype=[np.float64, np.float32], reset=False
        )
        out = self._layers.outputs(self._reader.images(rows), image_loops(placement))
        placement.backend.release()
        return out.astype(rows.dtype, copy=False), placement

    def _decoded(self, X):
        """Return outputs in the units of y, without the axis of a single output."""
        outputs, placement = self._outputs(X)
        decoded = self._coding.decode(outputs, NumpyBackend())
        if self._coding.single_output:
            decoded = decoded[:, 0]
        return placement.to_caller(decoded)


@dataclass(frozen=True)
class Layers:
    """The training images of each layer, and the filters between layers."""

    images: list[FloatArray]
    filters: list[FloatArray]


def _best_of_layer(rounds, layer):
    """Return the Round of a layer with the best score."""
    return max(
        (found for found in rounds if found.layer == layer),
        key=lambda found: found.fit.score,
    )
