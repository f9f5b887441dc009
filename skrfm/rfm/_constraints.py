"""What the parameters of the RFM estimators may be."""

import os
from numbers import Integral, Real

from .._sklearn import Interval, RealNotInt, StrOptions
from .._tables import DEVICES, LEVEL_STATISTICS, SCALINGS
from ..kernels import Kernel
from ..solvers import SOLVERS, EigenPro

PARAMETER_CONSTRAINTS: dict[str, list] = {
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "scaling": [StrOptions(set(SCALINGS)), None],
    "level_statistics": [StrOptions({"auto", *LEVEL_STATISTICS}), None],
    "kernel": [str, Kernel],
    "bandwidth": [Interval(Real, 0, None, closed="neither"), str],
    "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
    "alphas": [StrOptions({"auto"}), "array-like"],
    "metric_type": [StrOptions({"auto", "full", "diag"})],
    "n_components": [
        Interval(Integral, 1, None, closed="left"),
        Interval(RealNotInt, 0, 1, closed="neither"),
        None,
    ],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "validation": [StrOptions({"auto", "cv", "loo", "holdout"}), None],
    "cv": ["cv_object"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_machines": [Interval(Integral, 1, None, closed="left")],
    "fit_intercept": ["boolean"],
    "center_gradients": ["boolean"],
    "max_agop_samples": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
        None,
    ],
    "time_budget": [Interval(Real, 0, None, closed="neither"), None],
    "n_centers": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
        None,
    ],
    "centers": [StrOptions({"random", "kmeans"}), "array-like"],
    "memory_budget": [Interval(Real, 0, None, closed="neither"), None],
    "solver": [StrOptions({"auto", *SOLVERS}), EigenPro],
    "device": [StrOptions(set(DEVICES)), None],
    "checkpoint_dir": [str, os.PathLike, None],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
}
