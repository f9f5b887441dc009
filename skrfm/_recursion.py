"""The recursion: fit, average the gradient outer products, reweight, repeat."""

from dataclasses import dataclass, field, replace

import numpy as np

from ._distances import Distances, parse_bandwidth
from .agop import AgopOptions, FeatureMetric, average_gradient_outer_product
from .solvers import choose_solver, leave_one_out_residuals, solve

# levels of a category that a full metric mixes with other columns
MIXED_LEVELS = 32


@dataclass(frozen=True)
class Data:
    """Training rows as the recursion wants them: weights positive, targets 2-D."""

    X: object
    Y: object
    weight: object
    # columns at the end that are levels of categories
    n_levels: int = 0
    # the first column of quantiles and the one after the last, if there are any
    quantiles: tuple | None = None

    def subset(self, rows, backend):
        """Return the data of some rows."""
        arrays = (backend.take(a, rows) for a in (self.X, self.Y, self.weight))
        return Data(*arrays, self.n_levels, self.quantiles)

    def scaled(self, scaling, backend):
        """Return the data with the columns that a scaling has."""
        if self.quantiles is None or scaling == "quantile":
            return self
        start, stop = self.quantiles
        X = backend.xp.concat([self.X[:, :start], self.X[:, stop:]], axis=1)
        return replace(self, X=backend.rows(X), quantiles=None)


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
    # numbers of levels of the categories, whose columns come last
    widths: tuple = ()
    # which columns of the rows it has
    scaling: str | None = None

    @property
    def looked_up(self):
        """The widths of the categories that are looked up, which metrics do not mix.

        Where the metric is full, small ones are columns like all others, mixed with
        them: only the large ones, which come last, would cost more than they give.
        """
        if self.kernel.of_inner_products:
            return ()
        if self.diagonal:  # truncation takes columns out, and changes their order
            return self.widths if self.n_components is None else ()
        return tuple(width for width in self.widths if width > MIXED_LEVELS)

    @property
    def unmixed(self):
        """The number of columns at the end that a full metric weighs one by one."""
        return 0 if self.diagonal else sum(self.looked_up)


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
    jitter: float = 0.0
    residual: float = 0.0
    last: bool = False
    agop: np.ndarray | None = field(default=None, repr=False)

    def predict(self, X, backend):
        """Return the outputs (m, c) at the rows of X."""
        T = self.metric.transform(X - self.center, backend)
        kernel = self.recipe.kernel
        widths = self.recipe.looked_up
        out = backend.cross_dot(kernel, T, self.T, self.bandwidth, self.coef, widths)
        return out + self.intercept


@dataclass(frozen=True)
class Prepared:
    """Training rows made ready once for all rounds: centred, with their means."""

    X: object
    Y: object
    weight: object
    center: object
    intercept: object
    distances: Distances
    # where a row first occurs, or None if no two rows are equal
    first: np.ndarray | None = None

    @classmethod
    def of(cls, data, fit_intercept, backend, *, shared=False):
        """Centre the rows and, with an intercept, the targets.

        Columns of categories stay as they are: zeros where a row has another level.
        Distances are `shared` by the recipes that are fitted to these rows, if several.
        """
        xp = backend.xp
        share = data.weight / xp.sum(data.weight)
        center = xp.sum(share[:, None] * data.X, axis=0)
        if data.n_levels:
            center[center.shape[0] - data.n_levels :] = 0
        intercept, Y = _center_targets(data, fit_intercept, xp)
        X = backend.rows(data.X - center)
        first = _first_of_equals(backend.to_numpy(X))
        distances = Distances(shared)
        return cls(X, Y, data.weight, center, intercept, distances, first)

    def mapped(self, metric, backend):
        """Return the rows that a metric has mapped; equal rows stay equal to the bit.

        A product may round them differently, by where they are.
        """
        T = metric.transform(self.X, backend)
        if self.first is None or T is self.X:
            return T
        return backend.take(T, self.first)


def _first_of_equals(X):
    """Return the first place of each row, or None if no two rows are equal."""
    bits = np.ascontiguousarray(X + 0.0)  # of 0 and -0 the same
    rows = bits.view(np.dtype((np.void, bits.itemsize * bits.shape[1]))).ravel()
    _, place, inverse = np.unique(rows, return_index=True, return_inverse=True)
    return None if len(place) == len(rows) else place[inverse]


class Workspace:
    """The memory of the last kernel matrix, for the next one to take over."""

    gram = None


def fit_round(
    prepared, recipe, metric, number, backend, workspace, *, loo=False, agop=None
):
    """Fit the kernel machine of one round, and the AGOP of its predictor.

    Parameters
    ----------
    prepared : Prepared
    recipe : Recipe
    metric : FeatureMetric
        What the rounds before have learned.
    number : int
        The round.
    backend : backend
    workspace : Workspace
    loo : bool
        Whether leave-one-out residuals are wanted.
    agop : bool or None
        Whether the AGOP is; None wants it unless this is the last round.

    Returns
    -------
    Round
    """
    T = prepared.mapped(metric, backend)
    mapped = T is not prepared.X
    powers = prepared.distances.powers(recipe, T, backend, mapped=mapped)
    bandwidth = _bandwidth(recipe, T, prepared, backend, mapped)
    solver, streamed = choose_solver(
        recipe.solver,
        recipe.kernel,
        T,
        backend,
        want_diagonal=loo,
        spent=workspace.gram,
    )
    what = recipe.kernel, T, bandwidth
    if streamed:
        gram = backend.streamed_gram(*what, recipe.looked_up)
    else:
        gram = backend.gram(*what, workspace.gram, recipe.looked_up, powers)
        workspace.gram = gram
    solution, residuals = _solve(gram, prepared, recipe, backend, loo, solver)
    G = None
    if number < recipe.max_iter if agop is None else agop:
        options = _agop_options(T.shape[0], recipe)
        G = average_gradient_outer_product(
            gram, solution.coef, prepared.weight, backend, options
        )
        G = metric.pull_back(G)
    return Round(
        number,
        recipe,
        metric,
        bandwidth,
        prepared.center,
        T,
        solution.coef,
        prepared.intercept,
        residuals,
        solution.jitter,
        solution.residual,
        agop=G,
    )


def next_metric(result, backend):
    """Return the metric for the round after `result`, or None where it has no AGOP.

    Of the AGOP only the diagonal is left in `result`.
    """
    G = result.agop
    if G is None:
        return None
    result.agop = G if G.ndim == 1 else np.diagonal(G).copy()
    eps = float(backend.xp.finfo(result.coef.dtype).eps)
    recipe = result.recipe
    return FeatureMetric.from_agop(G, recipe.n_components, eps, recipe.unmixed)


def run(data, recipe, backend):
    """Yield the rounds 0 … max_iter of a recursion.

    It ends early where the AGOP is zero: nothing is left to reweight. The AGOP is
    there in all rounds but the last, and in round 0 even if it is the last. A round
    can predict until the next one is asked for.
    """
    data = data.scaled(recipe.scaling, backend)
    prepared = Prepared.of(data, recipe.fit_intercept, backend)
    metric, workspace = FeatureMetric(), Workspace()
    for number in range(recipe.max_iter + 1):
        agop = number == 0 or None
        result = fit_round(
            prepared, recipe, metric, number, backend, workspace, agop=agop
        )
        metric = next_metric(result, backend)
        result.last = metric is None or number == recipe.max_iter
        yield result
        if result.last:
            return
        result.T = None  # as much memory as X, which nothing will ask for


def _center_targets(data, fit_intercept, xp):
    """Return the weighted mean of the targets (zeros without one) and the rest."""
    if not fit_intercept:
        return xp.zeros_like(data.Y[0, :]), data.Y
    w = data.weight[:, None]
    mean = xp.sum(w * data.Y, axis=0) / xp.sum(w)
    return mean, data.Y - mean


def _bandwidth(recipe, T, prepared, backend, mapped):
    value, multiple = parse_bandwidth(recipe.bandwidth)
    if value is not None:
        return value
    where = T, prepared.weight, backend
    return multiple * prepared.distances.median(recipe, *where, mapped=mapped)


def _agop_options(n, recipe):
    """Return the options of the average, with its seeded subsample of rows."""
    rows = None
    if recipe.max_agop_samples is not None and n > recipe.max_agop_samples:
        rng = np.random.default_rng(recipe.seed)
        rows = np.sort(rng.choice(n, recipe.max_agop_samples, replace=False))
    return AgopOptions(recipe.diagonal, recipe.center_gradients, rows, recipe.unmixed)


def _solve(gram, prepared, recipe, backend, loo, solver):
    """Return the solution of one round, and leave-one-out residuals or None."""
    Y, weight, xp = prepared.Y, prepared.weight, backend.xp
    ridge = recipe.alpha / weight
    with_mean = loo and recipe.fit_intercept
    targets = xp.concat([Y, xp.ones_like(Y[:, :1])], axis=1) if with_mean else Y
    options = {"solver": solver, "want_diagonal": loo, "seed": recipe.seed}
    solution = solve(gram, targets, ridge, backend, **options)
    mean_solution = None
    if with_mean:
        mean_solution = solution.coef[:, -1:]
        solution.coef = solution.coef[:, :-1]
    if not loo:
        return solution, None
    return solution, leave_one_out_residuals(
        solution, mean_solution, Y, weight, ridge, xp
    )
