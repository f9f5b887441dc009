"""The candidates of a random search: kernels, bandwidths, ridges, kinds of metric."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.model_selection import ParameterGrid

from ..._recursion import Candidate, parse_bandwidth
from ...kernels import GeneralizedLaplace, LpqLaplace

# ranges that were published for tables; bandwidths are multiples of the
# median distance.
_BANDWIDTH = (0.3, 30.0)
_RIDGE = (1e-6, 10.0)
_EXPONENT = (0.7, 1.4)
# Orders in quarters: their powers need square roots only, no logarithm, and kernels of
# one order share distances.
_ORDERS = (1.0, 1.25, 1.5, 1.75, 2.0)
# share of kernels of the Lp distance, and of full metrics among the others
_COORDINATEWISE = 0.8
_FULL = 0.5
# ridges of the first kernels, with one scaling or several
_FIRST_RIDGES, _FEWER_RIDGES = (1.0, 0.1, 0.01, 0.001), (1.0, 0.1, 0.01)
# The share of candidates near the best so far, the number of batches that they come
# in, and of candidates that they are near. A share of 0.6 was no better than 0.4 on
# the choosing half of the tables.
_NEAR, _BATCHES, _PARENTS = 0.4, 2, 3
# standard deviations of the steps: of the logarithms of bandwidths and ridges, and of
# exponents
_BANDWIDTH_STEP, _RIDGE_STEP, _EXPONENT_STEP = 0.5, 1.2, 0.15


class RandomCandidates:
    """Candidates in batches: a few good on most tables, random ones, near the best.

    In a batch those of one distance follow each other, and share its computation.

    Parameters
    ----------
    count : int
        The number of candidates in all batches.
    seed : int
    first_kernels : iterable of Kernel
        Kernels of the very first candidates.
    shared : dict
        Fields of `Candidate` that all of them have in common, by name.
    columns : dict of tuples, default={}
        Fields of `Candidate` that decide what columns the rows have, and their values
        to choose from.

    Attributes
    ----------
    first : list of Candidate
        The first batch.
    most_neighbours : int
        None are added but those of `next_batch`.
    given_alphas : tuple
        None are given.
    """

    most_neighbours = 0
    given_alphas = ()

    def __init__(
        self,
        count,
        *,
        seed,
        first_kernels,
        shared,
        columns: Mapping[str, tuple] = MappingProxyType({}),
    ):
        self.count, self._rng = count, np.random.default_rng(seed)
        choices: list[dict[str, Any]] = list(ParameterGrid(dict(columns)))
        ridges = _FIRST_RIDGES if len(choices) == 1 else _FEWER_RIDGES
        weight_unit = shared.get("weight_unit", 1.0)
        known = [
            Candidate(
                kernel,
                alpha * weight_unit,
                "3*median",
                diagonal=kernel.coordinatewise,
                **chosen,
                **shared,
            )
            for alpha in ridges
            for chosen in choices
            for kernel in first_kernels
        ][:count]
        n_drawn = max(0, round(count * (1 - _NEAR)) - len(known))
        drawn = [_draw(self._rng, choices, shared) for _ in range(n_drawn)]
        self.first = sorted(known, key=_distance) + sorted(drawn, key=_distance)
        self._n_left = count - len(self.first)
        self._batch_size = -(-self._n_left // _BATCHES)

    def next_batch(self, candidates):
        """Return the next batch, near the best of the candidates, the best first."""
        size = min(self._batch_size, self._n_left)
        self._n_left -= size
        best = candidates[:_PARENTS]
        parents = [best[number % len(best)] for number in range(size)]
        return sorted((_near(self._rng, parent) for parent in parents), key=_distance)

    def rescaled(self, candidate):
        """Return no candidates: the scaling is drawn as well."""
        return []

    def with_statistics(self, candidate):
        """Return no candidates: the statistics are drawn as well."""
        return []

    def like(self, candidate, better):
        """Return no candidates: there is one stage."""
        return []

    def neighbours(self, candidate):
        """Return no candidates: the batches are near the best."""
        return []


def _distance(candidate):
    columns = candidate.scaling == "quantile", candidate.level_statistics or ""
    return columns, candidate.kernel.norm_order, candidate.kernel.coordinatewise


# -- drawing --------------------------------------------------------------------------


def _draw(rng, choices, shared):
    """Return a candidate from the whole space."""
    q = round(rng.uniform(*_EXPONENT), 3)
    if rng.random() < _COORDINATEWISE:
        p = float(rng.choice([order for order in _ORDERS if order >= q]))
        kernel, diagonal = LpqLaplace(p=p, q=q), True
    else:
        kernel, diagonal = GeneralizedLaplace(exponent=q), rng.random() >= _FULL
    multiple, ridge = _log_uniform(rng, *_BANDWIDTH), _log_uniform(rng, *_RIDGE)
    chosen = choices[rng.integers(len(choices))]
    candidate = Candidate(kernel, ridge, diagonal=diagonal, **chosen, **shared)
    return _with_numbers(candidate, multiple, ridge)


def _log_uniform(rng, low, high):
    return np.exp(rng.uniform(np.log(low), np.log(high)))


def _near(rng, candidate):
    """Return a candidate near another one, with the same type of metric."""
    kernel = candidate.kernel
    if not kernel.of_inner_products:
        candidate = replace(candidate, kernel=_near_kernel(rng, kernel))
    multiple, _ = parse_bandwidth(candidate.bandwidth)
    return _with_numbers(
        candidate,
        np.clip(multiple * rng.lognormal(0, _BANDWIDTH_STEP), *_BANDWIDTH),
        np.clip(candidate.ridge * rng.lognormal(0, _RIDGE_STEP), *_RIDGE),
    )


def _near_kernel(rng, kernel):
    p, q = kernel.norm_order, kernel.profile(1.0)[2]
    q = round(float(np.clip(rng.normal(q, _EXPONENT_STEP), *_EXPONENT)), 3)
    if not kernel.coordinatewise:
        return GeneralizedLaplace(exponent=q)
    orders = [order for order in _ORDERS if order >= q]
    near = [order for order in orders if abs(order - p) <= 0.25] or orders[:1]
    return LpqLaplace(p=float(rng.choice(near)), q=q)


def _with_numbers(candidate, multiple, ridge):
    """Return a candidate with a bandwidth and a ridge of four digits."""
    alpha = float(f"{ridge:.4g}") * candidate.weight_unit
    return replace(candidate, bandwidth=f"{multiple:.4g}*median", alpha=alpha)


def parameters_of(candidate):
    """Return a candidate as parameters of an RFM estimator, without the rounds."""
    return {
        "kernel": candidate.kernel,
        "bandwidth": candidate.bandwidth,
        "alpha": candidate.alpha,
        "metric_type": "diag" if candidate.diagonal else "full",
    }
