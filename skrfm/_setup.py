"""From an estimator's parameters to recipes, and to the rows that judge them."""

from numbers import Integral

import numpy as np

from ._distances import parse_bandwidth
from ._folds import hold_out, make_folds
from ._judging import HoldOut, LastRound, LeaveOneOut
from ._recursion import Recipe
from ._search import Candidates
from .kernels import get_kernel
from .solvers import DIRECT, ITERATIVE

# kernel="auto" chooses among these
_AUTO_KERNELS = ("laplace", "l1_laplace")
# validation="auto" cross-validates up to this many rows and holds out above
CV_ROWS = 2500


def make_candidates(params, seed, widths, scalings):
    """Return the Candidates: what the parameters leave open, simplest first.

    Parameters
    ----------
    params : dict
        The parameters of an RFM estimator.
    seed : int
        Seed of the row subsamples.
    widths : tuple of int
        Numbers of levels of the categories.
    scalings : tuple
        The scalings of the numbers.
    """
    parse_bandwidth(params["bandwidth"])
    kernels = _kernels(params["kernel"], params["metric_type"])
    shared = {
        "bandwidth": params["bandwidth"],
        "max_iter": params["max_iter"],
        "n_components": params["n_components"],
        "fit_intercept": params["fit_intercept"],
        "center_gradients": params["center_gradients"],
        "max_agop_samples": params["max_agop_samples"],
        "solver": params["solver"],
        "seed": seed,
        "widths": widths,
    }
    alphas = _alphas(params["alpha"], params["alphas"])
    diagonal = [_diagonal(kernel, params["metric_type"]) for kernel in kernels]
    recipes = [
        Recipe(kernel, alpha, diagonal=only_diagonal, scaling=scaling, **shared)
        for kernel, only_diagonal in zip(kernels, diagonal, strict=True)
        for scaling in scalings
        for alpha in alphas
    ]
    return Candidates(recipes, len(recipes))


def _kernels(kernel, metric_type):
    if not (isinstance(kernel, str) and kernel == "auto"):
        return [get_kernel(kernel)]
    kernels = [get_kernel(name) for name in _AUTO_KERNELS]
    return [k for k in kernels if metric_type != "full" or not k.coordinatewise]


def _alphas(alpha, alphas):
    if alpha != "auto":
        return [float(alpha)]
    try:
        values = np.asarray(alphas, dtype=float).ravel()
    except (TypeError, ValueError):
        values = np.array([])
    if values.size == 0 or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            f"alphas must be one or more finite numbers >= 0, got {alphas!r}."
        )
    return [float(value) for value in np.sort(values)[::-1]]


def _diagonal(kernel, metric_type):
    """Whether the metric is diagonal."""
    if metric_type == "full" and kernel.coordinatewise:
        raise ValueError(
            f"metric_type='full' does not work with {kernel!r}: a kernel of the L1 or "
            "Lp distance is not invariant to rotations. Pass metric_type='diag' or "
            "'auto', or a kernel of the Euclidean distance such as 'laplace'."
        )
    return metric_type == "diag" or (metric_type == "auto" and kernel.coordinatewise)


def make_judging(params, n_candidates, labels, keep, seed, *, few, calibrate):
    """Return how recipes and rounds are judged, or None where nothing is open.

    Parameters
    ----------
    params : dict
        The parameters of an RFM estimator.
    n_candidates : int
        Number of recipes.
    labels : ndarray of shape (n,)
        Classes to stratify by; all equal for a regressor.
    keep : boolean ndarray
        Which rows of the table that the user gave have a weight: the n rows here.
    seed : int
        Seed of the splits.
    few : bool
        Whether rows are so few that they are factorised, if the solver is open.
    calibrate : bool
        Whether unseen outputs are needed even where nothing is to be chosen.
    """
    validation, cv, solver = params["validation"], params["cv"], params["solver"]
    if validation is None:
        if n_candidates == 1 and not calibrate:
            return None
        if solver in DIRECT or (solver == "auto" and few):
            return LeaveOneOut(last_only=True)
        return LastRound(hold_out(labels, params["validation_fraction"], seed))
    n = len(labels)
    if validation == "auto":
        if n_candidates == 1 and params["max_iter"] == 0 and not calibrate:
            return None
        folds = n <= CV_ROWS or not isinstance(cv, Integral | None)
        validation = "cv" if folds else "holdout"
    if validation == "loo":
        if solver in ITERATIVE:
            raise ValueError(
                f"solver={solver!r} does not give leave-one-out residuals, which "
                "validation='loo' takes. Pass validation='cv' or 'holdout', or "
                "solver='cholesky'."
            )
        return LeaveOneOut()
    if validation == "holdout":
        return HoldOut([hold_out(labels, params["validation_fraction"], seed)])
    return HoldOut(make_folds(cv, labels, keep, seed), params["n_jobs"])


__all__ = ["CV_ROWS", "make_candidates", "make_judging"]
