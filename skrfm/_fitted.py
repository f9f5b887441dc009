"""What a user finds on a fitted estimator, and what he should be warned of."""

import warnings

import numpy as np

from .exceptions import NumericalWarning

# what an iterative solver may leave without a word
LARGE_RESIDUAL = 1e-2

#: attributes that are arrays where the results go, or numbers, or None
ARRAYS = (
    "X_fit_",
    "dual_coef_",
    "intercept_",
    "components_",
    "metric_",
    "feature_importances_",
    "_center",
    "_mapped_fit",
    "_fit_weight",
    "_unseen_outputs",
)


def fitted_attributes(model, data, place, *, single_output, origins):
    """Return the fitted attributes of a kernel machine, by name.

    Parameters
    ----------
    model : Round
    data : Data
        The training rows.
    place : Place
    single_output : bool
        Whether outputs are one-dimensional to the user.
    origins : ndarray of int
        The feature that each column of the rows comes from.
    """
    d, backend = data.X.shape[1], place.backend
    components = model.metric.dense_components(d)
    metric = components.T @ components
    importances = np.bincount(origins, _importances(model, metric))

    def give(a):
        return place.give(backend.asarray(a, data.X.dtype))

    coef, intercept = model.coef, model.intercept
    return {
        "X_fit_": give(data.X),
        "dual_coef_": give(coef[:, 0] if single_output else coef),
        "intercept_": float(intercept[0]) if single_output else give(intercept),
        "bandwidth_": model.bandwidth,
        "alpha_": model.recipe.alpha,
        "kernel_": model.recipe.kernel,
        "best_iter_": model.number,
        "components_": give(components),
        "metric_": give(metric),
        "feature_importances_": give(importances),
        "_n_features_out": components.shape[0],
        "_widths": model.recipe.looked_up,
        "_center": give(model.center),
        "_mapped_fit": give(model.T),
        "_fit_weight": give(data.weight),
    }


def _importances(model, metric):
    """Return the share of each column in the trace of the AGOP; zeros without one."""
    diagonal = np.diagonal(metric)
    if model.metric.components is None and model.agop is not None:
        diagonal = model.agop
    total = diagonal.sum()
    return diagonal / total if total > 0 else np.zeros(len(diagonal))


def warn_of_trouble(model, data, stacklevel):
    """Warn where the fitted machine is not quite what was asked for."""
    dtype = str(data.X.dtype).rsplit(".", 1)[-1]
    if model.agop is not None and not np.any(model.agop):
        message = (
            f"The predictor of round {model.number} is constant, so its average "
            "gradient outer product is zero and the metric stays as it is. Is y "
            "constant, are all rows equal, or is alpha too large?"
        )
    elif model.jitter:
        message = (
            "The kernel matrix with alpha on its diagonal is not positive definite in "
            f"{dtype}: {model.jitter:.1e} was added to the diagonal. Raise alpha"
            + (", or pass X in float64." if dtype == "float32" else ".")
        )
    elif model.residual > LARGE_RESIDUAL:
        message = (
            f"solver='pcg' has stopped at a residual of {model.residual:.1e} by the "
            "size of the targets. Raise alpha, or pass solver='cholesky'."
        )
    else:
        return
    warnings.warn(message, NumericalWarning, stacklevel=stacklevel)
