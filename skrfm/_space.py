"""The candidates of a random search: kernels, bandwidths, ridges, kinds of metric."""

from dataclasses import replace

import numpy as np

from ._distances import parse_bandwidth
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
# ridges of the kernels that come first, with one scaling or several
_FIRST_RIDGES, _FEWER_RIDGES = (1.0, 0.1, 0.01, 0.001), (1.0, 0.1, 0.01)
# the share of candidates near the best so far, in how many heats, near how many
_NEAR, _HEATS, _LEADERS = 0.4, 2, 3
# standard deviations of bandwidths and ridges, in powers of e, and of exponents
_BANDWIDTH_STEP, _RIDGE_STEP, _EXPONENT_STEP = 0.5, 1.2, 0.15


class RandomCandidates:
    """Candidates in heats: a few that are good on most tables, random ones, near ones.

    Of a heat those of one distance follow each other, and share its computation.

    Parameters
    ----------
    count : int
        How many there are in all heats.
    seed : int
    first_kernels : iterable of Kernel
        Kernels of the very first candidates.
    shared : dict
        What all of them have in common, by the names of `Recipe`.
    scalings : tuple, default=(None,)
        Scalings of the numbers.

    Attributes
    ----------
    first : list of Recipe
        The first heat.
    """

    def __init__(self, count, seed, first_kernels, shared, scalings=(None,)):
        self.count, self._rng = count, np.random.default_rng(seed)
        ridges = _FIRST_RIDGES if len(scalings) == 1 else _FEWER_RIDGES
        known = [
            Recipe(
                kernel,
                alpha,
                "3*median",
                diagonal=kernel.coordinatewise,
                scaling=scaling,
                **shared,
            )
            for alpha in ridges
            for scaling in scalings
            for kernel in first_kernels
        ][:count]
        n_drawn = max(0, round(count * (1 - _NEAR)) - len(known))
        drawn = [_draw(self._rng, scalings, shared) for _ in range(n_drawn)]
        self.first = sorted(known, key=_distance) + sorted(drawn, key=_distance)
        self._left = count - len(self.first)
        self._per_heat = -(-self._left // _HEATS)

    def more(self, recipes):
        """Return the next heat, near the best of the recipes; they come best first."""
        count = min(self._per_heat, self._left)
        self._left -= count
        leaders = recipes[:_LEADERS]
        parents = [leaders[number % len(leaders)] for number in range(count)]
        return sorted((_near(self._rng, parent) for parent in parents), key=_distance)


def _distance(recipe):
    scaling = recipe.scaling == "quantile"
    return scaling, recipe.kernel.norm_order, recipe.kernel.coordinatewise


# -- drawing --------------------------------------------------------------------------


def _draw(rng, scalings, shared):
    """Return a candidate from the whole space."""
    q = round(rng.uniform(*_EXPONENT), 3)
    if rng.random() < _COORDINATEWISE:
        p = float(rng.choice([order for order in _ORDERS if order >= q]))
        kernel, diagonal = LpqLaplace(p=p, q=q), True
    else:
        kernel, diagonal = GeneralizedLaplace(exponent=q), rng.random() >= _FULL
    multiple, alpha = _log_uniform(rng, *_BANDWIDTH), _log_uniform(rng, *_RIDGE)
    scaling = scalings[rng.integers(len(scalings))]
    recipe = Recipe(kernel, alpha, diagonal=diagonal, scaling=scaling, **shared)
    return _with_numbers(recipe, multiple, alpha)


def _log_uniform(rng, low, high):
    return np.exp(rng.uniform(np.log(low), np.log(high)))


def _near(rng, recipe):
    """Return a candidate near another one, with the same kind of metric."""
    kernel = recipe.kernel
    if not kernel.of_inner_products:
        recipe = replace(recipe, kernel=_near_kernel(rng, kernel))
    _, multiple = parse_bandwidth(recipe.bandwidth)
    return _with_numbers(
        recipe,
        np.clip(multiple * rng.lognormal(0, _BANDWIDTH_STEP), *_BANDWIDTH),
        np.clip(recipe.alpha * rng.lognormal(0, _RIDGE_STEP), *_RIDGE),
    )


def _near_kernel(rng, kernel):
    p, q = kernel.norm_order, kernel.profile(1.0)[2]
    q = round(float(np.clip(rng.normal(q, _EXPONENT_STEP), *_EXPONENT)), 3)
    if not kernel.coordinatewise:
        return GeneralizedLaplace(exponent=q)
    orders = [order for order in _ORDERS if order >= q]
    near = [order for order in orders if abs(order - p) <= 0.25] or orders[:1]
    return LpqLaplace(p=float(rng.choice(near)), q=q)


def _with_numbers(recipe, multiple, alpha):
    """Return a recipe with a bandwidth and a ridge of four digits."""
    alpha = float(f"{alpha:.4g}")
    return replace(recipe, bandwidth=f"{multiple:.4g}*median", alpha=alpha)


def parameters_of(recipe):
    """Return what a recipe is as parameters of an RFM estimator, but for the rounds."""
    return {
        "kernel": recipe.kernel,
        "bandwidth": recipe.bandwidth,
        "alpha": recipe.alpha,
        "metric_type": "diag" if recipe.diagonal else "full",
    }
