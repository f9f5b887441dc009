"""The recursion on patches, and the layers of random filters of the deep version."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from .._backend import Backend, FloatArray, NumpyBackend
from .._search import Criterion
from ..agop import Agop, FeatureMetric, compress_outputs
from ..kernels._mapped_patches import slices
from ..kernels._patch_kernel import PatchKernel
from ._ridge import RidgeFit, RidgePath


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the rounds need beside the images and targets.

    Attributes
    ----------
    kernel : PatchKernel
    alphas : ndarray of shape (n_alphas,) or None
        The ridges to choose from; None chooses them.
    fit_intercept : bool
    criterion : Criterion
    max_iter : int
        Number of updates of the metric in each layer.
    max_agop_samples : int or None
        The most images over which outer products are averaged.
    backend : Backend
        Computes the ridge regressions; that of the kernel computes its values.
    """

    kernel: PatchKernel
    alphas: FloatArray | None
    fit_intercept: bool
    criterion: Criterion
    max_iter: int
    max_agop_samples: int | None
    backend: Backend


@dataclass(frozen=True, kw_only=True)
class Round:
    """A kernel machine with the metric of its patches.

    Attributes
    ----------
    layer, iteration : int
        Counted from 0.
    metric : FeatureMetric
    fit : RidgeFit
        Its coefficients are those of the kernel divided by `kernel_scale`.
    alpha_scores : list of float
        The scores of the ridges to choose from.
    kernel_scale : float
        The mean of the diagonal of the kernel matrix.
    agop : Agop or None
        The average outer product of the gradients in the patches; None if it was not
        computed.
    seconds : float
    """

    layer: int
    iteration: int
    metric: FeatureMetric
    fit: RidgeFit
    alpha_scores: list[float]
    kernel_scale: float
    agop: Agop | None
    seconds: float

    @property
    def coef(self):
        """The coefficients (n, c) of the kernel."""
        return self.fit.coef / self.kernel_scale


@dataclass(frozen=True)
class Targets:
    """Coded targets (n, c) of the training images, and their weights (n,)."""

    Y: FloatArray
    weight: FloatArray


class ImageLayer:
    """The rounds on the images of one layer.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels)
    targets : Targets
    options : Options
    number : int
        The number of the layer, from 0 on.
    """

    def __init__(self, images, targets, options, number):
        self.images, self.number = images, number
        self._targets, self._options = targets, options

    def rounds(self, rng: np.random.RandomState) -> Iterator[Round]:
        """Yield the rounds; they end early where the predictor is constant."""
        options, metric = self._options, FeatureMetric()
        rows = self._agop_rows(rng)
        for iteration in range(options.max_iter + 1):
            start = perf_counter()
            fit, alpha_scores, scale = self._fit(metric)
            agop = None
            # a metric of one round only is not updated
            if iteration < options.max_iter or iteration == 0:
                agop = self._agop(metric, fit.coef, rows)
            yield Round(
                layer=self.number,
                iteration=iteration,
                metric=metric,
                fit=fit,
                alpha_scores=alpha_scores,
                kernel_scale=scale,
                agop=agop,
                seconds=perf_counter() - start,
            )
            metric = None if agop is None else FeatureMetric.from_agop(agop)
            if metric is None:
                return

    def _fit(self, metric):
        """Return the best RidgeFit, the scores of ridges, and the kernel scale."""
        options, weight = self._options, self._targets.weight
        K = options.kernel.gram(self.images, metric.components)
        # so that a ridge means the same in each round and for images of any contrast
        scale = float(weight @ np.diagonal(K) / weight.sum()) or 1.0
        K /= scale
        path = RidgePath(
            K,
            self._targets.Y,
            weight,
            criterion=options.criterion,
            fit_intercept=options.fit_intercept,
            backend=options.backend,
        )
        return *path.best(options.alphas), scale

    def _agop_rows(self, rng):
        """Return the indices of the images over which outer products are averaged."""
        n, most = len(self.images), self._options.max_agop_samples
        if most is None or n <= most:
            return np.arange(n)
        return np.sort(rng.choice(n, most, replace=False))

    def _agop(self, metric, coef, rows):
        """Return the Agop of a machine in the patches of its images."""
        coef = compress_outputs(coef / (np.abs(coef).max() or 1.0), NumpyBackend())
        products = self._options.kernel.gradient_products(
            self.images,
            metric.components,
            coef,
            rows=rows,
            weight=self._targets.weight[rows],
        )
        return metric.pull_back(Agop(products=products))


def random_filters(metric, n_patch, n_filters, rng):
    """Return filters (n_filters, n_patch) drawn from N(0, M).

    Parameters
    ----------
    metric : FeatureMetric
        Its matrix M has `n_patch` columns.
    n_patch, n_filters : int
    rng : RandomState
    """
    components = metric.components
    if components is None:
        return rng.standard_normal((n_filters, n_patch))
    return rng.standard_normal((n_filters, len(components))) @ components


def filtered(images, filters, kernel):
    """Return the positive parts of the responses of images to filters.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels)
    filters : ndarray of shape (n_filters, n_patch)
    kernel : PatchKernel

    Returns
    -------
    ndarray of shape (n, rows, columns, n_filters)
    """
    (rows, columns), loops = kernel.grids(images.shape[1:])[0], kernel.loops
    n, n_patches = len(images), rows * columns
    out = np.empty((n, rows, columns, len(filters)))
    # they are scaled so that their number does not change their mean square
    weights = loops.asarray(filters.T / np.sqrt(len(filters)))

    def fill(part):
        found = kernel.patches(images[part]) @ weights
        found = loops.to_numpy(found).transpose(1, 0, 2)
        np.maximum(found.reshape(-1, rows, columns, len(filters)), 0, out=out[part])

    step = max(1, loops.strip(filters.shape[1]) // n_patches)
    loops.run(fill, [(part,) for part in slices(n, step)], n * n_patches)
    return out
