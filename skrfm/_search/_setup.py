"""From an estimator's parameters to candidates, and to how they are judged."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral

import numpy as np

from .._recursion import Candidate, parse_bandwidth
from .._tables import kinds_of_statistics
from ..kernels import GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace, get_kernel
from ..solvers import DIRECT, ITERATIVE, EigenPro
from ._folds import Stage, fold_stages, hold_out, make_folds, sample_stages
from ._judging import HoldOut, LastRound, LeaveOneOut
from ._race import RESCALED

# kernel="auto" chooses among these, and whether the metric is diagonal
_AUTO_KERNELS = ((Laplace(), False), (Laplace(), True), (L1Laplace(), True))
# Exponents near the best one, and ridges, differ so much. On the choosing half of the
# tables they raised the mean R² from .8318 to .8345, and lowered the mean log-loss from
# .3389 to .3374.
_EXPONENT_STEP, _RIDGE_STEP = 0.3, 10**0.5
# the range of exponents; the largest one also for kernels of the L1 distance, or not
_LEAST_EXPONENT, _MOST_EXPONENT = 0.4, {False: 1.6, True: 1.0}
_MOST_NEIGHBOURS = 4
# The least ridge that is tried near another: stages compute in single precision.
_LEAST_NEAR = 1e-4
# Ridges to choose from where `alphas` is "auto", apart from those near the best. A
# fourth gained nothing on the choosing half of the tables (benchmarks/variants.py).
_ALPHAS = (1e-3, 3e-2, 1.0)
# validation="auto" cross-validates up to this many rows and holds out above
CV_ROWS = 1000


@dataclass(frozen=True)
class Candidates:
    """The candidates of a search, in batches.

    Attributes
    ----------
    first : list of Candidate
        The first batch.
    count : int
        The number of candidates in all batches, and of the other columns.
    next_batch : callable
        Maps the candidates so far, the best first, to the next batch; after an empty
        one there are no more.
    rescaled : callable
        Maps a candidate to those of the other scalings.
    with_statistics : callable
        Maps a candidate to those with level statistics.
    neighbours : callable
        Maps a candidate to others that differ from it in one parameter that is open.
    most_neighbours : int
        How many of them there are at most.
    like : callable
        Maps a candidate and a better one to others of the kind of the first, with the
        ridge of the better one and with its exponent as well, where these are open.
    given_alphas : list of float
        Ridges that the user gave to choose from, in increasing order.
    """

    first: list[Candidate]
    count: int
    next_batch: Callable[[list[Candidate]], list[Candidate]] = lambda candidates: []
    rescaled: Callable[[Candidate], list[Candidate]] = lambda candidate: []
    with_statistics: Callable[[Candidate], list[Candidate]] = lambda candidate: []
    neighbours: Callable[[Candidate], list[Candidate]] = lambda candidate: []
    most_neighbours: int = 0
    like: Callable[[Candidate, Candidate], list[Candidate]] = lambda one, better: []
    given_alphas: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Columns:
    """What columns candidates may have of a table.

    Attributes
    ----------
    category_sizes : tuple of int
        Numbers of levels of the categories.
    scalings : tuple
        The scalings of the numbers, the first of all candidates.
    statistics : tuple
        The kinds of level statistics, or None, the first of all candidates.
    discrete_numbers : tuple of int
        Which numbers are discrete.
    """

    category_sizes: tuple[int, ...] = ()
    scalings: tuple = ("clipped",)
    statistics: tuple = (None,)
    discrete_numbers: tuple[int, ...] = ()

    @classmethod
    def of_table(cls, training, statistics, *, out_of_fold):
        """Return the columns that a table may have.

        Parameters
        ----------
        training : TrainingSet
        statistics : str or None
            The parameter `level_statistics`.
        out_of_fold : bool
            Whether candidates are scored on rows that no fit has seen: a row's target
            is in the statistics of others, which leave-one-out residuals in closed form
            do not take into account.
        """
        encoder, discrete = training.coding.encoder, ()
        kinds = (None,)
        if statistics is not None and (statistics != "auto" or out_of_fold):
            discrete = training.discrete_numbers()
            found = _kinds_of_statistics(training, len(discrete))
            if statistics == "auto":
                kinds = (None, *found)
            elif statistics in found:
                kinds = (statistics,)
        return cls(encoder.category_sizes, encoder.scalings, kinds, discrete)


def _kinds_of_statistics(training, n_discrete):
    """Return the kinds of level statistics that a table can have."""
    encoder = training.coding.encoder
    if not encoder.category_sizes and n_discrete == 0:
        return ()
    first = len(encoder.number_origins)
    if encoder.scaling == "auto":
        first -= len(encoder.numbers)
    n_outputs = training.data.Y.shape[1]
    return kinds_of_statistics(encoder.category_sizes, first, n_outputs, n_discrete)


def make_candidates(params, columns, *, seed, weight_unit, same_exponents=False):
    """Return the Candidates: what the parameters leave open, the simplest first.

    Parameters
    ----------
    params : dict
        The parameters of an RFM estimator.
    columns : Columns
    seed : int
        Seed of the row subsamples.
    weight_unit : float
        What weights were divided by; ridges to choose from are multiplied by it.
    same_exponents : bool, default=False
        Whether other kernels are tried with the exponent of the best, where exponents
        are open.
    """
    parse_bandwidth(params["bandwidth"])
    ridge_is_open = params["alpha"] == "auto" and _is_auto(params["alphas"])
    kernels = _kernels(params["kernel"], params["metric_type"])
    alphas = _alphas(params["alpha"], params["alphas"], weight_unit)
    candidates = [
        Candidate(
            kernel,
            alpha,
            diagonal=diagonal,
            scaling=columns.scalings[0],
            level_statistics=columns.statistics[0],
            seed=seed,
            category_sizes=columns.category_sizes,
            discrete_numbers=columns.discrete_numbers,
            weight_unit=weight_unit,
            **_shared_parameters(params),
        )
        for kernel, diagonal in kernels
        for alpha in alphas
    ]
    scalings, statistics = columns.scalings[1:], columns.statistics[1:]
    return Candidates(
        candidates,
        len(candidates) + RESCALED * (len(scalings) + len(statistics)),
        rescaled=lambda found: [replace(found, scaling=s) for s in scalings],
        with_statistics=lambda found: [
            replace(found, level_statistics=kind) for kind in statistics
        ],
        neighbours=partial(
            _neighbours,
            kernel_is_open=_is_auto(params["kernel"]),
            ridge_is_open=ridge_is_open,
        ),
        most_neighbours=_MOST_NEIGHBOURS,
        like=partial(
            _like,
            exponent_is_open=same_exponents and _is_auto(params["kernel"]),
            ridge_is_open=ridge_is_open,
        ),
        given_alphas=[] if _is_auto(params["alphas"]) else sorted(set(alphas)),
    )


def _shared_parameters(params):
    """Return the parameters that all candidates share, by the names of Candidate."""
    names = (
        "bandwidth",
        "max_iter",
        "n_components",
        "fit_intercept",
        "center_gradients",
        "max_agop_samples",
        "solver",
    )
    shared = {name: params[name] for name in names}
    shared |= {name: params.get(name) for name in ("n_centers", "early_rows")}
    return shared | {"centers": params.get("centers", "random")}


def _is_auto(value):
    return isinstance(value, str) and value == "auto"


def _neighbours(candidate, *, kernel_is_open, ridge_is_open):
    """Return candidates with another exponent of the kernel, or another ridge."""
    near = []
    if kernel_is_open:
        exponent = candidate.kernel.profile(1.0)[2]
        for step in (-_EXPONENT_STEP, _EXPONENT_STEP):
            kernel = _kernel_of_exponent(candidate.kernel, round(exponent + step, 2))
            if kernel is not None:
                near.append(replace(candidate, kernel=kernel))
    if ridge_is_open:
        for factor in (_RIDGE_STEP, 1 / _RIDGE_STEP):
            ridge = float(f"{candidate.ridge * factor:.2g}")
            if ridge >= _LEAST_NEAR:
                near.append(replace(candidate, alpha=ridge * candidate.weight_unit))
    return near


def _like(candidate, better, *, exponent_is_open, ridge_is_open):
    """Return a candidate with the ridge of another, and with its exponent as well."""
    if ridge_is_open:
        candidate = replace(candidate, alpha=better.alpha)
    found = [candidate]
    if exponent_is_open:
        exponent = round(better.kernel.profile(1.0)[2], 2)
        kernel = _kernel_of_exponent(candidate.kernel, exponent)
        if kernel is not None:
            found.append(replace(candidate, kernel=kernel))
    return found


def _kernel_of_exponent(kernel, exponent):
    """Return a kernel of the same norm, or None beyond the range of exponents."""
    most = _MOST_EXPONENT[kernel.coordinatewise]
    if not _LEAST_EXPONENT <= exponent <= most:
        return None
    if kernel.coordinatewise:
        return L1Laplace() if exponent == 1 else LpqLaplace(p=1.0, q=exponent)
    return Laplace() if exponent == 1 else GeneralizedLaplace(exponent)


def _kernels(kernel, metric_type):
    """Return pairs of a kernel and whether its metric is diagonal."""
    if not _is_auto(kernel):
        kernel = get_kernel(kernel)
        return [(kernel, _is_diagonal(kernel, metric_type))]
    allowed = {"full": (False,), "diag": (True,)}.get(metric_type, (False, True))
    return [pair for pair in _AUTO_KERNELS if pair[1] in allowed]


def _alphas(alpha, alphas, weight_unit):
    if alpha != "auto":
        return [float(alpha)]
    alphas = _ALPHAS if _is_auto(alphas) else alphas
    try:
        values = np.asarray(alphas, dtype=float).ravel()
    except (TypeError, ValueError):
        values = np.array([])
    if values.size == 0 or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            "alphas must be 'auto', or one or more finite numbers >= 0; got "
            f"{alphas!r}."
        )
    return [float(value) * weight_unit for value in np.sort(values)[::-1]]


def _is_diagonal(kernel, metric_type):
    """Whether the metric is diagonal."""
    if metric_type == "full" and kernel.coordinatewise:
        raise ValueError(
            f"metric_type='full' does not work with {kernel!r}: a kernel of the L1 or "
            "Lp distance is not invariant to rotations. Pass metric_type='diag' or "
            "'auto', or a kernel of the Euclidean distance such as 'laplace'."
        )
    return metric_type == "diag" or (metric_type == "auto" and kernel.coordinatewise)


def make_stages(
    params, *, n_candidates, strata, keep, seed, groups, few, needs_outputs
):
    """Return the stages of the search: none where nothing is open.

    Parameters
    ----------
    params : dict
        The parameters of an RFM estimator.
    n_candidates : int
        Number of candidates.
    strata : ndarray of shape (n,)
        Classes to stratify by; all equal for a regressor.
    keep : boolean ndarray
        Which rows of the table that the user gave have positive weight: the n rows.
    seed : int
        Seed of the splits.
    groups : array of shape (len(keep),) or None
        For a splitter `cv` that takes groups.
    few : bool
        Whether a direct solver is best for so many rows.
    needs_outputs : bool
        Whether outputs on validation rows are needed even where nothing is open, as
        for the calibration of probabilities.
    """
    validation, cv, n_jobs = params["validation"], params["cv"], params["n_jobs"]
    if groups is not None:
        _require_folds(validation)
    nothing_open = n_candidates == 1 and not needs_outputs
    has_centers = _has_centers(params, len(strata))
    if has_centers:
        few = False
        if validation == "loo":
            raise ValueError(
                "validation='loo' takes all rows as centres: pass n_centers=None, or "
                "validation='cv' or 'holdout'."
            )
    if validation is None:
        if nothing_open:
            return []
        return [Stage(_last_round(params, strata, seed, few=few), climbs=True)]
    if validation == "auto":
        if nothing_open and params["max_iter"] == 0:
            return []
        if len(strata) > CV_ROWS and isinstance(cv, Integral | None):
            return sample_stages(
                strata,
                seed=seed,
                # probabilities are calibrated on the validation rows: many are better
                n_folds=2 if needs_outputs else 1,
                n_jobs=n_jobs,
                most_rows=params.get("search_rows"),
                # the log-loss of adult, 39 000 rows, was .3046 with it, .3043 without
                with_finalists=not (needs_outputs or has_centers),
            )
    if validation == "loo":
        _require_direct(params["solver"])
        return [Stage(LeaveOneOut(), climbs=True)]
    if validation == "holdout":
        fold = hold_out(strata, params["validation_fraction"], seed)
        return [Stage(HoldOut([fold]), climbs=True)]
    folds = make_folds(cv, strata, keep=keep, seed=seed, groups=groups)
    if validation == "auto":
        shuffled = isinstance(cv, Integral | None)
        return fold_stages(folds, seed=seed, shuffled=shuffled, n_jobs=n_jobs)
    return [Stage(HoldOut(folds, n_jobs), climbs=True)]


def _has_centers(params, n_rows):
    """Return whether the centres are others than so many rows."""
    n_centers = params.get("n_centers")
    if n_centers is None:
        return False
    return params.get("centers") == "given" or n_centers < n_rows


def _last_round(params, strata, seed, *, few):
    """Return the Judging of candidates by their last round."""
    direct = params["solver"] in DIRECT and not _has_centers(params, len(strata))
    if direct or (params["solver"] == "auto" and few):
        return LeaveOneOut(last_only=True)
    return LastRound(hold_out(strata, params["validation_fraction"], seed))


def _require_direct(solver):
    """Raise ValueError for a solver without leave-one-out residuals."""
    if isinstance(solver, EigenPro) or solver in ITERATIVE:
        raise ValueError(
            f"solver={solver!r} does not give leave-one-out residuals, which "
            "validation='loo' takes. Pass validation='cv' or 'holdout', or "
            "solver='cholesky'."
        )


def _require_folds(validation):
    """Raise ValueError for a validation that does not use groups of rows."""
    if validation in ("loo", "holdout", None):
        raise ValueError(
            f"groups are given, but validation={validation!r} does not use them: pass "
            "validation='cv', or leave groups out."
        )
