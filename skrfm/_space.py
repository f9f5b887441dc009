"""Random candidates: kernels, bandwidths, ridges and kinds of metric."""

import numpy as np

from ._recursion import Recipe
from .kernels import GeneralizedLaplace, LpqLaplace

# ranges that were published for tables; bandwidths are multiples of the median distance
_BANDWIDTH = (0.3, 30.0)
_RIDGE = (1e-6, 10.0)
_EXPONENT = (0.7, 1.4)
# powers of them need no logarithm, and kernels of one order share distances
_ORDERS = (1.0, 1.25, 1.5, 1.75, 2.0)
# share of kernels of the Lp distance, and of full metrics among the others
_COORDINATEWISE = 0.8
_FULL = 0.5
# ridges of the kernels that come first
_FIRST_RIDGES = (1.0, 0.1, 0.01, 0.001)


def random_recipes(count, seed, first_kernels, shared):
    """Return candidates: a few that are good on most tables, and random ones.

    Of both, those of one distance follow each other, and share its computation.

    Parameters
    ----------
    count : int
    seed : int
    first_kernels : iterable of Kernel
        Kernels of the first candidates.
    shared : dict
        What all of them have in common, by the names of `Recipe`.

    Returns
    -------
    list of Recipe
    """
    rng = np.random.default_rng(seed)
    first = [
        Recipe(kernel, alpha, "3*median", diagonal=kernel.coordinatewise, **shared)
        for alpha in _FIRST_RIDGES
        for kernel in first_kernels
    ]
    drawn = [_draw(rng, shared) for _ in range(count - len(first))]
    return sorted(first[:count], key=_distance) + sorted(drawn, key=_distance)


def _distance(recipe):
    return recipe.kernel.norm_order, recipe.kernel.coordinatewise


def _draw(rng, shared):
    q = round(rng.uniform(*_EXPONENT), 3)
    if rng.random() < _COORDINATEWISE:
        p = float(rng.choice([order for order in _ORDERS if order >= q]))
        kernel, diagonal = LpqLaplace(p=p, q=q), True
    else:
        kernel, diagonal = GeneralizedLaplace(exponent=q), rng.random() >= _FULL
    bandwidth = f"{_log_uniform(rng, *_BANDWIDTH):.4g}*median"
    alpha = float(f"{_log_uniform(rng, *_RIDGE):.4g}")
    return Recipe(kernel, alpha, bandwidth, diagonal=diagonal, **shared)


def _log_uniform(rng, low, high):
    return np.exp(rng.uniform(np.log(low), np.log(high)))


def parameters_of(recipe):
    """Return what a recipe is as parameters of an RFM estimator, but for the rounds."""
    return {
        "kernel": recipe.kernel,
        "bandwidth": recipe.bandwidth,
        "alpha": recipe.alpha,
        "metric_type": "diag" if recipe.diagonal else "full",
    }
