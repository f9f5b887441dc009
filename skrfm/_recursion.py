"""The recursion: fit, average the gradient outer products, reweight, repeat."""

import re
from dataclasses import dataclass, field

import numpy as np

from .agop import AgopOptions, FeatureMetric, average_gradient_outer_product
from .solvers import leave_one_out_residuals, solve

_MEDIAN_ROWS = 1000
_MEDIAN = re.compile(r"\s*(?:(?P<multiple>[^*]+?)\s*\*)?\s*median\s*")


@dataclass(frozen=True)
class Data:
    """Training rows as the recursion wants them: weights positive, targets 2-D."""

    X: object
    Y: object
    weight: object

    def subset(self, rows, backend):
        """Return the data of some rows."""
        return Data(*(backend.take(a, rows) for a in (self.X, self.Y, self.weight)))


@dataclass(frozen=True)
class Recipe:
    """What defines one recursion, apart from the data."""

    kernel: object
    alpha: float
    bandwidth: object = "median"
    max_iter: int = 5
    diagonal: bool = False
    n_components: object = None
    fit_intercept: bool = True
    center_gradients: bool = False
    max_agop_samples: int | None = None
    solver: str = "auto"
    seed: int = 0


@dataclass
class Round:
    """A fitted kernel machine: all that prediction needs."""

    number: int
    recipe: Recipe
    metric: FeatureMetric
    bandwidth: float
    center: object
    T: object
    coef: object
    intercept: object
    loo_residuals: object = None
    agop: np.ndarray | None = field(default=None, repr=False)

    def predict(self, X, backend):
        """Return the outputs (m, c) at the rows of X."""
        T = self.metric.transform(X - self.center, backend)
        kernel = self.recipe.kernel
        out = backend.cross_dot(kernel, T, self.T, self.bandwidth, self.coef)
        return out + self.intercept


def parse_bandwidth(bandwidth):
    """Return (value, None) for a number and (None, multiple) for "multiple*median"."""
    if isinstance(bandwidth, str):
        match = _MEDIAN.fullmatch(bandwidth)
        try:
            multiple = float(match["multiple"] or 1) if match else 0.0
        except ValueError:
            multiple = 0.0
        if multiple > 0 and np.isfinite(multiple):
            return None, multiple
    elif 0 < bandwidth < np.inf:
        return float(bandwidth), None
    raise ValueError(
        'bandwidth must be a positive number, "median", or a positive multiple of it '
        f'such as "2*median"; got {bandwidth!r}.'
    )


def median_distance(kernel, T, weight, backend, seed):
    """Return the weighted median distance of the rows of T, in the kernel's norm.

    Pairs have weight w_i w_j; zero distances are left out. Beyond 1000 rows, a
    seeded subsample of 1000 is taken. 1 if all rows are equal.
    """
    n = T.shape[0]
    if n > _MEDIAN_ROWS:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(n, _MEDIAN_ROWS, replace=False))
        T, weight = backend.take(T, rows), backend.take(weight, rows)
    powers = backend.to_numpy(backend.distance_powers(kernel, T))
    weight = backend.to_numpy(weight).astype(np.float64)
    i, j = np.triu_indices(T.shape[0], 1)
    powers, pair_weight = powers[i, j], weight[i] * weight[j]
    powers, pair_weight = powers[powers > 0], pair_weight[powers > 0]
    if powers.size == 0:
        return 1.0
    return float(_weighted_median(powers, pair_weight)) ** (1 / kernel.norm_order)


def _weighted_median(values, weights):
    """Return the smallest value at which half of the weight is reached."""
    if weights.min() == weights.max():
        middle = (values.size + 1) // 2 - 1
        return np.partition(values, middle)[middle]
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, reached[-1] / 2)]


def run(data, recipe, backend, *, loo=None, importances=False):
    """Yield the rounds 0 … max_iter of a recursion.

    The recursion ends early where the AGOP is zero: nothing is left to reweight.

    Parameters
    ----------
    data : Data
    recipe : Recipe
    backend : backend
    loo : {"all", "last"} or None
        Which rounds have leave-one-out residuals.
    importances : bool
        Whether a recursion of round 0 alone has the AGOP of its predictor, too.

    Yields
    ------
    Round
    """
    xp = backend.xp
    center = xp.mean(data.X, axis=0)
    X = data.X - center
    intercept, Y = _center_targets(data, recipe.fit_intercept, xp)
    options = _agop_options(X.shape[0], recipe)
    metric, gram = FeatureMetric(), None
    for number in range(recipe.max_iter + 1):
        last = number == recipe.max_iter
        T = metric.transform(X, backend)
        bandwidth = _bandwidth(recipe, T, data.weight, backend)
        gram = backend.gram(recipe.kernel, T, bandwidth, spent=gram)
        want_loo = loo == "all" or (loo == "last" and last)
        coef, residuals = _fit(gram, Y, data.weight, recipe, xp, want_loo)
        result = Round(
            number, recipe, metric, bandwidth, center, T, coef, intercept, residuals
        )
        if not last or (importances and number == 0):
            G = average_gradient_outer_product(
                gram, coef, data.weight, backend, options
            )
            result.agop = metric.pull_back(G)
        yield result
        if last:
            return
        metric = FeatureMetric.from_agop(result.agop, recipe.n_components)
        if metric is None:
            return


def _center_targets(data, fit_intercept, xp):
    """Return the weighted mean of the targets (zeros without one) and the rest."""
    if not fit_intercept:
        return xp.zeros_like(data.Y[0, :]), data.Y
    w = data.weight[:, None]
    mean = xp.sum(w * data.Y, axis=0) / xp.sum(w)
    return mean, data.Y - mean


def _bandwidth(recipe, T, weight, backend):
    value, multiple = parse_bandwidth(recipe.bandwidth)
    if value is not None:
        return value
    return multiple * median_distance(recipe.kernel, T, weight, backend, recipe.seed)


def _agop_options(n, recipe):
    """Return the options of the average, with its seeded subsample of rows."""
    rows = None
    if recipe.max_agop_samples is not None and n > recipe.max_agop_samples:
        rng = np.random.default_rng(recipe.seed)
        rows = np.sort(rng.choice(n, recipe.max_agop_samples, replace=False))
    return AgopOptions(recipe.diagonal, recipe.center_gradients, rows)


def _fit(gram, Y, weight, recipe, xp, want_loo):
    """Return the coefficients of one round, and leave-one-out residuals or None."""
    ridge = recipe.alpha / weight
    with_mean = want_loo and recipe.fit_intercept
    targets = xp.concat([Y, xp.ones_like(Y[:, :1])], axis=1) if with_mean else Y
    solution = solve(
        gram, targets, ridge, xp, solver=recipe.solver, want_diagonal=want_loo
    )
    mean_solution = None
    if with_mean:
        mean_solution = solution.coef[:, -1:]
        solution.coef = solution.coef[:, :-1]
    if not want_loo:
        return solution.coef, None
    return solution.coef, leave_one_out_residuals(
        solution, mean_solution, Y, weight, ridge, xp
    )
