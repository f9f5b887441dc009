"""The rounds: fit, average the gradient outer products, reweight, repeat."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from .._backend import Array, Backend, Kernel
from .._tables import Data
from ..agop import Agop, FeatureMetric, average_gradient_outer_product
from ..solvers import EigenPro, Solution
from ._centers import fit_centers
from ._prepared import PreparedData, most_gradient_rows, sample_rows
from ._system import (
    Workspace,
    agop_options,
    kernel_matrix,
    round_agop,
    solve,
)

# A full metric mixes a category of up to so many levels with the other columns; the
# levels of a larger one, which would make it much larger, get weights only.
MIXED_LEVELS = 32
# With centres, rounds go on from the metric of a search up to so many rows, twice those
# that it has seen at most. On a made-up table of 200 000 rows, rounds from the first on
# took R² from .722 to .731 in 2.6 times the CPU seconds; one, two and four more rounds
# after those of the search made .724 to .725 of it.
_MANY_ROWS = 22_000


# scikit-learn makes these strings in some 0.3 ms, as long as half a round of 60 rows
@lru_cache(typed=True)
def _shown(kernel_class, **parameters):
    """Return a kernel as it is shown."""
    return repr(kernel_class(**parameters))


@dataclass(frozen=True)
class Candidate:
    """The parameters of one recursion: all that defines it except the data.

    Attributes
    ----------
    kernel : Kernel
    alpha : float
        The ridge.
    bandwidth : float or str
        A number, or a multiple of the median distance such as "3*median".
    max_iter : int
        The last round; round 0 has no metric.
    diagonal : bool
        Whether the metric is diagonal.
    n_components : int, float or None
        Truncation of the metric.
    fit_intercept, center_gradients : bool
    max_agop_samples : int, "auto" or None
        Rows in the average of the gradient outer products.
    solver : str or EigenPro
    seed : int
        Seeds subsamples of rows.
    category_sizes : tuple of int
        Numbers of levels of the categories, whose columns come last.
    scaling : str or None
        The scaling of the numbers, which decides what columns the rows have.
    weight_unit : float
        What the weights of the user were divided by, and so `alpha` is.
    level_statistics : {"targets", "targets+numbers"} or None
        Statistics of the levels of large categories, and of the values of discrete
        numbers, in columns before the levels.
    discrete_numbers : tuple of int
        Which numbers are discrete.
    n_centers : int or None
        The number of centres of the kernel machine; None takes all rows.
    centers : {"random", "kmeans", "given"}
        What they are: random rows, rows of clusters, or those of the Data.
    early_rows : int or None
        Rounds before the last one, if they are not scored, are fitted to a sample of at
        most so many rows; None takes all.
    """

    kernel: Kernel
    alpha: float
    bandwidth: float | str = "median"
    max_iter: int = 5
    diagonal: bool = False
    n_components: int | float | None = None
    fit_intercept: bool = True
    center_gradients: bool = False
    max_agop_samples: int | str | None = None
    solver: str | EigenPro = "auto"
    seed: int = 0
    category_sizes: tuple[int, ...] = ()
    scaling: str | None = None
    weight_unit: float = 1.0
    level_statistics: str | None = None
    discrete_numbers: tuple[int, ...] = ()
    n_centers: int | None = None
    centers: str = "random"
    early_rows: int | None = None

    def has_centers(self, n_rows):
        """Return whether the centres are others than so many rows."""
        if self.n_centers is None:
            return False
        return self.centers == "given" or self.n_centers < n_rows

    @cached_property
    def kernel_name(self):
        """The kernel as it is shown."""
        try:
            return _shown(type(self.kernel), **vars(self.kernel))
        except TypeError:  # attributes that are no parameters, or cannot be hashed
            return repr(self.kernel)

    @property
    def path(self):
        """What a candidate shares with those of other ridges and exponents."""
        kernel = self.kernel
        norm = self.kernel_name if kernel.of_inner_products else kernel.norm_order
        kind = kernel.coordinatewise, self.diagonal
        return norm, *kind, self.scaling, self.level_statistics

    @property
    def ridge(self):
        """The ridge of a row of weight 1."""
        return self.alpha / self.weight_unit

    @property
    def lookup_sizes(self):
        """The sizes of the categories that metrics do not mix, and kernels look up.

        With a full metric these are the large categories only, which come last.
        """
        if self.kernel.of_inner_products:
            return ()
        if self.diagonal:
            return self.category_sizes
        return tuple(size for size in self.category_sizes if size > MIXED_LEVELS)

    @property
    def n_unmixed(self):
        """The number of columns at the end that a full metric weighs one by one."""
        return 0 if self.diagonal else sum(self.lookup_sizes)


@dataclass(frozen=True)
class Start:
    """Where a recursion begins: the number of its first round, and the metric there.

    A metric that was learned on some of the rows saves the rounds before.
    """

    number: int = 0
    metric: FeatureMetric = FeatureMetric()


def learns_anew(n_centers, n_rows):
    """Return whether a fit to all rows begins with round 0 again, after a search."""
    return n_centers is not None and n_rows > _MANY_ROWS


@dataclass(kw_only=True)
class Round:
    """A fitted kernel machine: everything that prediction needs.

    Attributes
    ----------
    number : int
        The number of the round; 0 has no metric.
    candidate : Candidate
    metric : FeatureMetric
        The metric that the rows are mapped by.
    bandwidth : float
    center : array of shape (d,)
        What is subtracted from rows before they are mapped.
    T : array of shape (p, k) or None
        The mapped centres, which are all training rows unless there are `centers`; None
        once the next round has begun.
    solution : Solution
        The coefficients, and how they were found.
    intercept : array of shape (c,)
    loo_residuals : array of shape (n, c) or None
    last : bool
        Whether no round follows.
    agop : Agop or None
        The average gradient outer product of the predictor; after `next_metric` its
        diagonal only.
    centers : ndarray of int or None
        Which training rows are the centres, or which of those that the user gave; None
        are all training rows.
    following : FeatureMetric or None
        The metric of the next round; None where the AGOP is zero or not known.
    """

    number: int
    candidate: Candidate
    metric: FeatureMetric
    bandwidth: float
    center: Array
    T: Array
    solution: Solution
    intercept: Array
    loo_residuals: Array | None = None
    last: bool = False
    agop: Agop | None = field(default=None, repr=False)
    centers: np.ndarray | None = None
    following: FeatureMetric | None = field(default=None, repr=False)

    @property
    def next_start(self):
        """Where a recursion goes on after this round."""
        assert self.following is not None
        return Start(self.number + 1, self.following)

    def predict(self, X, backend):
        """Return the outputs (m, c) at the rows of X."""
        out = backend.cross_dot(
            self.candidate.kernel,
            self.metric.transform(X - self.center, backend),
            self.T,
            self.bandwidth,
            self.solution.coef,
            category_sizes=self.candidate.lookup_sizes,
        )
        return out + self.intercept


def fit_round(
    prepared: PreparedData,
    candidate: Candidate,
    metric: FeatureMetric,
    *,
    number: int,
    backend: Backend,
    workspace: Workspace,
    with_agop: bool,
    leave_one_out: bool = False,
    early: bool = False,
) -> Round:
    """Fit the kernel machine of one round, and the AGOP of its predictor.

    Parameters
    ----------
    prepared : PreparedData
    candidate : Candidate
    metric : FeatureMetric
        What the rounds before have learned.
    number : int
        The number of the round.
    backend : Backend
    workspace : Workspace
    with_agop : bool
        Whether to compute the AGOP.
    leave_one_out : bool, default=False
        Whether to compute leave-one-out residuals.
    early : bool, default=False
        Whether only the metric of the next round matters: fewer centres, or rows, then
        serve.

    Returns
    -------
    Round
    """
    if candidate.has_centers(prepared.n_rows):
        return _fit_centers_round(
            prepared, candidate, metric, number, backend, with_agop, early
        )
    rows = _early_rows(prepared, candidate) if early else None
    if rows is not None:
        prepared = prepared.subset(rows, backend)
    T = prepared.mapped(metric, backend)
    bandwidth = prepared.bandwidth(candidate, T, backend)
    options = {"leave_one_out": leave_one_out, "with_agop": with_agop}
    gram, solver = kernel_matrix(
        prepared, candidate, T, bandwidth, backend, workspace, **options
    )
    solution, residuals = solve(
        gram, prepared, candidate, backend, solver=solver, leave_one_out=leave_one_out
    )
    agop = None
    if with_agop:
        agop = round_agop(gram, solution.coef, prepared.weight, candidate, backend)
    return Round(
        number=number,
        candidate=candidate,
        metric=metric,
        bandwidth=bandwidth,
        center=prepared.center,
        T=T,
        solution=solution,
        intercept=prepared.intercept,
        loo_residuals=residuals,
        agop=None if agop is None else metric.pull_back(agop),
        centers=rows,
    )


def _early_rows(prepared, candidate):
    """Return the rows that a round before the last is fitted to; None for all."""
    n, size = prepared.X.shape[0], candidate.early_rows
    if size is None or size >= n:
        return None
    return sample_rows(n, size, (candidate.seed, 1))


def _fit_centers_round(prepared, candidate, metric, number, backend, with_agop, early):
    """Fit the Round of a kernel machine with fewer centres than rows."""
    fitted = fit_centers(prepared, candidate, metric, backend, early=early)
    agop = None
    if with_agop:
        (n, d), c = prepared.X.shape, prepared.Y.shape[1]
        most = most_gradient_rows(candidate.max_agop_samples, n, d, c)
        gram, coef, rows, weight = fitted.gradients(prepared, candidate, most, backend)
        agop = metric.pull_back(
            average_gradient_outer_product(
                gram,
                coef,
                weight,
                backend=backend,
                options=agop_options(candidate, rows),
            )
        )
    return Round(
        number=number,
        candidate=candidate,
        metric=metric,
        bandwidth=fitted.bandwidth,
        center=prepared.center,
        T=fitted.Z,
        solution=fitted.solution,
        intercept=fitted.intercept,
        agop=agop,
        centers=fitted.centers.rows,
    )


def next_metric(fitted: Round, backend: Backend) -> FeatureMetric | None:
    """Return the metric of the round after a fitted one; None if its AGOP is zero.

    Only the diagonal of the AGOP is left in the fitted round.
    """
    agop = fitted.agop
    if agop is None:
        return None
    fitted.agop = Agop(squares=agop.diagonal())
    eps = float(backend.xp.finfo(fitted.solution.coef.dtype).eps)
    return FeatureMetric.from_agop(agop, fitted.candidate.n_components, eps=eps)


def run(
    data: Data,
    candidate: Candidate,
    backend: Backend,
    start: Start | None = None,
    adapt: Callable[[Candidate, int], Candidate] | None = None,
) -> Iterator[Round]:
    """Yield the rounds of a recursion, from the first or from a Start to max_iter.

    It ends early where the AGOP is zero, which leaves nothing to reweight. All rounds
    but the last have an AGOP, and round 0 has one even if it is the last. A round can
    predict until the next one is asked for. `adapt` returns what the round of a number
    is fitted by, in place of the candidate.
    """
    data, _ = data.represented(candidate, backend)
    prepared = PreparedData.from_data(data, candidate.fit_intercept, backend)
    start, workspace = start or Start(), Workspace()
    metric = start.metric
    for number in range(start.number, candidate.max_iter + 1):
        fitted = fit_round(
            prepared,
            candidate if adapt is None else adapt(candidate, number),
            metric,
            number=number,
            backend=backend,
            workspace=workspace,
            with_agop=number == 0 or number < candidate.max_iter,
            early=number < candidate.max_iter,
        )
        fitted.following = metric = next_metric(fitted, backend)
        fitted.last = metric is None or number == candidate.max_iter
        yield fitted
        if metric is None or fitted.last:
            return
        fitted.T = None  # as much memory as X, and not needed any more
